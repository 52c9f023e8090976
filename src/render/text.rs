//! The report again, byte for byte, with resolved frames rewritten in place.

use std::io::{self, Write};
use std::ops::Range;

use rayon::prelude::*;

use super::frames::{self, Idiom, Paint, Rewritten};
use super::{Output, Report, Style, sanitize};
use crate::model::addr::{Avma, Svma};
use crate::model::capture::Os;
use crate::model::frame::Answer;
use crate::model::stack::{RawFrame, Stack};
use crate::note::Note;
use crate::place::Image;

/// The output.
pub struct Text;

impl Output for Text {
    fn id(&self) -> &'static str {
        "text"
    }
    fn about(&self) -> &'static str {
        "the report with its frames rewritten in place"
    }
    fn write(&self, reports: &[Report<'_>], _: &[Note], style: Style, out: &mut dyn Write) -> io::Result<()> {
        reports.iter().try_for_each(|report| Writer { report, style, written: &written(report, style), out: &mut *out }.report())
    }
}

/// What each answer becomes: the same frames recur in thousands of stacks. A symbol that was looked up without an address gets
/// the one that it has where its image lies.
fn written(report: &Report<'_>, style: Style) -> Vec<Option<Rewritten>> {
    let resolved = report.resolved;
    let mut addresses = vec![None; resolved.answers.len()];
    for (stack, answers) in report.capture.stacks.iter().zip(&resolved.frames) {
        for (frame, at) in stack.frames.iter().zip(answers) {
            addresses[*at as usize] = frame.address;
        }
    }
    let idiom = idiom(report, style);
    let one = |(answer, address): (&Answer, Option<Avma>)| {
        let image = answer.image.map(|image| &report.layout.images[image]);
        let place = || image?.captured(Svma(answer.symbol.as_ref()?.start.0.wrapping_add(answer.offset?)));
        frames::rewrite(address.or_else(place), answer, image, idiom, Paint::new(style.colour))
    };
    resolved.answers.par_iter().zip(addresses).map(one).collect()
}

/// Without a wish, that of the report's system.
fn idiom(report: &Report<'_>, style: Style) -> Idiom {
    style.frames.unwrap_or(if is_linux(report) { Idiom::Linux } else { Idiom::Atos })
}

/// Whether the report is of Linux, or of no system and its symbols are.
fn is_linux(report: &Report<'_>) -> bool {
    let by_symbols = || report.layout.images.iter().any(Image::is_linux);
    report.capture.os.map_or_else(by_symbols, |os| os == Os::Linux)
}

/// Where a stack stands in `text`: from its heading to what belongs to its last frame. `None` without frames.
pub fn extent(text: &[u8], stack: &Stack) -> Option<Range<usize>> {
    let frames = || stack.frames.iter().chain(&stack.user_frames);
    let (first, last) = (frames().min_by_key(|frame| frame.line_start)?, frames().max_by_key(|frame| frame.line_start)?);
    let above = text.get(..first.line_start as usize)?;
    let heading = first.line.saturating_sub(stack.line) as usize;
    let start = memchr::memrchr_iter(b'\n', above).nth(heading).map_or(0, |at| at + 1);
    Some(start..(0..last.notes).fold(line_end(text, last.line_start as usize), |at, _| line_end(text, at)))
}

/// One past the line feed of the line that holds byte `at`.
fn line_end(text: &[u8], at: usize) -> usize {
    memchr::memchr(b'\n', &text[at..]).map_or(text.len(), |n| at + n + 1)
}

struct Writer<'a, 'o> {
    report: &'a Report<'a>,
    style: Style,
    written: &'a [Option<Rewritten>],
    out: &'o mut dyn Write,
}

impl Writer<'_, '_> {
    fn report(&mut self) -> io::Result<()> {
        let (stacks, resolved) = (&self.report.capture.stacks, self.report.resolved);
        let pairs = stacks.iter().zip(&resolved.frames).flat_map(|(stack, answers)| stack.frames.iter().zip(answers));
        let mut frames: Vec<(&RawFrame, usize)> = pairs.map(|(frame, at)| (frame, *at as usize)).collect();
        // Stacks of several CPUs are interleaved in the text.
        if !frames.is_sorted_by_key(|(frame, _)| frame.line_start) {
            frames.sort_by_key(|(frame, _)| frame.line_start);
        }
        let mut frames = frames.into_iter().peekable();
        for wanted in self.wanted() {
            let mut done = wanted.start;
            while let Some((frame, at)) = frames.next_if(|(frame, _)| (frame.line_start as usize) < wanted.end) {
                // Of two frames in one line only the first is written anew.
                if frame.line_start as usize >= done && super::frames::improves(frame, &resolved.answers[at]) {
                    done = self.frame(done, frame, at)?;
                }
            }
            self.copy(done, wanted.end.max(done))?;
        }
        Ok(())
    }

    /// The parts of the text that are written: all of it, or for an excerpt each stack from its heading to its last frame.
    fn wanted(&self) -> Vec<Range<usize>> {
        if !self.style.excerpt {
            return std::iter::once(0..self.report.text.len()).collect();
        }
        let mut parts: Vec<Range<usize>> = self.report.capture.stacks.iter().filter_map(|stack| extent(self.report.text, stack)).collect();
        parts.sort_unstable_by_key(|part| part.start);
        let mut merged: Vec<Range<usize>> = Vec::new();
        for part in parts {
            match merged.last_mut().filter(|last| last.end >= part.start) {
                Some(last) => last.end = last.end.max(part.end),
                None => merged.push(part),
            }
        }
        merged
    }

    /// Writes everything from `done` to the end of the frame's line and what belongs below it; gives back where the text goes on.
    fn frame(&mut self, done: usize, frame: &RawFrame, at: usize) -> io::Result<usize> {
        let Some(new) = &self.written[at] else { return Ok(done) };
        let line = frame.line_start as usize;
        let (from, to) = (line + frame.text.start as usize, line + frame.text.end as usize);
        let next = self.line_end(to);
        let in_place = is_linux(self.report) && self.style.frames.is_none();
        if new.line.is_empty() || in_place {
            // The kernel's own words stay; only what they do not say is added.
            self.copy(done, to)?;
            let bare = frame.symbol.is_empty() && !new.line.is_empty();
            let added = if bare { format!(" {}", new.line) } else { new.place.clone().unwrap_or_default() };
            self.say(&added)?;
        } else {
            self.copy(done, from)?;
            self.say(&new.line)?;
        }
        self.copy(to, next)?;
        // A log stays a log: what is added has the stamp of its frame.
        let prefix = if in_place { line..from } else { line..line + crate::parse::lex::indent(&self.report.text[line..next]) };
        self.below(prefix, line, next, new)?;
        Ok((0..frame.notes).fold(next, |at, _| self.line_end(at)))
    }

    /// Lines below a frame begin with `prefix` of it and have its line ending.
    fn below(&mut self, prefix: Range<usize>, line: usize, next: usize, new: &Rewritten) -> io::Result<()> {
        let text = self.report.text;
        let ended = text[line..next].ends_with(b"\n");
        let newline: &[u8] = if text[line..next].ends_with(b"\r\n") { b"\r\n" } else { b"\n" };
        for extra in &new.below {
            if !ended {
                self.out.write_all(newline)?;
            }
            self.copy(prefix.start, prefix.end)?;
            self.say(extra)?;
            if ended {
                self.out.write_all(newline)?;
            }
        }
        Ok(())
    }

    /// One past the line feed of the line that holds byte `at`.
    fn line_end(&self, at: usize) -> usize {
        line_end(self.report.text, at)
    }

    /// The report's own bytes.
    fn copy(&mut self, from: usize, to: usize) -> io::Result<()> {
        let bytes = &self.report.text[from..to];
        if self.style.terminal { self.out.write_all(&sanitize::visible(bytes)) } else { self.out.write_all(bytes) }
    }

    /// Text of ours, which holds names and paths of symbol files between colour sequences of ours.
    fn say(&mut self, text: &str) -> io::Result<()> {
        if !self.style.terminal {
            return self.out.write_all(text.as_bytes());
        }
        let mut rest = text;
        while let Some(at) = rest.find("\x1b[") {
            let end = rest[at..].find('m').map_or(rest.len(), |n| at + n + 1);
            self.out.write_all(&sanitize::visible(&rest.as_bytes()[..at]))?;
            let own = matches!(&rest[at..end], "\x1b[0m" | "\x1b[1m" | "\x1b[2m") && self.style.colour;
            let sequence = &rest.as_bytes()[at..end];
            if own {
                self.out.write_all(sequence)?
            } else {
                self.out.write_all(&sanitize::visible(sequence))?
            }
            rest = &rest[end..];
        }
        self.out.write_all(&sanitize::visible(rest.as_bytes()))
    }
}
