//! Names of processes as hashes: equal names stay equal within one capture and tell nothing, since nobody keeps the salt.

use std::fs::File;
use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// Hex digits of a hash; with the `x` before them as long as a name in `comm` may be.
const DIGITS: usize = 14;

/// Hashes with the salt of one capture.
pub struct Redactor {
    salt: [u8; 16],
}

impl Redactor {
    /// A fresh salt.
    ///
    /// # Errors
    /// When there is no randomness to be had.
    pub fn new() -> io::Result<Redactor> {
        let mut salt = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut salt)?;
        Ok(Redactor { salt })
    }

    /// What stands for `name`.
    pub fn hash(&self, name: &[u8]) -> String {
        let digest = Sha256::new().chain_update(self.salt).chain_update(name).finalize();
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("x{}", &hex[..DIGITS])
    }

    /// A file of a task with its names hashed. Kernel threads keep theirs, which the kernel, its modules and devices give, unless there is
    /// the address of another machine in it: the state manager of NFS is called `192.0.2.1-manager` (`nfs4_schedule_state_manager` in
    /// fs/nfs/nfs4state.c, 6.12).
    pub fn task(&self, file: &str, bytes: Vec<u8>, kernel: bool) -> Vec<u8> {
        let keeps = |name: &[u8]| kernel && !has_ip_address(name);
        match file {
            "comm" if keeps(&bytes) => bytes,
            "comm" => format!("{}\n", self.hash(bytes.trim_ascii_end())).into_bytes(),
            "stat" => match name_in_stat(&bytes) {
                Some((open, close)) if keeps(&bytes[open..close]) => bytes,
                _ => self.stat(bytes),
            },
            "cmdline" => self.each(&bytes, 0),
            "cgroup" => self.cgroup(&bytes),
            _ => bytes,
        }
    }

    /// `PID (NAME) …`: the name may hold anything, a parenthesis too.
    fn stat(&self, bytes: Vec<u8>) -> Vec<u8> {
        // A name that cannot be found cannot be hidden.
        let Some((open, close)) = name_in_stat(&bytes) else { return Vec::new() };
        [&bytes[..open], self.hash(&bytes[open..close]).as_bytes(), &bytes[close..]].concat()
    }

    /// Hashes what lies between `separator`s.
    fn each(&self, bytes: &[u8], separator: u8) -> Vec<u8> {
        let one = |part: &[u8]| if part.is_empty() { Vec::new() } else { self.hash(part).into_bytes() };
        bytes.split(|b| *b == separator).map(one).collect::<Vec<_>>().join(&separator)
    }

    /// `0::/user.slice/user-1000.slice`, a line for each hierarchy: units and containers carry names of users.
    fn cgroup(&self, bytes: &[u8]) -> Vec<u8> {
        let line = |line: &[u8]| {
            let path = memchr::memchr(b'/', line).unwrap_or(line.len());
            [self.hierarchy(&line[..path]), self.each(&line[path..], b'/')].concat()
        };
        bytes.split(|b| *b == b'\n').map(line).collect::<Vec<_>>().join(&b'\n')
    }

    /// `4:cpu,cpuacct:`, or `1:name=NAME:` of a hierarchy that somebody mounted. The name of systemd's tells nothing.
    fn hierarchy(&self, head: &[u8]) -> Vec<u8> {
        const NAMED: &[u8] = b"name=";
        let Some(start) = memchr::memmem::find(head, NAMED).map(|at| at + NAMED.len()) else { return head.to_vec() };
        let end = memchr::memchr2(b':', b',', &head[start..]).map_or(head.len(), |at| start + at);
        let hidden = if &head[start..end] == b"systemd" { "systemd".to_string() } else { self.hash(&head[start..end]) };
        [&head[..start], hidden.as_bytes(), &head[end..]].concat()
    }

    /// `/proc/version` without who built the kernel, and where: `Linux version 6.1.0 (user@host) (gcc …) #1 SMP …`.
    pub fn version(&self, bytes: &[u8]) -> Vec<u8> {
        let Some(open) = memchr::memchr(b'(', bytes).map(|at| at + 1) else { return bytes.to_vec() };
        let compiler = memchr::memmem::find(&bytes[open..], b") (");
        let close = compiler.or_else(|| memchr::memchr(b')', &bytes[open..])).map_or(bytes.len(), |at| open + at);
        [&bytes[..open], self.hash(&bytes[open..close]).as_bytes(), &bytes[close..]].concat()
    }
}

/// Where the name begins and ends in `PID (NAME) …`.
fn name_in_stat(bytes: &[u8]) -> Option<(usize, usize)> {
    let ends = memchr::memchr(b'(', bytes).zip(memchr::memrchr(b')', bytes)).filter(|(open, close)| open < close);
    ends.map(|(open, close)| (open + 1, close))
}

/// Whether there may be an IPv4 or IPv6 address in the name of a kernel thread, which may be cut off. Two colons are enough: a device on a
/// PCI bus has them too, and nothing depends on its name.
fn has_ip_address(name: &[u8]) -> bool {
    let of_four =
        |word: &[u8]| word.split(|b| *b == b'.').filter(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit)).count() >= 4;
    let of_six = |word: &[u8]| word.iter().filter(|b| **b == b':').count() >= 2;
    let words = name.split(|b| !(b.is_ascii_hexdigit() || matches!(b, b'.' | b':')));
    words.into_iter().any(|word| of_four(word) || of_six(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_stay_equal_and_none_is_left() {
        let redactor = Redactor { salt: [7; 16] };
        let text = |file: &str, bytes: &[u8]| String::from_utf8(redactor.task(file, bytes.to_vec(), false)).unwrap();
        let hash = redactor.hash(b"we (ird) name");
        assert_eq!(hash.len(), 15);
        assert_eq!(text("comm", b"we (ird) name\n"), format!("{hash}\n"));
        assert_eq!(text("stat", b"7 (we (ird) name) D 1 2"), format!("7 ({hash}) D 1 2"));
        assert_eq!(text("stat", b"torn"), "");
        assert_eq!(text("cmdline", b"we (ird) name\0-x\0"), format!("{hash}\0{}\0", redactor.hash(b"-x")));
        assert_eq!(text("cgroup", b"0::/a/b\n1:cpu:/\n"), format!("0::/{}/{}\n1:cpu:/\n", redactor.hash(b"a"), redactor.hash(b"b")));
        assert_eq!(text("stack", b"[<0>] f+0x1/0x2\n"), "[<0>] f+0x1/0x2\n");
        let named = redactor.hash(b"alice");
        assert_eq!(text("cgroup", b"2:name=alice:/\n1:name=systemd:/\n"), format!("2:name={named}:/\n1:name=systemd:/\n"));
        assert_ne!(Redactor { salt: [8; 16] }.hash(b"a"), redactor.hash(b"a"));
    }

    #[test]
    fn kernel_threads_keep_their_names_but_for_addresses_of_other_machines() {
        let redactor = Redactor { salt: [7; 16] };
        let text = |file: &str, bytes: &str| String::from_utf8(redactor.task(file, bytes.as_bytes().to_vec(), true)).unwrap();
        for name in ["kswapd0", "kworker/u4:2-events", "nfsv4.1-svc", "irq/9-acpi", "jbd2/dm-1-8", "z_wr_iss"] {
            assert_eq!(text("comm", &format!("{name}\n")), format!("{name}\n"));
            assert_eq!(text("stat", &format!("7 ({name}) I 2 0")), format!("7 ({name}) I 2 0"));
        }
        for name in ["192.0.2.1-manager", "192.168.100.200", "2001:db8::1-mana", "fe80::1"] {
            let hash = redactor.hash(name.as_bytes());
            assert_eq!(text("comm", &format!("{name}\n")), format!("{hash}\n"));
            assert_eq!(text("stat", &format!("7 ({name}) S 2 0")), format!("7 ({hash}) S 2 0"));
        }
    }

    #[test]
    fn who_built_the_kernel_is_hidden() {
        let redactor = Redactor { salt: [7; 16] };
        let text = |bytes: &str| String::from_utf8(redactor.version(bytes.as_bytes())).unwrap();
        let builder = redactor.hash(b"al(i)ce@host");
        assert_eq!(
            text("Linux version 6.1 (al(i)ce@host) (gcc (Debian) 12) #1"),
            format!("Linux version 6.1 ({builder}) (gcc (Debian) 12) #1")
        );
        assert_eq!(text("Linux version 6.1 (a@b) #1"), format!("Linux version 6.1 ({}) #1", redactor.hash(b"a@b")));
        assert_eq!(
            (text("Linux version 6.1"), text("Linux (a@b")),
            ("Linux version 6.1".into(), format!("Linux ({}", redactor.hash(b"a@b")))
        );
    }
}
