//! Where execution was: the program counters in the report of one context, which lead its stacks or stand in them, and the code around
//! each.

use super::linux_code;
use super::linux_context::{Found, PATIENCE, Reader};
use super::linux_pc::Pc;
use super::linux_prefix::Record;
use crate::model::code::Code;
use crate::model::stack::{RawFrame, Role, Span};

/// Which place the latest program counter of a context named.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Subject {
    /// None, one in user space, or one that was said before.
    #[default]
    Nothing,
    /// The one that leads the next stack, or the current one.
    Fault,
    /// That frame of the current stack.
    Frame(usize),
}

/// By what a place that is said again is known, without its letters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    numbers: [Option<u64>; 3],
    lengths: [u32; 2],
}

impl Place {
    pub(super) fn of(frame: &RawFrame) -> Place {
        let length = |span: Span| span.end - span.start;
        Place { numbers: [frame.address.map(|at| at.0), frame.offset, frame.size], lengths: [length(frame.symbol), length(frame.module)] }
    }
}

impl Reader {
    /// Keeps the code around the latest program counter.
    pub(super) fn code(&mut self, record: &Record<'_>) {
        let subject = std::mem::take(&mut self.subject);
        let Some(code) = linux_code::code(record).filter(|_| subject != Subject::Nothing) else { return };
        let leads = self.frames.first().is_some_and(|frame| frame.role == Role::Fault);
        match (&mut self.stack, subject) {
            (Some(stack), Subject::Frame(frame)) => stack.code.push(Code { frame: Some(frame), ..code }),
            (Some(stack), _) if leads => stack.code.push(Code { frame: Some(0), ..code }),
            (None, _) if self.pc.is_some() => self.code = Some(Code { frame: Some(0), ..code }),
            _ => {}
        }
    }

    /// Takes a program counter.
    pub(super) fn pc(&mut self, pc: Pc, found: &mut Found) {
        let inside = self.stack.is_some() || self.trace;
        match pc {
            // PowerPC says where the interrupt came in once more, behind the registers.
            Pc::Before(_) if self.dump && self.frames.last().is_some_and(|frame| frame.role == Role::Regs) => {}
            Pc::Saved(frame) if inside => {
                let role = if frame.role == Role::Inline { Role::Inline } else { Role::Regs };
                self.push(RawFrame { role, ..frame }, found);
                self.subject = Subject::Frame(self.frames.len() - 1);
                self.dump = true;
            }
            // The innermost function that was inlined there is the first of several lines; the one that has the code is the last.
            Pc::Saved(frame) | Pc::Before(frame) if frame.role == Role::Inline => self.close(found),
            Pc::Saved(frame) | Pc::Before(frame) => {
                self.close(found);
                self.fault(frame);
                self.patience = PATIENCE;
            }
            // What an interrupt left on the stack can follow the registers of user mode.
            Pc::User if self.stack.is_some() => (self.dump, self.subject) = (true, Subject::Nothing),
            Pc::User | Pc::Closing => {
                // Kernels up to 4.x print the code behind the stack and the program counter once more below it; that closes it.
                self.close(found);
                self.alone(found);
                (self.subject, self.code) = (Subject::Nothing, None);
                (self.pc, self.patience, self.trace) = (None, 0, false);
            }
        }
    }

    /// Gives up waiting for a trace: a report that was cut, or has none, says all the same where execution was.
    pub(super) fn alone(&mut self, found: &mut Found) {
        // x86 says it again below the report, and the line that ends that may be lost.
        let again = |pc: &RawFrame| self.led == Some(Place::of(pc));
        if let Some(pc) = self.pc.filter(|pc| self.stack.is_none() && !pc.symbol.is_empty() && !again(pc)) {
            self.patience = PATIENCE;
            self.open(&pc, found);
            self.close(found);
        }
    }

    /// Keeps where execution was for the next stack. What is said again without a symbol adds nothing.
    fn fault(&mut self, frame: RawFrame) {
        let worse = frame.symbol.is_empty() && self.pc.is_some_and(|pc| !pc.symbol.is_empty());
        self.subject = Subject::Nothing;
        if !worse && !self.over {
            self.pc = Some(RawFrame { role: Role::Fault, ..frame });
            (self.subject, self.code) = (Subject::Fault, None);
        }
    }
}

/// Execution at an address without a symbol, in a log that has symbols, went astray: no code is there. `innermost` is the first
/// frame of the trace that follows, which can be the same address again.
pub(super) fn is_code(pc: &RawFrame, innermost: &RawFrame) -> bool {
    !pc.symbol.is_empty() || (innermost.symbol.is_empty() && innermost.address != pc.address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{Format, lex, linux_log::LinuxLog};

    /// The functions of each stack.
    fn read(text: &str) -> Vec<Vec<String>> {
        let name = |frame: &RawFrame| lex::text(frame.symbol.of(text.as_bytes(), frame.line_start));
        LinuxLog.parse(text.as_bytes()).stacks.iter().map(|stack| stack.frames.iter().map(name).collect()).collect()
    }

    #[test]
    fn a_fault_without_a_trace_is_a_stack_of_one_frame() {
        let cut = "BUG: kernel NULL pointer dereference, address: 0000000000000000\n\
            CPU: 1 PID: 300 Comm: sh Tainted: G           OE      6.1.0-56-amd64 #1\nRIP: 0010:write_null+0x5/0x20 [kslab]\nCode: 90 c7 04 25\n";
        assert_eq!(read(cut), [["write_null"]]);
        let stack = &LinuxLog.parse(cut.as_bytes()).stacks[0];
        assert_eq!((stack.line, stack.process.as_deref(), stack.frames[0].role), (1, Some("sh"), Role::Fault));
        let end = "RIP: 0033:0x7f00\n </TASK>\n---[ end trace 0000000000000000 ]---\nRIP: 0010:write_null+0x5/0x20 [kslab]\n";
        let (empty, whole) = (format!("{cut}Call Trace:\n <TASK>\n{end}"), format!("{cut}Call Trace:\n <TASK>\n vfs_write+0x1/0x2\n{end}"));
        assert_eq!(read(&format!("{empty}{whole}")), [&["write_null"][..], &["write_null", "vfs_write"]], "what is said again is no other");
        let endless = whole.replace("---[ end trace 0000000000000000 ]---\n", "Modules linked in: kslab(OE)\nCR2: 0000000000000000\n");
        assert_eq!(read(&endless), [["write_null", "vfs_write"]], "nor where the line that ends the report is lost");
        assert_eq!(read("[    1.000000] RIP: 0010:f+0x5/0x20\n"), [["f"]], "somebody asks about this line");
        assert!(read("[    1.000000] RIP: 0033:0x7f00\n[    1.000000] RIP: 0010:0x0\n").is_empty());
    }
}
