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

    /// A file of a task with its names hashed. Kernel threads keep theirs, which no user has given.
    pub fn task(&self, file: &str, bytes: Vec<u8>, kernel: bool) -> Vec<u8> {
        match file {
            "comm" if !kernel => format!("{}\n", self.hash(bytes.trim_ascii_end())).into_bytes(),
            "stat" if !kernel => self.stat(bytes),
            "cmdline" => self.each(&bytes, 0),
            "cgroup" => self.cgroup(&bytes),
            _ => bytes,
        }
    }

    /// `PID (NAME) …`: the name may hold anything, a parenthesis too.
    fn stat(&self, bytes: Vec<u8>) -> Vec<u8> {
        let ends = memchr::memchr(b'(', &bytes).zip(memchr::memrchr(b')', &bytes)).filter(|(open, close)| open < close);
        // A name that cannot be found cannot be hidden.
        let Some((open, close)) = ends else { return Vec::new() };
        [&bytes[..=open], self.hash(&bytes[open + 1..close]).as_bytes(), &bytes[close..]].concat()
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
            [&line[..path], &self.each(&line[path..], b'/')].concat()
        };
        bytes.split(|b| *b == b'\n').map(line).collect::<Vec<_>>().join(&b'\n')
    }
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
        assert_eq!(redactor.task("comm", b"kswapd0\n".to_vec(), true), b"kswapd0\n");
        assert_ne!(Redactor { salt: [8; 16] }.hash(b"a"), redactor.hash(b"a"));
    }
}
