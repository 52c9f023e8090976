//! `/dev/kmsg`, the kernel's log record by record, as the text that `dmesg -r` prints.
//!
//! ```text
//! 6,1234,567890,-,caller=T12;message\x0awith two lines
//!  SUBSYSTEM=pci                            a dictionary, which dmesg leaves out too
//! ```
//! Source: Documentation/ABI/testing/dev-kmsg; kernel/printk/printk.c (6.12), `info_print_ext_header`, `msg_add_ext_text`.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use crate::parse::lex;

/// How much of the log's end is kept, in bytes.
const TAIL: usize = 4 << 20;
/// The longest record that the kernel hands out is 8 KiB (`CONSOLE_EXT_LOG_MAX`, later `PRINTK_MESSAGE_MAX`).
const RECORD: usize = 16 << 10;
/// Records that are read at most: a kernel that prints faster than it is read must not keep the capture for ever.
const MOST: usize = 1 << 20;
/// Linux's number of the error for records that were overwritten meanwhile.
const EPIPE: i32 = 32;

/// The end of the log.
///
/// # Errors
/// When it cannot be opened or read.
pub fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    let (mut lines, mut size) = (VecDeque::new(), 0);
    let mut buffer = vec![0; RECORD];
    for _ in 0..MOST {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                let line = text(&buffer[..count]);
                size += line.len();
                lines.push_back(line);
                while size > TAIL && lines.len() > 1 {
                    size -= lines.pop_front().map_or(0, |line: Vec<u8>| line.len());
                }
            }
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => break,
            Err(cause) if matches!(cause.raw_os_error(), Some(EPIPE)) || cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(Vec::from(lines).concat())
}

/// Opens it so that its end is an answer and no wait.
#[cfg(target_os = "linux")]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    // O_NONBLOCK (include/uapi/asm-generic/fcntl.h; MIPS and SPARC have numbers of their own).
    const NONBLOCK: i32 = if cfg!(any(target_arch = "mips", target_arch = "mips64")) {
        0o200
    } else if cfg!(any(target_arch = "sparc", target_arch = "sparc64")) {
        0x4000
    } else {
        0o4000
    };
    OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path)
}

#[cfg(not(target_os = "linux"))]
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}

/// One record as one line for each of its message's.
fn text(record: &[u8]) -> Vec<u8> {
    let first = record.split(|b| *b == b'\n').next().unwrap_or_default();
    let Some(at) = memchr::memchr(b';', first) else { return Vec::new() };
    let mut fields = first[..at].split(|b| *b == b',');
    let (Some(level), Some(_), Some(time)) = (fields.next(), fields.next(), fields.next()) else { return Vec::new() };
    let (level, time) = (lex::decimal(level).unwrap_or(6), lex::decimal(time).unwrap_or(0));
    let caller = fields.find_map(|field| field.strip_prefix(b"caller=")).map(lex::text);
    let caller = caller.map_or(String::new(), |caller| format!("[{caller:>6}]"));
    let stamp = format!("<{level}>[{:5}.{:06}]{caller} ", time / 1_000_000, time % 1_000_000);
    let mut out = Vec::with_capacity(first.len() + 32);
    for line in unescape(&first[at + 1..]).split(|b| *b == b'\n') {
        out.extend_from_slice(stamp.as_bytes());
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out
}

/// `\x0a` and its like as the bytes that they stand for.
fn unescape(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len());
    let mut at = 0;
    while at < message.len() {
        let code = message.get(at..at + 4).and_then(|code| code.strip_prefix(b"\\x")).and_then(lex::bare_hex);
        match code {
            Some(byte) => out.push(byte as u8),
            None => out.push(message[at]),
        }
        at += if code.is_some() { 4 } else { 1 };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_become_lines_of_dmesg() {
        let record = b"6,339,5140900,-,caller=T12;a\\x0ab \\x5cc\n SUBSYSTEM=acpi\n";
        assert_eq!(text(record), b"<6>[    5.140900][   T12] a\n<6>[    5.140900][   T12] b \\c\n");
        assert_eq!(text(b"30,1,68771269,-;INFO: x\n"), b"<30>[   68.771269] INFO: x\n");
        assert_eq!(text(b"no record"), b"");
    }
}
