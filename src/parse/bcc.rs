//! What bcc's tools (`profile`, `offcputime`, `stackcount`, `wakeuptime`) write with full stacks.
//!
//! ```text
//! Sampling at 49 Hertz of all threads by user + kernel stack... Hit Ctrl-C to end.
//!
//!     native_safe_halt
//!     default_idle
//!     -                swapper/0 (0)
//!         12
//! ```
//! Old versions of Python write names as `b'name'`. With `-d`, a line `--` parts the kernel's frames from the program's. Without it the
//! program's begin behind the function by which system calls enter the kernel, or with a frame that has a program's address, file,
//! demangled name or mark (`-a`: `_[k]`, `[u]`); where the heading says `by user stack`, all are. All others are taken for the kernel's.
//! Form from bcc's `tools/*_example.txt`.
//!
//! Stacks of sleepers and wakers are read by `bcc_waking.rs`, frames by `bcc_frame.rs`.
//!
//! Tools that print one stack for each event are read by `bcc_events.rs`.

use super::bcc_events::{self, Columns, Opens};
use super::bcc_frame::{frame, is_entry};
use super::bcc_owner::{self, owner};
use super::bcc_waking::{self, Waking};
use super::lex::{self, Line};
use super::samples::Samples;
use super::{Confidence, Format, Holds};
use crate::model::capture::Capture;
use crate::model::stack::{RawFrame, Stack};

/// The format.
pub struct Bcc;

impl Format for Bcc {
    fn id(&self) -> &'static str {
        "bcc"
    }
    fn about(&self) -> &'static str {
        "bcc tools: profile, offcputime, stackcount and their like, with full stacks"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"Hit Ctrl-C to end.", b"Tracing blocked time", b"PID     TID", b" outstanding allocations", b"TASK: ", b"waker: ", b"TIME(s) "]
    }
    fn reach(&self, rest: &[u8]) -> Option<usize> {
        Some(rest.len())
    }

    /// Certain with the line that names the process, then the count, below a frame.
    fn sniff(&self, head: &[u8]) -> Confidence {
        if has_event(head) {
            return Confidence::Certain;
        }
        let (mut frames, mut owned) = (0, false);
        let heading = lex::lines(head).take(32).any(|line| is_heading(line.bytes));
        for line in lex::lines(head) {
            if owned && count(line.bytes).is_some() {
                return Confidence::Certain;
            }
            let was = frames;
            owned = owner(line.bytes).is_some() && frames > 0;
            if heading && count(line.bytes).is_some() && was > 1 {
                return Confidence::Certain;
            }
            let goes_on =
                owned || bcc_waking::role(line.bytes).is_some() || bcc_waking::is_between(line.bytes) || frame(line.bytes).is_some();
            frames = if goes_on { frames + 1 } else { 0 };
        }
        Confidence::No
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let mut reader = Reader::default();
        let unmarked = bcc_owner::unmarked(text, |line| count(line).is_some(), |line| owner(line).is_some());
        let mut lines = lex::lines(text).peekable();
        while let Some(line) = lines.next() {
            let last = unmarked && lines.peek().is_some_and(|below| count(below.bytes).is_some());
            match bcc_owner::name(line.bytes).filter(|_| last) {
                Some(name) => reader.owner = Some((lex::text(name), None)),
                None => reader.line(&line),
            }
        }
        reader.event();
        if reader.events_seen {
            reader.samples.discard();
        }
        reader.samples.finish(self.id())
    }
}

/// Whether a frame that nothing else looks like follows what begins the stack of an event.
fn has_event(head: &[u8]) -> bool {
    let (mut columns, mut opened) = (None, false);
    lex::lines(head).any(|line| {
        columns = Columns::of(line.bytes).or(columns);
        if bcc_events::opens(&line, columns).is_some() {
            opened = true;
        } else if let Some((frame, _)) = frame(line.bytes).filter(|_| opened) {
            let of_table = columns.is_some_and(|columns| columns.certain);
            return of_table || frame.offset.is_some() || !frame.module.is_empty() || line.bytes.ends_with(b" [kernel]");
        } else {
            opened &= bcc_events::goes_on(line.bytes);
        }
        false
    })
}

/// What the tools say first.
fn is_heading(line: &[u8]) -> bool {
    let starts =
        [&b"Sampling at "[..], b"Sampling every ", b"Tracing off-CPU time", b"Tracing blocked time", b"Tracing wakeup", b"Tracing "];
    let ends = [&b"Hit Ctrl-C to end."[..], b"seconds.", b"secs."];
    starts.iter().any(|start| line.starts_with(start)) && ends.iter().any(|end| line.trim_ascii_end().ends_with(end))
}

/// The count of a stack, alone in its line.
fn count(line: &[u8]) -> Option<u64> {
    lex::decimal(line.trim_ascii()).filter(|_| line.starts_with(b"  "))
}

#[derive(Default)]
struct Reader {
    samples: Samples,
    owner: Option<(String, Option<i64>)>,
    /// The kernel's frames are over.
    below: bool,
    /// The heading says that there are none.
    user_only: bool,
    /// Who woke whom.
    waking: Waking,
    /// What the heading of a table says of its columns.
    columns: Option<Columns>,
    /// What happened, where the stack of an event is being read.
    event: Option<Stack>,
    /// The tool prints events, so that no count is missing at the end.
    events_seen: bool,
}

impl Reader {
    fn line(&mut self, line: &Line<'_>) {
        if self.events(line) {
            return;
        }
        if let Some((party, name)) = bcc_waking::role(line.bytes) {
            self.owner = self.waking.party(party, name).or(self.owner.take());
        } else if self.waking.is_outermost_first() && bcc_waking::is_between(line.bytes) {
            self.waking.between(&mut self.samples, line.bytes);
            self.below = false;
        } else if self.waking.is_offwaketime() && bcc_waking::parts_sides(line.bytes) {
            self.sides();
        } else if let Some((name, pid)) = owner(line.bytes) {
            self.owner = Some((lex::text(name), Some(pid)));
        } else if let Some(count) = count(line.bytes) {
            self.count(count, line.number);
        } else if is_heading(line.bytes) {
            self.user_only = [&b" by user stack"[..], b" by user off-CPU"].iter().any(|by| memchr::memmem::find(line.bytes, by).is_some());
        } else if matches!(line.bytes.trim_ascii(), b"--") {
            // Where the kernel has no frames, it is the first line of the stack.
            self.below = self.samples.is_open() || line.bytes.starts_with(b" ");
        } else if !self.samples.note(line)
            && let Some((frame, kernel)) = frame(line.bytes)
        {
            if self.event.is_some() && self.user_only && kernel.is_none() {
                self.below = true;
            }
            if self.waking.is_outermost_first() {
                return self.outer(line, frame, kernel);
            }
            // Kernel frames come first: behind one that is the program's all are.
            self.below |= kernel == Some(false);
            let function = frame.symbol.of(line.bytes, 0);
            self.samples.push(line, frame, kernel.unwrap_or(!self.user_only) && !self.below);
            self.below |= is_entry(function);
        }
    }

    /// Takes lines that begin or end the stacks of events.
    fn events(&mut self, line: &Line<'_>) -> bool {
        if let Some(columns) = Columns::of(line.bytes) {
            self.event();
            self.columns = Some(columns);
            return true;
        }
        match bcc_events::opens(line, self.columns) {
            Some(Opens::Side { user }) => self.user_only = user,
            Some(Opens::Event(stack)) => {
                self.event();
                // Frames that no count ended are words in front of the row.
                self.samples.discard();
                (self.event, self.below, self.events_seen) = (Some(*stack), false, true);
            }
            None => {
                // What stands below a row before its first frame belongs to it.
                let over = self.samples.is_open() || !bcc_events::goes_on(line.bytes);
                if self.event.is_some() && over && frame(line.bytes).is_none() {
                    self.event();
                }
                return false;
            }
        }
        true
    }

    /// Ends the stack of an event.
    fn event(&mut self) {
        if let Some(stack) = self.event.take() {
            self.samples.close(stack);
            self.below = false;
        }
    }

    /// Takes the count of a stack.
    fn count(&mut self, count: u64, line: u32) {
        self.waking.count(&mut self.samples, self.owner.take(), count, line);
        self.below = false;
    }

    /// What follows in a stack of offwaketime is of the other side.
    fn sides(&mut self) {
        if self.waking.is_outermost_first() {
            self.samples.turn(usize::MAX, false);
        } else {
            self.below = true;
        }
    }

    /// A frame of a waker's stack of offwaketime: those before it are farther out.
    fn outer(&mut self, line: &Line<'_>, frame: RawFrame, kernel: Option<bool>) {
        if kernel == Some(false) || is_entry(frame.symbol.of(line.bytes, 0)) {
            self.samples.turn(usize::MAX, false);
        }
        self.samples.push(line, frame, kernel.unwrap_or(!self.user_only));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_without_a_mark_are_no_frames() {
        let text = "Tracing off-CPU time (us) of all threads by kernel stack... Hit Ctrl-C to end.\n\n    schedule\n    kthread\n    \
            ret_from_fork\n    rcuos/0\n        13\n\n    schedule\n    do_nanosleep\n    entry_SYSCALL_64_fastpath\n    vmstat\n        31\n";
        assert_eq!(Bcc.sniff(text.as_bytes()), Confidence::Certain);
        let who = |text: &str| -> Vec<(Option<String>, usize)> {
            let stacks = Bcc.parse(text.as_bytes()).stacks.into_iter();
            stacks.map(|stack| (stack.process, stack.frames.len() + stack.user_frames.len())).collect()
        };
        let named = |name: &str, frames| (Some(name.to_string()), frames);
        assert_eq!(who(text), [named("rcuos/0", 3), named("vmstat", 3)]);
        // Without a name that is none of a function, nothing proves it.
        assert_eq!(who(&text.replace("rcuos/0", "rcuos")), [(None, 4), (None, 4)]);
        let marked = text.replace("    vmstat", "    -                vmstat (12)");
        assert_eq!(who(&marked)[1], named("vmstat", 3));
    }

    use super::*;

    #[test]
    fn owners_and_counts_end_stacks() {
        let text = b"Sampling at 49 Hertz of all threads by user + kernel stack... Hit Ctrl-C to end.\n\n    b'zio_wait+0x63'\n    b'taskq_thread'\n    \
            --\n    main\n    -                txg sync (257)\n        12\n\n    native_safe_halt [kernel]\n    -                swapper/0 (0)\n        7\n";
        assert_eq!(Bcc.sniff(text), Confidence::Certain);
        let capture = Bcc.parse(text);
        let seen: Vec<_> = capture
            .stacks
            .iter()
            .map(|stack| (stack.count, stack.process.as_deref(), stack.pid, stack.frames.len(), stack.user_frames.len()))
            .collect();
        assert_eq!(seen, [(12, Some("txg sync"), Some(257), 2, 1), (7, Some("swapper/0"), Some(0), 1, 0)]);
        assert_eq!(capture.stacks[0].frames[0].offset, Some(0x63));
    }

    /// For each stack the kernel's functions and the program's, innermost first.
    fn sides(text: &str) -> Vec<(String, String)> {
        let capture = Bcc.parse(text.as_bytes());
        let name = |frame: &RawFrame| lex::text(frame.symbol.of(text.as_bytes(), frame.line_start));
        let names = |frames: &[RawFrame]| frames.iter().map(name).collect::<Vec<_>>().join(" ");
        capture.stacks.iter().map(|stack| (names(&stack.frames), names(&stack.user_frames))).collect()
    }

    #[test]
    fn whose_a_frame_is_says_the_entry_the_mark_the_file_or_the_heading() {
        let stack =
            |frames: &str| format!("{}    -                dd (7)\n        1\n\n", frames.replace(' ', "\n    ").trim_start_matches('\n'));
        let is = |kernel: &str, user: &str| (kernel.to_string(), user.to_string());
        let both = "Sampling at 49 Hertz of all threads by user + kernel stack... Hit Ctrl-C to end.\n\n";
        for (frames, want) in [
            (" ksys_write entry_SYSCALL_64_after_hwframe write main\n", is("ksys_write entry_SYSCALL_64_after_hwframe", "write main")),
            (" a_[k] b_[u] c\n", is("a", "b c")),
            (" schedule std::run(int) start\n", is("schedule", "std::run(int) start")),
            (" -- main\n", is("", "main")),
        ] {
            assert_eq!(sides(&format!("{both}{}", stack(frames))), [want], "{frames}");
        }
        let library = "    schedule\n    read [libc-2.31.so]\n    main [dd]\n    -                dd (7)\n        1\n";
        assert_eq!(sides(&format!("{both}{library}")), [is("schedule", "read main")]);
        let module = "    zio_wait [zfs]\n    kthread\n    -                z (7)\n        1\n";
        assert_eq!(sides(&format!("{both}{module}")), [is("zio_wait kthread", "")]);
        let user = both.replace("user + kernel", "user");
        assert_eq!(sides(&format!("{user}{}", stack(" read main\n"))), [is("", "read main")]);
    }

    #[test]
    fn wakers_and_targets_are_no_frames() {
        let text = "Tracing blocked time (us) by kernel stack... Hit Ctrl-C to end.\n\n    target:          sshd\n    ffffffff812037b6 pollwake\n\
            \x20   ffffffff810b5462 __wake_up\n    waker:           kworker/u16:2\n        4001028\n\n\
            \x20   target:          rcuos/0\n    wake\n    waker:           a b\n        7\n";
        assert_eq!(Bcc.sniff(text.as_bytes()), Confidence::Certain);
        let capture = Bcc.parse(text.as_bytes());
        let row = |stack: &Stack| (stack.process.clone().unwrap(), stack.title.clone().unwrap(), stack.count, stack.frames.len());
        let seen: Vec<_> = capture.stacks.iter().map(row).collect();
        assert_eq!(seen, [("kworker/u16:2".into(), "target: sshd".into(), 4001028, 2), ("a b".into(), "target: rcuos/0".into(), 7, 1)]);
    }

    #[test]
    fn wakers_of_offwaketime_stand_outermost_first() {
        for (between, id) in [("--               --", " 4711"), ("-                -", "")] {
            let text = format!(
                "Tracing blocked time (us) by kernel off-CPU and waker stack for 5 secs.\n\n    waker:           swapper/0{id}\n    main\n\
                 \x20   entry_SYSCALL_64\n    __wake_up\n    pollwake\n    {between}\n    schedule\n    kthread\n    target:          cksum{id}\n        56529\n\n"
            );
            assert_eq!(Bcc.sniff(text.as_bytes()), Confidence::Certain);
            let capture = Bcc.parse(text.as_bytes());
            let is = |kernel: &str, user: &str| (kernel.to_string(), user.to_string());
            assert_eq!(sides(&text), [is("pollwake __wake_up entry_SYSCALL_64", "main"), is("schedule kthread", "")]);
            let pid = if id.is_empty() { None } else { Some(4711) };
            let row = |stack: &Stack| (stack.process.clone().unwrap(), stack.pid, stack.count);
            let seen: Vec<_> = capture.stacks.iter().map(row).collect();
            assert_eq!(seen, [("swapper/0".into(), pid, 56529), ("cksum".into(), pid, 56529)]);
            assert_eq!(capture.stacks[0].frames[0].lookup, crate::model::stack::Lookup::Exact);
            // The time is the sleeper's: counted once.
            assert!(capture.stacks[0].woke(&capture.stacks[1]) && !capture.stacks[1].aside);
        }
        let missed = "    waker:           swapper/0 0\n    [Missed Kernel Stack]\n    --               --\n    schedule\n    target:          a b 12\n        5\n";
        let stacks = Bcc.parse(missed.as_bytes()).stacks;
        assert_eq!(
            (stacks.len(), stacks[0].process.as_deref(), stacks[0].pid, stacks[0].title.as_deref()),
            (1, Some("a b"), Some(12), None)
        );
    }

    #[test]
    fn events_have_a_stack_each() {
        let trace = "PID     TID     COMM            FUNC             -\n9557    9558    a.out           do_sys_open      temp.1\n\
            \x20       do_sys_open+0x1 [kernel]\n        entry_SYSCALL_64_after_hwframe+0x44 [kernel]\n        __open_nocancel+0x7 [libc-2.17.so]\n\
            9560    9560    b c             do_sys_open      temp.2\n        7f6c72b6497a lll_unlock+0x1a [libpthread-2.23.so]\n";
        assert_eq!(Bcc.sniff(trace.as_bytes()), Confidence::Certain);
        let is = |kernel: &str, user: &str| (kernel.to_string(), user.to_string());
        assert_eq!(sides(trace), [is("do_sys_open entry_SYSCALL_64_after_hwframe", "__open_nocancel"), is("", "lll_unlock")]);
        let stacks = Bcc.parse(trace.as_bytes()).stacks;
        let first = &stacks[0];
        assert_eq!((first.pid, first.tid.as_deref(), first.process.as_deref()), (Some(9557), Some("9558"), Some("a.out")));
        assert_eq!((first.count, first.line, first.title.as_deref()), (1, 2, Some("do_sys_open")));
        assert_eq!((stacks[1].process.as_deref(), stacks[1].title.as_deref()), (Some("b c"), Some("do_sys_open")));

        let drop = "TIME     PID     IP SADDR:SPORT          > DADDR:DPORT          STATE (FLAGS)\n\
            14:46:49 0       4  39.156.66.10:80      > 10.211.55.10:33280   SYN_SENT (SYN|ACK)\n\tb'sk_skb_reason_drop+0x1e4'\n\tb'do_softirq'\n\n\
            14:46:50 7       4  39.156.66.10:80      > 10.211.55.10:33280   SYN_SENT (SYN|ACK)\n\ttcp_drop+135\n";
        assert_eq!(Bcc.sniff(drop.as_bytes()), Confidence::Certain);
        assert_eq!(sides(drop), [is("sk_skb_reason_drop do_softirq", ""), is("tcp_drop", "")]);
        assert_eq!(Bcc.parse(drop.as_bytes()).stacks[1].pid, Some(7));
    }

    #[test]
    fn critical_sections_and_leaks_are_events() {
        let critical = "Usage:\n  -h, --help\n  main()\n===================================\nTASK: kworker/u16:5 (pid  5903 tid  5904) Total Time: 194.427  us\n\n\
            Section start: __schedule -> schedule\nSection end:   raw_spin -> finish\n  trace_hardirqs_on+0xdc\n  el1_preempt+0x8\n\
            ===================================\n";
        assert_eq!(Bcc.sniff(critical.as_bytes()), Confidence::Certain);
        let capture = Bcc.parse(format!("{critical}  end\n").as_bytes());
        assert_eq!((capture.stacks.len(), capture.notes.len()), (1, 0));
        let stack = &capture.stacks[0];
        let owner = (stack.process.as_deref(), stack.pid, stack.tid.as_deref(), stack.frames.len());
        assert_eq!(owner, (Some("kworker/u16:5"), Some(5903), Some("5904"), 2));
        for (attached, kernel) in [("Attaching to kernel allocators, Ctrl+C to quit.", 2), ("Attaching to pid 5193, Ctrl+C to quit.", 0)] {
            let leak = format!(
                "{attached}\n\taddr = 948cd0 size = 16\n\t248 bytes in 4 allocations from stack\n\t\tmain+0x6d\n\t\tf+0x1\n\n[11:16:34] Top 2\n"
            );
            assert_eq!(Bcc.sniff(leak.as_bytes()), Confidence::Certain);
            let stacks = Bcc.parse(leak.as_bytes()).stacks;
            assert_eq!((stacks.len(), stacks[0].bytes, stacks[0].count, stacks[0].frames.len()), (1, Some(248), 4, kernel), "{attached}");
        }
    }

    #[test]
    fn other_tables_are_none() {
        let list = "  PID TTY          TIME CMD\n    1 ?        00:00:02 systemd\n";
        let top = "PID    COMM         FUNC\n4402   bash         sys_execve\n  two words\n  f\n";
        assert_eq!((Bcc.sniff(list.as_bytes()), Bcc.sniff(top.as_bytes())), (Confidence::No, Confidence::No));
    }

    #[test]
    fn lists_are_none() {
        assert_eq!(Bcc.sniff(b"  one\n  two\n  - three\n  12\n"), Confidence::No);
    }
}
