//! Lines of a Fuchsia log without their stamps, and what Zircon's console broke put together again.
//!
//! ```text
//! [00098.690] 395150.395181> PageFault: 100129 free pages                     debuglog: time, process and thread
//! [00012.583430][1102][1184][core/starnix_runner] WARN: stack backtrace:      system log: time, process, thread, tags, level
//! ```
//! Sources: zircon/kernel/lib/debuglog, the log viewer of `ffx log` (Fuchsia 2018 to 2024).

use memchr::memmem;

use super::lex::{self, Line};

/// The width at which Zircon breaks the lines of a panic, in bytes: its debuglog records hold no more.
const WIDTH: usize = 127;

/// Levels of the system log.
const LEVELS: &[&[u8]] = &[b"TRACE: ", b"DEBUG: ", b"INFO: ", b"WARN: ", b"WARNING: ", b"ERROR: ", b"FATAL: "];

/// How far into a line its level is looked for, in bytes: tags are of any length.
const LONGEST_TAGS: usize = 512;

/// Where the message begins behind the stamp of `line`; `None` without one.
pub(super) fn stamp(line: &[u8]) -> Option<usize> {
    let digits = |from: usize| line[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let numbers = |from: usize, between: u8| {
        let dot = from + digits(from);
        let end = (dot > from && line.get(dot) == Some(&between)).then(|| dot + 1 + digits(dot + 1))?;
        (end > dot + 1).then_some(end)
    };
    let end = numbers(usize::from(line.first() == Some(&b'[')), b'.').filter(|_| line[0] == b'[' && line.len() > 1)?;
    if line.get(end..end + 2) == Some(b"] ") {
        let end = numbers(end + 2, b'.').filter(|end| line.get(*end) == Some(&b'>'))?;
        return Some(end + 1 + usize::from(line.get(end + 1) == Some(&b' ')));
    }
    let tags = line.get(..line.len().min(LONGEST_TAGS)).filter(|_| line.get(end..end + 2) == Some(b"]["))?;
    memmem::find_iter(tags, b"] ").find_map(|at| {
        let level = LEVELS.iter().find(|level| line[at + 2..].starts_with(level))?;
        Some(at + 2 + level.len())
    })
}

/// The message of a line.
pub(super) fn message(line: &[u8]) -> &[u8] {
    &line[stamp(line).unwrap_or(0)..]
}

/// The messages of `text` that say something, each as one line.
pub fn messages(text: &[u8]) -> impl Iterator<Item = String> {
    let mut lines = lex::lines(text).peekable();
    std::iter::from_fn(move || {
        let line = lines.find(|line| !message(line.bytes).trim_ascii().is_empty())?;
        let own = message(line.bytes);
        let broken = |line: &Line<'_>| line.bytes.len() == WIDTH;
        let rest = lines.peek().filter(|next| broken(&line) && continues(&line, next)).map(|next| message(next.bytes));
        let whole = [own, rest.unwrap_or_default()].concat();
        if rest.is_some() {
            lines.next();
        }
        Some(lex::text(whole.trim_ascii()))
    })
}

/// Whether `next` can be the rest of a message that was broken: it is not one of its own.
fn continues(line: &Line<'_>, next: &Line<'_>) -> bool {
    let own = stamp(next.bytes).is_some() && stamp(line.bytes).is_none();
    let known = [&b"platform_halt"[..], b"bt#", b"Halting", b"{{{", b"panic (", b"dso: "].iter().any(|start| next.bytes.starts_with(start));
    !(own || known || next.bytes.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_of_both_logs_are_peeled() {
        assert_eq!(message(b"[00098.690] 395150.395181> <== fatal"), b"<== fatal");
        assert_eq!(message(b"[00098.690] 395150.395181>"), b"");
        assert_eq!(message(b"[00012.583430][1102][1184][core/a:U][3:4[b.1],c, 0] WARN: stack backtrace:"), b"stack backtrace:");
        for none in [&b"[   12.345678] Call Trace:"[..], b"[", b"[1.", b"[1.2", b"[1.2][3] text", b"", b"bt#00: end", b"12.5> x"] {
            assert_eq!(stamp(none), None, "{}", lex::text(none));
        }
    }

    #[test]
    fn broken_messages_are_joined() {
        let first = format!("panic (caller 0x1 frame 0x2): ASSERT FAILED at (a.cpp:1): {}", "x".repeat(127));
        let (first, rest) = first.split_at(127);
        let all: Vec<String> = messages(format!("{first}\n{rest} == y\n\nHalting...\n").as_bytes()).collect();
        assert_eq!(all, [format!("{first}{rest} == y"), "Halting...".to_string()]);
        let all: Vec<String> = messages(format!("{first}\nplatform_halt\n").as_bytes()).collect();
        assert_eq!(all.len(), 2);
    }
}
