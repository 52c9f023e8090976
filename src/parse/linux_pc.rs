//! Lines that say where execution was: one of registers, apart from the stack or in the middle of it.
//!
//! ```text
//! RIP: 0010:kslab_oops+0x15/0x20 [kslab]                            x86-64 since 4.10; 0033 is user mode
//! RIP: 0010:[<ffffffff8123487f>]  [<ffffffff8123487f>] f+0x61f/0x4b50        up to 4.9
//! RIP  [<ffffffff8123487f>] f+0x61f/0x4b50                          again, when the trace is over
//! EIP: f+0x1/0x2    EIP is at f+0x1/0x2                              x86-32
//! pc : f+0x1/0x2    PC is at f+0x1/0x2                               arm64, arm
//! NIP [c00000000072f0c4] .f+0x1/0x2    --- interrupt: 700 at f+0x1/0x2      PowerPC
//! Krnl PSW : 0704f00180000000 000003ff8086d03a (f+0x3a/0x1000 [will_oops])   s390
//! TPC: <f+0x1/0x2 [m]>    PC: <f+0x1/0x2>                           sparc64, sparc
//! PC: [<000a1b2c>] f+0x1/0x2    PC: 0x8024a1b2 (f+0x1/0x2)           m68k, SuperH; C-SKY
//! pc is at f+0x1/0x2    IAOQ[0]: f+0x1/0x2                           Alpha, PA-RISC
//! epc : f+0x1/0x2    epc   : 80208160 f+0x1/0x2    ERA: 90000000 f+0x1/0x2   riscv, MIPS, LoongArch
//! ```
//! Sources: `show_regs` in arch/*/kernel (6.12), kernels 3.3 to 6.12. The address is that of the very instruction.

use memchr::{memchr, memmem};

use super::lex;
use super::linux_frame::place;
use super::linux_prefix::Record;
use crate::model::addr::{Arch, Avma};
use crate::model::stack::RawFrame;

/// What a line says about the program counter.
#[derive(Clone, Copy, Debug)]
pub enum Pc {
    /// Kernel code, in a register dump that can stand within a stack.
    Saved(RawFrame),
    /// Kernel code, in a register dump that comes before its stack.
    Before(RawFrame),
    /// User code, or nothing that has an address: the kernel's part of the stack is over.
    User,
    /// Said again after the stack.
    Closing,
}

/// Reads the program counter from a line, and the architecture that prints it so.
pub fn pc(record: &Record<'_>) -> Option<(Pc, Option<Arch>)> {
    let indent = lex::indent(record.text);
    let rest = &record.text[indent..];
    let after = |marker: &[u8]| rest.starts_with(marker).then_some(indent + marker.len());
    match rest.first()? {
        b'R' => after(b"RIP").map(|at| (x86(record, at), Some(Arch::X86_64))),
        b'E' => eip(record, rest, indent).map(|pc| (pc, Some(Arch::I386))).or_else(|| Some((before(record, era(rest, indent)?), None))),
        b'I' => after(b"IP: ").or_else(|| after(b"IAOQ[0]: ")).map(|at| (before(record, at), None)),
        // logcat takes the name for a tag, which has eight columns.
        b'p' if rest.starts_with(b"pc      : ") => Some((before(record, indent + 10), Some(Arch::Arm64))),
        b'p' if rest.starts_with(b"pc is at ") => Some((before(record, indent + 9), None)),
        b'P' if rest.starts_with(b"PC: ") => Some((counter(record, indent + 4)?, None)),
        b'p' => after(b"pc : ").filter(|_| rest.get(5) != Some(&b'[')).map(|at| (before(record, at), Some(Arch::Arm64))),
        b'P' => after(b"PC is at ").map(|at| (before(record, at), None)),
        b'T' => after(b"TPC: <").map(|at| (before(record, at), None)),
        b'N' => after(b"NIP [").map(|at| (before(record, at - 1), Some(if rest.get(13) == Some(&b']') { Arch::Ppc } else { Arch::Ppc64 }))),
        b'K' => after(b"Krnl PSW : ").map(|at| (psw(record, at), None)),
        b'U' => after(b"User PSW").map(|_| (Pc::User, None)),
        b'e' => after(b"epc").map(|at| (before(record, at + rest[3..].iter().take_while(|b| matches!(b, b' ' | b':')).count()), None)),
        b'-' => interrupt(record, rest, indent).map(|pc| (pc, Some(Arch::Ppc64))),
        _ => None,
    }
}

/// `[<000a1b2c>] SYM`, `<SYM>`, `0x8024a1b2 (SYM)`; behind the bare number other registers stand.
fn counter(record: &Record<'_>, at: usize) -> Option<Pc> {
    let value = &record.text[at..];
    let symbol = match value.first()? {
        b'<' => at + 1,
        b'[' => at,
        _ => at + memmem::find(value, b" (")? + 2,
    };
    place(record, symbol).filter(|frame| !frame.symbol.is_empty()).map(Pc::Before)
}

fn before(record: &Record<'_>, at: usize) -> Pc {
    place(record, at).map_or(Pc::User, Pc::Before)
}

/// `: 0010:SYM`, or without a code segment when the trace is over.
fn x86(record: &Record<'_>, at: usize) -> Pc {
    let rest = &record.text[at..];
    let Some(segment) = rest.strip_prefix(b": ").and_then(|rest| rest.get(..5)).filter(|word| word[4] == b':') else {
        return Pc::Closing;
    };
    match lex::bare_hex(&segment[..4]) {
        // The lowest two bits are the ring; Xen's kernels ran in the first.
        Some(segment) if segment & 3 < 2 => place(record, at + 7).map_or(Pc::User, Pc::Saved),
        Some(_) => Pc::User,
        None => Pc::Closing,
    }
}

/// `EIP: SYM`, `EIP is at SYM`; `EIP: 0060:[<c04d5a14>] EFLAGS: …` only comes before the latter.
fn eip(record: &Record<'_>, rest: &[u8], indent: usize) -> Option<Pc> {
    if rest.starts_with(b"EIP is at ") {
        return Some(before(record, indent + 10));
    }
    let value = rest.strip_prefix(b"EIP: ")?;
    if memmem::find(value, b"SS:ESP").is_some() {
        return Some(Pc::Closing);
    }
    let segment = lex::bare_hex(value.get(..4)?).filter(|_| value.get(4) == Some(&b':'));
    match segment {
        Some(segment) if segment & 3 == 3 => Some(Pc::User),
        Some(_) => place(record, indent + 10).map(Pc::Before),
        None => Some(place(record, indent + 5).filter(|frame| !frame.symbol.is_empty()).map_or(Pc::User, Pc::Saved)),
    }
}

fn era(rest: &[u8], indent: usize) -> Option<usize> {
    rest.starts_with(b"ERA: ").then_some(indent + 5)
}

/// The second word of the PSW is the address; the symbol stands behind it.
fn psw(record: &Record<'_>, at: usize) -> Pc {
    let Some(open) = memchr(b'(', &record.text[at..]) else { return Pc::User };
    let address = lex::words(&record.text[at..at + open]).nth(1).and_then(lex::bare_hex);
    match place(record, at + open + 1) {
        Some(frame) => Pc::Before(RawFrame { address: frame.address.or(address.map(Avma)), ..frame }),
        None => Pc::User,
    }
}

/// `--- interrupt: 700 at SYM`; the same line without `at` ends such a register dump.
fn interrupt(record: &Record<'_>, rest: &[u8], indent: usize) -> Option<Pc> {
    if !rest.starts_with(b"--- interrupt: ") && !rest.starts_with(b"--- Exception: ") {
        return None;
    }
    let at = memmem::find(rest, b" at ")? + 4;
    Some(place(record, indent + at).filter(|frame| !frame.symbol.is_empty()).map_or(Pc::User, Pc::Saved))
}

/// Whether a line of a stack belongs to a register dump in it, which does not end it.
pub fn is_register_dump(text: &[u8]) -> bool {
    let line = text.trim_ascii();
    let word = line.split(|b| matches!(b, b' ' | b':' | b'=')).next().unwrap_or_default();
    // Exception stack(0xc5b31fb0 to 0xc5b31ff8), and its words: 1fa0: 00000000 …
    const STARTS: &[&[u8]] = &[b"Exception stack", b"--- interrupt:", b"LR ["];
    STARTS.iter().any(|start| line.starts_with(start)) || (register(word) && value_follows(&line[word.len()..]))
}

/// `RSP`, `R08`, `ORIG_RAX`, `x29`, `r10`, `sp`, `pstate`, `GPR00`, `1fa0`.
fn register(word: &[u8]) -> bool {
    const NAMES: &[&[u8]] = &[
        b"sp",
        b"ip",
        b"fp",
        b"pc",
        b"lr",
        b"pstate",
        b"psr",
        b"ra",
        b"gp",
        b"tp",
        b"status",
        b"Flags",
        b"Control",
        b"FS",
        b"CS",
        b"DS",
        b"ORIG_RAX",
        b"EFLAGS",
        b"NIP",
        b"LR",
        b"REGS",
        b"MSR",
        b"CFAR",
        b"IRQMASK",
        b"MMCR0",
        b"CTR",
        b"pmr_save",
        b"knlGS",
    ];
    let lettered = matches!(word.len(), 2..=5)
        && word[0].is_ascii_alphabetic()
        && word[1..].iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let offset = word.len() == 4 && lex::bare_hex(word).is_some();
    lettered || offset || NAMES.contains(&word)
}

/// `: 0000000000000000`, ` : ffff…`, `:83721000`, `  : [<8028bd5c>]`, ` = SYM`.
fn value_follows(rest: &[u8]) -> bool {
    let value = rest.trim_ascii_start();
    let Some(value) = value.strip_prefix(b":").or_else(|| value.strip_prefix(b"=")) else { return false };
    let value = value.trim_ascii_start();
    let digits = value.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    digits >= 4 || value.starts_with(b"[<") || value.starts_with(b"0x") || rest.trim_ascii_start().starts_with(b"=")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::linux_prefix::Context;

    fn record(text: &str) -> Record<'_> {
        Record { context: Context::Bare, line: 1, line_start: 0, at: 0, text: text.as_bytes() }
    }

    #[test]
    fn every_form_names_its_function_and_no_user_code() {
        for line in [
            "RIP: 0010:f+0x15/0x20 [kslab]",
            "RIP: 0010:[<ffffffff8123487f>]  [<ffffffff8123487f>] f+0x61f/0x4b50",
            "RIP: e030:[<ffffffff8123487f>]  [<ffffffff8123487f>] f+0x61f/0x4b50",
            "IP: [<ffffffff8148e81d>] f+0x2bd/0x3410",
            r"RIP: 0010:[\u003cffffffff8123487f\u003e]  [\u003cffffffff8123487f\u003e] f+0x61f/0x4b50",
            "EIP: f+0x1/0x2",
            "EIP is at f+0x1/0x2",
            "pc : f+0x1/0x2",
            "PC is at f+0x1/0x2",
            "TPC: <f+0x1/0x2 [foo]>",
            "PC: <f+0x1/0x2>",
            "NIP [c00000000072f0c4] .f+0x1/0x2",
            "--- interrupt: 700 at f+0x1/0x2",
            "Krnl PSW : 0704f00180000000 000003ff8086d03a (f+0x3a/0x1000 [will_oops])",
            "epc : f+0x1/0x2",
            "epc   : 80208160 f+0x1/0x2",
            "  ERA: 9000000003e5a8c4 f+0x1/0x2",
            "PC: [<000a1b2c>] f+0x1/0x2",
            "PC: 0x8024a1b2 (f+0x1/0x2)",
            "pc is at f+0x1/0x2 [foo]",
            "pc      : f+0x1/0x2",
            " IAOQ[0]: f+0x1/0x2",
        ] {
            match pc(&record(line)) {
                Some((Pc::Before(frame) | Pc::Saved(frame), _)) => assert_eq!(frame.symbol.of(line.as_bytes(), 0), b"f", "{line}"),
                other => panic!("{line}: {other:?}"),
            }
        }
        assert!(pc(&record("   PC: c0a1b2c4    SR: 00008279    SP: c1827dc8")).is_none());
        assert!(matches!(pc(&record("RIP: 0033:0x7f8a")), Some((Pc::User, _))));
        assert!(matches!(pc(&record("RIP  [<ffffffff8123487f>] f+0x61f/0x4b50")), Some((Pc::Closing, _))));
        assert!(matches!(pc(&record("RIP: f+0x61f/0x4b50 RSP: ffff8801d94cf880")), Some((Pc::Closing, _))));
    }

    #[test]
    fn registers_are_told_from_other_words() {
        for line in [
            "RAX: 0000000000000000 RBX: dead4ead00000000",
            " r10:00000000 r9:83711010",
            "x29: ffffffc01ec87ea0 x28: ffffffc055663000",
            "sp : ffff",
            "1fc0: 00000000 00000001",
            "R13: 1",
        ] {
            assert_eq!(is_register_dump(line.as_bytes()), !line.ends_with("13: 1"), "{line}");
        }
        assert!(!is_register_dump(b"eth0: link up"));
    }
}
