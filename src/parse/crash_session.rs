//! What crash says of a dump when it starts, and with `sys`.
//!
//! ```text
//!      RELEASE: 4.18.0-305.el8.x86_64
//!        PANIC: "BUG: unable to handle kernel NULL pointer dereference at 0000000000000008"
//!          PID: 1234
//!          CPU: 1
//! ```
//! Source: `display_sys_stats` and `show_context` of crash (kernel.c, task.c; version 8). The names end in the same column.

use memchr::{memmem, memrchr};

use super::lex::{self, Line};
use crate::model::capture::Headline;
use crate::model::stack::{Span, Stack, StackKind};

/// The names of fields are right-aligned up to the colon.
const COLUMN: usize = 12;

/// How far above a block its session's start is looked for: a dump's log is not longer.
const FAR: usize = 4 << 20;

/// Up to so many commands that show the same fields may stand between.
const MOST_SHOWN: usize = 8;

/// So many lines may tell of a dump.
const LINES: usize = 24;

/// What is known of the dump.
#[derive(Default)]
pub struct Session {
    /// Release of its kernel.
    pub release: Option<String>,
    /// Why it panicked, as its log says.
    pub panic: Option<Headline>,
    pid: Option<i64>,
    cpu: Option<u32>,
}

impl Session {
    /// What crash said last when it started, somewhere in `above`, and the text that this refers to: the log or other commands stand
    /// between that and the stacks.
    pub fn above(above: &[u8]) -> Option<(Session, &[u8])> {
        let near = &above[above.len().saturating_sub(FAR)..];
        memmem::FinderRev::new(b"     RELEASE: ").rfind_iter(near).take(MOST_SHOWN).find_map(|at| {
            let mut session = Session::default();
            let fields = lex::lines(&near[at..]).take(LINES).take_while(|line| !line.bytes.is_empty());
            fields.for_each(|line| _ = session.line(&line));
            // `sys` shows the same, but for the task.
            session.pid.map(|_| (session, &near[at..]))
        })
    }

    /// Takes a field that tells of the panic, and whether the line was one.
    pub fn line(&mut self, line: &Line<'_>) -> bool {
        let Some((name, value)) = field(line.bytes) else { return false };
        let number = lex::words(value).next().and_then(lex::decimal);
        match name {
            b"RELEASE" => self.release = self.release.take().or(Some(lex::text(value))),
            b"PANIC" => self.panic = self.panic.or(quoted(line)),
            // `set` shows another task with the same fields.
            b"PID" => self.pid = self.pid.or(number.and_then(|pid| i64::try_from(pid).ok())),
            b"CPU" => self.cpu = self.cpu.or(number.and_then(|cpu| u32::try_from(cpu).ok())),
            _ => return false,
        }
        true
    }

    /// Marks the stacks of the task that panicked. The idle tasks of all CPUs have one process id.
    pub fn panicked(&self, text: &[u8], stacks: &mut [Stack]) {
        let Some(panic) = &self.panic else { return };
        let same = |stack: &Stack| stack.pid == self.pid && self.pid.is_some() && (self.cpu.is_none() || stack.cpu == self.cpu);
        for stack in stacks.iter_mut().filter(|stack| same(stack)) {
            stack.kind = StackKind::Crash;
            stack.title = Some(lex::text(panic.text.of(text, panic.line_start)));
        }
    }
}

/// Name and value of `     RELEASE: 4.18.0-305.el8.x86_64`.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, value) = line.split_at_checked(COLUMN)?;
    Some((name.trim_ascii_start(), value.strip_prefix(b": ")?.trim_ascii())).filter(|(name, _)| name.iter().all(u8::is_ascii_uppercase))
}

/// The words between the first quote and the last; behind may stand ` (check log for details)`.
fn quoted(line: &Line<'_>) -> Option<Headline> {
    let from = memchr::memchr(b'"', line.bytes)? + 1;
    let end = memrchr(b'"', line.bytes).filter(|end| *end > from)?;
    let text = Span { start: u32::try_from(from).ok()?, end: u32::try_from(end).ok()? };
    Some(Headline { line: line.number, line_start: line.start, text })
}

#[cfg(test)]
mod tests {
    use super::super::crash_bt::CrashBt;
    use super::*;
    use crate::parse::Format;

    const TEXT: &str = "     RELEASE: 4.18.0-305.el8.x86_64
       PANIC: \"Oops: 0002 [#1] SMP \" (check log for details)
         PID: 0
     COMMAND: \"swapper/1\"
         CPU: 1

crash> bt -a
PID: 0        TASK: ffffffff98a1a480  CPU: 0    COMMAND: \"swapper/0\"
 #0 [fffffe0000009e50] crash_nmi_callback at ffffffff96856a31
PID: 0        TASK: ffff9c4e8239a100  CPU: 1    COMMAND: \"swapper/1\"
 #0 [ffffb5e0c0d1fd90] machine_kexec at ffffffff9725271d
crash> set 7
         PID: 7
";

    #[test]
    fn the_task_that_panicked_is_told_from_the_others() {
        let text = TEXT.as_bytes();
        let capture = CrashBt.parse(text);
        assert_eq!(capture.kernel_version.as_deref(), Some("4.18.0-305.el8.x86_64"));
        let said: Vec<_> = capture.headlines.iter().map(|headline| lex::text(headline.text.of(text, headline.line_start))).collect();
        assert_eq!(said, ["Oops: 0002 [#1] SMP "]);
        let seen: Vec<_> = capture.stacks.iter().map(|stack| (stack.kind, stack.title.as_deref())).collect();
        assert_eq!(seen, [(StackKind::Thread, None), (StackKind::Crash, Some("Oops: 0002 [#1] SMP "))]);
    }

    #[test]
    fn what_stands_above_another_block_tells_of_its_stacks() {
        let (above, bt) = TEXT.split_at(TEXT.find("PID: 0     ").unwrap());
        let above = [above, "crash> log\n[    1.000000] f\ncrash> sys\n     RELEASE: 4.18.0-305.el8.x86_64\n\n"].concat();
        // `sys` does not say whose dump it is.
        for sys in ["", "     RELEASE: 4.18.0-305.el8.x86_64\n       PANIC: \"Oops: 0002\"\n\n"] {
            let text = [sys, bt].concat();
            let mut capture = CrashBt.parse(text.as_bytes());
            CrashBt.session(above.as_bytes(), text.as_bytes(), &mut capture);
            let seen: Vec<_> = capture.stacks.iter().map(|stack| (stack.kind, stack.title.as_deref())).collect();
            assert_eq!(seen, [(StackKind::Thread, None), (StackKind::Crash, Some("Oops: 0002 [#1] SMP "))]);
            assert_eq!(capture.kernel_version.as_deref(), Some("4.18.0-305.el8.x86_64"));
        }
        // What the stacks' own block says of its dump holds.
        let other = TEXT.replace("4.18", "5.14").replace("Oops", "other").replace("         CPU: 1", "         CPU: 0");
        let mut own = CrashBt.parse(other.as_bytes());
        CrashBt.session(above.as_bytes(), other.as_bytes(), &mut own);
        let titles: Vec<_> = own.stacks.iter().map(|stack| stack.title.as_deref()).collect();
        assert_eq!((titles, own.kernel_version.as_deref()), (vec![Some("other: 0002 [#1] SMP "), None], Some("5.14.0-305.el8.x86_64")));
    }

    #[test]
    fn other_lines_and_empty_messages_are_no_fields() {
        let line = |bytes| Line { number: 1, start: 0, bytes };
        let mut session = Session::default();
        for bytes in [&b"       PANIC"[..], b"PANIC: \"x\"", b"     /a/b.c: 12", b""] {
            assert!(!session.line(&line(bytes)), "{bytes:?}");
        }
        assert!(session.line(&line(b"       PANIC: \"\"")) && session.panic.is_none());
    }
}
