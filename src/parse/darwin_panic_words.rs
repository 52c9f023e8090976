//! The addresses that a macOS panic prints in words and registers: what called panic, where execution was, what every core did.
//!
//! ```text
//! panic(cpu 2 caller 0xfffffe0024af6ed4): Kernel data abort. at pc 0xfffffe0024b02738, lr 0x1dfffe0024b02790 (saved state: 0x…)
//! panic(cpu 4 caller 0xffffff8000205355): Kernel trap at 0xffffff7f80ef9bb0, type 14=page fault, registers:
//! RFL: 0x0000000000010282, RIP: 0xffffff7f80ef9bb0, CS:  0x0000000000000008, SS:  0x0000000000000010
//!      pc:  0xfffffe0024b02738 cpsr: 0x60401208         esr: 0x96000006          far: 0x000000000000000b
//! CORE 0: PC=0xfffffe0024af31b8, LR=0xfffffe0024af3294, FP=0xfffffe3a396a7ef0
//! CORE 4 recently retired instr at 0xfffffe0026186ee8
//! ```
//! Sources: xnu, osfmk/i386/trap.c (`panic_trap`), osfmk/arm64/sleh.c (`panic_with_thread_kernel_state`), osfmk/arm64 (`panic_display_last_pc_lr`).

use std::ops::Range;

use memchr::memmem;

use super::darwin_panic_view::{PANIC, Shape, hex_run};
use super::lex;
use crate::model::addr::Arch;

/// What an address in words is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// Where panic returns to.
    Caller,
    /// Where execution was when it faulted.
    Fault,
    /// The same in a register or another line.
    Pc,
    /// The interrupted link register, which may be stale. It can be signed.
    Lr,
    /// Where an instruction was retired.
    Retired,
}

/// An address in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    /// What it is.
    pub what: What,
    /// What the report calls it, as a range of the line's bytes.
    pub label: Range<usize>,
    /// The address's digits.
    pub word: Range<usize>,
    /// Its value, any signature taken off.
    pub address: u64,
}

/// What stands before an address: bytes before the label, the label, bytes behind it.
const MARKS: &[(&str, &str, &str, What)] = &[
    ("", "caller", " ", What::Caller),
    ("at ", "pc", " ", What::Fault),
    (" ", "lr", " ", What::Lr),
    ("", "RIP", ": ", What::Pc),
    ("", "EIP", ": ", What::Pc),
    (" ", "rip", " ", What::Pc),
    ("retired ", "instr at", " ", What::Retired),
];

/// Addresses in a line of words; those that are cut are told apart.
pub fn said(body: &[u8], shape: &Shape) -> Vec<Said> {
    let mut all: Vec<Said> =
        MARKS.iter().filter_map(|(before, label, behind, what)| marked(body, (before, label, behind), *what, shape)).collect();
    all.extend(trap(body, shape));
    if is_registers(body) {
        all.extend(marked(body, ("", "pc", ":"), What::Pc, shape));
        all.extend(marked(body, ("", "lr", ":"), What::Lr, shape));
    }
    all.sort_by_key(|said| said.word.start);
    all
}

/// Whether a line is one of arm64's last two of registers.
fn is_registers(body: &[u8]) -> bool {
    let has = |name: &[u8]| memmem::find(body, name).is_some();
    has(b"cpsr:") || (has(b"lr:") && has(b"sp:"))
}

fn marked(body: &[u8], (before, label, behind): (&str, &str, &str), what: What, shape: &Shape) -> Option<Said> {
    let mark = [before, label, behind].concat();
    let at = memmem::find(body, mark.as_bytes())?;
    let start = at + mark.len() + lex::indent(&body[at + mark.len()..]);
    let word = word(body, start)?;
    let raw = shape.address(&body[word.clone()])?;
    let address = if what == What::Lr && is_arm64(shape) { stripped(raw) } else { raw };
    let label = at + before.len()..at + before.len() + label.len();
    Some(Said { what, label, word, address })
}

fn is_arm64(shape: &Shape) -> bool {
    matches!(shape.arch, Some(Arch::Arm64 | Arch::Arm64e))
}

/// `REASON at 0xPC, type 14=page fault, registers:`; since 15.4 `type = 14=…`, or no type where the reason is another.
fn trap(body: &[u8], shape: &Shape) -> Option<Said> {
    let end = memmem::find(body, b"): ").map_or(0, |at| at + 3);
    let at = end + memmem::find(&body[end..], b" at 0x").filter(|_| body.starts_with(PANIC))?;
    let word = word(body, at + 4)?;
    let rest = &body[word.end..];
    if !rest.starts_with(b",") || !(memmem::find(rest, b"registers").is_some() || memmem::find(rest, b"type").is_some()) {
        return None;
    }
    Some(Said { what: What::Fault, label: end..at + 3, address: shape.address(&body[word.clone()])?, word })
}

/// The `0x…` at `start`.
fn word(body: &[u8], start: usize) -> Option<Range<usize>> {
    let digits = body.get(start..)?.strip_prefix(b"0x")?;
    Some(start..start + 2 + hex_run(digits).len())
}

/// Takes the signature off a pointer to code of the kernel or of user space.
///
/// Kernel addresses of macOS have 47 bits (T1SZ 17); the code that signs them stands in bits 63:56 and 54:47, and bit 55 says which half
/// of the address space it is (xnu, osfmk/arm64/proc_reg.h; checked on reports with the same address signed and not).
pub fn stripped(address: u64) -> u64 {
    if address >> 55 & 1 == 1 { address | 0xffff_8000_0000_0000 } else { address & 0x0000_7fff_ffff_ffff }
}

/// The number of a trap in a panic's first line.
pub fn trap_number(body: &[u8]) -> Option<u64> {
    let at = memmem::find(body, b", type ")?;
    let rest = body[at + 7..].strip_prefix(b"= ").unwrap_or(&body[at + 7..]);
    lex::decimal(&rest[..memchr::memchr(b'=', rest)?])
}

/// What a line says about one core: its number, and its pc and lr.
pub fn core(body: &[u8], shape: &Shape) -> Option<(u32, Vec<Said>)> {
    let rest = body.strip_prefix(b"CORE ")?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let number = u32::try_from(lex::decimal(&rest[..digits])?).ok()?;
    let pc = marked(body, ("", "PC", "="), What::Pc, shape);
    let lr = marked(body, ("", "LR", "="), What::Caller, shape);
    Some((number, pc.into_iter().chain(lr).collect()))
}

/// The value behind `name`, whatever its width.
pub fn value(body: &[u8], name: &str) -> Option<u64> {
    let at = memmem::find(body, name.as_bytes())? + name.len();
    let start = at + lex::indent(&body[at..]);
    lex::hex(&body[word(body, start)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Vec<(What, String, u64)> {
        let shape = Shape::of(line.as_bytes());
        said(line.as_bytes(), &shape).into_iter().map(|said| (said.what, line[said.label].to_string(), said.address)).collect()
    }

    #[test]
    fn addresses_in_words_have_the_reports_names() {
        let line =
            "panic(cpu 2 caller 0xfffffe0024af6ed4): Kernel data abort. at pc 0xfffffe0024b02738, lr 0x1dfffe0024b02790 (saved state: 0x1)";
        let is = |what, label: &str, address| (what, label.to_string(), address);
        assert_eq!(
            read(line),
            [
                is(What::Caller, "caller", 0xfffffe0024af6ed4),
                is(What::Fault, "pc", 0xfffffe0024b02738),
                is(What::Lr, "lr", 0xfffffe0024b02790)
            ]
        );
        for kind in ["type 14=page fault, registers:", "type = 14=page fault #0x0010, registers:", "registers:"] {
            let line = format!("panic(cpu 4 caller 0xffffff8000205355): Kernel trap at 0xffffff7f80ef9bb0, {kind}");
            assert_eq!(read(&line)[1], is(What::Fault, "Kernel trap at", 0xffffff7f80ef9bb0));
            assert_eq!(trap_number(line.as_bytes()), kind.starts_with("type").then_some(14));
        }
        assert_eq!(read("pc:  0xfffffe0024b02738 cpsr: 0x60401208         esr: 0x96000006"), [is(What::Pc, "pc", 0xfffffe0024b02738)]);
        let line = "x28: 0x0000000000000000 fp:  0xfffffe7fde02f3f0  lr:  0x6293fe00292ad6c0  sp:  0xfffffe7fde02f3d0";
        assert_eq!(read(line), [is(What::Lr, "lr", 0xfffffe00292ad6c0)]);
        assert_eq!(read("panic(cpu 2 caller 0xfffffe0024af6ed4): x at 0xfffffe0024af6ed4 y").len(), 1);
    }

    #[test]
    fn signatures_go_and_bit_47_is_one_of_theirs() {
        assert_eq!(stripped(0x6293_fe00_292a_d6c0), 0xffff_fe00_292a_d6c0);
        assert_eq!(stripped(0xc28e_7e00_2098_8808), 0xffff_fe00_2098_8808);
        assert_eq!(stripped(0xffff_fe00_2098_8808), 0xffff_fe00_2098_8808);
        assert_eq!(stripped(0x0038_0001_95c3_13f8), 0x1_95c3_13f8);
    }

    #[test]
    fn cores_say_where_they_are_in_four_forms() {
        let shape = Shape::plain(Arch::Arm64);
        let read =
            |line: &str| core(line.as_bytes(), &shape).map(|(number, said)| (number, said.iter().map(|said| said.address).collect()));
        let both = vec![0xfffffe0024af31b8, 0xfffffe0024af3294];
        assert_eq!(read("CORE 0: PC=0xfffffe0024af31b8, LR=0xfffffe0024af3294, FP=0xfffffe3a396a7ef0"), Some((0, both.clone())));
        assert_eq!(read("CORE 10 [PACC1]: PC=0xfffffe0024af31b8, LR=0xfffffe0024af3294, FP=0x0"), Some((10, both)));
        assert_eq!(read("CORE 2 is the one that panicked. Check the full backtrace for details."), Some((2, vec![])));
        assert_eq!(read("CORE 0 PVH locks held: None"), Some((0, vec![])));
        assert_eq!(said(b"CORE 4 recently retired instr at 0xfffffe0026186ee8", &shape)[0].what, What::Retired);
        assert_eq!(read("CORE dump"), None);
    }
}
