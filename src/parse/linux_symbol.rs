//! The parts that lines of Linux logs are made of: symbols, addresses in brackets, places in source files, marks.
//!
//! ```text
//! zfs_write+0x453/0xc50 [zfs 73d1a0aa32f04f8eb1fc36a30a9cdfa4bb6c6a11]       symbol, module, build id
//! [<ffffffff8b252e2a>]  [<0>]  [<(ptrval)>]  c0000000000286fc                addresses
//! module/zfs/zfs_vnops.c:582                                                 place
//! <IRQ>  </TASK>  <<EOE>>                                                     marks
//! ```
//! Source: lib/vsprintf.c and kernel/kallsyms.c (6.12).

use super::lex;
use super::linux_prefix::Record;
use crate::model::addr::{Arch, Avma};
use crate::model::stack::{RawFrame, Role, Span};

/// The functions through which tasks enter the kernel or begin in it, on x86, arm, PowerPC, s390 and riscv.
const ENTRIES: &[&[u8]] =
    &[b"entry_", b"ret_from_", b"el0", b"system_call", b"__do_syscall", b"ret_fast_syscall", b"handle_sys", b"do_trap_ecall"];

/// Whether nothing stands below `function` in a stack but functions of which that is true, too.
pub fn is_entry(function: &[u8]) -> bool {
    ENTRIES.iter().any(|entry| function.starts_with(entry))
}

/// Whether the kernel made the function while it ran, so that no file has it. Such code has modules of its own in kallsyms
/// (kernel/bpf/core.c, kernel/trace/ftrace.c, kernel/kprobes.c; 6.12); in traces BPF programs and trampolines have none.
pub fn is_generated(module: &[u8], symbol: &[u8]) -> bool {
    let tag = |name: &[u8]| name.len() >= 16 && name[..16].iter().all(u8::is_ascii_hexdigit);
    match module {
        b"bpf" | b"__builtin__ftrace" | b"__builtin__kprobes" | b"FTRACE TRAMPOLINE" => true,
        b"" if symbol.starts_with(b"bpf_prog_") => tag(&symbol[9..]),
        b"" if symbol.starts_with(b"bpf_trampoline_") => symbol.get(15).is_some_and(u8::is_ascii_digit),
        _ => module.is_empty() && symbol == b"bpf_dispatcher_xdp",
    }
}

/// The architecture of the kernel that has such an entry.
pub fn arch_of_entry(function: &[u8]) -> Option<Arch> {
    const NAMES: &[(&[u8], Arch)] = &[
        (b"entry_SYSCALL_64", Arch::X86_64),
        (b"ret_from_fork_asm", Arch::X86_64),
        (b"el0", Arch::Arm64),
        (b"ret_fast_syscall", Arch::Arm),
        (b"entry_SYSENTER_32", Arch::I386),
    ];
    NAMES.iter().find(|(name, _)| function.starts_with(name)).map(|(_, arch)| *arch)
}

/// Whether a line holds nothing but marks such as `<IRQ>`, `</TASK>` and `<<EOE>>`.
pub fn is_mark(text: &[u8]) -> bool {
    let mut words = lex::words(text).peekable();
    words.peek().is_some() && words.all(mark)
}

/// What stands between `<` and `>`, whole. Docker escapes both, see [`super::linux_json`].
pub(super) fn angled(word: &[u8]) -> Option<&[u8]> {
    let inside = opened(word)?;
    inside.strip_suffix(b">").or_else(|| inside.strip_suffix(b"\\u003e"))
}

/// What stands behind `<`.
fn opened(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(b"<").or_else(|| text.strip_prefix(b"\\u003c"))
}

fn mark(word: &[u8]) -> bool {
    angled(word).is_some_and(|inside| {
        let name = angled(inside).unwrap_or(inside);
        let name = name.strip_prefix(b"/").unwrap_or(name);
        !name.is_empty()
            && name.iter().all(|b| b.is_ascii_uppercase() || matches!(b, b'_' | b'#' | b'0'..=b'9' | b'-'))
            && name.iter().any(|b| b.is_ascii_uppercase())
    })
}

/// A place in a record's text.
pub(super) struct Cursor<'r, 't> {
    pub(super) record: &'r Record<'t>,
    pub(super) at: usize,
}

/// An address in brackets.
pub(super) struct Printed {
    pub(super) value: Option<Avma>,
    /// How many bytes it took with its brackets.
    pub(super) len: usize,
}

impl<'t> Cursor<'_, 't> {
    pub(super) fn rest(&self) -> &'t [u8] {
        self.record.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    pub(super) fn blanks(&mut self) {
        self.at += self.rest().iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\r')).count();
    }

    pub(super) fn eat(&mut self, literal: &[u8]) -> bool {
        let found = self.rest().starts_with(literal);
        self.at += if found { literal.len() } else { 0 };
        found
    }

    /// Takes marks such as `<IRQ> ` off the front.
    pub(super) fn mark(&mut self) {
        while opened(self.rest()).is_some() {
            let len = self.rest().iter().position(|b| *b == b' ').unwrap_or(0);
            if len == 0 || !mark(&self.rest()[..len]) {
                return;
            }
            self.at += len;
            self.blanks();
        }
    }

    /// `? `, before or behind an address.
    pub(super) fn question(&mut self) -> bool {
        let found = self.eat(b"? ");
        self.blanks();
        found
    }

    pub(super) fn span(&self, from: usize, to: usize) -> Span {
        Span { start: self.record.at + from as u32, end: self.record.at + to as u32 }
    }

    /// A frame on this line whose text goes from `from` to `to`.
    pub(super) fn frame(&self, from: usize, to: usize) -> RawFrame {
        let (line, line_start) = (self.record.line, self.record.line_start);
        RawFrame { line, line_start, text: self.span(from, to), reliable: true, ..RawFrame::default() }
    }

    /// `[<ffffffff8168b899>]`, `[<0>]`, `[<(ptrval)>]`, `[<          (null)>]`.
    pub(super) fn address(&mut self) -> Option<Printed> {
        let inside = opened(self.rest().strip_prefix(b"[")?)?;
        let end = inside.iter().take(24).position(|b| matches!(b, b'>' | b'\\'))?;
        let (word, behind) = inside.split_at(end);
        let behind = behind.strip_prefix(b">]").or_else(|| behind.strip_prefix(b"\\u003e]"))?;
        let len = self.rest().len() - behind.len();
        let value = lex::bare_hex(word);
        if value.is_none() && !word.ends_with(b")") {
            return None;
        }
        self.at += len;
        let value = value.filter(|value| !is_hash(*value, word.len())).map(Avma);
        Some(Printed { value, len })
    }

    /// `[c0000000000286fc]` and a bare `80208160`.
    pub(super) fn plain_address(&mut self) -> Option<Printed> {
        let rest = self.rest();
        let bracket = usize::from(rest.first() == Some(&b'['));
        let len = rest[bracket..].iter().take(17).take_while(|b| b.is_ascii_hexdigit()).count();
        let next = rest.get(bracket + len);
        let ends = if bracket == 1 { next == Some(&b']') } else { matches!(next, None | Some(b' ')) };
        if !matches!(len, 8 | 16) || !ends {
            return None;
        }
        self.at += len + 2 * bracket;
        Some(Printed { value: lex::bare_hex(&rest[bracket..bracket + len]).map(Avma), len: len + 2 * bracket })
    }

    /// `name+0x36/0x70`, with ` [module]` or ` [module BUILDID]`.
    pub(super) fn symbol(&mut self) -> Option<RawFrame> {
        let (start, rest) = (self.at, self.rest());
        // ELFv1 functions of PowerPC are descriptors; their code has a dot in front.
        let dot = usize::from(rest.first() == Some(&b'.'));
        let name = dot + name_len(&rest[dot..]);
        let (offset, after) = number(rest, name, b"+0x")?;
        let (size, end) = number(rest, after, b"/0x")?;
        if name == dot {
            return None;
        }
        self.at = start + end;
        let mut frame = self.frame(start, self.at);
        (frame.offset, frame.size, frame.symbol) = (Some(offset), Some(size), self.span(start + dot, start + name));
        self.module(&mut frame);
        Some(frame)
    }

    pub(super) fn module(&mut self, frame: &mut RawFrame) {
        let Some(inside) = self.rest().strip_prefix(b" [") else { return };
        let name = inside.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')).count();
        let name = if inside.starts_with(b"FTRACE TRAMPOLINE]") { 17 } else { name };
        let id = inside[name..].strip_prefix(b" ").map_or(0, |id| 1 + id.iter().take(41).take_while(|b| b.is_ascii_hexdigit()).count());
        if name == 0 || !matches!(id, 0 | 41) || inside.get(name + id) != Some(&b']') || &inside[..name] == b"inline" {
            return;
        }
        let start = self.at + 2;
        frame.module = self.span(start, start + name);
        if id != 0 {
            frame.build_id = self.span(start + name + 1, start + name + id);
        }
        self.at = start + name + id + 1;
        frame.text.end = self.record.at + self.at as u32;
    }
}

/// Since 4.15 `%p` prints a hash, which on 64-bit kernels fills the lower half only. `[<0>]` hides it whole.
pub(super) fn is_hash(value: u64, digits: usize) -> bool {
    digits < 8 || (digits == 16 && value >> 32 == 0)
}

/// How long the function name at the start of `rest` is.
pub(super) fn name_len(rest: &[u8]) -> usize {
    rest.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'$' | b'@' | b':' | b'-' | b'~')).count()
}

/// `literal` and up to 16 hex digits at `at`; gives their value and where they end.
pub(super) fn number(rest: &[u8], at: usize, literal: &[u8]) -> Option<(u64, usize)> {
    let digits = rest.get(at..)?.strip_prefix(literal)?;
    let len = digits.iter().take(17).take_while(|b| b.is_ascii_hexdigit()).count();
    Some((lex::bare_hex(&digits[..len])?, at + literal.len() + len))
}

/// How long the `path:line` or `path:line:column` at the start of `rest` is.
pub(super) fn place_len(rest: &[u8]) -> Option<usize> {
    let word = rest.iter().position(|b| matches!(b, b' ' | b'\t' | b')')).unwrap_or(rest.len());
    let colon = memchr::memchr(b':', &rest[..word])?;
    let number = &rest[colon + 1..word];
    let digits = number.iter().all(|b| b.is_ascii_digit() || *b == b':') || number == b"?";
    let path = rest[..colon].iter().any(|b| matches!(b, b'/' | b'.' | b'?'));
    (colon > 0 && digits && !number.is_empty() && path).then_some(word)
}

/// Takes a `path:line` behind the symbol, which is not part of the frame's text; and what an earlier run of kstack added to it.
/// `a.c:1 or b.c:2 (ambiguous)` is no location, but nothing is to be added to it.
pub(super) fn located(cursor: &mut Cursor<'_, '_>, frame: &mut RawFrame) {
    let start = cursor.at + lex::indent(cursor.rest());
    let Some(len) = cursor.record.text.get(start..).and_then(place_len) else { return };
    cursor.at = start + len;
    let rest = cursor.rest().trim_ascii_end();
    if [&b" or "[..], b" (ambiguous)"].iter().any(|more| rest.starts_with(more)) && rest.ends_with(b"(ambiguous)") {
        cursor.at += rest.len();
    }
    frame.location = cursor.span(start, cursor.at);
    cursor.eat(b" (inlined calls missing)");
}

/// `0xffffffffa04ab03d`, which no symbol covers.
pub(super) fn bare_value(cursor: &mut Cursor<'_, '_>) -> Option<RawFrame> {
    let (start, rest) = (cursor.at, cursor.rest());
    let (value, end) = number(rest, 0, b"0x")?;
    if !matches!(rest.get(end), None | Some(b' ' | b'\t' | b'\r' | b')')) {
        return None;
    }
    cursor.at += end;
    let mut frame = cursor.frame(start, start + end);
    frame.address = Some(Avma(value));
    Some(frame)
}

/// `__dump_stack lib/dump_stack.c:77 [inline]`.
pub(super) fn inlined(cursor: &mut Cursor<'_, '_>) -> Option<RawFrame> {
    let start = cursor.at;
    let name = name_len(cursor.rest());
    cursor.at += name;
    let mut frame = cursor.frame(start, cursor.at);
    (frame.symbol, frame.role) = (frame.text, Role::Inline);
    located(cursor, &mut frame);
    (name > 0 && !frame.location.is_empty() && cursor.eat(b" [inline]")).then_some(frame)
}

/// `(name)`, `(SYM)` or `(0xaddr)`.
pub(super) fn inside_parentheses(cursor: &mut Cursor<'_, '_>) -> Option<RawFrame> {
    let start = cursor.at;
    cursor.eat(b"(");
    let mut frame = match cursor.symbol().or_else(|| bare_value(cursor)) {
        Some(frame) => frame,
        None => {
            let name = name_len(cursor.rest());
            cursor.at += name;
            let mut frame = cursor.frame(start, cursor.at);
            frame.symbol = cursor.span(cursor.at - name, cursor.at);
            cursor.module(&mut frame);
            frame
        }
    };
    located(cursor, &mut frame);
    if !frame.location.is_empty() && cursor.eat(b" [inline]") {
        frame.role = Role::Inline;
    }
    let known = frame.address.is_some() || !frame.symbol.is_empty();
    let closed = cursor.eat(b")");
    frame.text = cursor.span(start, cursor.at);
    (known && closed).then_some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_code_is_known_by_its_module_or_its_name() {
        for (module, symbol) in [
            ("bpf", "bpf_prog_1"),
            ("__builtin__ftrace", "ftrace_trampoline"),
            ("", "bpf_trampoline_6442536467"),
            ("", "bpf_prog_6deef7357e7b4530_on_enter"),
        ] {
            assert!(is_generated(module.as_bytes(), symbol.as_bytes()), "{symbol}");
        }
        for (module, symbol) in [
            ("", "bpf_prog_alloc_no_stats"),
            ("", "bpf_trampoline_enter"),
            ("", "bpf_dispatcher_xdp_func"),
            ("zfs", "bpf_prog_6deef7357e7b4530"),
        ] {
            assert!(!is_generated(module.as_bytes(), symbol.as_bytes()), "{symbol}");
        }
    }
}
