//! Quoted text: lines that begin with the `> ` of a mail, the blanks of a block in Markdown, and their like.

use std::ops::Range;

use super::blocks_move::Map;
use super::lex;

/// Lines that begin alike.
#[derive(Clone, Debug)]
pub(super) struct Quoted {
    /// Where they stand in the text.
    pub range: Range<usize>,
    /// What each begins with. Of a blank line the blanks at its end can be missing.
    pub prefix: Vec<u8>,
}

/// What `line` begins with that can be a quotation's and no part of what is quoted: `> `, `> > `, `| `, or blanks.
pub(super) fn prefix(line: &[u8]) -> &[u8] {
    let mut end = 0;
    loop {
        let at = end + lex::indent(&line[end..]).min(if end == 0 { usize::MAX } else { 1 });
        if !matches!(line.get(at), Some(b'>' | b'|')) {
            break;
        }
        end = at + 1;
    }
    let blanks = lex::indent(&line[end..]);
    &line[..end + if end == 0 { blanks } else { blanks.min(1) }]
}

/// How many bytes of `line` are the quotation's; `None` for a line that is not quoted.
fn quoted(line: &[u8], prefix: &[u8]) -> Option<usize> {
    let bare = prefix.trim_ascii_end();
    if line.starts_with(prefix) {
        Some(prefix.len())
    } else if line.trim_ascii_end() == bare {
        Some(bare.len())
    } else {
        None
    }
}

/// The first bytes of a quotation without its quoting, `lines` lines of it, from a line that begins at `at`.
pub(super) fn head(text: &[u8], at: usize, prefix: &[u8], lines: usize) -> Vec<u8> {
    let mut head = Vec::new();
    for line in lex::lines(&text[at..]).take(lines) {
        let Some(from) = quoted(line.bytes, prefix) else { break };
        head.extend_from_slice(&line.bytes[from..]);
        head.push(b'\n');
    }
    head
}

/// The lines around the one that begins at `at`, not before `from`, that are quoted in the same way.
pub(super) fn around(text: &[u8], from: usize, at: usize, prefix: &[u8]) -> Range<usize> {
    let mut start = at;
    while start > from {
        let before = memchr::memrchr(b'\n', &text[from..start - 1]).map_or(from, |n| from + n + 1);
        let line = &text[before..start - 1];
        if quoted(line.strip_suffix(b"\r").unwrap_or(line), prefix).is_none() {
            break;
        }
        start = before;
    }
    let outside = lex::lines(&text[at..]).find(|line| quoted(line.bytes, prefix).is_none());
    start..outside.map_or(text.len(), |line| at + line.start as usize)
}

/// What is quoted, without its quoting.
pub(super) struct Bare {
    /// Its lines.
    pub text: Vec<u8>,
    map: Map,
}

impl Bare {
    /// Takes the quoting off.
    pub fn of(text: &[u8], quoted: &Quoted) -> Bare {
        let (mut bare, mut lines) = (Vec::with_capacity(quoted.range.len()), Vec::new());
        for line in text[quoted.range.clone()].split_inclusive(|b| *b == b'\n').scan(quoted.range.start, |at, line| {
            *at += line.len();
            Some((*at - line.len(), line))
        }) {
            let (start, line) = line;
            let content = line.strip_suffix(b"\n").map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line));
            let from = self::quoted(content, &quoted.prefix).unwrap_or(0);
            lines.push((bare.len(), start, start + from));
            bare.extend_from_slice(&line[from..]);
        }
        Bare { text: bare, map: Map::quoted(lines) }
    }

    /// Where the line begins in the whole text that begins here at `at`.
    pub fn line_start(&self, at: usize) -> usize {
        self.map.line_start(at)
    }

    /// The map of a reader that was given the text from where `map` begins.
    pub fn map(&self, map: Map) -> Map {
        self.map.behind(map.first())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_ends_where_the_text_begins() {
        for (line, want) in
            [(">  a", "> "), ("> > a", "> > "), (">>  a", ">> "), ("    a", "    "), ("a > b", ""), ("  > a", "  > "), (">", ">")]
        {
            assert_eq!(lex::text(prefix(line.as_bytes())), want, "{line}");
        }
    }

    #[test]
    fn a_quotation_is_its_lines_and_its_blank_ones() {
        let text = b"On Monday:\n> a\n>\n>  b\r\nNo.\n> c\n";
        let range = around(text, 0, 17, b"> ");
        assert_eq!(&text[range.clone()], b"> a\n>\n>  b\r\n");
        let bare = Bare::of(text, &Quoted { range, prefix: b"> ".to_vec() });
        assert_eq!(bare.text, b"a\n\n b\r\n");
        assert_eq!((bare.line_start(0), bare.line_start(2), bare.line_start(3)), (11, 15, 17));
    }
}
