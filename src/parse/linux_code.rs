//! The `Code:` line of an oops: the machine code around the place where execution was.
//!
//! ```text
//! Code: 48 8b 43 10 48 89 df <8b> 68 04 e8 08                        x86: bytes, the first of the instruction marked
//! Code: a9014ff4 910003fd aa0003f3 97fac089 (f9400674)               arm64, arm: words, the instruction marked
//! Code: 4605 f7ff bf5d (6828)                                        Thumb, RISC-V since 5.18: halfwords
//! Code: 00000000  00000000 <8c430000> 24420004                       MIPS, LoongArch
//! Code: Bad RIP value.                                               nothing could be read
//! ```
//! Sources: `show_opcodes` in arch/x86/kernel/dumpstack.c, `dump_kernel_instr` in arch/arm64/kernel/traps.c and
//! arch/riscv/kernel/traps.c, `dump_instr` in arch/arm/kernel/traps.c (6.12). What is printed as a number is a value in the machine's
//! own order of bytes, which is little endian wherever this reader is sure of the architecture.

use super::lex;
use super::linux_prefix::Record;
use super::linux_symbol::angled;
use crate::model::code::Code;

/// Kernels print 64 bytes on x86 and at most 20 elsewhere; more is some other text.
const MAX_BYTES: usize = 256;

/// Reads a record that begins with `Code:`; `None` when there are no bytes on it. Reading stops at the first word that is none.
pub fn code(record: &Record<'_>) -> Option<Code> {
    let rest = record.text.trim_ascii().strip_prefix(b"Code:")?;
    let mut code = Code { line: record.line, line_start: record.line_start, ..Code::default() };
    for word in lex::words(rest) {
        let (digits, marked) = unmarked(word);
        let Some(value) = lex::bare_hex(digits).filter(|_| matches!(digits.len(), 2 | 4 | 8)) else { break };
        let unit = digits.len() / 2;
        // RISC-V and Thumb mix nothing; a word of another length is the end of a torn line.
        if (code.unit != 0 && code.unit != unit) || code.bytes.len() + unit > MAX_BYTES {
            break;
        }
        code.unit = unit;
        if marked && code.marker.is_none() {
            code.marker = Some(code.bytes.len());
        }
        code.bytes.extend_from_slice(&value.to_le_bytes()[..unit]);
    }
    (!code.bytes.is_empty()).then_some(code)
}

/// Whether a line is one that kstack itself wrote below a `Code:` line: `  2a:* 8b 68 04  mov 0x4(%rax),%ebp`.
pub fn is_listing(line: &[u8]) -> bool {
    let digits = line.iter().take(4).take_while(|b| b.is_ascii_hexdigit()).count();
    let Some([b':', star, b' ', rest @ ..]) = line.get(digits..).filter(|_| digits > 0) else { return false };
    let word = rest.split(|b| *b == b' ').next().unwrap_or_default();
    matches!(star, b' ' | b'*') && ((matches!(word.len(), 2 | 4 | 8) && lex::bare_hex(word).is_some()) || word == b"..")
}

/// The digits of a word, and whether they are marked.
fn unmarked(word: &[u8]) -> (&[u8], bool) {
    match angled(word).or_else(|| word.strip_prefix(b"(")?.strip_suffix(b")")) {
        Some(digits) => (digits, true),
        None => (word, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::linux_prefix::Context;

    fn read(text: &str) -> Option<(Vec<u8>, Option<usize>, usize)> {
        let record = Record { context: Context::Bare, line: 1, line_start: 0, at: 0, text: text.as_bytes() };
        code(&record).map(|code| (code.bytes, code.marker, code.unit))
    }

    #[test]
    fn bytes_words_and_halfwords_come_in_the_order_of_memory() {
        assert_eq!(read("Code: 90 <0f> 0b c3"), Some((vec![0x90, 0x0f, 0x0b, 0xc3], Some(1), 1)));
        assert_eq!(read(r"Code: 90 \u003c0f\u003e 0b"), Some((vec![0x90, 0x0f, 0x0b], Some(1), 1)));
        assert_eq!(read("  Code: 910003fd (d4210000) "), Some((vec![0xfd, 3, 0, 0x91, 0, 0, 0x21, 0xd4], Some(4), 4)));
        assert_eq!(read("Code: 4605 (6828)"), Some((vec![5, 0x46, 0x28, 0x68], Some(2), 2)));
        assert_eq!(read("Code: 00000000  00000000 <8c430000>").map(|(_, marker, unit)| (marker, unit)), Some((Some(8), 4)));
        assert_eq!(read("Code: 90 90").map(|(_, marker, _)| marker), Some(None));
    }

    #[test]
    fn what_is_no_byte_ends_the_line_and_words_alone_are_nothing() {
        for nothing in
            ["Code: Bad RIP value.", "Code: Unable to access opcode bytes at 0x7f.", "Code:", "Code: 123 45", "Code: <>", "Codes: 90"]
        {
            assert_eq!(read(nothing), None, "{nothing}");
        }
        assert_eq!(read("Code: 90 90 [  1.0] 41"), Some((vec![0x90, 0x90], None, 1)));
        assert_eq!(read("Code: 90 <41").map(|(bytes, marker, _)| (bytes, marker)), Some((vec![0x90], None)));
        assert_eq!(read(&format!("Code:{}", " 90".repeat(9999))).map(|(bytes, ..)| bytes.len()), Some(MAX_BYTES));
    }
}
