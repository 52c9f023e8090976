//! The text of a report that is not for people to read, JSON or kcdata: its stacks, one after the other as `symbolicate` writes them, and
//! the line of each frame in that text.

use super::embed::LIMIT;
use crate::render::{Style, listing};
use crate::report::Report;

/// The stacks of a report as text.
#[derive(Default)]
pub struct Listed {
    /// The text.
    pub text: Vec<u8>,
    /// The line of each stack, from 1, and of its frames. Stacks that did not fit have none.
    pub stacks: Vec<(u32, Vec<u32>)>,
    /// Lines in the text.
    pub lines: u32,
    /// Why this text stands there.
    pub why: String,
}

impl Listed {
    /// As many stacks of `report` as fit into `room` bytes.
    pub fn of(report: &Report<'_>, room: usize) -> Listed {
        let all = report.capture.stacks.len();
        let mut listed = Listed::default();
        while listed.stacks.len() < all && listed.text.len() < room {
            listed.stack(report);
        }
        let (format, shown) = (report.capture.format, listed.stacks.len());
        let left_out =
            if shown < all { format!(" Of {all} this page holds {shown}: its limit is {LIMIT} bytes of text.") } else { String::new() };
        listed.why = format!("The file ({format}) is not for people to read; these are the stacks in it.{left_out}");
        listed
    }

    fn stack(&mut self, report: &Report<'_>) {
        let at = self.stacks.len();
        let mut frames = vec![0; report.capture.stacks[at].frames.len()];
        let heading = self.lines + 1;
        let Ok(()) = listing::lines(report, at, Style::default(), |frame, line| {
            self.line(line);
            if let Some(first) = frame.map(|n| &mut frames[n]).filter(|line| **line == 0) {
                *first = self.lines;
            }
            Ok::<(), std::convert::Infallible>(())
        });
        // What only ends a stack has no line of its own.
        frames.iter_mut().filter(|line| **line == 0).for_each(|line| *line = self.lines);
        self.line("");
        self.stacks.push((heading, frames));
    }

    fn line(&mut self, line: &str) {
        self.text.extend_from_slice(line.as_bytes());
        self.text.push(b'\n');
        self.lines += 1;
    }
}
