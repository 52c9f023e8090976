//! Trees copied from a running Linux, by `kstack capture` or by hand: `/proc/PID/…/stack` with `comm`, `stat`, `wchan`, `cmdline` and
//! `cgroup` beside it, `/sys/module/NAME/sections`, `/sys/module/NAME/notes`, `/sys/kernel/notes`, `/proc/version` and what `uname -a` printed. They are known by the
//! last parts of their paths, wherever the tree begins. Below folders `sample-0`, `sample-1`, … the same threads stand again.

use std::collections::BTreeMap;

use super::lex;
use super::linux_proc_stack::LinuxProcStack;
use super::linux_proc_task::{Shared, Task};
use super::{Format, SNIFF_BYTES};
use crate::model::addr::Avma;
use crate::model::capture::{Capture, Os};
use crate::model::image::{Basis, ImageClaim, ImageId};

/// The threads of one sample.
#[derive(Default)]
struct Sample {
    tasks: BTreeMap<(u64, u64), Task>,
    processes: BTreeMap<u64, Shared>,
}

/// A tree while it is being read, file by file, in any order.
#[derive(Default)]
pub struct Tree {
    samples: BTreeMap<Option<u32>, Sample>,
    modules: BTreeMap<String, ImageClaim>,
    kernel: Option<ImageId>,
    release: Option<String>,
}

/// The threads of a tree, or of one sample of it.
pub struct TreeReport {
    /// Number of the sample, where the tree has samples.
    pub sample: Option<u32>,
    /// Their stacks as `tail -n +1 /proc/*/task/*/stack` prints them.
    pub text: Vec<u8>,
    /// What they say.
    pub capture: Capture,
}

/// What a path stands for.
enum Part<'p> {
    Task(u64, u64, &'p str),
    Process(u64, &'p str),
    Section(&'p str, &'p str),
    Notes(&'p str),
    KernelNotes,
    Version,
}

impl Tree {
    /// Whether the file at `path` (parts separated by `/`) belongs to a tree.
    pub fn knows(path: &str) -> bool {
        part(path).is_some()
    }

    /// Takes a file that [`Tree::knows`].
    pub fn take(&mut self, path: &str, bytes: &[u8]) {
        match part(path) {
            Some(Part::Task(pid, tid, file)) => self.sample(path).tasks.entry((pid, tid)).or_default().take(file, bytes),
            Some(Part::Process(pid, file)) => self.sample(path).processes.entry(pid).or_default().take(file, bytes),
            Some(Part::Section(module, section)) => {
                let address = std::str::from_utf8(bytes.trim_ascii()).ok().and_then(|text| lex::hex(text.as_bytes()));
                if let Some(address) = address.filter(|address| *address != 0) {
                    self.module(module).sections.push((section.to_string(), Avma(address)));
                }
            }
            Some(Part::Notes(module)) => {
                if let Some(id) = build_id(bytes) {
                    self.module(module).id = Some(id);
                }
            }
            Some(Part::KernelNotes) => self.kernel = self.kernel.or(build_id(bytes)),
            Some(Part::Version) => {
                // `Linux version RELEASE …`, and `Linux HOST RELEASE …` of `uname -a`, which may be run elsewhere than where the tree was copied
                // from. Modules have files of that name too.
                let mut words = lex::words(bytes.trim_ascii()).take(3);
                let (first, second) = (words.next(), words.next());
                let release = words.next().filter(|_| first == Some(b"Linux")).map(lex::text);
                let surer = second == Some(b"version") || self.release.is_none();
                self.release = release.filter(|_| surer).or(self.release.take());
            }
            None => {}
        }
    }

    fn sample(&mut self, path: &str) -> &mut Sample {
        let number = path.split('/').find_map(|part| part.strip_prefix("sample-")?.parse().ok());
        self.samples.entry(number).or_default()
    }

    fn module(&mut self, name: &str) -> &mut ImageClaim {
        let fresh = || ImageClaim { name: name.to_string(), basis: Basis::Runtime, ..ImageClaim::default() };
        self.modules.entry(name.to_string()).or_insert_with(fresh)
    }

    /// How many threads there are whose stack is not, as without privilege.
    pub fn threads_without_stack(&self) -> usize {
        self.samples.values().flat_map(|sample| sample.tasks.values()).filter(|task| task.stack.is_empty()).count()
    }

    /// The kernel's release, where the tree says it.
    pub fn release(&self) -> Option<&str> {
        self.release.as_deref()
    }

    /// The load map in the tree, if there is one.
    pub fn map(&mut self) -> Option<Capture> {
        let kernel = self.kernel.take().map(|id| ImageClaim {
            name: "vmlinux".to_string(),
            id: Some(id),
            kernel: true,
            basis: Basis::Runtime,
            ..ImageClaim::default()
        });
        let images: Vec<ImageClaim> = kernel.into_iter().chain(std::mem::take(&mut self.modules).into_values()).collect();
        if images.is_empty() {
            return None;
        }
        Some(Capture {
            format: "linux-sysfs-tree",
            os: Some(Os::Linux),
            kernel_version: self.release.clone(),
            basis: Some(Basis::Runtime),
            images,
            ..Capture::default()
        })
    }

    /// The threads of each sample, in the order of the samples and of their numbers; nothing where no thread has a stack.
    pub fn reports(&mut self) -> Vec<TreeReport> {
        let samples = std::mem::take(&mut self.samples).into_iter();
        let with_stacks = samples.filter(|(_, sample)| sample.tasks.values().any(|task| !task.stack.is_empty()));
        with_stacks.map(|(number, sample)| self.report(number, &sample)).collect()
    }

    fn report(&self, number: Option<u32>, sample: &Sample) -> TreeReport {
        let mut text = Vec::with_capacity(SNIFF_BYTES);
        for ((pid, tid), task) in &sample.tasks {
            text.extend(format!("==> /proc/{pid}/task/{tid}/stack <==\n").into_bytes());
            text.extend(&task.stack);
            text.push(b'\n');
        }
        let mut capture = LinuxProcStack.parse(&text);
        capture.kernel_version.clone_from(&self.release);
        for stack in &mut capture.stacks {
            let tid = stack.tid.as_deref().and_then(|tid| tid.parse().ok());
            let key = stack.pid.and_then(|pid| u64::try_from(pid).ok()).zip(tid);
            if let Some((key, task)) = key.and_then(|key| Some((key, sample.tasks.get(&key)?))) {
                task.tell(stack, sample.processes.get(&key.0));
            }
        }
        TreeReport { sample: number, text, capture }
    }
}

fn part(path: &str) -> Option<Part<'_>> {
    let mut parts = path.rsplit('/');
    let (file, parent, above, top) = (parts.next()?, parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let number = |text: &str| text.parse::<u64>().ok();
    match (file, parent, above) {
        ("stack" | "comm" | "wchan" | "stat" | "cmdline" | "cgroup", tid, "task") => Some(Part::Task(number(top)?, number(tid)?, file)),
        ("stack" | "comm" | "wchan" | "stat", pid, _) => Some(Part::Task(number(pid)?, number(pid)?, file)),
        ("cmdline" | "cgroup", pid, _) => Some(Part::Process(number(pid)?, file)),
        (".note.gnu.build-id", "notes", module) => Some(Part::Notes(module)),
        (".note.gnu.build-id", module, "notes") => Some(Part::Notes(module)),
        ("notes", "kernel", _) | ("kernel-notes", ..) => Some(Part::KernelNotes),
        ("version" | "uname", ..) => Some(Part::Version),
        (section, "sections", module) if !module.is_empty() => Some(Part::Section(module, section)),
        (section, module, "sections") => Some(Part::Section(module, section)),
        _ => None,
    }
}

/// The build id among ELF notes: words of name size, descriptor size and type 3 (`NT_GNU_BUILD_ID`), then `GNU\0` and the id.
fn build_id(notes: &[u8]) -> Option<ImageId> {
    let mut rest = notes;
    while rest.len() >= 12 {
        let word = |at: usize| u32::from_le_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]) as usize;
        let (name, size, kind) = (word(0), word(4), word(8));
        let start = 12usize.checked_add(name.checked_next_multiple_of(4)?)?;
        let end = start.checked_add(size)?;
        if kind == 3 && rest.get(12..16) == Some(b"GNU\0") {
            return ImageId::build(rest.get(start..end)?);
        }
        rest = rest.get(end.checked_next_multiple_of(4)?..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_find_their_task_and_module() {
        let mut tree = Tree::default();
        for (path, bytes) in [
            ("x/proc/7/task/9/stack", &b"[<0>] schedule+0x10/0x20\n"[..]),
            ("x/proc/7/task/9/comm", b"a) b\n"),
            ("x/proc/7/task/9/stat", b"9 (a) b) D 1 2"),
            ("x/proc/7/task/9/wchan", b"cv_wait_common"),
            ("sections/zfs/.text", b"0xffffffffc0887000\n"),
            ("sys/module/spl/sections/.text", b"0x0000000000000000\n"),
            ("notes/zfs/.note.gnu.build-id", b"\x04\0\0\0\x02\0\0\0\x03\0\0\0GNU\0\xab\xcd\0\0"),
        ] {
            assert!(Tree::knows(path), "{path}");
            tree.take(path, bytes);
        }
        let map = tree.map().unwrap();
        assert_eq!((map.images.len(), map.images[0].sections.len()), (1, 1));
        assert_eq!(map.images[0].id.unwrap().to_string(), "abcd");
        let [TreeReport { sample: None, text, capture }] = &tree.reports()[..] else { panic!("one report") };
        assert!(text.starts_with(b"==> /proc/7/task/9/stack <==\n"));
        let stack = &capture.stacks[0];
        assert_eq!(
            (stack.process.as_deref(), stack.state.as_deref(), stack.wait_channel.as_deref()),
            (Some("a) b"), Some("D"), Some("cv_wait_common"))
        );
        assert!(!Tree::knows("proc/7/maps") && !Tree::knows("stack") && !Tree::knows("notes.md"));
    }

    #[test]
    fn threads_have_what_their_process_has_unless_they_have_their_own() {
        let mut tree = Tree::default();
        for (path, bytes) in [
            ("proc/version", &b"Linux version 6.1.0-56-amd64 (a@b) #1 SMP\n"[..]),
            ("sys/module/zfs/version", b"2.1.11-1\n"),
            ("uname", b"Linux host 6.12 #1 SMP\n"),
            ("sample-1/proc/7/task/7/stack", b"[<0>] a+0x1/0x2\n"),
            ("sample-0/proc/7/task/7/stack", b"[<0>] a+0x1/0x2\n"),
            ("sample-0/proc/7/task/7/stat", b"7 (x (y)) S 1"),
            ("sample-0/proc/7/task/8/stack", b"[<0>] b+0x1/0x2\n"),
            ("sample-0/proc/7/task/8/cgroup", b"0::/\n4:cpu:/x\n"),
            ("sample-0/proc/7/cgroup", b"1:cpu:/\n0::/a/b\n"),
            ("sample-0/proc/7/cmdline", b"dd\0if=a b\0\0"),
            ("sample-0/proc/7/task/9/stack", b""),
        ] {
            assert!(Tree::knows(path), "{path}");
            tree.take(path, bytes);
        }
        assert_eq!(tree.threads_without_stack(), 1);
        let reports = tree.reports();
        assert_eq!(reports.iter().map(|report| report.sample).collect::<Vec<_>>(), [Some(0), Some(1)]);
        let capture = &reports[0].capture;
        assert_eq!(capture.kernel_version.as_deref(), Some("6.1.0-56-amd64"));
        let told = |at: usize| capture.stacks[at].annotations.as_deref().unwrap();
        assert_eq!((told(0).command_line.as_deref(), told(0).cgroup.as_deref()), (Some("dd if=a b"), Some("/a/b")));
        assert_eq!((told(1).command_line.as_deref(), told(1).cgroup.as_deref()), (Some("dd if=a b"), Some("/")));
        assert_eq!((capture.stacks[0].process.as_deref(), capture.stacks[0].state.as_deref()), (Some("x (y)"), Some("S")));
    }

    #[test]
    fn lying_notes_end_quietly() {
        assert_eq!(build_id(&[0xff; 40]), None);
        assert_eq!(build_id(b"\x04\0\0\0\xff\xff\0\0\x03\0\0\0GNU\0\xab"), None);
    }
}
