//! What is the same for all threads: load addresses, build ids, versions, the log.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::pool::{self, Outcome, Request};
use super::{Run, config, kmsg, tasks};
use crate::parse::lex;

/// Kinds of files, apart from those of tasks.
const SYSTEM: u8 = 16;
const SECTIONS: u8 = 17;
const NOTES: u8 = 18;
const KMSG: u8 = 19;

/// Files of the machine: where they are, and what they are called in the archive.
const FILES: &[(&str, &str, u64)] = &[
    ("proc/version", "proc/version", 64 << 10),
    ("proc/modules", "proc/modules", 4 << 20),
    ("proc/cmdline", "proc/cmdline", 64 << 10),
    ("proc/loadavg", "proc/loadavg", 64 << 10),
    ("proc/meminfo", "proc/meminfo", 64 << 10),
    ("proc/mounts", "proc/mounts", 4 << 20),
    ("proc/uptime", "proc/uptime", 64 << 10),
    ("proc/sys/kernel/tainted", "proc/sys/kernel/tainted", 64),
    ("proc/sys/kernel/kptr_restrict", "proc/sys/kernel/kptr_restrict", 64),
    ("sys/kernel/notes", "sys/kernel/notes", 64 << 10),
    ("etc/os-release", "os-release", 64 << 10),
];

/// Members that may hold names that users gave, which a redacted capture does without.
const TELLING: &[&str] = &["proc/cmdline", "proc/mounts", "dmesg"];

/// A kernel with its modules has 200,000 symbols in 15 MB.
const KALLSYMS_LIMIT: u64 = 64 << 20;

impl<W: Write> Run<'_, W> {
    /// Reads everything that is not a thread's.
    pub(super) fn system(&mut self) -> io::Result<()> {
        self.uname()?;
        for (from, to, limit) in FILES {
            if self.is_telling(to) {
                continue;
            }
            let request = self.request(from, SYSTEM, *limit);
            self.copy(vec![(request, to.to_string())])?;
        }
        self.kallsyms()?;
        self.config()?;
        self.modules()?;
        self.log()
    }

    fn is_telling(&mut self, member: &str) -> bool {
        let telling = self.redactor.is_some() && TELLING.contains(&member);
        if telling {
            self.manifest.skip(member, "left out: it may hold names, and the capture is redacted");
        }
        telling
    }

    fn request(&self, path: &str, kind: u8, limit: u64) -> Request {
        Request { path: self.options.root.join(path), kind, limit, once: false }
    }

    /// Reads files and adds them as they are.
    fn copy(&mut self, files: Vec<(Request, String)>) -> io::Result<()> {
        let store = |run: &mut Self, member: &str, outcome| {
            let Some(bytes) = run.manifest.taken(member_kind(member), member, outcome) else { return Ok(()) };
            match run.redactor.as_ref().filter(|_| member == "proc/version") {
                Some(redactor) => run.store.add(member, &redactor.version(&bytes)),
                None => run.store.add(member, &bytes),
            }
        };
        let jobs = files.into_iter().map(|(request, member)| (member, vec![request]));
        let (threads, limit, deadline) = (self.threads, self.options.file_timeout, self.deadline);
        pool::read_all(jobs, threads, limit, deadline, |member, _, outcomes| {
            outcomes.into_iter().try_for_each(|outcome| store(self, &member, outcome))
        })
    }

    /// Reads one file.
    fn read(&mut self, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let request = self.request(path, SYSTEM, limit);
        let mut found = None;
        pool::read_all([((), vec![request])].into_iter(), 1, self.options.file_timeout, self.deadline, |(), _, outcomes| {
            found = outcomes.into_iter().next();
            Ok(())
        })?;
        Ok(found.and_then(|outcome| self.manifest.taken(path, path, outcome)))
    }

    /// One line as `uname -a` prints it, from `/proc/sys/kernel`.
    fn uname(&mut self) -> io::Result<()> {
        let mut words = Vec::new();
        for name in ["ostype", "hostname", "osrelease", "version", "arch"] {
            let value = self.read(&format!("proc/sys/kernel/{name}"), 4 << 10)?.unwrap_or_default();
            let value = lex::text(value.trim_ascii());
            match &self.redactor {
                Some(redactor) if name == "hostname" => words.push(redactor.hash(value.as_bytes())),
                // Kernels before 6.1 have no such file; a program runs only on its own architecture, or one like it.
                _ if value.is_empty() && name == "arch" => words.push(std::env::consts::ARCH.to_string()),
                _ => words.push(value),
            }
        }
        words.retain(|word| !word.is_empty());
        self.store.add("uname", format!("{}\n", words.join(" ")).as_bytes())
    }

    /// Symbols of code. Those of data place nothing and are half of the file; without privilege all addresses are zero.
    fn kallsyms(&mut self) -> io::Result<()> {
        let Some(text) = self.read("proc/kallsyms", KALLSYMS_LIMIT)? else { return Ok(()) };
        let code = code_symbols(&text);
        if code.is_empty() {
            let why = "the kernel hides all addresses from this user (kptr_restrict): `sudo kstack capture`";
            self.manifest.skip("proc/kallsyms", why);
            return Ok(());
        }
        self.store.add("proc/kallsyms", &code)
    }

    /// `/proc/config.gz`, or the file that distributions install.
    fn config(&mut self) -> io::Result<()> {
        let release = self.read("proc/sys/kernel/osrelease", 4 << 10)?.map(|text| lex::text(text.trim_ascii())).unwrap_or_default();
        let places = ["proc/config.gz".to_string(), format!("boot/config-{release}"), format!("lib/modules/{release}/config")];
        for place in places {
            let Some(bytes) = self.read(&place, 8 << 20)? else { continue };
            let lines = config::relevant(&bytes);
            if !lines.is_empty() {
                return self.store.add("config", &lines);
            }
        }
        self.manifest.skip("config", "neither /proc/config.gz nor /boot/config-RELEASE nor /lib/modules/RELEASE/config can be read");
        Ok(())
    }

    /// Addresses of sections and build ids of all modules.
    fn modules(&mut self) -> io::Result<()> {
        let mut files = Vec::new();
        for module in tasks::entries(&self.options.root.join("sys/module")) {
            let name = last(&module);
            for section in tasks::entries(&module.join("sections")) {
                let member = format!("sys/module/{name}/sections/{}", last(&section));
                files.push((Request { path: section, kind: SECTIONS, limit: 64, once: false }, member));
            }
            let note = module.join("notes/.note.gnu.build-id");
            files.push((
                Request { path: note, kind: NOTES, limit: 4 << 10, once: false },
                format!("sys/module/{name}/notes/.note.gnu.build-id"),
            ));
        }
        self.copy(files)
    }

    /// The end of the kernel's log.
    fn log(&mut self) -> io::Result<()> {
        if self.is_telling("dmesg") {
            return Ok(());
        }
        let path = self.options.root.join("dev/kmsg");
        // A copy of a tree may have anything there, and opening a pipe waits for its other end.
        let outcome = within(self.options.file_timeout * 4, move || outcome(kmsg::tail(&path)));
        match self.manifest.taken("dev/kmsg", "dev/kmsg", outcome) {
            Some(bytes) if !bytes.is_empty() => self.store.add("dmesg", &bytes),
            _ => Ok(()),
        }
    }
}

/// What `work` gives, unless that takes longer than `limit`.
fn within(limit: std::time::Duration, work: impl FnOnce() -> Outcome + Send + 'static) -> Outcome {
    let (send, receive) = std::sync::mpsc::channel();
    let started = std::thread::Builder::new().name(format!("kstack-read-{KMSG}")).spawn(move || drop(send.send(work())));
    match started {
        Ok(_) => receive.recv_timeout(limit).unwrap_or(Outcome::Stuck),
        Err(cause) => Outcome::Failed(cause.to_string()),
    }
}

fn outcome(read: io::Result<Vec<u8>>) -> Outcome {
    match read {
        Ok(bytes) => Outcome::Bytes(bytes, false),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Outcome::Gone,
        Err(cause) if cause.kind() == io::ErrorKind::PermissionDenied => Outcome::Denied,
        Err(cause) => Outcome::Failed(cause.to_string()),
    }
}

/// What the manifest counts a member under: all sections of all modules together.
fn member_kind(member: &str) -> &str {
    match member {
        _ if member.contains("/sections/") => "sys/module/NAME/sections",
        _ if member.ends_with(".note.gnu.build-id") => "sys/module/NAME/notes",
        _ => member,
    }
}

fn last(path: &Path) -> String {
    PathBuf::from(path.file_name().unwrap_or_default()).display().to_string()
}

/// Lines of kallsyms with code, and none when every address is zero.
fn code_symbols(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 2);
    let mut hidden = true;
    for line in text.split_inclusive(|b| *b == b'\n') {
        let address = line.iter().position(|b| *b == b' ').unwrap_or(line.len());
        let kind = line.get(address + 1).copied().unwrap_or_default();
        if matches!(kind, b't' | b'T' | b'w' | b'W') {
            hidden &= line[..address].iter().all(|b| *b == b'0');
            out.extend_from_slice(line);
        }
    }
    if hidden { Vec::new() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_with_addresses_is_kept_of_kallsyms() {
        let text = b"ffffffff81000000 T _text\nffffffff82000000 D data\n0000000000000000 A absolute\nffffffffc0001000 t f\t[zfs]\n";
        assert_eq!(code_symbols(text), b"ffffffff81000000 T _text\nffffffffc0001000 t f\t[zfs]\n");
        assert!(code_symbols(b"0000000000000000 T _text\n0000000000000000 t f\n").is_empty());
    }
}
