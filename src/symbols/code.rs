//! What a few bytes of machine code prove: that a return address follows a call, and where a function begins.
//!
//! Only sure patterns are used; a pattern that is not there proves nothing.

use crate::model::addr::Arch;

/// How many bytes before a return address [`follows_call`] wants to see; fewer are fine at the start of a section.
pub const CALL_BYTES: usize = 8;

/// Whether the instruction that ends where `before` ends can be a call, which it must be if a return address points there.
/// `None` for an architecture whose calls are not known here.
pub fn follows_call(arch: Arch, before: &[u8]) -> Option<bool> {
    match arch {
        Arch::X86_64 | Arch::I386 => Some(x86_call(before)),
        Arch::Arm64 | Arch::Arm64e => Some(arm64_call(before)),
        _ => None,
    }
}

/// `E8 rel32`, or `FF /2` in each of its lengths.
fn x86_call(before: &[u8]) -> bool {
    let back = |n: usize| before.len().checked_sub(n).map(|at| before[at]);
    if back(5) == Some(0xe8) {
        return true;
    }
    [2usize, 3, 4, 6, 7].into_iter().any(|len| {
        let (Some(0xff), Some(modrm)) = (back(len), back(len - 1)) else { return false };
        indirect_call(modrm) == Some(len)
    })
}

/// The length of an x86 instruction `FF /2` with that second byte, without prefixes; `None` when it is no call.
pub fn indirect_call(modrm: u8) -> Option<usize> {
    let (mode, reg, rm) = (modrm >> 6, (modrm >> 3) & 7, modrm & 7);
    let sib = usize::from(mode != 3 && rm == 4);
    let displacement = match mode {
        0 if rm == 5 => 4,
        0 | 3 => 0,
        1 => 1,
        _ => 4,
    };
    (reg == 2).then_some(2 + sib + displacement)
}

/// `BL`, `BLR`, and `BLRAA`, `BLRAB`, `BLRAAZ`, `BLRABZ`.
fn arm64_call(before: &[u8]) -> bool {
    let Some(word) = before.len().checked_sub(4).map(|at| word(&before[at..])) else { return false };
    word & 0xfc00_0000 == 0x9400_0000 || word & 0xffff_fc1f == 0xd63f_0000 || word & 0xfeff_f800 == 0xd63f_0800
}

/// Whether another function visibly begins in `code`, the bytes from a symbol's start to an address that might be behind it.
/// `None` for an architecture whose function entries are not known here.
///
/// Darwin kernels are built with frame pointers, so every function that calls another begins by saving one.
pub fn another_function_begins(arch: Arch, code: &[u8]) -> Option<bool> {
    let inside = code.get(1..).unwrap_or_default();
    match arch {
        // push %rbp; mov %rsp,%rbp
        Arch::X86_64 => Some(memchr::memmem::find(inside, &[0x55, 0x48, 0x89, 0xe5]).is_some()),
        // push %ebp; mov %esp,%ebp
        Arch::I386 => Some(memchr::memmem::find(inside, &[0x55, 0x89, 0xe5]).is_some()),
        // Code in assembler, and all of some kexts, saves a frame without signing it.
        Arch::Arm64e => Some(code.chunks_exact(4).skip(1).any(|chunk| word(chunk) == PACIBSP) || arm64_begins(code)),
        Arch::Arm64 => Some(arm64_begins(code)),
        _ => None,
    }
}

/// The function's own frame is the first that is saved, unless it may have ended before: a leaf saves none.
fn arm64_begins(code: &[u8]) -> bool {
    let mut words = code.chunks_exact(4).map(word);
    let ended = words.by_ref().take_while(|word| !saves_frame(*word)).any(ends);
    // The iterator stands behind the first save, or at the end.
    match ended {
        true => code.chunks_exact(4).any(|chunk| saves_frame(word(chunk))),
        false => words.any(saves_frame),
    }
}

const PACIBSP: u32 = 0xd503_237f;
/// `B`, which ends a function that ends in a call of another.
const BRANCH: u32 = 0x1400_0000;

/// Whether a function can end with that instruction: `B`, or `BR`, `RET` and `ERET` with and without authentication.
fn ends(word: u32) -> bool {
    word & 0xfc00_0000 == BRANCH || (word & 0xfe00_0000 == 0xd600_0000 && word & 0x0060_0000 != 0x0020_0000)
}

/// `stp x29, x30, [sp, #n]` with or without write-back.
fn saves_frame(word: u32) -> bool {
    matches!(word & 0xffc0_7fff, 0xa980_7bfd | 0xa900_7bfd)
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x86_calls_of_every_length() {
        let calls: &[&[u8]] = &[
            &[0xe8, 1, 2, 3, 4],
            &[0xff, 0xd0],                   // call *%rax
            &[0x41, 0xff, 0xd3],             // call *%r11
            &[0xff, 0x50, 0x18],             // call *0x18(%rax)
            &[0xff, 0x14, 0xc8],             // call *(%rax,%rcx,8)
            &[0xff, 0x54, 0x24, 0x08],       // call *8(%rsp)
            &[0xff, 0x90, 0, 1, 0, 0],       // call *0x100(%rax)
            &[0xff, 0x15, 0, 1, 0, 0],       // call *0x100(%rip)
            &[0xff, 0x94, 0xc8, 0, 1, 0, 0], // call *0x100(%rax,%rcx,8)
        ];
        for call in calls {
            assert_eq!(follows_call(Arch::X86_64, call), Some(true), "{call:x?}");
        }
        for other in [&[0x90, 0x90, 0x90, 0x90, 0x90][..], &[0xff, 0xe0], &[0x48, 0x89, 0xe5], &[]] {
            assert_eq!(follows_call(Arch::X86_64, other), Some(false), "{other:x?}");
        }
    }

    const RET: u32 = 0xd65f_03c0;

    #[test]
    fn arm64_calls_and_function_entries() {
        for call in [0x9400_0010u32, 0xd63f_0100, 0xd63f_0910, 0xd73f_0a11] {
            assert_eq!(follows_call(Arch::Arm64e, &call.to_le_bytes()), Some(true), "{call:x}");
        }
        for other in [0x1400_0010u32, 0xd65f_03c0, 0xd503_201f] {
            assert_eq!(follows_call(Arch::Arm64e, &other.to_le_bytes()), Some(false), "{other:x}");
        }
        let entry = PACIBSP.to_le_bytes();
        let nop = 0xd503_201fu32.to_le_bytes();
        assert_eq!(another_function_begins(Arch::Arm64e, &[entry, nop].concat()), Some(false));
        assert_eq!(another_function_begins(Arch::Arm64e, &[entry, nop, entry].concat()), Some(true));
        let retab = 0xd65f_0fffu32.to_le_bytes();
        assert_eq!(another_function_begins(Arch::Arm64e, &[nop, retab, 0xa9bf_7bfdu32.to_le_bytes(), nop].concat()), Some(true));
        let (save, ret) = (0xa9bf_7bfdu32.to_le_bytes(), RET.to_le_bytes());
        let arm64 = |words: &[[u8; 4]]| another_function_begins(Arch::Arm64, &words.concat());
        assert_eq!((arm64(&[nop, save, nop, ret]), arm64(&[save, nop, ret, save])), (Some(false), Some(true)));
        assert_eq!(arm64(&[nop, ret, save, nop]), Some(true), "a leaf, and the next function's frame");
        assert_eq!(arm64(&[nop, BRANCH.to_le_bytes(), save, nop]), Some(true));
        assert_eq!(arm64(&[nop, ret, nop]), Some(false));
    }
}
