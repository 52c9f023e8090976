//! What illumos says when it panics: whose stack follows, and why.
//!
//! ```text
//! panic[cpu3]/thread=fffffe000f4a3c20: BAD TRAP: type=e (#pf Page fault) rp=1 addr=18       console
//! panic[cpu3]/thread=fffffe000f4a3c20:                                                      and the message in the next line
//! unix: [ID 836849 kern.notice] #012#015panic[cpu5]/thread=fffffe59432a5060:                rsyslog, with control characters in octal
//! panic message: BAD TRAP: type=d (#gp General protection) rp=1 addr=0                      mdb's ::status; no stack follows
//! ```
//! Sources: `panicsys` in usr/src/uts/common/os/panic.c, `status` in usr/src/cmd/mdb/common/mdb/mdb_cmds.c (illumos-gate).

use memchr::memmem;

use super::lex::{self, Line};
use crate::model::capture::Headline;
use crate::model::stack::{Span, Stack, StackKind};

/// `panic[cpu3]/thread=fffffe000f4a3c20: MESSAGE`: whose the stack is, and where in `text` the message begins.
pub(super) fn panic(text: &[u8]) -> Option<(Stack, usize)> {
    const BEGIN: &[u8] = b"panic[cpu";
    // Syslog keeps the line feed and carriage return in front, as `^M` or in octal.
    let at = memmem::find(text, BEGIN)?;
    let before = text[..at].trim_ascii();
    if !(before.is_empty() || before.ends_with(b"^M") || before.ends_with(b"#015")) {
        return None;
    }
    let rest = &text[at + BEGIN.len()..];
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let thread = rest[digits..].strip_prefix(b"]/thread=")?;
    let end = thread.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(thread.len());
    lex::bare_hex(&thread[..end])?;
    let stack = Stack {
        kind: StackKind::Crash,
        cpu: lex::decimal(&rest[..digits]).and_then(|cpu| u32::try_from(cpu).ok()),
        tid: Some(lex::text(&thread[..end])),
        count: 1,
        ..Stack::default()
    };
    let behind = thread[end..].strip_prefix(b":").unwrap_or(&thread[end..]);
    Some((stack, text.len() - behind.trim_ascii_start().len()))
}

/// What stands between the message of a trap and its stack says whose it was: `zpool-data: `, and later `pid=1234, pc=0x…, sp=0x…`.
pub(super) fn trapped(stack: &mut Stack, text: &[u8]) {
    let trap = stack.title.as_deref().is_some_and(|title| title.starts_with("BAD TRAP: "));
    if let Some(rest) = text.strip_prefix(b"pid=").filter(|_| trap && stack.pid.is_none()) {
        let pid = rest.split(|b| *b == b',').next().and_then(lex::decimal);
        stack.pid = pid.and_then(|pid| i64::try_from(pid).ok());
    } else if let Some(name) = text.strip_suffix(b":").filter(|_| trap && stack.process.is_none()) {
        stack.process = Some(lex::text(name)).filter(|name| !name.is_empty() && !name.contains(':'));
    }
}

/// `panic message: MESSAGE`: where the message begins.
fn status(text: &[u8]) -> Option<usize> {
    let rest = text.trim_ascii_start().strip_prefix(b"panic message:")?;
    Some(text.len() - rest.trim_ascii_start().len())
}

/// Collects the messages of panics, which can stand in the line below the one that announces them.
#[derive(Default)]
pub(super) struct Messages {
    /// All of them, in their order.
    pub(super) headlines: Vec<Headline>,
    /// Whether the next line that is no frame has the message.
    due: bool,
    /// What to take where it does not come.
    instead: Option<Headline>,
}

impl Messages {
    /// Takes the line of a panic whose message begins at byte `at`.
    pub(super) fn panic(&mut self, line: &Line<'_>, at: usize) -> Option<String> {
        self.missed();
        self.instead = Some(Headline { line: line.number, line_start: line.start, text: Span { start: 0, end: line.bytes.len() as u32 } });
        self.due = true;
        self.message(line, at)
    }

    /// Takes a line of `::status`, if it is the one with the message; `text` is the line from byte `at` on.
    pub(super) fn status(&mut self, line: &Line<'_>, at: usize) -> bool {
        let Some(from) = status(&line.bytes[at..]) else { return false };
        self.missed();
        self.due = true;
        self.message(line, at + from);
        true
    }

    /// Takes the line behind, from byte `at` on, if a message is due and this is it.
    pub(super) fn message(&mut self, line: &Line<'_>, at: usize) -> Option<String> {
        let text = &line.bytes[at..];
        let said = text.trim_ascii();
        if !self.due || said.is_empty() {
            return None;
        }
        let start = (at + lex::indent(text)) as u32;
        let text = Span { start, end: start + said.len() as u32 };
        self.headlines.push(Headline { line: line.number, line_start: line.start, text });
        (self.due, self.instead) = (false, None);
        Some(lex::text(said))
    }

    /// A frame came before the message: it is not there.
    pub(super) fn missed(&mut self) {
        self.headlines.extend(self.instead.take());
        self.due = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_announcement() {
        let read = |text: &str| panic(text.as_bytes()).map(|(stack, at)| (stack.cpu, stack.tid, text[at..].to_string()));
        let is = |message: &str| Some((Some(3), Some("fffffe000f4a3c20".to_string()), message.to_string()));
        assert_eq!(read("panic[cpu3]/thread=fffffe000f4a3c20: BAD TRAP: type=e"), is("BAD TRAP: type=e"));
        assert_eq!(read("^Mpanic[cpu3]/thread=fffffe000f4a3c20: "), is(""));
        assert_eq!(read("#012#015panic[cpu3]/thread=fffffe000f4a3c20: "), is(""));
        assert_eq!(read("Nov 21 10:04:17 host ^Mpanic[cpu3]/thread=fffffe000f4a3c20:"), is(""));
        assert_eq!(read("see panic[cpu3]/thread=fffffe000f4a3c20: x"), None);
        assert_eq!(read("panic[cpu3]/thread=?: x"), None);
    }

    #[test]
    fn messages_are_found_where_they_stand_and_not_made_up() {
        let said = |text: &str| {
            let mut messages = Messages::default();
            for line in lex::lines(text.as_bytes()) {
                match panic(line.bytes) {
                    Some((_, at)) => drop(messages.panic(&line, at)),
                    None if messages.status(&line, 0) => {}
                    None if line.bytes.starts_with(b"ffff") => messages.missed(),
                    None => drop(messages.message(&line, 0)),
                }
            }
            let text = text.as_bytes();
            messages.headlines.iter().map(|headline| lex::text(headline.text.of(text, headline.line_start))).collect::<Vec<_>>()
        };
        assert_eq!(said("panic[cpu0]/thread=1: \n\n  assertion failed: x\nother\n"), ["assertion failed: x"]);
        assert_eq!(said("panic[cpu0]/thread=1: deadman: x\nother\n"), ["deadman: x"]);
        assert_eq!(said("panic[cpu0]/thread=1: \nffff unix:die+df ()\nother\n"), ["panic[cpu0]/thread=1: "]);
        assert_eq!(said("panic message:\nBAD TRAP: type=e\ndump content: kernel\n"), ["BAD TRAP: type=e"]);
        assert_eq!(said("panic message: \nffff f+0x1()\nother\n"), [""; 0]);
    }
}
