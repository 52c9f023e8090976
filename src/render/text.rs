//! The report again, byte for byte, with resolved frames rewritten in place.

use std::borrow::Cow;
use std::io::{self, Write};
use std::ops::Range;

use rayon::prelude::*;

use super::frames::{self, Paint, Rewritten};
use super::listing::{self, idiom, is_linux};
use super::{Output, Report, Style, code, sanitize};
use crate::model::addr::{Avma, Svma};
use crate::model::capture::Os;
use crate::model::frame::Answer;
use crate::model::stack::{RawFrame, Stack};
use crate::note::Note;
use crate::parse::lex;
use crate::parse::{linux_code, linux_prefix};

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
        reports.iter().try_for_each(|report| match report.capture.listed {
            true => listing::write(report, style, out),
            false => Writer { report, style, written: &written(report, style), out: &mut *out }.report(),
        })
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

/// `text` as it stands in a JSON string; our own colour sequences stay.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' && c != '\x1b' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
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

/// What is said below a line that is no frame.
struct Said<'a> {
    line_start: u64,
    text: Cow<'a, str>,
    /// Whether it is an instruction of a `Code:` line.
    listed: bool,
}

/// The remarks that are wanted and the instructions, in the order of their lines.
fn said<'a>(report: &Report<'a>, style: Style) -> Vec<Said<'a>> {
    let remarks = report.capture.remarks.iter().filter(|_| style.explain);
    let remarks = remarks.map(|remark| Said { line_start: remark.line_start, text: remark.text.as_str().into(), listed: false });
    let codes = report.capture.stacks.iter().flat_map(|stack| &stack.code);
    let lines = codes.flat_map(|code| code::lines(code).into_iter().map(|line| (code.line_start, line)));
    let mut all: Vec<Said<'_>> =
        remarks.chain(lines.map(|(line_start, line)| Said { line_start, text: line.into(), listed: true })).collect();
    all.sort_by_key(|said| said.line_start);
    all
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
        let place = |(frame, _): &(&RawFrame, usize)| (frame.line_start, frame.text.start);
        if !frames.is_sorted_by_key(place) {
            frames.sort_by_key(place);
        }
        let mut lines = frames.chunk_by(|a, b| a.0.line_start == b.0.line_start).peekable();
        let mut remarks = said(self.report, self.style).into_iter().peekable();
        for wanted in self.wanted() {
            let mut done = wanted.start;
            loop {
                let starts = [lines.peek().map(|line| line[0].0.line_start), remarks.peek().map(|said| said.line_start)];
                let Some(start) = starts.into_iter().flatten().min().filter(|start| (*start as usize) < wanted.end) else { break };
                let frames = lines.next_if(|line| line[0].0.line_start == start).unwrap_or_default();
                let said: Vec<Said<'_>> = std::iter::from_fn(|| remarks.next_if(|said| said.line_start == start)).collect();
                // An excerpt leaves out lines with remarks.
                if start as usize >= wanted.start || !frames.is_empty() {
                    done = self.line(done, start as usize, frames, &said)?;
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

    /// Writes everything from `done` to the end of the line that starts at `line` and has those frames in it, and what belongs below it;
    /// gives back where the text goes on.
    fn line(&mut self, mut done: usize, line: usize, frames: &[(&RawFrame, usize)], said: &[Said<'_>]) -> io::Result<usize> {
        let mut below: Vec<(&RawFrame, &Rewritten)> = Vec::new();
        let mut extra: Vec<String> = Vec::new();
        let json = linux_prefix::json_message(&self.report.text[line..]).is_some();
        for (frame, at) in frames {
            let Some(new) = &self.written[*at] else { continue };
            let from = line + frame.text.start as usize;
            // A line of notes below the frame before was replaced with it.
            if from < done || !super::frames::improves(frame, &self.report.resolved.answers[*at]) {
                continue;
            }
            if !frame.label.is_empty() {
                let text = frames::with_places(new, &self.report.resolved.answers[*at], Paint::of(self.style));
                match self.labelled(done, frame, text)? {
                    Ok(end) => done = end,
                    Err(text) => extra.push(text),
                }
                continue;
            }
            done = self.frame(done, frame, new, json)?;
            if json {
                done = self.within_json(done, new)?;
            } else {
                below.push((frame, new));
            }
        }
        // A JSON string has no room for remarks.
        if below.is_empty() && extra.is_empty() && (said.is_empty() || json) {
            return Ok(done);
        }
        let next = self.line_end(done.max(line));
        self.copy(done, next)?;
        let listing: Vec<&str> = said.iter().filter(|said| said.listed).map(|said| &*said.text).collect();
        if !listing.is_empty() {
            self.below(line..line + linux_prefix::message(&self.report.text[line..next]), line, next, &listing)?;
            return Ok(self.past_listing(next));
        }
        extra.extend(said.iter().filter(|said| !self.is_said(&said.text, next)).map(|said| format!("    {}", said.text)));
        let prefix = frames.first().map_or_else(|| self.margin(line, next), |(frame, _)| self.prefix(frame, next));
        for (_, new) in &below {
            self.below(prefix.clone(), line, next, &new.below)?;
        }
        self.below(prefix, line, next, &extra)?;
        let notes = below.iter().map(|(frame, _)| frame.notes).max().unwrap_or(0);
        Ok((0..notes).fold(next, |at, _| self.line_end(at)))
    }

    /// An address in a line of other words: the line stays, and what is found out goes below it, unless an earlier run has put it there.
    /// Gives back where the text goes on, or the line to be written below.
    fn labelled(&mut self, done: usize, frame: &RawFrame, text: String) -> io::Result<Result<usize, String>> {
        let (label, start) = (frame.label.of(self.report.text, frame.line_start), frame.line_start as usize);
        let from = start + frame.text.start as usize;
        if !self.report.text[start + frame.label.end as usize..].starts_with(b": ")
            || frame.text.start != frame.label.end + 2
            || frame.module.is_empty()
        {
            return Ok(Err(format!("    {}: {text}", String::from_utf8_lossy(label))));
        }
        self.copy(done, from)?;
        self.say(&text)?;
        Ok(Ok(start + frame.text.end as usize))
    }

    /// Whether an earlier run wrote the remark below its line.
    fn is_said(&self, remark: &str, next: usize) -> bool {
        const BELOW: usize = 24;
        let rest = self.report.text.get(next..).unwrap_or_default();
        lex::lines(rest).take(BELOW).any(|line| line.bytes[lex::margin(line.bytes)..].trim_ascii_end() == remark.as_bytes())
    }

    /// Behind the lines that an earlier run wrote below a `Code:` line.
    fn past_listing(&self, mut at: usize) -> usize {
        loop {
            let end = if at < self.report.text.len() { self.line_end(at) } else { return at };
            let line = &self.report.text[at..end];
            if !linux_code::is_listing(line[linux_prefix::message(line)..].trim_ascii()) {
                return at;
            }
            at = end;
        }
    }

    /// Whether what is found out is added to the kernel's own words.
    fn in_place(&self) -> bool {
        is_linux(self.report) && self.style.frames.is_none()
    }

    /// Writes everything from `done` to the end of the frame's text; gives back where that is.
    fn frame(&mut self, done: usize, frame: &RawFrame, new: &Rewritten, json: bool) -> io::Result<usize> {
        let said = |text| if json { escaped(text).into() } else { Cow::Borrowed(text) };
        let line = frame.line_start as usize;
        let (from, to) = (line + frame.text.start as usize, line + frame.text.end as usize);
        if new.line.is_empty() || self.in_place() {
            // The kernel's own words stay; only what they do not say is added.
            self.copy(done, to)?;
            let bare = frame.symbol.is_empty() && !new.line.is_empty();
            let added = if bare { format!(" {}", new.line) } else { new.place.clone().unwrap_or_default() };
            self.say(&said(&added))?;
        } else {
            self.copy(done, from)?;
            self.say(&said(&new.line))?;
        }
        Ok(to)
    }

    /// Below a frame in a JSON string further lines of that string follow.
    fn within_json(&mut self, done: usize, new: &Rewritten) -> io::Result<usize> {
        let end = done + linux_prefix::json_line_end(&self.report.text[done..]);
        self.copy(done, end)?;
        new.below.iter().try_for_each(|extra| self.say(&format!("\\n{}", escaped(extra))))?;
        Ok(end)
    }

    /// What lines below the first frame of a line begin with. A log stays a log: they have the stamp of their frame, but not what arm
    /// prints before it.
    fn prefix(&self, frame: &RawFrame, next: usize) -> Range<usize> {
        let line = frame.line_start as usize;
        let before = &self.report.text[line..line + frame.text.start as usize];
        if !self.in_place() {
            return self.margin(line, next);
        }
        // A line can hold other words before its frame: the other half of arm's, or whose the stacks of a table are.
        let linux = self.report.capture.os.is_none_or(|os| os == Os::Linux);
        let half = if before.ends_with(b" from ") || !linux { linux_prefix::message(before) } else { before.len() };
        line..line + half
    }

    /// The blanks, and in quoted mail the `>`, that a line begins with.
    fn margin(&self, line: usize, next: usize) -> Range<usize> {
        line..line + lex::margin(&self.report.text[line..next])
    }

    /// Lines below a frame begin with `prefix` of it and have its line ending.
    fn below(&mut self, prefix: Range<usize>, line: usize, next: usize, lines: &[impl AsRef<str>]) -> io::Result<()> {
        let text = self.report.text;
        let ended = text[line..next].ends_with(b"\n");
        let newline: &[u8] = if text[line..next].ends_with(b"\r\n") { b"\r\n" } else { b"\n" };
        for extra in lines {
            if !ended {
                self.out.write_all(newline)?;
            }
            self.copy(prefix.start, prefix.end)?;
            self.say(extra.as_ref())?;
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
        self.out.write_all(sanitize::painted(text, self.style).as_bytes())
    }
}
