//! The reports' own text, packed: gzip of the bytes, of the lines that belong to stacks, and of what is known about their frames.
//!
//! A page holds up to [`LIMIT`] bytes of text. Of a report that does not fit it holds the lines of the stacks, as far as those fit.

use std::io::{self, Write};
use std::ops::Range;

use flate2::Compression;
use flate2::write::GzEncoder;
use rustc_hash::FxHashMap;
use serde::Serialize;

use super::listed::Listed;
use crate::group::{Groups, StackRef};
use crate::model::stack::Stack;
use crate::render::code;
use crate::render::groups::frame;
use crate::render::sanitize::visible_line;
use crate::render::text::extent;
use crate::render::{Style, frames};

/// Bytes of text in one page, before packing.
pub const LIMIT: usize = 64 << 20;

/// What stands for no group in [`Embedded::lines`].
pub const NO_GROUP: u32 = u32::MAX;

/// One report's text in a page.
pub struct Embedded {
    /// The bytes.
    pub text: Vec<u8>,
    /// Numbers of 32 bits, little endian, three for each line of a stack, by line: the line from 1, the number of its group from 0, and
    /// the number of its note from 1, or 0.
    pub lines: Vec<u8>,
    /// JSON: `runs`, the number of the first line and how many follow, for each piece of the text; `notes`, what symbol files say.
    pub notes: Vec<u8>,
    /// Why the text is not whole, or not the file's.
    pub cut: Option<String>,
    /// Where stacks stand in the text, if it is not the report's own.
    listed: Option<Listed>,
}

impl Embedded {
    /// The line of a stack in the text; 0 if it is not there.
    pub fn line(&self, at: usize, stack: &Stack) -> u32 {
        self.listed.as_ref().map_or(stack.line, |listed| listed.stacks.get(at).map_or(0, |(line, _)| *line))
    }

    /// The line of frame `n` of stack `at` in the text; 0 if it is not there.
    pub fn frame_line(&self, at: usize, n: usize, stack: &Stack) -> u32 {
        self.listed.as_ref().map_or(stack.frames[n].line, |listed| listed.stacks.get(at).map_or(0, |(_, frames)| frames[n]))
    }

    /// Whether the text is the report's own.
    pub fn is_own(&self) -> bool {
        self.listed.is_none()
    }
}

/// A piece of a report: its bytes, and the number of its first line, from 1.
type Piece = (Range<usize>, u64);

/// The texts of all reports.
///
/// # Errors
/// Never in practice: packing happens in memory.
pub fn all(groups: &Groups<'_, '_>) -> io::Result<Vec<Embedded>> {
    let mut room = LIMIT;
    (0..groups.reports.len()).map(|report| one(groups, report, &mut room)).collect()
}

fn one(groups: &Groups<'_, '_>, number: usize, room: &mut usize) -> io::Result<Embedded> {
    let report = &groups.reports[number];
    if report.capture.listed {
        return listed(groups, number, room);
    }
    let (pieces, cut) = pieces(report.text, &report.capture.stacks, *room);
    *room -= pieces.iter().map(|(range, _)| range.len()).sum::<usize>();
    let mut notes = Notes { groups, texts: Vec::new(), of_answer: FxHashMap::default() };
    let lines = lines(groups, number, &pieces, &mut notes);
    let bytes: Vec<u8> = lines.iter().flatten().flat_map(|number| number.to_le_bytes()).collect();
    let runs = pieces.iter().map(|(range, line)| (*line, lines_in(&report.text[range.clone()]))).collect();
    Ok(Embedded {
        text: pack(pieces.iter().map(|(range, _)| &report.text[range.clone()]))?,
        lines: pack(std::iter::once(&bytes[..]))?,
        notes: pack(std::iter::once(&serde_json::to_vec(&Meta { runs, notes: notes.texts })?[..]))?,
        cut,
        listed: None,
    })
}

/// A report whose stacks are shown in place of its text.
fn listed(groups: &Groups<'_, '_>, number: usize, room: &mut usize) -> io::Result<Embedded> {
    let listed = Listed::of(&groups.reports[number], *room);
    *room = room.saturating_sub(listed.text.len());
    let group_of = groups_of(groups, number);
    let line = |line: u32, stack: usize| [line, group_of[stack], 0];
    let of_stack = |(at, (heading, frames)): (usize, &(u32, Vec<u32>))| {
        let frames = frames.iter().filter(|line| **line > 0).map(|frame| line(*frame, at)).collect::<Vec<_>>();
        std::iter::once(line(*heading, at)).chain(frames)
    };
    let lines = listed.stacks.iter().enumerate().flat_map(of_stack).flatten();
    let bytes: Vec<u8> = lines.flat_map(u32::to_le_bytes).collect();
    Ok(Embedded {
        text: pack(std::iter::once(&listed.text[..]))?,
        lines: pack(std::iter::once(&bytes[..]))?,
        notes: pack(std::iter::once(&serde_json::to_vec(&Meta { runs: vec![(1, u64::from(listed.lines))], notes: Vec::new() })?[..]))?,
        cut: Some(listed.why.clone()),
        listed: Some(listed),
    })
}

/// The number of the group of each stack of a report.
fn groups_of(groups: &Groups<'_, '_>, number: usize) -> Vec<u32> {
    let mut group_of = vec![NO_GROUP; groups.reports[number].capture.stacks.len()];
    for (n, group) in groups.list.iter().take(super::data::MOST_GROUPS).enumerate() {
        for member in group.members.iter().filter(|member| member.report as usize == number) {
            group_of[member.stack as usize] = n as u32;
        }
    }
    group_of
}

#[derive(Serialize)]
struct Meta {
    runs: Vec<(u64, u64)>,
    notes: Vec<String>,
}

/// The pieces of the text that fit, and what is missing.
fn pieces(text: &[u8], stacks: &[Stack], room: usize) -> (Vec<Piece>, Option<String>) {
    let all = text.len();
    if is_binary(text) {
        return (
            Vec::new(),
            Some(format!("The report has {all} bytes and no text; everything read from it is in the other parts of this page.")),
        );
    }
    if all <= room {
        return (vec![(0..all, 1)], None);
    }
    let of_stack = |stack| Some((extent(text, stack)?, u64::from(stack.line)));
    let mut stacks: Vec<Piece> = stacks.iter().filter_map(of_stack).collect();
    stacks.sort_unstable_by_key(|(range, _)| range.start);
    let mut kept: Vec<Piece> = Vec::new();
    let mut bytes = 0;
    for (range, line) in stacks {
        let from = kept.last().map_or(0, |(last, _)| last.end);
        bytes += range.end.saturating_sub(range.start.max(from));
        if bytes > room {
            let text = format!("Of {all} bytes this page holds the stacks up to line {line}: its limit is {LIMIT} bytes of text.");
            return (kept, Some(text));
        }
        match kept.last_mut().filter(|(last, _)| last.end >= range.start) {
            Some((last, _)) => last.end = last.end.max(range.end),
            None => kept.push((range, line)),
        }
    }
    (kept, Some(format!("Of {all} bytes this page holds the lines of the stacks only: its limit is {LIMIT} bytes of text.")))
}

/// Whether it is not for people to read: kcdata has a NUL in its first item already, text has none.
fn is_binary(text: &[u8]) -> bool {
    memchr::memchr(0, &text[..text.len().min(64)]).is_some()
}

/// The lines of all stacks, each with group and note, in their order.
fn lines(groups: &Groups<'_, '_>, number: usize, pieces: &[Piece], notes: &mut Notes<'_, '_, '_>) -> Vec<[u32; 3]> {
    let report = &groups.reports[number];
    let group_of = groups_of(groups, number);
    let end = pieces.last().map_or(0, |(range, _)| range.end as u64);
    let mut lines = Vec::new();
    for (at, stack) in report.capture.stacks.iter().enumerate() {
        lines.push([stack.line, group_of[at], 0]);
        for (n, frame) in stack.frames.iter().enumerate().filter(|(_, frame)| frame.line_start < end) {
            lines.push([frame.line, group_of[at], notes.of(StackRef { report: number as u32, stack: at as u32 }, n)]);
        }
        for code in stack.code.iter().filter(|code| code.line_start < end && !code.listing.is_empty()) {
            lines.push([code.line, group_of[at], notes.said(&code::lines(code))]);
        }
    }
    for remark in report.capture.remarks.iter().filter(|remark| remark.line_start < end) {
        lines.push([remark.line, NO_GROUP, notes.said(std::slice::from_ref(&remark.text))]);
    }
    lines.sort_unstable_by_key(|[line, _, note]| (*line, u32::MAX - note));
    lines.dedup_by_key(|[line, ..]| *line);
    lines
}

/// What symbol files say about frames that the report does not name as well.
struct Notes<'g, 'r, 'a> {
    groups: &'g Groups<'r, 'a>,
    texts: Vec<String>,
    of_answer: FxHashMap<u32, u32>,
}

impl Notes<'_, '_, '_> {
    /// The number of a note of its own.
    fn said(&mut self, lines: &[String]) -> u32 {
        self.texts.push(lines.iter().map(|line| visible_line(line)).collect::<Vec<_>>().join("\n"));
        self.texts.len() as u32
    }

    /// The number of the note of frame `n`, from 1, or 0.
    fn of(&mut self, at: StackRef, n: usize) -> u32 {
        let resolved = self.groups.reports[at.report as usize].resolved;
        let answer = resolved.frames[at.stack as usize][n];
        if !frames::improves(&self.groups.stack(at).frames[n], &resolved.answers[answer as usize]) {
            return 0;
        }
        let (groups, texts) = (self.groups, &mut self.texts);
        *self.of_answer.entry(answer).or_insert_with(|| {
            let written = frame(groups, at, n, Style::default());
            let lines: Vec<String> = std::iter::once(&written.line).chain(&written.below).map(|line| visible_line(line.trim())).collect();
            texts.push(lines.join("\n"));
            texts.len() as u32
        })
    }
}

fn lines_in(text: &[u8]) -> u64 {
    let ended = text.is_empty() || text.ends_with(b"\n");
    memchr::memchr_iter(b'\n', text).count() as u64 + u64::from(!ended)
}

fn pack<'a>(parts: impl Iterator<Item = &'a [u8]>) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    for part in parts {
        encoder.write_all(part)?;
    }
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stack::RawFrame;

    /// A heading and two frames in lines of five bytes, from line `line` on.
    fn stack(line: u32) -> Stack {
        let frame = |line: u32| RawFrame { line, line_start: u64::from(line - 1) * 5, ..RawFrame::default() };
        Stack { line, frames: vec![frame(line + 1), frame(line + 2)].into(), ..Stack::default() }
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_said() {
        let text = b"1234\n".repeat(20);
        let stacks = [stack(2), stack(5), stack(12)];
        assert_eq!(pieces(&text, &stacks, 100), (vec![(0..100, 1)], None));
        let (kept, cut) = pieces(&text, &stacks, 99);
        assert_eq!(kept, [(5..35, 2), (55..70, 12)]);
        assert!(cut.unwrap().contains("the lines of the stacks only"));
        let (kept, cut) = pieces(&text, &stacks, 40);
        assert_eq!(kept, [(5..35, 2)]);
        assert!(cut.unwrap().contains("the stacks up to line 12"));
        assert_eq!(pieces(&text, &stacks, 0).0, []);
        assert_eq!(pieces(b"", &[], 0), (vec![(0..0, 1)], None));
    }

    #[test]
    fn lines_are_counted_as_a_reader_counts_them() {
        assert_eq!([&b""[..], b"a", b"a\n", b"a\nb", b"\n\n"].map(lines_in), [0, 1, 1, 2, 2]);
    }
}
