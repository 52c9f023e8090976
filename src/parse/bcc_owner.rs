//! Names of processes below stacks of bcc's first tools, which put no `-` in front of them.
//!
//! ```text
//!     kthread
//!     ret_from_fork
//!     rcuos/0
//!         13
//! ```
//! A name can look like a function. One with a number behind a slash cannot; where one stands below a stack, all stacks of the text end so:
//! it is one tool's.

use super::lex;

/// The longest name that the kernel keeps, in bytes (`TASK_COMM_LEN`).
const LONGEST: usize = 15;

/// Whether the names of processes stand unmarked in `text`. `is_count` tells the line below one, `is_marked` a name with its mark.
pub(super) fn unmarked(text: &[u8], is_count: impl Fn(&[u8]) -> bool, is_marked: impl Fn(&[u8]) -> bool) -> bool {
    let mut lines = lex::lines(text).peekable();
    let mut found = false;
    while let Some(line) = lines.next() {
        if lines.peek().is_some_and(|below| is_count(below.bytes)) {
            if is_marked(line.bytes) {
                return false;
            }
            found |= name(line.bytes).is_some_and(is_threads);
        }
    }
    found
}

/// `-                COMM (PID)`.
pub(super) fn owner(line: &[u8]) -> Option<(&[u8], i64)> {
    let rest = line.trim_ascii().strip_prefix(b"-")?;
    let body = rest.trim_ascii_start().strip_suffix(b")")?;
    let open = memchr::memrchr(b'(', body)?;
    let pid = std::str::from_utf8(&body[open + 1..]).ok()?.parse().ok()?;
    Some((body[..open].trim_ascii_end(), pid)).filter(|_| rest.starts_with(b" ") && line.starts_with(b" "))
}

/// The name that the last line of a stack is.
pub(super) fn name(line: &[u8]) -> Option<&[u8]> {
    let name = line.trim_ascii();
    let fits = (1..=LONGEST).contains(&name.len()) && !name.iter().any(|b| matches!(b, b'[' | b'+'));
    (fits && line.starts_with(b"    ")).then_some(name)
}

/// `rcuos/0`, `kworker/u16:2`, `jbd2/vda1-8`: threads of the kernel.
fn is_threads(name: &[u8]) -> bool {
    let Some(slash) = memchr::memchr(b'/', name) else { return false };
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b':');
    slash > 0 && name[..slash].iter().all(plain) && name[slash + 1..].iter().all(plain) && name.last().is_some_and(u8::is_ascii_digit)
}
