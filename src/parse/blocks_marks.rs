//! Where blocks of other kinds may begin in a text: one pass for the marks of all formats, and a closer look where one was found.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use rayon::prelude::*;

use super::blocks_quote::{self as quote, Quoted};
use super::{FORMATS, Format, lex};

/// So many lines are shown to the formats that are asked whether a block of theirs begins, more where nobody is certain of fewer: what
/// stands further away can be of another block. No more than so many bytes of them.
const SHOWN_LINES: [usize; 3] = [6, 12, 32];
const SHOWN_BYTES: usize = 8 << 10;

/// How often a format may say no before it is not asked any more: a text full of marks that mean nothing takes no longer than another.
const MOST_REFUSED: u32 = 5_000;

/// A place where something begins.
#[derive(Clone)]
pub(super) enum Event {
    /// A block of a format.
    Begins(usize, &'static dyn Format),
    /// A quotation that holds a block.
    Quotes(Quoted),
}

impl Event {
    /// Where it begins.
    pub fn at(&self) -> usize {
        match self {
            Event::Begins(at, _) => *at,
            Event::Quotes(quoted) => quoted.range.start,
        }
    }
}

/// All marks, and for each the formats that have it, a bit for each.
static MARKS: LazyLock<(AhoCorasick, Vec<u64>)> = LazyLock::new(|| {
    let mut words: Vec<(&[u8], u64)> = Vec::new();
    for (at, format) in FORMATS.iter().enumerate() {
        for mark in format.marks() {
            match words.iter_mut().find(|(word, _)| word == mark) {
                Some((_, formats)) => *formats |= 1 << at,
                None => words.push((mark, 1 << at)),
            }
        }
    }
    let found = AhoCorasick::builder().kind(Some(AhoCorasickKind::DFA)).build(words.iter().map(|(word, _)| word));
    let found = found.expect("a few short words make a small automaton");
    (found, words.into_iter().map(|(_, formats)| formats).collect())
});

/// A line with marks.
struct Marked {
    /// Where it begins.
    at: usize,
    /// The formats whose marks it has.
    formats: u64,
}

/// The lines with marks, in their order.
fn marked(text: &[u8]) -> impl Iterator<Item = Marked> {
    let (words, formats) = &*MARKS;
    let mut found = words.find_iter(text).peekable();
    std::iter::from_fn(move || {
        let first = found.next()?;
        let at = memchr::memrchr(b'\n', &text[..first.start()]).map_or(0, |n| n + 1);
        let end = memchr::memchr(b'\n', &text[first.end()..]).map_or(text.len(), |n| first.end() + n);
        let mut line = Marked { at, formats: formats[first.pattern().as_usize()] };
        while let Some(more) = found.next_if(|more| more.start() < end) {
            line.formats |= formats[more.pattern().as_usize()];
        }
        Some(line)
    })
}

/// So many bytes are searched at once by one core.
const CHUNK: usize = 1 << 20;

/// The lines of `text` with marks that are not of `own` alone, in their order; searched on all cores, a few chunks ahead.
fn foreign(text: &[u8], own: Option<usize>) -> impl Iterator<Item = Marked> {
    let mut rest = 0;
    let batches = std::iter::from_fn(move || {
        let mut chunks = Vec::new();
        while rest < text.len() && chunks.len() < 2 * rayon::current_num_threads() {
            let end = (rest + CHUNK).min(text.len());
            let end = memchr::memchr(b'\n', &text[end..]).map_or(text.len(), |n| end + n + 1);
            chunks.push(rest..end);
            rest = end;
        }
        let search = |chunk: &std::ops::Range<usize>| {
            let lines = marked(&text[chunk.clone()]).map(|line| Marked { at: chunk.start + line.at, ..line });
            lines.filter(|line| !is_only(text, own, line)).collect::<Vec<_>>()
        };
        (!chunks.is_empty()).then(|| chunks.par_iter().map(search).collect::<Vec<_>>())
    });
    batches.flatten().flatten()
}

/// Whether a line has marks of `own` alone, so that it is not asked whose it is. In a quotation it may not know its own.
fn is_only(text: &[u8], own: Option<usize>, line: &Marked) -> bool {
    let start = &text[line.at..];
    own.is_some_and(|own| line.formats == 1 << own) && !matches!(start.get(lex::indent(start)), Some(b'>' | b'|'))
}

/// The places where blocks begin, each of another format than the one before; `None` when all are of `whole`.
pub(super) fn events(text: &[u8], whole: Option<&'static dyn Format>) -> Option<Vec<Event>> {
    let own = whole.and_then(|whole| FORMATS.iter().position(|format| format.id() == whole.id()));
    let mut first = Scan::new(text, own);
    // A text of one kind is left as soon as its marks were found.
    if !foreign(text, own).any(|line| first.event(&line).is_some()) {
        return None;
    }
    let mut scan = Scan::new(text, None);
    let mut events = Vec::new();
    for line in marked(text) {
        events.extend(scan.event(&line));
    }
    Some(events)
}

struct Scan<'t> {
    text: &'t [u8],
    /// The format of the block that was found last, as its place in [`FORMATS`].
    latest: Option<usize>,
    /// Up to where the text was seen as a quotation.
    seen: usize,
    refused: [u32; 64],
}

impl<'t> Scan<'t> {
    fn new(text: &'t [u8], latest: Option<usize>) -> Scan<'t> {
        Scan { text, latest, seen: 0, refused: [0; 64] }
    }

    /// What begins in a line, if something does.
    fn event(&mut self, line: &Marked) -> Option<Event> {
        if line.at < self.seen || is_only(self.text, self.latest, line) {
            return None;
        }
        let prefix = quote::prefix(super::first_line(&self.text[line.at..]));
        // Blanks are many readers' own; a quotation's sign hardly any expects.
        let quoted = !prefix.trim_ascii().is_empty();
        if quoted && let Some(event) = self.quotation(line, prefix) {
            return Some(event);
        }
        if let Some(found) = self.surest(line.formats, &self.text[..line.at], &self.text[line.at..]) {
            let format = FORMATS[found];
            let at = self.seen + format.begins_above(&self.text[self.seen..line.at], &self.text[line.at..]);
            self.seen = line.at;
            return (self.latest.replace(found) != Some(found)).then_some(Event::Begins(at, format));
        }
        if quoted || prefix.is_empty() { None } else { self.quotation(line, prefix) }
    }

    /// The quotation around a line, if that begins a block without its `prefix`.
    fn quotation(&mut self, line: &Marked, prefix: &[u8]) -> Option<Event> {
        let head = quote::head(self.text, line.at, prefix, SHOWN_LINES[2]);
        let found = self.surest(line.formats, b"", &head)?;
        if FORMATS[found].reads_quotations() {
            return None;
        }
        let range = quote::around(self.text, self.seen, line.at, prefix);
        (self.seen, self.latest) = (range.end, None);
        Some(Event::Quotes(Quoted { range, prefix: prefix.to_vec() }))
    }

    /// The one of `formats` that begins where `rest` does: the latest one, if it is among those, else the first.
    fn surest(&mut self, formats: u64, above: &[u8], rest: &[u8]) -> Option<usize> {
        if rest.is_empty() {
            return None;
        }
        let latest = self.latest.filter(|latest| formats >> latest & 1 == 1);
        let others = (0..FORMATS.len()).filter(|at| formats >> at & 1 == 1 && Some(*at) != latest);
        let asked: Vec<usize> = latest.into_iter().chain(others).filter(|at| self.refused[*at] < MOST_REFUSED).collect();
        let found = SHOWN_LINES.iter().find_map(|lines| {
            let shown = shown(rest, *lines);
            asked.iter().copied().find(|at| FORMATS[*at].begins(above, shown))
        });
        if found.is_none() {
            asked.iter().for_each(|at| self.refused[*at] += 1);
        }
        let taken = |latest: &usize| found.is_some_and(|found| FORMATS[*latest].takes_in().contains(&FORMATS[found].id()));
        self.latest.filter(taken).or(found)
    }
}

/// What of `rest` is shown to a format: so many of its first lines.
fn shown(rest: &[u8], lines: usize) -> &[u8] {
    let some = &rest[..rest.len().min(SHOWN_BYTES)];
    &some[..memchr::memchr_iter(b'\n', some).nth(lines - 1).map_or(some.len(), |at| at + 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_fit_into_the_bits_and_marks_are_words() {
        assert!(FORMATS.len() <= 64);
        for format in FORMATS {
            assert!(format.marks().iter().all(|mark| mark.len() > 1 && !mark.contains(&b'\n')), "{}", format.id());
            assert!(!format.is_document() || format.marks().is_empty());
        }
    }
}
