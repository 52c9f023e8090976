//! Folded stacks: `root;…;leaf N`, what every collapser writes.
//!
//! Suffixes say what a frame is: `_[k]` the kernel's, `_[i]` inlined, `_[j]` made by a program while it ran. Where any frame has `_[k]`,
//! those without are of programs. ``module`function`` names the module as DTrace does; `+0x1f` behind a function is the offset in it
//! (`stackcollapse.pl --includeoffset`), and an address stands where there was no symbol.

use super::lex;
use super::{Confidence, Format, Holds, atos};
use crate::model::addr::Avma;
use crate::model::capture::Capture;
use crate::model::stack::{Lookup, RawFrame, Role, Span, Stack, StackKind};

/// The format.
pub struct Folded;

impl Format for Folded {
    fn id(&self) -> &'static str {
        "folded"
    }
    fn about(&self) -> &'static str {
        "folded stacks, root;...;leaf N, of any collapser"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"_[k]"]
    }
    fn begins(&self, _: &[u8], rest: &[u8]) -> bool {
        self.sniff(super::first_line(rest)) == Confidence::Likely
    }
    fn begins_above(&self, above: &[u8], _: &[u8]) -> usize {
        let mut at = above.len();
        while at > 0 {
            let start = memchr::memrchr(b'\n', &above[..at - 1]).map_or(0, |n| n + 1);
            if !is_stack(&above[start..at - 1]) {
                break;
            }
            at = start;
        }
        at
    }
    fn reach(&self, rest: &[u8]) -> Option<usize> {
        Some(lex::lines(rest).find(|line| !is_stack(line.bytes)).map_or(rest.len(), |line| line.start as usize))
    }

    /// Every line has to be one, and one in two has to have more than a frame: any text may end in a figure.
    fn sniff(&self, head: &[u8]) -> Confidence {
        let (mut lines, mut deep) = (0, 0);
        let whole = if head.len() < super::SNIFF_BYTES { head.len() } else { memchr::memrchr(b'\n', head).unwrap_or(0) };
        for line in lex::lines(&head[..whole]).filter(|line| !line.bytes.trim_ascii().is_empty()) {
            let Some((stack, _)) = parts(line.bytes) else { return Confidence::No };
            lines += 1;
            let named = stack.iter().any(|byte| !matches!(byte, b';' | b' '));
            deep += usize::from(named && stack.contains(&b';') && !stack.contains(&b'\t') && !stack.starts_with(b" "));
        }
        if deep > 0 && deep * 2 >= lines { Confidence::Likely } else { Confidence::No }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let marked = memchr::memmem::find(text, b"_[k]").is_some();
        let stacks = lex::lines(text).filter_map(|line| stack(&line, marked)).collect();
        Capture { format: self.id(), stacks, ..Capture::default() }
    }
}

/// Stack and count of a line.
pub fn parts(line: &[u8]) -> Option<(&[u8], u64)> {
    let line = line.trim_ascii_end();
    let at = memchr::memrchr(b' ', line)?;
    let stack = line[..at].trim_ascii_end();
    (!stack.is_empty()).then_some((stack, lex::decimal(&line[at + 1..])?))
}

/// Whether a line in other text is a stack.
fn is_stack(line: &[u8]) -> bool {
    parts(line).is_some_and(|(stack, _)| stack.contains(&b';') && !stack.contains(&b'\t') && !stack.starts_with(b" "))
}

/// The stack of a line; `marked` says whether the kernel's frames are.
fn stack(line: &lex::Line<'_>, marked: bool) -> Option<Stack> {
    let (names, count) = parts(line.bytes)?;
    let (mut kernel, mut user) = (Vec::new(), Vec::new());
    for name in names.rsplit(|b| *b == b';').filter(|name| !name.is_empty()) {
        let suffix = [b"_[k]", b"_[i]", b"_[j]"].into_iter().find(|suffix| name.ends_with(*suffix));
        let name = &name[..name.len() - suffix.map_or(0, |suffix| suffix.len())];
        let (module, symbol) = memchr::memchr(b'`', name).map_or((&name[..0], name), |at| (&name[..at], &name[at + 1..]));
        let span = |part: &[u8]| if part.is_empty() { Span::default() } else { atos::span(line.bytes, part) };
        let (symbol, offset) = with_offset(symbol);
        let address = lex::hex(symbol).map(|value| Avma(value.wrapping_add(offset.unwrap_or(0))));
        let inlined = suffix == Some(b"_[i]");
        let frame = RawFrame {
            line_start: line.start,
            line: line.number,
            text: span(name),
            address,
            offset: offset.filter(|_| address.is_none()),
            symbol: if address.is_some() { Span::default() } else { span(symbol) },
            module: span(module),
            lookup: if kernel.is_empty() && user.is_empty() { Lookup::Exact } else { Lookup::Return },
            role: if inlined { Role::Inline } else { Role::Call },
            reliable: true,
            ..RawFrame::default()
        };
        let own = if inlined { user.is_empty() } else { suffix == Some(b"_[k]") || (!marked && suffix.is_none()) };
        if own { kernel.push(frame) } else { user.push(frame) }
    }
    let stack = Stack { kind: StackKind::Sample, line: line.number, count, ..Stack::default() };
    Some(Stack { frames: kernel.into(), user_frames: user.into(), ..stack })
}

/// Splits `NAME+0x1f`.
fn with_offset(name: &[u8]) -> (&[u8], Option<u64>) {
    let split = memchr::memrchr(b'+', name).filter(|at| *at > 0).and_then(|at| Some((&name[..at], lex::hex(&name[at + 1..])?)));
    split.map_or((name, None), |(name, offset)| (name, Some(offset)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_part_kernel_and_programs() {
        let text = b"bash;_start;sys_read_[k];vfs_read_[i];zfs_read_[k] 12\nunix`idle 3\n";
        assert_eq!(Folded.sniff(text), Confidence::Likely);
        let capture = Folded.parse(text);
        let seen: Vec<_> = capture.stacks.iter().map(|stack| (stack.count, stack.frames.len(), stack.user_frames.len())).collect();
        assert_eq!(seen, [(12, 3, 2), (3, 0, 1)]);
    }

    #[test]
    fn offsets_and_addresses_are_no_part_of_names() {
        let text = b"genunix`segvn_fault+0x10;unix`0xfffffffffb8001d6;0xffffffffc0a1b2c3;operator+;a+b 3\n";
        let capture = Folded.parse(text);
        let row =
            |frame: &RawFrame| (lex::text(frame.symbol.of(text, 0)), lex::text(frame.module.of(text, 0)), frame.offset, frame.address);
        let seen: Vec<_> = capture.stacks[0].frames.iter().rev().map(row).collect();
        let is = |symbol: &str, module: &str, offset, address: Option<u64>| (symbol.into(), module.into(), offset, address.map(Avma));
        assert_eq!(
            seen,
            [
                is("segvn_fault", "genunix", Some(0x10), None),
                is("", "unix", None, Some(0xffff_ffff_fb80_01d6)),
                is("", "", None, Some(0xffff_ffff_c0a1_b2c3)),
                is("operator+", "", None, None),
                is("a+b", "", None, None)
            ]
        );
    }

    #[test]
    fn other_text_is_none() {
        for text in ["line one 1\nline two 2\n", "a;b 3\nno count\n", "; 3\n", "a;b\n"] {
            assert_eq!(Folded.sniff(text.as_bytes()), Confidence::No, "{text}");
        }
    }
}
