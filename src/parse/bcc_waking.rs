//! Who woke whom in the output of bcc's `wakeuptime` and `offwaketime`.
//!
//! ```text
//!     target:          sshd                 wakeuptime: who was woken, and the stack that did it
//!     pollwake
//!     waker:           kworker/u16:2
//!         4001028
//!     waker:           swapper/0 0          offwaketime: the waker's stack, outermost first,
//!     __wake_up
//!     --               --                   then the blocked one; older versions write `-   -`
//!     schedule
//!     target:          cksum 4711
//!         56529
//! ```
//! Source: tools/wakeuptime.py and tools/offwaketime.py (bcc 0.30). `--   --` came into offwaketime together with the process ids (November
//! 2016): below `-   -` a number at the end of a line is a part of the name. Until August 2019 it printed each of the two ids in the other's
//! line, which nothing in the text tells. The count of offwaketime is of both together: it belongs to the task
//! that slept, and its waker's stack stands aside before it, uncounted. Folded they are one stack again.

use super::lex;
use super::samples::Samples;
use crate::model::lock::{Annotations, Waker};
use crate::model::stack::Stack;

/// Who a stack of wakeuptime or offwaketime belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Party {
    /// Who woke another.
    Waker,
    /// Who had slept.
    Target,
}

/// `waker:           kworker/u16:2` and `target:          cksum 4711`, with the name and what is the process id where the tool prints it.
pub(super) fn role(line: &[u8]) -> Option<(Party, &[u8])> {
    let body = line.trim_ascii();
    let found = [(&b"waker:"[..], Party::Waker), (b"target:", Party::Target)];
    let (rest, party) = found.into_iter().find_map(|(word, party)| Some((body.strip_prefix(word)?, party)))?;
    let name = rest.trim_ascii();
    (lex::indent(line) >= 4 && rest.starts_with(b" ") && !name.is_empty()).then_some((party, name))
}

/// What parts the waker's stack from the blocked one.
pub(super) fn is_between(line: &[u8]) -> bool {
    has_ids(line) || lex::indent(line) >= 4 && lex::words(line).eq([b"-", b"-"])
}

/// Whether what parts the two stacks is of a version that prints process ids behind names.
fn has_ids(between: &[u8]) -> bool {
    lex::indent(between) >= 4 && lex::words(between).eq([b"--", b"--"])
}

/// What parts the frames of a program from the kernel's with `-d`; in a waker's stack the program's come first.
pub(super) fn parts_sides(line: &[u8]) -> bool {
    lex::indent(line) >= 4 && line.trim_ascii() == b"-"
}

/// Who is known of the stacks that are being read.
#[derive(Default)]
pub(super) struct Waking {
    /// Who woke another, where its stack comes first: outermost frame first. With the process id, if the tool prints any.
    waker: Option<Vec<u8>>,
    /// The line behind the waker's stack says that there are process ids.
    ids: bool,
    /// Who woke the task whose stack follows.
    woken_by: Option<Waker>,
    /// Who was woken, where that comes first.
    target: Option<String>,
}

impl Waking {
    /// Whether frames are a waker's that stand outermost first.
    pub(super) fn is_outermost_first(&self) -> bool {
        self.waker.is_some()
    }

    /// Whether the stack being read is one of offwaketime.
    pub(super) fn is_offwaketime(&self) -> bool {
        self.waker.is_some() || self.woken_by.is_some()
    }

    /// Takes the line that says whose a stack is; gives the owner of the stack that the count ends.
    pub(super) fn party(&mut self, party: Party, name: &[u8]) -> Option<(String, Option<i64>)> {
        match (party, self.target.is_some()) {
            (Party::Waker, true) => return Some((lex::text(name), None)),
            (Party::Waker, false) => (self.waker, self.woken_by, self.ids) = (Some(name.to_vec()), None, false),
            (Party::Target, _) if self.is_offwaketime() => return Some(self.owner(name)),
            (Party::Target, _) => self.target = Some(lex::text(name)),
        }
        None
    }

    /// A name with the process id behind it, where the tool prints one.
    fn owner(&self, name: &[u8]) -> (String, Option<i64>) {
        if self.ids { with_id(name) } else { (lex::text(name), None) }
    }

    /// Ends a waker's stack at `line`, which parts it from the sleeper's.
    pub(super) fn between(&mut self, samples: &mut Samples, line: &[u8]) {
        let Some(waker) = self.waker.take() else { return };
        self.ids = has_ids(line);
        let (process, pid) = self.owner(&waker);
        samples.reverse();
        let waker = Stack { process: Some(process.clone()), pid, title: Some("waker".to_string()), aside: true, ..Stack::default() };
        let line = samples.close(waker);
        self.woken_by = Some(Waker { process, pid, line });
    }

    /// Ends the stack that `owner` slept in `count` times, or for so long.
    pub(super) fn count(&mut self, samples: &mut Samples, owner: Option<(String, Option<i64>)>, count: u64, line: u32) {
        let (woken_by, target) = (self.woken_by.take(), self.target.take());
        self.waker = None;
        if woken_by.as_ref().is_some_and(|waker| waker.line.is_some()) {
            samples.recount(count);
        }
        // Where the sleeper's own frames were missed, its time is to be seen all the same.
        let line = if samples.is_open() || woken_by.is_none() { 0 } else { line };
        let annotations = woken_by.map(|waker| Box::new(Annotations { woken_by: Some(waker), ..Annotations::default() }));
        let (process, pid) = owner.unzip();
        let title = target.map(|target| format!("target: {target}"));
        samples.end(Stack { process, pid: pid.flatten(), title, count, line, annotations, ..Stack::default() });
    }
}

/// A name with the process id that offwaketime prints behind it.
fn with_id(name: &[u8]) -> (String, Option<i64>) {
    let split = memchr::memrchr(b' ', name).and_then(|at| Some((&name[..at], i64::try_from(lex::decimal(&name[at + 1..])?).ok()?)));
    split.map_or_else(|| (lex::text(name), None), |(name, pid)| (lex::text(name.trim_ascii_end()), Some(pid)))
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::bcc::Bcc;

    #[test]
    fn numbers_are_ids_only_where_the_tool_prints_ids() {
        let text = "Tracing blocked time (us) by kernel off-CPU and waker stack for 5 secs.\n\n    waker:           Worker 3\n    \
            entry_SYSCALL_64\n    __wake_up\n    -                -\n    schedule\n    kthread\n    target:          GC Thread 12\n        56529\n";
        let owners = |text: &str| -> Vec<(String, Option<i64>)> {
            let stacks = Bcc.parse(text.as_bytes()).stacks.into_iter();
            stacks.map(|stack| (stack.process.unwrap(), stack.pid)).collect()
        };
        assert_eq!(owners(text), [("Worker 3".to_string(), None), ("GC Thread 12".to_string(), None)]);
        let ids = text.replace("-                -", "--               --");
        assert_eq!(owners(&ids), [("Worker".to_string(), Some(3)), ("GC Thread".to_string(), Some(12))]);
        // Each stack is taken for itself: texts may be joined.
        assert_eq!(owners(&format!("{ids}\n{text}"))[2..], owners(text));
    }
}
