//! Stacks that dtrace prints with `-q` where a probe fires: no row of the probe above them, no count below.
//!
//! ```text
//!
//!               genunix`cv_wait+0x61              stack(), behind an empty line
//!               unix`sys_syscall+0x10e
//!
//!               bash`main+0x22                    ustack(), behind another
//!               bash`_start+0x83
//! ```
//! Nothing says which of both a list of frames is, and those of a program often begin in the program itself, whose name can be any: the
//! module `unix` or `genunix`, on other systems `kernel` or `mach_kernel`, is in nearly every stack of a kernel and in none of a program.

use rustc_hash::FxHashSet;

use super::dtrace::{HEADING, INDENT, KERNELS, count, frame, is_distribution, table};
use super::{atos, lex};
use crate::model::stack::{RawFrame, Stack};

/// Whether `text` has stacks of probes without rows: lists of frames where `-q` writes them, each behind an empty line, and no count.
pub(super) fn is_quiet(text: &[u8]) -> bool {
    let (mut frames, mut empty, mut found) = (0, true, false);
    for line in lex::lines(text) {
        let ends = frames > 0 && (count(line.bytes).is_some() || is_distribution(line.bytes));
        if ends || line.bytes.trim_ascii_end().ends_with(HEADING) || table(line.bytes).is_some() {
            return false;
        }
        if lex::indent(line.bytes) == INDENT && (empty || frames > 0) && frame(line.bytes).is_some() {
            frames += 1;
            found |= frames > 1;
        } else if frames == 0 || !atos::is_location(line.bytes) {
            (frames, empty) = (0, line.bytes.trim_ascii().is_empty());
        }
    }
    found
}

/// Whose the lists of frames are.
#[derive(Default)]
pub(super) struct Sides<'t> {
    /// The modules of the kernel's so far.
    seen: FxHashSet<&'t [u8]>,
}

impl<'t> Sides<'t> {
    /// Whether `frames`, which follow the stack `above`, are a program's.
    pub(super) fn are_programs(&mut self, text: &'t [u8], frames: &[RawFrame], above: Option<&Stack>) -> bool {
        let module = |frame: &RawFrame| frame.module.of(text, frame.line_start);
        let kernels = || frames.iter().any(|frame| is_kernels(module(frame), frame));
        let programs = || frames.iter().any(|frame| is_programs(module(frame), frame));
        let known = || frames.first().is_some_and(|first| self.seen.contains(module(first)));
        // A kernel's comes first, and behind a program's another kernel's.
        let expected = above.is_some_and(|above| above.frames.is_empty() || above.user_frames.is_empty());
        let found = !kernels() && (programs() || !known() && expected);
        if !found {
            self.seen.extend(frames.iter().map(module).filter(|name| !name.is_empty()));
        }
        found
    }
}

/// Whether a frame lies in a kernel, or where no program does.
fn is_kernels(module: &[u8], frame: &RawFrame) -> bool {
    let high = || frame.symbol.is_empty() && frame.address.is_some_and(|address| address.0 >> 47 != 0);
    if module.is_empty() { high() } else { module.ends_with(b"kernel") || KERNELS.iter().any(|(name, _)| *name == module) }
}

/// Whether a frame lies in a library, or where no kernel does.
fn is_programs(module: &[u8], frame: &RawFrame) -> bool {
    let library = [&b".so"[..], b".dylib"].iter().any(|end| memchr::memmem::find(module, end).is_some());
    library || module.is_empty() && frame.symbol.is_empty() && frame.address.is_some_and(|address| address.0 >> 47 == 0)
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::dtrace::Dtrace;

    /// For each stack how many frames the kernel has, how many the program, and the line where it begins.
    fn sides(blocks: &[&str]) -> Vec<(usize, usize, u32)> {
        let block = |frames: &&str| frames.split(' ').map(|frame| format!("              {frame}\n")).collect();
        let text = format!("\n{}", blocks.iter().map(block).collect::<Vec<String>>().join("\n"));
        let stacks = Dtrace.parse(text.as_bytes()).stacks.into_iter();
        stacks.map(|stack| (stack.frames.len(), stack.user_frames.len(), stack.line)).collect()
    }

    #[test]
    fn a_program_s_frames_are_no_stack_of_the_kernel() {
        let (kernel, other) = ("unix`f+0x1 genunix`g+0x1", "zfs`a genunix`g+0x1 unix`h");
        let (own, library) = ("bash`main+0x22 bash`_start+0x1", "libc.so.1`__read+0xa bash`main");
        for program in [own, library, "0x401000 0x402000", "zfs`main zfs`_start"] {
            assert_eq!(sides(&[kernel, program, kernel]), [(2, 2, 2), (2, 0, 8)], "{program}");
            assert_eq!(sides(&[kernel, program, other]), [(2, 2, 2), (3, 0, 8)], "{program}");
        }
        assert_eq!(sides(&[kernel, other, own]), [(2, 0, 2), (3, 2, 5)]);
        // A module that a kernel's stack had begins one again, even where the end was not asked for: `stack(2)`.
        assert_eq!(sides(&[other, own, "zfs`b zfs`c"]), [(3, 2, 2), (2, 0, 9)]);
        assert_eq!(sides(&["zfs`b zfs`c", own, "ip`b ip`c", own]), [(2, 2, 2), (2, 2, 8)]);
        // The program of the same name as a module.
        assert_eq!(sides(&[other, "libzfs.so.1`a zfs`main"]), [(3, 2, 2)]);
        assert_eq!(sides(&["kernel`a 0xffffffff80000000", own, "0xffffffff80000000 0xffffffff80000010"]), [(2, 2, 2), (2, 0, 8)]);
    }

    #[test]
    fn programs_alone_have_no_frames_of_the_kernel() {
        assert_eq!(sides(&["libc.so.1`__read+0xa bash`main", "bash`main bash`_start"]), [(0, 2, 2), (0, 2, 5)]);
    }
}
