//! One line of a call tree as spindump and sample(1) write it.
//!
//! ```text
//!    *1001  taskq_thread + 109 (net.example.spl + 7778) [0xffffff7f82a12e62]            10.10 and later: offset into the image
//!    *1001 ??? (spl) [0xffffff7f80e5111c] (running)                                     10.9: none; the state behind it
//!      12  main + 760 (zfs_main.c:8549,9 in zfs + 10984) [0x100b85be0] 1-12             with debug info; the samples behind it
//!     + ! 2651 main  (in zfs) + 540  [0x105cd497c]  zfs_main.c:6491                     sample(1), with its guides
//!    *1001  taskq_thread (in net.example.spl) + 109 (0xffffff7f82a12e62)                what kstack makes of it
//! ```
//! `*` marks a kernel frame. Sources: spindump reports of 10.9, 10.13 and 26, a sample(1) report of 10.9.

use memchr::{memchr, memmem, memrchr};

use super::{atos, lex};
use crate::model::addr::Avma;
use crate::model::image::ImageId;
use crate::model::stack::{RawFrame, Span};

/// A line of a call tree.
#[derive(Clone, Copy, Debug)]
pub struct TreeLine {
    /// Column of the count's first digit, in bytes from 0: how deep the line stands.
    pub column: usize,
    /// Samples that were taken in this frame or in what it called, from 1 to 2^32 - 1.
    pub count: u64,
    /// Whether the frame is the kernel's.
    pub kernel: bool,
    /// The frame; the caller sets line, lookup and role.
    pub frame: RawFrame,
    /// Bytes from the image's base to the address.
    pub image_offset: Option<u64>,
    /// What stands in parentheses behind the frame: `running`, `blocked by …`.
    pub state: Span,
}

/// Count and column of a line that begins as those of a tree do, and the byte where the frame begins.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// As in [`TreeLine`].
    pub column: usize,
    /// As in [`TreeLine`].
    pub count: u64,
    /// As in [`TreeLine`].
    pub kernel: bool,
    /// Offset of the first byte behind the count and its blanks.
    pub rest: usize,
}

/// Reads guides, `*` and count; `None` for a line that is of no tree.
pub fn counted(line: &[u8]) -> Option<Counted> {
    let guides = line.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'+' | b'!' | b':' | b'|')).count();
    let kernel = line.get(guides) == Some(&b'*');
    let column = guides + usize::from(kernel);
    let digits = line[column..].iter().take_while(|b| b.is_ascii_digit()).count();
    let count = lex::decimal(&line[column..column + digits]).filter(|count| (1..=u64::from(u32::MAX)).contains(count))?;
    let blanks = lex::indent(&line[column + digits..]);
    let rest = column + digits + blanks;
    (blanks > 0 && rest < line.len()).then_some(Counted { column, count, kernel, rest })
}

/// Reads one line.
pub fn tree_line(line: &[u8]) -> Option<TreeLine> {
    let Counted { column, count, kernel, rest } = counted(line)?;
    let (frame, image_offset, state) = by_bracket(line, rest).or_else(|| own(line, rest)).or_else(|| without_address(line, rest))?;
    Some(TreeLine { column, count, kernel, frame, image_offset, state })
}

type Read = (RawFrame, Option<u64>, Span);

/// `… [0xADDR] (state)`. Addresses of several calls on one line of sample(1) stand with commas between them; the first is taken.
fn by_bracket(line: &[u8], at: usize) -> Option<Read> {
    let open = at + memmem::rfind(&line[at..], b"[0x")?;
    let close = open + memchr(b']', &line[open..])?;
    let address = line[open + 1..close].split(|b| *b == b',').next().and_then(lex::hex)?;
    let (frame, image_offset) = names(line, line[at..open].trim_ascii_end())?;
    let text = Span { start: at as u32, end: close as u32 + 1 };
    Some((RawFrame { address: Some(Avma(address)), text, ..frame }, image_offset, state(line, close + 1)))
}

/// What kstack wrote: `SYMBOL (in IMAGE) + DEC (0xADDR)`, the state kept behind it.
fn own(line: &[u8], at: usize) -> Option<Read> {
    let open = at + memmem::rfind(&line[at..], b"(0x")?;
    let end = open + memchr(b')', &line[open..])? + 1;
    let frame = atos::frame(&line[at..end])?;
    let moved = |span: Span| Span { start: span.start + at as u32, end: span.end + at as u32 };
    let symbol = if frame.symbol.is_empty() { frame.symbol } else { moved(frame.symbol) };
    let module = if frame.module.is_empty() { frame.module } else { moved(frame.module) };
    Some((RawFrame { text: moved(frame.text), symbol, module, ..frame }, None, state(line, end)))
}

/// `??? (kernel + 562378)`: the image's base gives the address.
fn without_address(line: &[u8], at: usize) -> Option<Read> {
    let head = line[at..].trim_ascii_end();
    let (frame, image_offset) = names(line, head)?;
    image_offset?;
    Some((RawFrame { text: atos::span(line, head), ..frame }, image_offset, Span::default()))
}

/// Symbol, image and the offsets into both, from what stands before the address.
fn names(line: &[u8], head: &[u8]) -> Option<(RawFrame, Option<u64>)> {
    let frame = RawFrame { reliable: true, ..RawFrame::default() };
    if let Some(at) = memmem::rfind(head, b"(in ") {
        let close = at + memchr(b')', &head[at..])?;
        let symbol = symbol(line, head[..at].trim_ascii_end());
        let offset = head[close + 1..].trim_ascii().strip_prefix(b"+").map(|rest| rest.trim_ascii().split(|b| *b == b',').next());
        let offset = offset.flatten().and_then(lex::decimal);
        return Some((RawFrame { symbol, offset, module: atos::span(line, &head[at + 4..close]), ..frame }, None));
    }
    let (name, image) = split_image(head);
    let (name, offset) = split_plus(name);
    let frame = RawFrame { symbol: symbol(line, name), offset, ..frame };
    let Some(image) = image else { return (!name.is_empty()).then_some((frame, None)) };
    let (location, image) = memmem::rfind(image, b" in ").map_or((None, image), |at| (Some(&image[..at]), &image[at + 4..]));
    let (image, image_offset) = split_plus(image);
    // Kexts without a name go by their UUID in angle brackets.
    let unnamed = image.strip_prefix(b"<").and_then(|rest| rest.strip_suffix(b">"));
    let image = unnamed.filter(|id| std::str::from_utf8(id).ok().and_then(ImageId::parse).is_some()).unwrap_or(image);
    // `zfs_main.c:8549,9`: line and column.
    let location = location.map_or(Span::default(), |place| atos::span(line, &place[..memrchr(b',', place).unwrap_or(place.len())]));
    Some((RawFrame { module: atos::span(line, image), location, ..frame }, image_offset))
}

/// Takes the image in the last parentheses off `head`. Names of images and symbols may hold parentheses of their own.
fn split_image(head: &[u8]) -> (&[u8], Option<&[u8]>) {
    if !head.ends_with(b")") {
        return (head, None);
    }
    let mut depth = 0usize;
    for (at, byte) in head.iter().enumerate().rev() {
        match byte {
            b')' => depth += 1,
            b'(' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            let apart = head[..at].ends_with(b" ");
            return if apart { (head[..at].trim_ascii_end(), Some(&head[at + 1..head.len() - 1])) } else { (head, None) };
        }
    }
    (head, None)
}

/// Takes ` + DEC` off the end.
fn split_plus(text: &[u8]) -> (&[u8], Option<u64>) {
    let found = memmem::rfind(text, b" + ").and_then(|at| Some((text[..at].trim_ascii_end(), lex::decimal(&text[at + 3..])?)));
    found.map_or((text, None), |(head, offset)| (head, Some(offset)))
}

/// `???` is no name.
fn symbol(line: &[u8], name: &[u8]) -> Span {
    if name.is_empty() || name == b"???" { Span::default() } else { atos::span(line, name) }
}

fn state(line: &[u8], from: usize) -> Span {
    let start = from + lex::indent(&line[from..]);
    let close = (line.get(start) == Some(&b'(')).then(|| memchr(b')', &line[start..])).flatten();
    close.map_or(Span::default(), |close| Span { start: start as u32 + 1, end: (start + close) as u32 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Column, count, kernel, symbol, offset, image, offset into it, address, state.
    type Parts = (usize, u64, bool, String, Option<u64>, String, Option<u64>, Option<u64>, String);

    fn read(line: &str) -> Option<Parts> {
        let read = tree_line(line.as_bytes())?;
        let part = |span: Span| lex::text(span.of(line.as_bytes(), 0));
        let frame = read.frame;
        let address = frame.address.map(|address| address.0);
        let (symbol, image) = (part(frame.symbol), part(frame.module));
        Some((read.column, read.count, read.kernel, symbol, frame.offset, image, read.image_offset, address, part(read.state)))
    }

    fn parts(
        at: (usize, u64, bool),
        symbol: &str,
        offset: Option<u64>,
        image: (&str, Option<u64>),
        address: Option<u64>,
        state: &str,
    ) -> Option<Parts> {
        Some((at.0, at.1, at.2, symbol.into(), offset, image.0.into(), image.1, address, state.into()))
    }

    #[test]
    fn every_form_is_read() {
        let a = Some(0xffff_ff80_0020_2e04);
        let cases = [
            (" *1001  f + 22 (kernel + 11780) [0xffffff8000202e04]", parts((2, 1001, true), "f", Some(22), ("kernel", Some(11780)), a, "")),
            ("   *9 ??? (spl) [0xffffff8000202e04] (running)", parts((4, 9, true), "", None, ("spl", None), a, "running")),
            ("  7  ??? [0x1f]", parts((2, 7, false), "", None, ("", None), Some(0x1f), "")),
            (
                "    12  main + 760 (zfs_main.c:8549,9 in zfs + 10984) [0x100b85be0] 1-12",
                parts((4, 12, false), "main", Some(760), ("zfs", Some(10984)), Some(0x1_00b8_5be0), ""),
            ),
            (
                "    + ! 2651 main  (in zfs) + 540,560  [0x105cd497c,0x105cd4990]  zfs_main.c:6491",
                parts((8, 2651, false), "main", Some(540), ("zfs", None), Some(0x1_05cd_497c), ""),
            ),
            (
                " *3  ??? (<09AC45C2-3CAB-3119-814B-9849B469873C> + 84) [0xfffffe0007036554]",
                parts((2, 3, true), "", None, ("09AC45C2-3CAB-3119-814B-9849B469873C", Some(84)), Some(0xffff_fe00_0703_6554), ""),
            ),
            (
                " *5  a::b(c*)::d() const + 29 (Core (x) + 5) [0xffffff8000202e04] (blocked by f [1])",
                parts((2, 5, true), "a::b(c*)::d() const", Some(29), ("Core (x)", Some(5)), a, "blocked by f [1]"),
            ),
            (" *5  operator()(int) [0xffffff8000202e04]", parts((2, 5, true), "operator()(int)", None, ("", None), a, "")),
            (" *5  f (in spl) + 9 (0xffffff8000202e04) (running)", parts((2, 5, true), "f", Some(9), ("spl", None), a, "running")),
            (" *5  ??? (kernel + 562378)", parts((2, 5, true), "", None, ("kernel", Some(562_378)), None, "")),
        ];
        for (line, expected) in cases {
            assert_eq!(read(line), expected, "{line}");
        }
    }

    #[test]
    fn other_lines_are_none() {
        let lines = [
            "",
            " *",
            " *0  f (k) [0x1]",
            "  99999999999  f (k) [0x1]",
            "  12",
            "  12 f",
            "  5  f (k) [0x",
            "  5  [0x1]",
            "Thread 0x6d    1001 samples",
            "        stat$INODE64  (in libsystem_kernel.dylib)        2651",
        ];
        for line in lines {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
