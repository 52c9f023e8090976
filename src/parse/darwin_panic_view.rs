//! The lines of a macOS panic as their authors sent them: indented, quoted in mail, behind the prefix of another log, escaped for Markdown,
//! or all of them in one line of a JSON string.
//!
//! ```text
//! > panic(cpu 4 caller 0xffffff7f93f41d2b): "VERIFY3(…) failed\n"@vdev.c:27        quoted
//! Aug 14 09:11:02 host kernel[0]: panic(cpu 0 caller 0x001A8C8A): …                 syslog
//! "panicString" : "panic(cpu 1 caller 0x…): …\nDebugger message: panic\n…"          JSON
//! ```
//! Nothing is taken out of the text: a [`View`] says where in its line the panic's own words begin.

use std::borrow::Cow;

use memchr::memmem;

use super::lex::{self, Line};
use crate::model::addr::{Arch, Avma};

/// What every panic begins with (xnu, osfmk/kern/debug.c).
pub const PANIC: &[u8] = b"panic(cpu ";

/// Lines that are searched for what stands before all of them.
const SEARCHED: usize = 10_000;
/// How far into a line the prefix of a log can reach, in bytes.
const LONGEST_PREFIX: usize = 160;

/// One line without what was put before it.
#[derive(Clone, Copy, Debug)]
pub struct View<'t> {
    /// Number of the line, from 1.
    pub number: u32,
    /// Byte offset of the line in the text.
    pub start: u64,
    /// Where in the line `body` begins, in bytes.
    pub at: usize,
    /// The panic's own words, without blanks around them.
    pub body: &'t [u8],
}

/// What all lines of a text have in common.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// How many `>` stand before a line without a blank behind them.
    tight: usize,
    /// The last word of what another log puts before each line, with `0` for every digit.
    prefix: Vec<u8>,
    /// Whether addresses have 16 digits.
    pub wide: bool,
    /// Architecture, as far as addresses tell it.
    pub arch: Option<Arch>,
}

impl Shape {
    /// What the lines of `text` have in common.
    pub fn of(text: &[u8]) -> Shape {
        let mut shape = Shape::default();
        let mut anchored = false;
        for line in lex::lines(text).take(SEARCHED) {
            shape.addresses(line.bytes);
            if !anchored && let Some(at) = anchor(line.bytes) {
                anchored = line.bytes[at..].starts_with(PANIC);
                shape.before(&line.bytes[..at]);
            }
        }
        shape
    }

    /// Lines with nothing before them, of that architecture.
    #[cfg(test)]
    pub fn plain(arch: Arch) -> Shape {
        Shape { wide: arch != Arch::I386, arch: Some(arch), ..Shape::default() }
    }

    /// Learns from the addresses of a line.
    fn addresses(&mut self, line: &[u8]) {
        for at in memmem::find_iter(line, b"0x") {
            let digits = hex_run(&line[at + 2..]);
            let address = lex::bare_hex(digits).map(Avma);
            self.wide |= digits.len() == 16;
            self.arch =
                self.arch.or_else(|| address.and_then(Arch::of_darwin_address).filter(|arch| (*arch == Arch::I386) == (digits.len() < 9)));
        }
        if self.wide && self.arch == Some(Arch::I386) {
            self.arch = None;
        }
    }

    /// Learns from what stands before a line of the panic.
    fn before(&mut self, before: &[u8]) {
        let body = before.trim_ascii();
        if !body.is_empty() && body.iter().all(|b| *b == b'>') {
            self.tight = if before.ends_with(b">") { body.len() } else { 0 };
        } else if !body.is_empty() && !body.ends_with(b">") {
            let word = before.trim_ascii_end().iter().rposition(|b| matches!(b, b' ' | b'\t')).map_or(0, |at| at + 1);
            self.prefix = before[word..].iter().map(|b| digit_blind(*b)).collect();
        }
    }

    /// The line without what was put before it.
    pub fn view<'t>(&self, line: &Line<'t>) -> View<'t> {
        let at = self.quoted(line.bytes, self.logged(line.bytes));
        View { number: line.number, start: line.start, at, body: line.bytes[at..].trim_ascii_end() }
    }

    /// Where a line goes on behind the prefix of another log.
    fn logged(&self, line: &[u8]) -> usize {
        if self.prefix.is_empty() {
            return 0;
        }
        let head = &line[..line.len().min(LONGEST_PREFIX)];
        let here = |window: &[u8]| window.iter().zip(&self.prefix).all(|(seen, wanted)| digit_blind(*seen) == *wanted);
        head.windows(self.prefix.len()).position(here).map_or(0, |at| at + self.prefix.len())
    }

    /// Where a line goes on behind blanks and `>` of mail. `>!AHDA` in a list of kexts is no quotation.
    fn quoted(&self, line: &[u8], mut at: usize) -> usize {
        let mut tight = self.tight;
        at += lex::indent(&line[at..]);
        while line.get(at) == Some(&b'>') {
            let loose = line.get(at + 1).is_none_or(|next| matches!(next, b' ' | b'\t' | b'>'));
            if tight == 0 && !loose {
                break;
            }
            tight = tight.saturating_sub(1);
            at += 1;
            at += lex::indent(&line[at..]);
        }
        at
    }

    /// The address that `word` is, if it has as many digits as addresses have here.
    pub fn address(&self, word: &[u8]) -> Option<u64> {
        let value = lex::hex(word)?;
        // Before 10.6 addresses were printed without leading zeros.
        let full = if self.wide { word.len() == 18 } else { word.len() <= 10 };
        full.then_some(value)
    }
}

fn digit_blind(byte: u8) -> u8 {
    if byte.is_ascii_digit() { b'0' } else { byte }
}

/// Where in a line something begins that only a panic has.
fn anchor(line: &[u8]) -> Option<usize> {
    [PANIC, b"Backtrace (CPU ", b"Kernel Extensions in backtrace", b"Panicked thread: 0x"].iter().find_map(|mark| memmem::find(line, mark))
}

/// The hex digits that `bytes` begins with.
pub fn hex_run(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(bytes.len());
    &bytes[..end]
}

/// `body` without the backslashes that Markdown wants before punctuation.
pub fn unescaped(body: &[u8]) -> Cow<'_, [u8]> {
    if !body.contains(&b'\\') {
        return Cow::Borrowed(body);
    }
    let mut plain = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((first, after)) = rest.split_first() {
        if !(*first == b'\\' && after.first().is_some_and(u8::is_ascii_punctuation)) {
            plain.push(*first);
            rest = after;
            continue;
        }
        plain.push(after[0]);
        rest = &after[1..];
    }
    Cow::Owned(plain)
}

/// Ends of lines that a panic in a JSON string has as two characters.
const LINE_END: &[u8] = b"\\n";

/// The text with every panic that stands on one line, with `\n` and `\t` as two characters, taken apart into lines. `None` where there
/// is no such line.
pub fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    if !text.split(|b| *b == b'\n').any(is_packed) {
        return None;
    }
    let mut out = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|b| *b == b'\n') {
        if is_packed(line) { decode(line, &mut out) } else { out.extend(line) }
    }
    Some(out)
}

/// Whether a line holds a whole panic. The words of a panic alone may end in `\n`, too.
pub fn is_packed(line: &[u8]) -> bool {
    const INSIDE: &[&[u8]] =
        &[b"\\nBacktrace (CPU ", b"\\nDebugger message:", b"\\nKernel version:", b"\\nPanicked ", b"\\nKernel UUID:", b"\\nOS version:"];
    let Some(at) = memmem::find(line, PANIC) else { return false };
    INSIDE.iter().any(|mark| memmem::find(&line[at..], mark).is_some()) && memmem::find_iter(&line[at..], LINE_END).nth(3).is_some()
}

/// Appends `line` with the escapes of a JSON string undone.
fn decode(line: &[u8], out: &mut Vec<u8>) {
    let mut rest = line;
    while let Some((first, after)) = rest.split_first() {
        let (bytes, used): (&[u8], usize) = match (first, after.first()) {
            (b'\\', Some(b'n')) => (b"\n", 2),
            (b'\\', Some(b't')) => (b"\t", 2),
            (b'\\', Some(b'r')) => (b"", 2),
            (b'\\', Some(b'"' | b'\\' | b'/')) => (&after[..1], 2),
            _ => (std::slice::from_ref(first), 1),
        };
        out.extend(bytes);
        rest = &rest[used..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bodies of all lines.
    fn bodies(text: &str) -> Vec<String> {
        let shape = Shape::of(text.as_bytes());
        lex::lines(text.as_bytes()).map(|line| lex::text(shape.view(&line).body)).collect()
    }

    #[test]
    fn quotation_goes_and_abbreviated_kexts_stay() {
        let text = "> panic(cpu 4 caller 0xffffff8000205355): x\n> > 0x1\n>\n> >!AHDA\t281.52\n>!AHDA\t281.52\n";
        assert_eq!(bodies(text), ["panic(cpu 4 caller 0xffffff8000205355): x", "0x1", "", ">!AHDA\t281.52", ">!AHDA\t281.52"]);
        assert_eq!(
            bodies(">panic(cpu 1 caller 0x1): x\n>>AGPM\t129\n>@kext\t1\n"),
            ["panic(cpu 1 caller 0x1): x", ">AGPM\t129", "@kext\t1"]
        );
    }

    #[test]
    fn other_logs_stand_before_each_line() {
        let text =
            "Aug 14 09:11:02 host kernel[0]: panic(cpu 0 caller 0x001A8C8A): x\nAug 14 09:11:59 host kernel[0]:   0x1 : 0x2\nother\n";
        assert_eq!(bodies(text), ["panic(cpu 0 caller 0x001A8C8A): x", "0x1 : 0x2", "other"]);
    }

    #[test]
    fn a_panic_on_one_line_is_taken_apart() {
        let text = b"{\n\"panicString\" : \"panic(cpu 1 caller 0x1): \\\"a\\\\n\\\" @b.c:1\\nDebugger message: panic\\n\\t\\t  lr: 0x1\\n\\n\",\n\"x\": \"\\n\"}\n";
        let plain = decoded(text).unwrap();
        assert!(lex::text(&plain).contains("caller 0x1): \"a\\n\" @b.c:1\nDebugger message: panic\n\t\t  lr: 0x1\n\n\",\n\"x\": \"\\n\"}"));
        assert_eq!(decoded(b"panic(cpu 1 caller 0x1): \"a\\nb\\nc\\nd\\n\"@x\n"), None);
    }

    #[test]
    fn short_addresses_are_whole_only_on_32_bits() {
        let wide = Shape::of(b"caller 0xffffff8000205355");
        assert_eq!(
            (wide.arch, wide.address(b"0xffffff80"), wide.address(b"0xffffff8000205355")),
            (Some(Arch::X86_64), None, Some(0xffff_ff80_0020_5355))
        );
        let narrow = Shape::of(b"panic(cpu 0 caller 0x001A8C8A)");
        assert_eq!((narrow.arch, narrow.address(b"0x12b4f3")), (Some(Arch::I386), Some(0x12_b4f3)));
    }
}
