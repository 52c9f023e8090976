//! Whether machine code itself shows that a function goes on to an address, for files that lost the symbols of their local functions.
//!
//! A return address lies in a function that calls, and on Darwin such a function saves a frame where it begins. An exact address may lie
//! anywhere, also in a function without a frame: then every instruction on the way from the symbol has to lead on to the next.

use iced_x86::{Decoder, DecoderOptions, Mnemonic, OpKind};

use super::code::another_function_begins;
use super::disassemble::LONGEST;
use crate::model::addr::Arch;

/// Bytes that are gone through for one exact address. Functions are shorter, and nobody's file may make each of many lookups take long.
const FARTHEST: usize = 256 << 10;

/// Whether a function that begins with `code` is the one that a return address behind `code` belongs to.
pub fn holds_return(arch: Arch, code: &[u8]) -> bool {
    another_function_begins(arch, code) == Some(false)
}

/// Whether a function that begins with `code` is the one that goes on behind `code`.
///
/// Wherever it may end, at a return, at a jump, behind a call that may not return, a conditional branch of its own must lead to or beyond
/// the next instruction: compilers make those inside of functions only (of the jumps this is not known, they may be calls of others).
pub fn holds_exact(arch: Arch, code: &[u8]) -> bool {
    if code.len() > FARTHEST {
        return false;
    }
    let mut led = 0;
    let mut at = 0;
    while at < code.len() && led < code.len() {
        let Some((length, flow)) = step(arch, &code[at..]) else { return false };
        match flow {
            Flow::Ends if led < at + length => return false,
            Flow::Leads(distance) => led = led.max(at.saturating_add_signed(distance)),
            Flow::On | Flow::Ends => {}
        }
        at += length;
    }
    (at == code.len() || led >= code.len()) && another_function_begins(arch, code) == Some(false)
}

/// What an instruction does to those behind it.
enum Flow {
    /// The next one follows, in the same function.
    On,
    /// What follows may be another function's.
    Ends,
    /// The next one follows, or that at a distance in bytes from here.
    Leads(isize),
}

/// The length of the first instruction, and where it leads; `None` where there is none that is known.
fn step(arch: Arch, code: &[u8]) -> Option<(usize, Flow)> {
    match arch {
        Arch::X86_64 => x86(64, code),
        Arch::I386 => x86(32, code),
        Arch::Arm64 | Arch::Arm64e => code.first_chunk::<4>().map(|word| (4, arm64(u32::from_le_bytes(*word)))),
        _ => None,
    }
}

fn x86(bits: u32, code: &[u8]) -> Option<(usize, Flow)> {
    use Mnemonic::{Call, Hlt, Int, Int1, Int3, Into, Iret, Iretd, Iretq, Jmp, Ret, Retf, Syscall, Sysexit, Sysret, Ud0, Ud1, Ud2};
    let instruction = Decoder::new(bits, &code[..code.len().min(LONGEST)], DecoderOptions::NONE).decode();
    let near = matches!(instruction.op0_kind(), OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64);
    let flow = match instruction.mnemonic() {
        _ if instruction.is_invalid() => return None,
        Call | Jmp | Ret | Retf | Iret | Iretd | Iretq | Syscall | Sysret | Sysexit => Flow::Ends,
        Hlt | Int | Int1 | Int3 | Into | Ud0 | Ud1 | Ud2 => Flow::Ends,
        // What is left of the branches is conditional. Decoded as if at address 0, the target is the distance.
        _ if near && bits == 32 => Flow::Leads(isize::try_from(instruction.near_branch32() as i32).ok()?),
        _ if near => Flow::Leads(isize::try_from(instruction.near_branch64() as i64).ok()?),
        _ => Flow::On,
    };
    Some((instruction.len(), flow))
}

/// Arm Architecture Reference Manual, C4.1.66, "Branches, Exception Generating and System instructions".
fn arm64(word: u32) -> Flow {
    let signed = |bits: u32, low: u32| (((word << (32 - low - bits)) as i32) >> (32 - bits)) as isize * 4;
    match word {
        // B.cond, CBZ and CBNZ; TBZ and TBNZ.
        _ if word & 0xff00_0000 == 0x5400_0000 || word & 0x7e00_0000 == 0x3400_0000 => Flow::Leads(signed(19, 5)),
        _ if word & 0x7e00_0000 == 0x3600_0000 => Flow::Leads(signed(14, 5)),
        // B and BL; BR, BLR, RET, ERET and their kinds with authentication; what raises an exception; no instruction at all.
        _ if word & 0x7c00_0000 == 0x1400_0000 || word & 0xfe00_0000 == 0xd600_0000 => Flow::Ends,
        _ if word & 0xff00_0000 == 0xd400_0000 || word >> 16 == 0 => Flow::Ends,
        _ => Flow::On,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arm64_code_goes_on_until_it_may_end() {
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let holds = |code: &[u32]| holds_exact(Arch::Arm64, &words(code));
        let (nop, save, ret, call, jump) = (0xd503_201f, 0xa9bf_7bfd, 0xd65f_03c0, 0x9400_0010, 0x1400_0002);
        assert!(holds(&[save, nop, nop]) && holds(&[]));
        for end in [ret, call, jump, 0xd61f_0100, 0xd65f_0fff, 0xd420_0020, 0] {
            assert!(!holds(&[nop, end]) && !holds(&[nop, end, nop]), "{end:#x}: the next is perhaps a leaf without a symbol");
        }
        // cbz x0, 2 on; b.ne; tbz: over the end to what is behind, or only to the end itself.
        for over in [0xb400_0040, 0x5400_0041, 0x3600_0040] {
            assert!(holds(&[over, ret, nop]) && holds(&[over, call, nop, nop]), "{over:#x}");
            assert!(!holds(&[over, nop, ret, nop]) && !holds(&[over, ret, ret, nop]), "{over:#x}");
        }
        assert!(!holds(&[nop, 0xb4ff_ffe0, ret, nop]), "a loop leads back");
        assert!(!holds(&[save, 0xb400_0040, save, nop]), "another function's frame");
        assert!(!holds_exact(Arch::Riscv64, &[]) && !holds_exact(Arch::Arm64, &[0; 3]));
    }

    #[test]
    fn x86_code_goes_on_until_it_may_end() {
        let holds = |code: &[u8]| holds_exact(Arch::X86_64, code);
        assert!(holds(&[0x55, 0x48, 0x89, 0xe5, 0x31, 0xc0]));
        // ret; jmp; call; call *%rax; jmp *%rax; ud2; int3.
        for end in [&[0xc3][..], &[0xeb, 0], &[0xe8, 0, 0, 0, 0], &[0xff, 0xd0], &[0xff, 0xe0], &[0x0f, 0x0b], &[0xcc]] {
            let over = [&[0x74, end.len() as u8], end, &[0x90]].concat();
            assert!(!holds(end) && !holds(&[end, &[0x90]].concat()) && holds(&over), "{end:x?}");
            assert!(holds_exact(Arch::I386, &over), "{end:x?}");
        }
        assert!(!holds(&[0x48]), "in the middle of an instruction");
        assert!(!holds(&[0x90, 0x75, 0xfd, 0xc3, 0x90]), "a loop leads back");
    }
}
