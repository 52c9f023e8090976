//! Texts that hold several kinds one after another: a bug report, FreeBSD's `core.txt`, a mail that quotes a trace.
//!
//! A format names the words with which a block of its own can be recognised in other text ([`Format::marks`]). One pass over the text finds
//! them all; a line with one of them begins a block where the format is certain of that line and the few below ([`Format::begins`]). Where
//! no such line is of another format than the one that detection found, the text is of one kind and read as a whole, as ever.
//!
//! Otherwise it is cut: each block is read by its own format up to where the next begins. What stands behind the last line that a reader
//! made something of is looked at again, since what follows a block need not be of its kind; and what nobody knows stays text, before the
//! block that follows it, where headings stand, or behind the last. Blocks cover the text without gaps, so that all of it comes out again.

use std::ops::Range;

use super::blocks_marks::{self as marks, Event};
use super::blocks_move::{Map, Mover};
use super::blocks_quote::{Bare, Quoted};
use super::{Confidence, Format, Holds, Part, detect, lex, surest};
use crate::model::capture::Capture;

/// A text with more blocks than this is not cut any further: the last is read to the end.
const MOST_BLOCKS: usize = 512;

/// Up to so many unknown lines before a block are its own heading.
const HEADING_LINES: usize = 16;

/// What stands in one place of a text with several kinds.
#[derive(Debug)]
pub struct Block {
    /// What it holds.
    pub holds: Holds,
    /// Line of the text, from 1, from which its reader counted.
    pub line: u32,
    /// What its reader made of it, with its text. Lines are those of the whole text.
    pub parts: Vec<Part>,
}

/// The blocks of `text`, in their order, when it holds several kinds or quotes one; `whole` is what detection found.
pub fn of(text: &[u8], whole: Option<&'static dyn Format>) -> Option<Vec<Block>> {
    if whole.is_some_and(Format::is_document) {
        return None;
    }
    let events = marks::events(text, whole)?;
    let mut cutter = Cutter { text, cuts: Vec::new(), free: 0 };
    cutter.all(&events);
    let of_whole = |cut: &Cut| whole.is_some_and(|whole| whole.id() == cut.format.id()) && !cut.map.is_quoted();
    if cutter.cuts.iter().all(of_whole) {
        return None;
    }
    share(&mut cutter.cuts);
    Some(finish(text, cutter.cuts))
}

/// A block, read; its captures are still in the places of what the reader was given.
struct Cut {
    format: &'static dyn Format,
    /// Where its text begins.
    start: usize,
    /// Where what the reader was given stands in the text.
    map: Map,
    /// Up to where a reader that unpacked its text was given it.
    unpacked: Option<usize>,
    parts: Vec<Part>,
}

struct Cutter<'t> {
    text: &'t [u8],
    cuts: Vec<Cut>,
    /// Up to where the text belongs to the cuts.
    free: usize,
}

impl Cutter<'_> {
    fn all(&mut self, events: &[Event]) {
        let events = &events[..events.len().min(MOST_BLOCKS)];
        self.unmarked(events.first().map_or(self.text.len(), Event::at), !events.is_empty());
        for (n, event) in events.iter().enumerate() {
            let next = events.get(n + 1).map_or(self.text.len(), Event::at);
            match event {
                Event::Begins(at, format) => self.block(*at, next, *format),
                Event::Quotes(quoted) => self.quoted(quoted),
            }
            self.unmarked(next, n + 1 < events.len());
        }
    }

    /// Reads from `at` to the last line before `end` of which `format` makes something.
    fn block(&mut self, at: usize, end: usize, format: &'static dyn Format) {
        let reach = format.reach(&self.text[at..end]);
        // What stands before a stack can say whose it is; before a table it is only in its way.
        let read = if reach.is_some() || format.holds() == Holds::LoadMap { at } else { self.free };
        let end = reach.map_or(end, |reach| at + reach);
        let given = &self.text[read..end];
        let mut parts = format.parts(given);
        parts.iter_mut().for_each(|part| format.session(&self.text[..read], given, &mut part.capture));
        let packed = parts.iter().any(|part| part.text.is_some());
        let claimed = if packed { given.len() } else { parts.iter().map(|part| claimed(&part.capture, given)).max().unwrap_or(0) };
        if claimed == 0 {
            return;
        }
        let mut to = read + paragraph(given, claimed);
        // The rest may be of the same kind: a log goes on behind its stacks.
        let rest = surest(&self.text[to..end]);
        if rest.is_some_and(|(sure, found)| sure > Confidence::Fallback && found.id() == format.id()) {
            to = if end < self.text.len() { to + own(&self.text[to..end], format) } else { end };
        }
        self.cuts.push(Cut { format, start: self.free, map: Map::plain(read), unpacked: packed.then_some(end), parts });
        self.free = to;
    }

    /// What no mark told of, up to `end`: of the kind that it is as a text of its own. `followed` says whether another block begins there.
    fn unmarked(&mut self, end: usize, followed: bool) {
        let rest = self.text.get(self.free..end).unwrap_or_default();
        let Some((sure, format)) = surest(rest).filter(|(sure, _)| *sure > Confidence::Fallback) else { return };
        let short = || memchr::memchr_iter(b'\n', rest).nth(HEADING_LINES).is_none();
        let heading = followed && sure < Confidence::Certain && short();
        if !heading && !format.is_document() {
            self.block(self.free, end, format);
        }
    }

    /// Reads what is quoted as a text of its own.
    fn quoted(&mut self, quoted: &Quoted) {
        let bare = Bare::of(self.text, quoted);
        let mut inner = Cutter { text: &bare.text, cuts: Vec::new(), free: 0 };
        // What is quoted within is read as it stands.
        let mut events = marks::events(&bare.text, detect(&bare.text)).unwrap_or_default();
        events.retain(|event| matches!(event, Event::Begins(..)));
        inner.all(&events);
        // What is packed within a quotation has no place in the whole text.
        for cut in inner.cuts.into_iter().filter(|cut| cut.unpacked.is_none()) {
            let start = if cut.start == 0 { self.free } else { bare.line_start(cut.start) };
            self.cuts.push(Cut { start, map: bare.map(cut.map), ..cut });
            self.free = quoted.range.end;
        }
    }
}

/// One past the last line of `text` that its reader made something of.
fn claimed(capture: &Capture, text: &[u8]) -> usize {
    let frames = capture.stacks.iter().flat_map(|stack| stack.frames.iter().chain(&stack.user_frames));
    let last = frames.map(|frame| (frame.line_start + u64::from(frame.text.end), frame.notes)).max().unwrap_or_default();
    let codes = capture.stacks.iter().flat_map(|stack| &stack.code).map(|code| code.line_start);
    let said = capture.headlines.iter().map(|headline| headline.line_start);
    let said = said.chain(capture.remarks.iter().map(|remark| remark.line_start)).chain(codes).max();
    let line_end = |at: usize| memchr::memchr(b'\n', text.get(at..).unwrap_or_default()).map_or(text.len(), |n| at + n + 1);
    let by_frames = if last.0 == 0 { 0 } else { (0..=last.1).fold(last.0 as usize, |at, _| line_end(at)) };
    let lines = capture.stacks.iter().map(|stack| stack.line).chain(capture.images.iter().map(|image| image.line));
    let lines = lines.chain(capture.zones.iter().map(|zone| zone.line)).chain(capture.tasks_with_locks.iter().map(|task| task.line));
    let by_lines = nth_line_end(text, lines.max().unwrap_or(0));
    by_frames.max(said.map_or(0, |at| line_end(at as usize))).max(by_lines).min(text.len())
}

/// One past the end of that line, counted from 1.
fn nth_line_end(text: &[u8], line: u32) -> usize {
    match line.checked_sub(1) {
        Some(before) => memchr::memchr_iter(b'\n', text).nth(before as usize).map_or(text.len(), |at| at + 1),
        None => 0,
    }
}

/// How much of `rest`, which is of that format, goes before the heading of the block that follows: up to the last line of which the format
/// is sure, were it there twice; a stamp alone proves nothing.
fn own(rest: &[u8], format: &dyn Format) -> usize {
    let ends: Vec<usize> = memchr::memrchr_iter(b'\n', rest).map(|at| at + 1).take(HEADING_LINES + 1).collect();
    let line = |n: usize| &rest[ends.get(n + 1).copied().unwrap_or(0)..ends[n]];
    (0..ends.len()).find(|n| format.sniff(&line(*n).repeat(2)) > Confidence::Fallback).map_or(0, |n| ends[n])
}

/// Where the paragraph ends that goes on at `from`; `from` itself where no blank line follows.
fn paragraph(text: &[u8], from: usize) -> usize {
    let is_end = |line: &lex::Line<'_>| line.bytes.trim_ascii().is_empty() || line.bytes.starts_with(b"```");
    let end = lex::lines(&text[from..]).find(is_end);
    end.map_or(from, |line| (from + line.start as usize + line.bytes.len() + 1).min(text.len()))
}

/// What blocks of one kind say about the machine holds for all of them, as long as they agree, and for those that name no system where
/// the text is of one.
fn share(cuts: &mut [Cut]) {
    fn only<T: PartialEq>(cuts: &[Cut], of: impl Fn(&Cut, &Capture) -> Option<T>) -> Option<T> {
        let mut told = cuts.iter().flat_map(|cut| cut.parts.iter().filter_map(|part| of(cut, &part.capture)));
        let first = told.next()?;
        told.all(|other| other == first).then_some(first)
    }
    let system = only(cuts, |_, capture| capture.os);
    for at in 0..cuts.len() {
        let id = cuts[at].format.id();
        let nameless = system.is_some() && cuts[at].parts.iter().all(|part| part.capture.os.is_none());
        let alike = |cut: &Cut| nameless || cut.format.id() == id;
        let version = only(cuts, |cut, capture| capture.kernel_version.clone().filter(|_| alike(cut)));
        let slide = only(cuts, |cut, capture| capture.slide.filter(|_| alike(cut)));
        let arch = only(cuts, |cut, capture| capture.arch.filter(|_| alike(cut)));
        for Part { capture, .. } in &mut cuts[at].parts {
            capture.kernel_version = capture.kernel_version.take().or(version.clone());
            (capture.slide, capture.arch) = (capture.slide.or(slide), capture.arch.or(arch));
            capture.os = capture.os.or(system.filter(|_| nameless));
        }
    }
}

/// Gives every block its text, and its captures the lines of the whole.
fn finish(text: &[u8], cuts: Vec<Cut>) -> Vec<Block> {
    let starts: Vec<usize> = cuts.iter().skip(1).map(|cut| cut.start).chain([text.len()]).collect();
    let mut counter = Counter { text, at: 0, lines: 0 };
    let mut start = 0;
    let mut blocks = Vec::with_capacity(cuts.len());
    for (cut, end) in cuts.into_iter().zip(starts) {
        let lines = counter.before(cut.map.first());
        let mover = Mover { map: &cut.map, start, lines };
        let range = start..end;
        let mut parts = placed(text, range, cut.parts, &mover);
        // Around what was unpacked there may be more that nobody knows.
        if let Some(to) = cut.unpacked {
            let plain = |range: Range<usize>| {
                let capture = Capture { format: "unknown", ..Capture::default() };
                Some(Part { source: None, text: Some(text[range].to_vec()), capture }).filter(|part| part.text != Some(Vec::new()))
            };
            parts = plain(start..cut.map.first()).into_iter().chain(parts).chain(plain(to..end)).collect();
        }
        blocks.push(Block { holds: cut.format.holds(), line: lines + 1, parts });
        start = end;
    }
    blocks
}

/// The parts of a block with its text; a reader that unpacks has made texts of its own.
fn placed(text: &[u8], range: Range<usize>, mut parts: Vec<Part>, mover: &Mover<'_>) -> Vec<Part> {
    let packed = parts.iter().any(|part| part.text.is_some());
    for part in &mut parts {
        if packed {
            mover.count(&mut part.capture);
        } else {
            mover.place(&mut part.capture);
            part.text = Some(text[range.clone()].to_vec());
        }
    }
    parts
}

/// How many lines stand before places that are asked for in their order.
struct Counter<'t> {
    text: &'t [u8],
    at: usize,
    lines: u32,
}

impl Counter<'_> {
    fn before(&mut self, at: usize) -> u32 {
        let more = memchr::memchr_iter(b'\n', self.text.get(self.at..at).unwrap_or_default()).count();
        self.at = self.at.max(at);
        self.lines = self.lines.saturating_add(more as u32);
        self.lines
    }
}
