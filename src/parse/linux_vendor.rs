//! What vendors put between the time and the message of a Linux kernel log, Android's own stamp, and the names of Xen's guests.
//!
//! ```text
//! [   12.345678]  (2)[123:kworker/0:1]MSG           MediaTek: CPU in hexadecimal, process id, command; `-(2)` with interrupts off
//! [   12.345678]<2>.(2)[123:kworker/0:1]MSG
//! [   57.068758]  [2:    kworker/2:1:   33] MSG     Samsung: CPU, command of 15 columns, process id of 5; `I[2:` in an interrupt
//! [   12.345678] c1    12 MSG                       Qualcomm: CPU, process id
//! 05-01 10:00:00.123     0     0 W         : MSG    logcat -b kernel
//! W/        (    0): MSG                            logcat -b kernel -v brief
//! (XEN) MSG, (d3) MSG                               Xen's console: the hypervisor, the kernel of guest 3
//! ```
//! Sources: `print_time` and `print_process` in kernel/printk/printk.c of the vendors' kernels (3.10 to 4.14), logcat's `threadtime`.

use memchr::memchr;

use super::lex;
use super::linux_prefix::Context;
use super::linux_stamp::digits;

/// Command names have 15 bytes at most.
const COMMAND: usize = 15;

/// CPU and task behind a time: how long they are, and who printed the record. Nearly every line comes here, so the first two bytes decide.
pub fn tail(rest: &[u8]) -> Option<(usize, Context)> {
    let at = usize::from(matches!(rest.first()?, b' ' | b'-' | b'.' | b'I'));
    match rest.get(at)? {
        b'(' => mediatek(rest, at),
        b'[' if rest.get(at + 1)?.is_ascii_digit() => samsung(rest, at),
        _ => None,
    }
}

/// Idle tasks of all CPUs have process id 0.
fn context(pid: u64, cpu: u64) -> Context {
    if pid == 0 { Context::Cpu(cpu) } else { Context::Task(pid) }
}

/// The decimal or hexadecimal word from `from` up to `end`, which must stand within eight bytes, and where that is.
fn word(rest: &[u8], from: usize, end: u8) -> Option<(&[u8], usize)> {
    let near = rest.get(from..rest.len().min(from + 8))?;
    let len = memchr(end, near)?;
    Some((&near[..len], from + len))
}

/// `(2)[123:kworker/0:1]`.
fn mediatek(rest: &[u8], at: usize) -> Option<(usize, Context)> {
    let (cpu, close) = word(rest, at + 1, b')')?;
    let (pid, colon) = word(rest, close + 2, b':').filter(|_| rest[close + 1] == b'[')?;
    let command = &rest[colon + 1..rest.len().min(colon + 2 + COMMAND)];
    let end = colon + 2 + memchr(b']', command)?;
    Some((end, context(lex::decimal(pid)?, lex::bare_hex(cpu)?)))
}

/// `[2:    kworker/2:1:   33] `. The width of the last column tells it from addresses of devices, `[2:0:0:0]`.
fn samsung(rest: &[u8], at: usize) -> Option<(usize, Context)> {
    let (cpu, colon) = word(rest, at + 1, b':')?;
    let near = &rest[colon + 1..rest.len().min(colon + 1 + COMMAND + 12)];
    let inside = &near[..memchr(b']', near)?];
    let pid = inside.len() - inside.iter().rev().position(|b| *b == b':')?;
    let end = colon + 2 + inside.len();
    let fits = inside.len() - pid >= 5 && matches!(pid, 2..=16) && rest.get(end) == Some(&b' ');
    fits.then_some((end + 1, context(lex::decimal(inside[pid..].trim_ascii_start())?, lex::decimal(cpu)?)))
}

/// `c0   1234 ` behind the time: CPU and task of Android kernels.
pub fn android(rest: &[u8]) -> Option<(usize, Context)> {
    let cpu = digits(&rest[1..]);
    let task = 1 + cpu + lex::indent(&rest[1 + cpu..]);
    let end = task + digits(&rest[task..]);
    let id = lex::decimal(&rest[task..end])?;
    (matches!(cpu, 1 | 2) && task > 1 + cpu && rest.get(end) == Some(&b' ')).then_some((end + 1, Context::Task(id)))
}

/// `(XEN) `, the hypervisor's own messages, and `(d3) ` and `(d3v1) `, those of a guest's kernel, on Xen's console (`conring` with
/// `guest_loglvl=all`; xen/drivers/char/console.c, 4.17).
pub fn xen(rest: &[u8]) -> Option<usize> {
    let near = &rest[..rest.len().min(14)];
    let inside = near.strip_prefix(b"(")?.split(|b| *b == b')').next()?;
    let guest = || inside.strip_prefix(b"d").is_some_and(|ids| ids.splitn(2, |b| *b == b'v').all(|id| lex::decimal(id).is_some()));
    let end = inside.len() + 2;
    ((inside == b"XEN" || guest()) && near.get(end) == Some(&b' ')).then_some(end + 1)
}

/// `05-01 10:00:00.123     0     0 W         : `, whose tag is empty or `KERNEL` where the kernel speaks.
pub fn logcat(rest: &[u8]) -> Option<usize> {
    let time = rest.get(..19)?;
    if time[2] != b'-' || time[5] != b' ' || time[8] != b':' || time[11] != b':' || time[14] != b'.' {
        return None;
    }
    let colon = 18 + memchr(b':', &rest[18..rest.len().min(60)])?;
    let mut words = lex::words(&rest[18..colon]);
    let mut id = || words.next().and_then(lex::decimal);
    let ids = [id()?, id()?];
    words.next().filter(|level| matches!(level, [b'A'..=b'Z']))?;
    let message = colon + 1 + usize::from(rest.get(colon + 1) == Some(&b' '));
    match words.next() {
        None => Some(message),
        Some(tag) if tag.eq_ignore_ascii_case(b"kernel") => Some(message),
        // Only the kernel has process id 0. What stands before the first colon of its message was taken for a tag.
        Some(tag) if ids == [0, 0] => Some(tag.as_ptr() as usize - rest.as_ptr() as usize),
        Some(_) => None,
    }
}

/// `W/        (    0): `, logcat's form `brief`, of the kernel.
pub fn brief(rest: &[u8]) -> Option<usize> {
    let near = &rest[..rest.len().min(64)];
    let open = memchr(b'(', near.strip_prefix(&[*near.first()?, b'/'])?)? + 2;
    let end = open + memchr(b')', &near[open..])?;
    let own = matches!(near[0], b'V' | b'D' | b'I' | b'W' | b'E' | b'F') && near[2..open].iter().all(|b| *b == b' ');
    (own && near[open + 1..end].trim_ascii() == b"0" && near[end..].starts_with(b"): ")).then_some(end + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_looks_like_a_vendors_tail_is_a_message() {
        for message in [
            " [2:0:0:0] disk",
            "[2:0:0:0] disk",
            " (null) [1:a]",
            " (2)[x:a]m",
            "-(2)",
            "I[2:",
            " [<ffffffff8168b899>] f+0x1/0x2",
            " [1:a:    5]",
            "",
        ] {
            assert_eq!(tail(message.as_bytes()), None, "{message}");
        }
        assert_eq!(tail(b" (a)[0:swapper/10]m"), Some((18, Context::Cpu(10))));
        assert_eq!(tail(b"I[2:      swapper/2:    0] m"), Some((27, Context::Cpu(2))));
        assert_eq!(logcat(b"05-01 10:00:00.123  1234  1234 E zygote  : f+0x1/0x2"), None);
        assert_eq!(logcat(b"05-01 10:00:00.123"), None);
        for message in ["(null)", "(d) f", "(d3", "(d3)f", "(XENO) f", "(d3v) f", "(dev3) f", ""] {
            assert_eq!(xen(message.as_bytes()), None, "{message}");
        }
        assert_eq!((xen(b"(d3v1) f"), brief(b"W/        ( 1234): f"), brief(b"I/O error (0): f"), brief(b"")), (Some(7), None, None, None));
    }
}
