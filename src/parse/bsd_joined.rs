//! Frames of the BSD kernels that need more than a line: those that a console has wrapped, and those told from prose by what follows.

use super::bsd_frame::{self, Found};
use super::bsd_frame_ports;
use super::lex::Line;
use super::linux_prefix::{self, Record};
use crate::model::stack::{RawFrame, Span};

/// How many lines below its first a frame can go on: arguments of a call fill at most that.
pub(super) const MOST_CONTINUED: usize = 4;

/// The width at which debuggers break their lines, in columns. Consoles and tools can take one for themselves.
const WIDTH: std::ops::RangeInclusive<usize> = 78..=81;

/// What a line holds behind its stamps, and where that begins in the text.
struct Piece<'t> {
    text: &'t [u8],
    start: u64,
}

impl<'t> Piece<'t> {
    fn of(line: &Line<'t>) -> Piece<'t> {
        let mut piece = Piece { text: b"", start: line.start };
        linux_prefix::records(line, |record| piece = Piece { text: record.text, start: record.line_start + u64::from(record.at) });
        Piece { text: piece.text.trim_ascii_end(), ..piece }
    }

    /// Whether this can be the rest of a line that looks whole: `at f+0x1` and `f3`, with the place that an earlier run wrote behind it.
    fn is_rest(&self) -> bool {
        let word = self.text.split(|b| *b == b' ').next().unwrap_or_default();
        let place = self.text[word.len()..].trim_ascii();
        let digits = |word: &[u8]| !word.is_empty() && word.len() <= 8 && word.iter().all(u8::is_ascii_hexdigit);
        let offset = word.strip_prefix(b"+0x").or_else(|| word.strip_prefix(b"x")).is_some_and(digits);
        (offset || digits(word)) && (place.is_empty() || bsd_frame::is_place(place))
    }
}

/// A frame that begins in `record`, and how many of the lines of `rest` it goes on in.
pub(super) fn joined(record: &Record<'_>, rest: &[Line<'_>]) -> Option<(Found, usize)> {
    let whole = bsd_frame::frame(record).or_else(|| returning(record, rest));
    if whole.is_none() && !bsd_frame::is_cut(record.text) {
        return None;
    }
    if let Some(whole) = whole {
        let full = WIDTH.contains(&record.text.trim_ascii_end().len());
        let next = rest.first().filter(|_| full).map(Piece::of).filter(Piece::is_rest);
        let longer = next.and_then(|piece| glued(record, &[piece]));
        return Some(longer.map_or((whole, 0), |longer| (longer, 1)));
    }
    let mut pieces: Vec<Piece<'_>> = Vec::new();
    for line in rest.iter().take(MOST_CONTINUED) {
        pieces.push(Piece::of(line));
        if let Some(found) = glued(record, &pieces) {
            return Some((found, pieces.len()));
        }
    }
    None
}

/// A frame whose line is told from prose by the registers below.
fn returning(record: &Record<'_>, rest: &[Line<'_>]) -> Option<Found> {
    let mut found = bsd_frame::read(record, bsd_frame_ports::returning)?;
    let mut below = rest.iter().take(MOST_CONTINUED).map(Piece::of).skip_while(|piece| piece.text.ends_with(b" [inline]"));
    let pc = bsd_frame_ports::pc(below.next()?.text.trim_ascii())?;
    found.inner = found.inner.zip(pc).map(|(inner, pc)| RawFrame { address: Some(pc), ..inner });
    Some(found)
}

/// The frame that a line and the pieces behind it make together. Its spans reach over the ends of lines.
fn glued(record: &Record<'_>, pieces: &[Piece<'_>]) -> Option<Found> {
    let mut text = record.text.to_vec();
    // Where each piece begins in the joined text, and in the report behind the start of the first line.
    let mut starts = vec![(0, u64::from(record.at))];
    for piece in pieces {
        starts.push((text.len(), piece.start - record.line_start));
        text.extend_from_slice(piece.text);
    }
    let mut found = bsd_frame::frame(&Record { text: &text, at: 0, ..*record })?;
    let place = |at: u32| {
        let (from, start) = starts.iter().rev().find(|(from, _)| *from <= at as usize).copied().unwrap_or_default();
        u32::try_from(start + (at as usize - from) as u64).unwrap_or(u32::MAX)
    };
    let frame = &mut found.frame;
    for span in [&mut frame.symbol, &mut frame.module, &mut frame.location, &mut frame.text] {
        if !span.is_empty() {
            *span = Span { start: place(span.start), end: place(span.end - 1).saturating_add(1) };
        }
    }
    Some(found)
}
