//! Logs of a machine with two consoles on one line, or of one console that was recorded twice: every line stands there twice.
//!
//! ```text
//! [  349.170502] Call Trace:
//! [  349.170502] Call Trace:
//! [  349.170503] [c000000f1a1b2c40] [c00000000069e1a0] __handle_sysrq+0xd0/0x270
//! [  349.170503] [c000000f1a1b2c40] [c00000000069e1a0] __handle_sysrq+0xd0/0x270
//! ```
//! A function that calls itself gives equal lines, too. No kernel announces a stack twice at one time.

use super::lex::Line;
use super::linux_headings::{Heading, heading};
use super::linux_prefix::{self, Context};

/// So many lines in a row that stand there once end it; single ones are torn.
const MOST_ALONE: u8 = 3;

/// Tells second copies from lines.
#[derive(Default)]
pub(super) struct Doubled<'t> {
    latest: &'t [u8],
    /// Whether the latest line has its copy.
    paired: bool,
    /// Lines come in pairs.
    on: bool,
    alone: u8,
}

impl<'t> Doubled<'t> {
    /// Whether `line` only says again what the line before it said.
    pub fn is_copy(&mut self, line: &Line<'t>) -> bool {
        if self.paired || line.bytes != self.latest {
            self.alone = if self.paired { 0 } else { self.alone.saturating_add(1) };
            self.on &= self.alone < MOST_ALONE;
            (self.latest, self.paired) = (line.bytes, false);
            return false;
        }
        self.paired = true;
        self.on = stamped(line).is_some_and(|text| self.on || matches!(heading(text), Some(Heading::Trace | Heading::Report(_))));
        self.on
    }
}

/// What the first record of a line says, if it has a stamp.
fn stamped<'t>(line: &Line<'t>) -> Option<&'t [u8]> {
    let mut first = None;
    linux_prefix::records(line, |record| {
        first.get_or_insert(*record);
    });
    first.filter(|record| record.context != Context::Bare).map(|record| record.text.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::super::lex;
    use super::*;

    fn kept(text: &str) -> Vec<String> {
        let mut doubled = Doubled::default();
        lex::lines(text.as_bytes()).filter(|line| !doubled.is_copy(line)).map(|line| lex::text(line.bytes)).collect()
    }

    #[test]
    fn copies_are_told_from_functions_that_call_themselves() {
        let line = |text: &str| format!("[    1.000001] {text}\n");
        let twice = |text: &str| line(text).repeat(2);
        let log = [twice("Call Trace:"), twice("f+0x1/0x2"), twice("f+0x1/0x2"), line("torn"), twice("g+0x1/0x2")].concat();
        assert_eq!(kept(&log).len(), 5);
        // Once it is over, equal lines are frames.
        let over = [log, line("a"), line("b"), line("c"), twice("f+0x1/0x2")].concat();
        assert_eq!(kept(&over).len(), 10);
        let once = [line("Call Trace:"), twice("f+0x1/0x2")].concat();
        assert_eq!(kept(&once).len(), 3);
        for indent in ["", " ", "> "] {
            let bare = ["Call Trace:", " f+0x1/0x2"].map(|text| format!("{indent}{text}\n").repeat(2)).concat();
            assert_eq!(kept(&bare).len(), 4, "without a time nothing proves it");
        }
    }
}
