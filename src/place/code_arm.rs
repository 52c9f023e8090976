//! What a running 32-bit Arm kernel writes over its own code, told by the words alone: its tables of such places are not all in the file.
//!
//! Sources (arch/arm, 6.1): the tracer's call and its no-operation `pop {lr}` in kernel/ftrace.c; branches that are switched on and off in
//! kernel/jump_label.c; `__PV_BITS_*` in include/asm/memory.h and kernel/phys2virt.S; `ALT_UP` in include/asm/assembler.h; breakpoints in
//! probes/kprobes/core.h.

/// Why the instruction that holds byte `at` may differ from the file's; `unit` is 4 for Arm and 2 for Thumb. Both begin with an instruction.
pub fn allows(unit: usize, log: &[u8], file: &[u8], at: usize) -> Option<&'static str> {
    if unit == 4 {
        let from = at - at % 4;
        return arm(super::code_bytes::field(log, from)?, super::code_bytes::field(file, from)?);
    }
    let from = at - at % 2;
    let halfword = |bytes: &[u8]| Some(u16::from_le_bytes([*bytes.get(from)?, *bytes.get(from + 1)?]));
    if halfword(log)? == 0xde18 {
        return Some("probe");
    }
    // The byte may be in the first or the second half of an instruction.
    let pairs = [Some(from), from.checked_sub(2)];
    pairs.into_iter().flatten().find_map(|from| thumb(pair(log, from)?, pair(file, from)?))
}

/// Two halfwords as the manual writes them: the first in front.
fn pair(bytes: &[u8], from: usize) -> Option<u32> {
    super::code_bytes::field(bytes, from).map(|word| word.rotate_left(16))
}

fn arm(log: u32, file: u32) -> Option<&'static str> {
    let quiet = |word: u32| matches!(word, 0xe1a0_0000 | 0xe320_f000 | 0xe8bd_4000);
    let branch = |word: u32| word & 0xfe00_0000 == 0xea00_0000;
    // add, sub and mov of 0x81000000 or 0x810000, whose eight bits are the distance of physical from virtual addresses once the kernel runs.
    let stub = matches!(file & 0xfff, 0x481 | 0x881) && matches!(file >> 21 & 0x7f, 0x12 | 0x14 | 0x1d);
    // dmb, dsb, pldw and the barriers of the system coprocessor are taken out on machines with one processor.
    let barrier =
        matches!(file & 0xffff_fff0, 0xf57f_f050 | 0xf57f_f040) || file & 0xfff0_f000 == 0xf590_f000 || file & 0xffff_0fff == 0xee07_0fba;
    match () {
        _ if log & 0x0fff_ffff == 0x07f0_01f8 => Some("probe"),
        _ if (quiet(log) && (branch(file) || quiet(file))) || (quiet(file) && branch(log)) => Some("branch or no-operation"),
        _ if stub && log & 0xfe1f_f000 == file & 0xfe1f_f000 => Some("physical offset"),
        _ if quiet(log) && barrier => Some("barrier"),
        _ => None,
    }
}

fn thumb(log: u32, file: u32) -> Option<&'static str> {
    let quiet = |word: u32| matches!(word, 0xf85d_eb04 | 0xf3af_8000);
    // bl, blx and b.w.
    let branch = |word: u32| word & 0xf800_8000 == 0xf000_8000 && word & 0x5000 != 0;
    let barrier = matches!(file & 0xffff_fff0, 0xf3bf_8f50 | 0xf3bf_8f40);
    match () {
        _ if log == 0xf7f0_a018 => Some("probe"),
        _ if (quiet(log) && (branch(file) || quiet(file))) || (quiet(file) && branch(log)) => Some("branch or no-operation"),
        _ if quiet(log) && barrier => Some("barrier"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(log: u32, file: u32) -> Option<&'static str> {
        allows(4, &log.to_le_bytes(), &file.to_le_bytes(), 1)
    }

    #[test]
    fn what_the_kernel_writes_is_allowed_and_nothing_else() {
        assert_eq!(word(0xe8bd_4000, 0xeb00_1234), Some("branch or no-operation"), "the tracer's call");
        assert_eq!(word(0xea00_0010, 0xe320_f000), Some("branch or no-operation"), "a jump label");
        assert_eq!(word(0xeb00_1235, 0xeb00_1234), None, "a call of a function that moved");
        assert_eq!(word(0xe280_3102, 0xe280_3481), Some("physical offset"), "add r3, r0, #0x80000000 for #0x81000000");
        assert_eq!(word(0xe280_4102, 0xe280_3481), None, "into another register");
        assert_eq!(word(0xe280_3008, 0xe280_3004), None, "another constant");
        assert_eq!(word(0xe1a0_0000, 0xf57f_f05b), Some("barrier"));
        assert_eq!(word(0xe1a0_0000, 0xe599_0000), None);
        assert_eq!(word(0xe7f0_01f8, 0xe599_0000), Some("probe"));
    }

    #[test]
    fn a_thumb_instruction_may_be_two_halfwords() {
        // mov r4, r0; bl …; mov r5, r0: the call replaced by pop.w {lr}.
        let (log, file) = ([0x04, 0x46, 0x5d, 0xf8, 0x04, 0xeb, 0x05, 0x46], [0x04, 0x46, 0xff, 0xf7, 0x5d, 0xbf, 0x05, 0x46]);
        assert!((2..6).all(|at| allows(2, &log, &file, at) == Some("branch or no-operation")));
        assert_eq!(allows(2, &[0x18, 0xde, 0, 0], &[0x28, 0x68, 0, 0], 0), Some("probe"));
        assert_eq!(allows(2, &[0x29, 0x68, 0, 0], &[0x28, 0x68, 0, 0], 0), None);
        assert_eq!(allows(2, &[0x29], &[0x28], 0), None);
    }
}
