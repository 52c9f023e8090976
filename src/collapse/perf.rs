//! Output of `perf script`: the samples of its first event, weighed by their periods, with the command as root.

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;
use rustc_hash::FxHashMap;

use super::{Counts, Known, add, merged, pieces, tidy};
use crate::parse::perf_line::{self, Frame};

pub fn collapse(text: &[u8], known: Option<&Known>) -> Counts {
    let wanted = first_event(text);
    if known.is_some() {
        return merged(vec![Folder::new(wanted.as_deref(), known).piece(text)]);
    }
    // Large pieces: what one learns about callers is of no use to another.
    let parts = pieces(text, rayon::current_num_threads(), |line| line.trim_ascii().is_empty());
    merged(parts.into_par_iter().map(|part| Folder::new(wanted.as_deref(), None).piece(part)).collect())
}

/// The event of the first sample that names one: counts of different events do not add up.
pub fn first_event(text: &[u8]) -> Option<String> {
    let mut inside = false;
    for line in crate::parse::lex::lines(text).filter(|line| !line.bytes.starts_with(b"#")) {
        let line = String::from_utf8_lossy(line.bytes);
        let line = line.trim_end();
        if line.is_empty() {
            inside = false;
        } else if !inside && let Some(sample) = perf_line::heading(line) {
            if let Some(event) = sample.event {
                return Some(event.to_string());
            }
            inside = true;
        }
    }
    None
}

/// Folds one piece of the text. Between two samples it holds nothing but counts.
struct Folder<'t, 'k> {
    wanted: Option<&'k str>,
    known: Option<&'k Known>,
    counts: FxHashMap<String, u64>,
    /// The lines below belong to a sample.
    inside: bool,
    /// The sample is of another event, or filtered out.
    skipped: bool,
    command: String,
    period: Option<u64>,
    /// Innermost first.
    stack: Vec<Cow<'t, str>>,
    line: String,
    /// The frames below the innermost one, as they stand in the text and as they are written: callers recur with another instruction
    /// of the innermost function each time.
    tails: FxHashMap<&'t [u8], String>,
    /// Where the callers of this sample stand, if they are new.
    tail: Option<Range<usize>>,
}

/// Callers that are remembered, at most.
const MOST_TAILS: usize = 1 << 16;
/// Longest text of one sample that is looked through for its end, in bytes.
const LONGEST_TAIL: usize = 1 << 16;

impl<'t, 'k: 't> Folder<'t, 'k> {
    fn new(wanted: Option<&'k str>, known: Option<&'k Known>) -> Folder<'t, 'k> {
        Folder {
            wanted,
            known,
            counts: FxHashMap::default(),
            inside: false,
            skipped: false,
            command: String::new(),
            period: None,
            stack: Vec::new(),
            line: String::new(),
            tails: FxHashMap::default(),
            tail: None,
        }
    }

    fn piece(mut self, text: &'t [u8]) -> FxHashMap<String, u64> {
        let mut number = 0u32;
        if let (Ok(text), None) = (std::str::from_utf8(text), self.known) {
            self.text(text);
            self.end();
            return self.counts;
        }
        // Checking a whole piece at once is much cheaper than each line.
        match std::str::from_utf8(text) {
            Ok(text) => each_line(text.as_bytes(), |at, end| {
                number = number.saturating_add(1);
                self.line(number, &text[at..end]);
            }),
            Err(_) => each_line(text, |at, end| {
                number = number.saturating_add(1);
                match String::from_utf8_lossy(&text[at..end]) {
                    Cow::Borrowed(line) => self.line(number, line),
                    Cow::Owned(line) => self.owned_line(number, &line),
                }
            }),
        }
        self.end();
        self.counts
    }

    /// Reads a whole piece of text, callers that are known at once.
    fn text(&mut self, text: &'t str) {
        let (bytes, mut at, mut try_tails) = (text.as_bytes(), 0, true);
        while at < bytes.len() {
            let callers = try_tails && self.inside && self.stack.len() == 1 && self.tail.is_none() && bytes[at] != b'\n';
            if callers && !self.command.starts_with("java") {
                let window = &bytes[at..bytes.len().min(at + LONGEST_TAIL)];
                let Some(length) = memchr::memmem::find(window, b"\n\n") else {
                    try_tails = false;
                    continue;
                };
                if self.known_tail(&bytes[at..at + length]) {
                    at += length + 2;
                    continue;
                }
                self.tail = Some(at..at + length);
            }
            let end = memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |n| at + n);
            // Only what ends there was all of the sample.
            if let Some(tail) = self.tail.take_if(|tail| end == at && tail.end + 1 == at) {
                self.learn(&bytes[tail]);
            }
            self.line(0, &text[at..end]);
            at = end + 1;
        }
    }

    /// Ends the sample whose callers stand in `tail`, if they are known.
    fn known_tail(&mut self, tail: &'t [u8]) -> bool {
        let (Some(written), [leaf]) = (self.tails.get(tail), &self.stack[..]) else { return false };
        self.line.clear();
        [&self.command, ";", written, ";", leaf].iter().for_each(|part| self.line.push_str(part));
        add(&mut self.counts, &self.line, self.period.unwrap_or(1));
        self.reset();
        true
    }

    fn learn(&mut self, tail: &'t [u8]) {
        if self.stack.len() > 1 && self.tails.len() < MOST_TAILS {
            let frames: Vec<&str> = self.stack[1..].iter().rev().map(|name| &**name).collect();
            self.tails.insert(tail, frames.join(";"));
        }
    }

    /// A line that does not live as long as the text.
    fn owned_line(&mut self, number: u32, line: &str) {
        let mut one = Folder { stack: Vec::new(), counts: FxHashMap::default(), ..Folder::new(self.wanted, self.known) };
        (one.inside, one.skipped, one.period) = (self.inside, self.skipped, self.period);
        std::mem::swap(&mut one.command, &mut self.command);
        one.line(number, line);
        self.stack.extend(one.stack.drain(..).map(|name| Cow::Owned(name.into_owned())));
        (self.inside, self.skipped, self.period) = (one.inside, one.skipped, one.period);
        one.counts.iter().for_each(|(stack, count)| add(&mut self.counts, stack, *count));
        std::mem::swap(&mut one.command, &mut self.command);
    }

    fn line(&mut self, number: u32, line: &'t str) {
        if line.starts_with('#') {
            return;
        }
        let line = line.trim_end();
        if line.is_empty() {
            self.end();
        } else if self.inside {
            self.frame(number, line);
        } else {
            self.heading(number, line);
        }
    }

    fn heading(&mut self, number: u32, line: &'t str) {
        let Some(sample) = perf_line::heading(line) else { return };
        self.inside = true;
        if sample.event.is_some() {
            self.period = sample.period;
        }
        let other = matches!((sample.event, self.wanted), (Some(event), Some(wanted)) if event != wanted);
        if other || self.known.is_some_and(|known| !known.stacks.contains(&number)) {
            self.skipped = true;
            return;
        }
        self.command.clear();
        self.command.extend(sample.command.chars().map(|c| if c == ' ' { '_' } else { c }));
        if let Some(frame) = sample.frame {
            self.frame(number, frame);
            self.inside = false;
            if !self.stack.is_empty() {
                self.end();
            }
        }
    }

    fn frame(&mut self, number: u32, line: &'t str) {
        let Some(frame) = perf_line::frame(line).filter(|_| !self.skipped) else { return };
        let name = frame.function();
        // perf writes the name of a process in this place, too.
        if name.starts_with('(') {
            return;
        }
        if let Some(names) = self.known.and_then(|known| known.names(number)) {
            return self.stack.extend(names.iter().rev().map(|name| Cow::Borrowed(name.as_str())));
        }
        match tidy::rust(name) {
            Cow::Borrowed(name) if !has_arrow(name) => {
                let name = self.tidy(&frame, name);
                self.stack.push(name);
            }
            name => {
                let tidied = |(n, part): (usize, &str)| {
                    let part = self.tidy(&frame, part);
                    Cow::Owned(if n > 0 && !part.contains("_[i]") { format!("{part}_[i]") } else { part.into_owned() })
                };
                let parts: Vec<Cow<'t, str>> = name.split("->").enumerate().map(tidied).collect();
                self.stack.extend(parts.into_iter().rev());
            }
        }
    }

    fn tidy<'n>(&self, frame: &Frame<'_>, name: &'n str) -> Cow<'n, str> {
        let name = match (name, frame.module) {
            ("[unknown]", "[unknown]") => Cow::Borrowed(name),
            ("[unknown]", module) => {
                let file = &module[module.rfind('/').map_or(0, |at| at + 1)..];
                return Cow::Owned(self.java(&tidy::generic(&format!("[{file}]"))).to_string());
            }
            _ => tidy::generic(name),
        };
        match name {
            Cow::Borrowed(name) => Cow::Borrowed(self.java(name)),
            Cow::Owned(name) => Cow::Owned(self.java(&name).to_string()),
        }
    }

    fn java<'n>(&self, name: &'n str) -> &'n str {
        if self.command.starts_with("java") { tidy::java(name) } else { name }
    }

    fn end(&mut self) {
        if !self.stack.is_empty() {
            self.line.clear();
            self.line.push_str(&self.command);
            for name in self.stack.iter().rev() {
                self.line.push(';');
                self.line.push_str(name);
            }
            add(&mut self.counts, &self.line, self.period.unwrap_or(1));
        }
        self.reset();
    }

    fn reset(&mut self) {
        self.stack.clear();
        (self.inside, self.skipped, self.period, self.tail) = (false, false, None, None);
    }
}

/// Whether `->` parts a name, as Java's inlined calls are.
fn has_arrow(name: &str) -> bool {
    memchr::memchr_iter(b'>', name.as_bytes()).any(|at| name[..at].ends_with('-'))
}

/// Tells `one` where each line lies, without its line feed.
fn each_line(text: &[u8], mut one: impl FnMut(usize, usize)) {
    let mut at = 0;
    for end in memchr::memchr_iter(b'\n', text) {
        one(at, end);
        at = end + 1;
    }
    if at < text.len() {
        one(at, text.len());
    }
}
