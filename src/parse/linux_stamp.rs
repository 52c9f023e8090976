//! Times in brackets at the start of a record, in all forms that printk, its tools and those who collect logs write; and the caller ids
//! behind them.
//!
//! ```text
//! [   55.614677]              printk; vendors and `dmesg -d` put more behind the time
//! [  +0.036829]               dmesg -e
//! [Fri Nov 20 19:45:56 2026]  dmesg -T
//! [2026-11-20T19:45:56.306134Z]: MSG    Talos; consoles that are recorded with the time, without colon
//! [    T1] MSG                CONFIG_PRINTK_CALLER, where no time is printed
//! ```

use memchr::memchr;

use super::lex;
use super::linux_prefix::Context;

/// `[   55.614677]`, also with what vendors and `dmesg -d` put behind the time. Gives its length.
pub(super) fn printk_time(rest: &[u8]) -> Option<usize> {
    if !matches!(rest.get(1), Some(b' ' | b'0'..=b'9')) {
        return None;
    }
    let mut at = 1 + rest[1..].iter().take(12).take_while(|b| **b == b' ').count();
    let seconds = digits(&rest[at..]);
    at += seconds;
    if seconds == 0 || rest.get(at) != Some(&b'.') {
        return None;
    }
    let fraction = digits(&rest[at + 1..]);
    at += 1 + fraction;
    match rest.get(at)? {
        b']' if fraction >= 3 => Some(at + 1),
        b' ' if fraction == 6 && matches!(rest.get(at + 1), Some(b'<' | b'/')) => close(rest, at),
        // Amlogic's CPU number.
        b'@' if fraction == 6 => {
            let cpu = digits(&rest[at + 1..]);
            (cpu > 0 && rest.get(at + 1 + cpu) == Some(&b']')).then_some(at + cpu + 2)
        }
        _ => None,
    }
}

/// One past the `]` that ends a stamp at most 40 bytes behind `at`.
fn close(rest: &[u8], at: usize) -> Option<usize> {
    memchr(b']', &rest[at..rest.len().min(at + 40)]).map(|n| at + n + 1)
}

/// A time in brackets, in any of the forms that printk, dmesg and journalctl write.
pub(super) fn stamp(rest: &[u8]) -> Option<usize> {
    printk_time(rest).or_else(|| {
        let end = close(rest, 0)?;
        let inside = &rest[1..end - 1];
        if date_time(inside) {
            return Some(end + usize::from(rest.get(end) == Some(&b':')));
        }
        (delta(inside) || wall_clock(inside)).then_some(end)
    })
}

/// `2026-11-20T19:45:56.306134Z`, `2026-11-20 19:45:56` and `19:45:56.306`, whole.
fn date_time(inside: &[u8]) -> bool {
    let form: &[u8] = if inside.get(2) == Some(&b':') { b"00:00:00" } else { b"0000-00-00T00:00:00" };
    let fits = |(byte, form): (&u8, &u8)| match form {
        b'0' => byte.is_ascii_digit(),
        b'T' => matches!(byte, b'T' | b' '),
        other => byte == other,
    };
    inside.len() >= form.len()
        && inside.iter().zip(form).all(fits)
        && inside[form.len()..].iter().all(|b| matches!(b, b'.' | b',' | b':' | b'+' | b'-' | b'Z' | b'0'..=b'9'))
}

/// `[    T1] ` without a time before it. Its width tells it from other words in brackets (`print_caller` in kernel/printk/printk.c, 6.12).
pub(super) fn only_caller(rest: &[u8]) -> Option<(usize, Context)> {
    let end = close(&rest[..rest.len().min(24)], 0)?;
    let inside = &rest[1..end - 1];
    let id = inside.trim_ascii_start();
    let wide = inside.len() == 6 || inside.len() > 6 && id.len() == inside.len();
    let told = wide && matches!(id.first(), Some(b'T' | b'C')) && rest.get(end) == Some(&b' ');
    caller(rest).filter(|_| told)
}

/// `  +0.036829` and `<    0.036829>`: `dmesg -e` and `dmesg --time-format delta`.
fn delta(inside: &[u8]) -> bool {
    let value = inside.trim_ascii_start().strip_prefix(b"+").or_else(|| inside.strip_prefix(b"<")?.strip_suffix(b">"));
    value.is_some_and(|value| memchr(b'.', value).is_some() && value.iter().all(|b| matches!(b, b' ' | b'.' | b'0'..=b'9')))
}

/// `Fri Nov 20 19:45:56 2026` and `Nov20 19:45`: `dmesg -T` and `dmesg -e`.
fn wall_clock(inside: &[u8]) -> bool {
    let start = if inside.len() > 20 { 4 } else { 0 };
    inside.get(start..start + 3).is_some_and(is_month) && memchr(b':', inside).is_some()
}

pub(super) fn is_month(word: &[u8]) -> bool {
    let months: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    word.len() == 3 && months.chunks(3).any(|month| month == word)
}

/// `[    T1]`, `[    C0]`, Android's `[T123@C0]` and a vendor's CPU number `[1]`, right behind a time.
pub(super) fn caller(rest: &[u8]) -> Option<(usize, Context)> {
    let end = close(&rest[..rest.len().min(24)], 0)?;
    let inside = rest[1..end - 1].trim_ascii();
    let id = inside.split(|b| *b == b'@').next()?;
    let context = match id.split_first()? {
        (b'T', id) => Context::Task(lex::decimal(id)?),
        (b'C', id) => Context::Cpu(lex::decimal(id)?),
        _ => lex::decimal(id).map(|_| Context::Stamped)?,
    };
    Some((blank(rest, end), context))
}

/// How many digits `bytes` begins with.
pub(super) fn digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| b.is_ascii_digit()).count()
}

/// One past the blank that separates a prefix of `len` bytes from what follows.
pub(super) fn blank(rest: &[u8], len: usize) -> usize {
    len + usize::from(rest.get(len) == Some(&b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_brackets_are_no_stamps() {
        for text in [
            "[<ffffffff8168b899>] f",
            "[2026-11-20]",
            "[2026-11-20T19:45:56 x]",
            "[drm] f",
            "[1.5]",
            "[00:1f.2]",
            "[00:11:22:aa:bb:cc]",
            "",
        ] {
            assert_eq!(stamp(text.as_bytes()), None, "{text}");
        }
        assert_eq!(stamp(b"[2026-11-20T19:45:56.306Z]: f"), Some(27));
        for text in ["[T1] f", "[   T1] f", "[    T1]f", "[    X1] f", "[      ] f", "[ T12345] f"] {
            assert_eq!(only_caller(text.as_bytes()), None, "{text}");
        }
        assert_eq!(only_caller(b"[T1234567] f"), Some((11, Context::Task(1_234_567))));
    }
}
