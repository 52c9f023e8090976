//! The log of a Linux kernel: what dmesg, a serial console, syslog or a journal kept of it.
//!
//! ```text
//! [   68.771269] INFO: task txg_sync:257 blocked for more than 5 seconds.
//! [   68.771578]       Tainted: P           OE      6.1.0-56-amd64 #1 Debian 6.1.192-2
//! [   68.771737] "echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables this message.
//! [   68.772038] task:txg_sync        state:D stack:0     pid:257   ppid:2      flags:0x00004000
//! [   68.772345] Call Trace:
//! [   68.772407]  <TASK>
//! [   68.772503]  __schedule+0x34d/0xa00
//! [   68.772612]  __cv_timedwait_common+0x12a/0x160 [spl]
//! [   68.772801]  ? cpuusage_read+0x10/0x10
//! [   68.773719]  </TASK>
//! ```
//! Sample: Debian 6.1 with OpenZFS, whose disk stopped answering. Lines are taken apart by [`super::linux_prefix`], frames read by
//! [`super::linux_frame`] and [`super::linux_pc`], headings by [`super::linux_headings`], tasks by [`super::linux_task`]; a
//! [`super::linux_context`] for each printing context puts stacks together. Here is what concerns the whole log.

use memchr::memmem;
use rustc_hash::FxHashMap;

use super::lex;
use super::linux_bases::Bases;
use super::linux_context::{Found, Reader};
use super::linux_doubled::Doubled;
use super::linux_facts::Machine;
use super::linux_frame;
use super::linux_headings;
use super::linux_owners;
use super::linux_parts;
use super::linux_prefix::{self, Context, Record};
use super::linux_symbol;
use super::{Confidence, Format, Holds};
use crate::model::capture::{Capture, Os};
use crate::model::image::Basis;
use crate::model::stack::RawFrame;

/// The format.
pub struct LinuxLog;

/// What every report of a kernel has in it, and hardly any other text.
const MARKERS: &[&[u8]] = &[
    b"Call Trace:",
    b"Call trace:",
    b"Kernel panic - not syncing",
    b"Linux version ",
    b"Modules linked in:",
    b"RIP: 0010:",
    b"BUG: soft lockup",
    b"BUG: KASAN",
    b"BUG: unable to handle",
    b"unreferenced object 0x",
];

impl Format for LinuxLog {
    fn id(&self) -> &'static str {
        "linux-log"
    }
    fn about(&self) -> &'static str {
        "Linux kernel log: oops, panic, hung task, lockup, lockdep, KASAN and its like, sysrq-t/w/l; dmesg, serial console, syslog, journal"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[
            b"Call Trace:",
            b"Call trace:",
            b"BUG: ",
            b"INFO: task ",
            b"WARNING: CPU: ",
            b"WARNING: possible",
            b"Modules linked in:",
            b"Linux version ",
            b"RIP: 0010:",
            b"Kernel panic - not syncing",
            b"unreferenced object 0x",
            b"rcu: INFO",
            b"INFO: rcu",
            b"Unable to handle kernel",
            b"sysrq: ",
            b"watchdog: ",
            b"Comm: ",
            b"Oops: ",
            b"Backtrace: ",
            b"cut here ]",
        ]
    }

    /// Where objects are listed without stamps, somebody read `/sys/kernel/debug/kmemleak`; syzkaller's report of a leak has this line above.
    fn begins(&self, above: &[u8], rest: &[u8]) -> bool {
        if rest.starts_with(b"unreferenced object 0x") {
            return above.trim_ascii_end().ends_with(b"BUG: memory leak");
        }
        self.sniff(rest) == Confidence::Certain
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        let (mut frames, mut stamps, mut said) = (0, 0, 0);
        for line in lex::lines(head) {
            linux_prefix::records(&line, |record| {
                stamps += usize::from(record.context != Context::Bare);
                frames += usize::from(is_frame(record));
                said += usize::from(record.context != Context::Bare && linux_headings::headline(record.text.trim_ascii()).is_some());
            });
        }
        let marked = MARKERS.iter().any(|marker| memmem::find(head, marker).is_some());
        match (frames, marked || said > 0, stamps) {
            (1.., true, _) | (1.., _, 1..) => Confidence::Certain,
            (1.., ..) | (_, true, _) | (_, _, 2..) => Confidence::Likely,
            _ => Confidence::No,
        }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let mut log = Log::new(text);
        let mut doubled = Doubled::default();
        linux_parts::lines(text, |line| {
            if !doubled.is_copy(line) {
                linux_prefix::records(line, |record| log.record(record));
            }
        });
        log.finish()
    }
}

/// No other system prints the size of a symbol, or in its place where a module lies.
fn is_frame(record: &Record<'_>) -> bool {
    let own = |frame: &RawFrame| frame.size.is_some() || frame.symbol.is_empty() && !frame.module.is_empty();
    match linux_frame::trace(record) {
        Some(linux_frame::Trace::One(frame)) => own(&frame),
        Some(linux_frame::Trace::Pair(_, frame)) => own(&frame),
        _ => false,
    }
}

struct Log<'t> {
    text: &'t [u8],
    /// One reader for each context, in the order of their first lines.
    readers: Vec<(Context, Reader)>,
    index: FxHashMap<Context, usize>,
    /// Position of the latest line's reader.
    latest: usize,
    found: Found,
    machine: Machine,
    bases: Bases,
}

impl<'t> Log<'t> {
    fn new(text: &'t [u8]) -> Log<'t> {
        Log {
            text,
            readers: Vec::new(),
            index: FxHashMap::default(),
            latest: 0,
            found: Found::default(),
            machine: Machine::default(),
            bases: Bases::default(),
        }
    }

    fn record(&mut self, record: &Record<'_>) {
        self.found.callers |= matches!(record.context, Context::Task(_) | Context::Cpu(_));
        self.bases.record(record);
        let context = self.context(record);
        let record = &Record { context, ..*record };
        let reader = self.reader(context);
        self.readers[reader].1.record(record, self.text, &mut self.found);
        if self.found.facts {
            self.found.facts = false;
            self.machine.record(record);
        }
    }

    /// Who printed a record. Where a message has several lines, dmesg and journalctl write blanks in place of the stamp.
    fn context(&self, record: &Record<'_>) -> Context {
        const STAMP: &[u8] = b"            ";
        let goes_on = record.context == Context::Bare && record.at == 0 && record.text.starts_with(STAMP);
        self.readers.get(self.latest).filter(|_| goes_on).map_or(record.context, |(latest, _)| *latest)
    }

    fn reader(&mut self, context: Context) -> usize {
        if self.readers.get(self.latest).is_none_or(|(latest, _)| *latest != context) {
            let readers = &mut self.readers;
            self.latest = *self.index.entry(context).or_insert_with(|| {
                readers.push((context, Reader::new(context)));
                readers.len() - 1
            });
        }
        self.latest
    }

    fn finish(mut self) -> Capture {
        for (_, reader) in &mut self.readers {
            reader.end(&mut self.found);
        }
        let text = self.text;
        let outermost = || self.found.stacks.iter().filter_map(|stack| stack.frames.last());
        let by_entry = || outermost().find_map(|frame| linux_symbol::arch_of_entry(frame.symbol.of(text, frame.line_start)));
        self.found.arch = self.found.arch.or_else(by_entry);
        // Contexts end their stacks in another order than they began them.
        self.found.stacks.sort_by_key(|stack| stack.line);
        let mut machine = self.machine;
        self.bases.finish(&mut machine.images);
        let tasks_with_locks = linux_owners::attach(self.found.locks, &mut self.found.stacks);
        Capture {
            format: LinuxLog.id(),
            os: Some(Os::Linux),
            arch: self.found.arch,
            kernel_version: machine.release,
            slide: machine.slides.first().copied().filter(|_| machine.slides.len() == 1),
            linked: machine.linked,
            slides: machine.slides,
            basis: Some(Basis::Runtime),
            images: machine.images,
            stacks: self.found.stacks,
            headlines: self.found.headlines,
            tasks_with_locks,
            ..Capture::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::addr::Slide;
    use crate::model::stack::{Lookup, Role, StackKind};
    use proptest::prelude::*;

    /// Kind, process, and the functions of each stack; a role other than that of a call stands behind its function.
    fn read(text: &str) -> Vec<String> {
        let capture = LinuxLog.parse(text.as_bytes());
        let name = |frame: &crate::model::stack::RawFrame| {
            let mark = if frame.reliable { "" } else { "?" };
            let role = if frame.role == Role::Call { String::new() } else { format!("({})", frame.role.name()) };
            assert_eq!(frame.lookup == Lookup::Exact, matches!(frame.role, Role::Fault | Role::Regs));
            format!("{mark}{}{role}", lex::text(frame.symbol.of(text.as_bytes(), frame.line_start)))
        };
        let stack = |stack: &crate::model::stack::Stack| {
            let names: Vec<String> = stack.frames.iter().map(name).collect();
            let who = stack.process.as_deref().unwrap_or("-");
            format!("{} {who} {}: {}", stack.kind.name(), stack.pid.map_or("-".to_string(), |pid| pid.to_string()), names.join(" "))
        };
        capture.stacks.iter().map(stack).collect()
    }

    const HUNG: &str = "[   68.771269] INFO: task txg_sync:257 blocked for more than 5 seconds.\n\
        [   68.771578]       Tainted: P           OE      6.1.0-56-amd64 #1 Debian 6.1.192-2\n\
        [   68.772038] task:txg_sync        state:D stack:0     pid:257   ppid:2      flags:0x00004000\n\
        [   68.772345] Call Trace:\n[   68.772407]  <TASK>\n[   68.772503]  __schedule+0x34d/0xa00\n\
        [   68.772612]  cv_wait_common+0xaa/0x130 [spl]\n[   68.772801]  ? cpuusage_read+0x10/0x10\n[   68.773719]  </TASK>\n";

    #[test]
    fn a_hung_task_has_its_name_state_and_release() {
        assert_eq!(LinuxLog.sniff(HUNG.as_bytes()), Confidence::Certain);
        assert_eq!(read(HUNG), ["thread txg_sync 257: __schedule cv_wait_common ?cpuusage_read"]);
        let capture = LinuxLog.parse(HUNG.as_bytes());
        let stack = &capture.stacks[0];
        assert_eq!((stack.state.as_deref(), stack.line), (Some("D"), 3));
        assert!(stack.title.as_deref().is_some_and(|title| title.starts_with("INFO: task txg_sync:257 blocked")));
        assert_eq!(capture.kernel_version.as_deref(), Some("6.1.0-56-amd64"));
        let frame = &stack.frames[1];
        assert_eq!((frame.offset, frame.size, frame.module.of(HUNG.as_bytes(), frame.line_start)), (Some(0xaa), Some(0x130), &b"spl"[..]));
    }

    const OOPS: &str = "BUG: kernel NULL pointer dereference, address: 0000000000000000\nModules linked in: kslab(OE) zfs(POE) [last unloaded: spl]\n\
        CPU: 1 PID: 300 Comm: sh Tainted: G           OE      6.1.0-56-amd64 #1\nRIP: 0010:write_null+0x5/0x20 [kslab]\nCode: 90 c7 04 25\n\
        RSP: 0018:ffffa2c5003afe28 EFLAGS: 00010246\nCall Trace:\n <IRQ>\n chain_host+0x32/0x110 [kslab]\n </IRQ>\n\
        RIP: 0010:native_safe_halt+0xb/0x10\nCode: 90 c7\nRSP: 0018:ffffa2c5003afe28 EFLAGS: 00010246\n do_idle+0x1/0x2\nRIP: 0033:0x7f00\n\
        RAX: ffffffffffffffda RBX: 0000000000000000\n </TASK>\n---[ end trace 0000000000000000 ]---\nRIP: 0010:write_null+0x5/0x20 [kslab]\n\
        Kernel panic - not syncing: Fatal exception\nKernel Offset: 0x9600000 from 0xffffffff81000000\n";

    #[test]
    fn the_fault_leads_its_stack_and_registers_stand_in_it() {
        assert_eq!(read(OOPS), ["crash sh 300: write_null(fault) chain_host native_safe_halt(regs) do_idle"]);
        let capture = LinuxLog.parse(OOPS.as_bytes());
        assert_eq!((capture.slide, capture.arch), (Some(Slide(0x960_0000)), Some(crate::model::addr::Arch::X86_64)));
        assert_eq!(capture.images.iter().map(|image| image.name.as_str()).collect::<Vec<_>>(), ["kslab", "zfs"]);
        assert_eq!((capture.stacks[0].cpu, capture.stacks[0].line), (Some(1), 1));
    }

    #[test]
    fn contexts_that_alternate_come_apart() {
        let text = "[    1.000001][   T12] Call Trace:\n[    1.000002][    C1] Call Trace:\n[    1.000003][   T12]  a+0x1/0x2\n\
            [    1.000004][    C1]  x+0x1/0x2\nuser space\n z+0x1/0x2\n[    1.000005][   T12]  b+0x1/0x2\n[    1.000006][    C1]  y+0x1/0x2\n";
        assert_eq!(read(text), ["crash - 12: a b", "crash - -: x y"]);
    }

    #[test]
    fn stacks_of_another_time_have_their_kind() {
        let text = "BUG: KASAN: slab-use-after-free in f+0x1/0x2\nRead of size 8 at addr ffff888109e0af00 by task dd/12\n\nCall Trace:\n f+0x1/0x2\n\n\
            Allocated by task 11:\n kmalloc+0x1/0x2\n\nFreed by task 10:\n kfree+0x1/0x2\n\nThe buggy address belongs to the variable:\n v+0x1/0x2\n\
            \n-> #1 (&zilog->zl_lock){+.+.}-{3:3}:\n       lock_acquire+0x1/0x2\n\n-> #0 (&dn->dn_mtx){+.+.}-{3:3}:\n       check+0x1/0x2\n\n\
            other info\nNMI backtrace for cpu 1\nCall Trace:\n <NMI>\n n+0x1/0x2\n";
        let want = ["crash - -: f", "alloc - 11: kmalloc", "free - 10: kfree", "lock - -: lock_acquire", "lock - -: check", "irq - -: n"];
        assert_eq!(read(text), want);
        let title = LinuxLog.parse(text.as_bytes()).stacks[3].title.clone();
        assert_eq!(title.as_deref(), Some("-> #1 (&zilog->zl_lock){+.+.}-{3:3}:"));
        let kinds: Vec<_> = LinuxLog.parse(text.as_bytes()).stacks.iter().map(|stack| stack.kind).collect();
        assert_eq!(kinds[5], StackKind::Irq);
    }

    #[test]
    fn what_a_cpu_does_is_told_from_the_tasks_behind() {
        let text = "NMI backtrace for cpu 3\nCPU: 3 PID: 9 Comm: a Not tainted 6.1.0 #1\nRIP: 0033:0x7f1e21c41e9a\nsysrq: Show Blocked State\n\
            task:b               state:D stack:0     pid:8     ppid:2      flags:0x00004000\nCall Trace:\n f+0x1/0x2\n\
            sysrq: CPU2:\nCall trace:\n g+0x1/0x2\nBUG: KCSAN: data-race in h / i\n\nwrite to 0xffff888100078948 of 8 bytes by task 487 on cpu 1:\n \
            h+0x1/0x2\n\nread to 0xffff888100078948 of 8 bytes by interrupt on cpu 0:\n i+0x1/0x2\n j+0x1/0x2\n\n\
            CPU 0 Unable to handle kernel paging request at virtual address 00000008\nOops[#1]:\nCall Trace:\n k+0x1/0x2\n";
        assert_eq!(read(text), ["thread b 8: f", "irq - -: g", "crash - 487: h", "crash - -: i j", "crash - -: k"]);
        let stacks = LinuxLog.parse(text.as_bytes()).stacks;
        assert_eq!(stacks.iter().map(|stack| stack.cpu).collect::<Vec<_>>(), [None, Some(2), Some(1), Some(0), None]);
        assert_eq!(stacks[0].title, None, "no stack of a CPU in user space");
        let race = "[    1.000001][  T487] read to 0xffff888100078948 of 8 bytes by interrupt on cpu 0:\n[    1.000002][  T487]  i+0x1/0x2\n[    1.000003][  T487]  j+0x1/0x2\n";
        assert_eq!(read(race), ["crash - -: i j"], "the task only prints it");
        assert!(stacks[4].title.as_deref().is_some_and(|title| title.starts_with("CPU 0 Unable to handle")));
    }

    #[test]
    fn arm_lines_chain_and_powerpc_says_the_interrupt_twice() {
        let text = "Backtrace: \n[<80de0078>] (a) from [<80de0574>] (b+0x28/0x2c)\n r5:00000000 r4:81260dfc\n[<80de054c>] (b) from [<80de7c10>] (c+0x154/0x1a8)\n\
            \nCall Trace:\n[c000000049a87530] [c000000049a875a0] d+0x1/0x2 (unreliable)\n--- interrupt: 900 at e+0x1/0x2\n\
            NIP:  c000000000012345 LR: c000000000012345 CTR: 0000000000000000\nNIP [c000000000012345] e+0x1/0x2\nLR [c000000000012345] f+0x1/0x2\n\
            --- interrupt: 900\n[c000000049a87710] [c0000000000286fc] g+0x43c/0x6d0\n";
        let found: Vec<String> = LinuxLog.parse(text.as_bytes()).stacks.iter().map(|stack| stack.frames.len().to_string()).collect();
        assert_eq!(found, ["3", "3"]);
    }

    #[test]
    fn a_stack_can_cross_the_parts_of_pstore() {
        let text = "Oops#1 Part1\n<4>[    1.000003]  b+0x1/0x2\n<4>[    1.000004]  </TASK>\nOops#1 Part2\n<4>[    1.000001] Call Trace:\n\
            <4>[    1.000002]  a+0x1/0x2\n";
        assert_eq!(read(text), ["crash - -: a b"]);
        assert_eq!(LinuxLog.parse(text.as_bytes()).stacks[0].line, 5);
    }

    #[test]
    fn locks_come_to_the_stack_of_their_task() {
        let text = "[    1.000001] INFO: task dd:7 blocked for more than 5 seconds.\n\
            [    1.000002] task:dd              state:D stack:0     pid:7     tgid:5     ppid:2      flags:0x00004000\n\
            [    1.000003] Workqueue: events f [zfs]\n[    1.000004] Call Trace:\n[    1.000005]  a+0x1/0x2\n\
            [    1.000006] INFO: task dd:7 is blocked on a mutex likely owned by task sync:8.\n\
            [    1.000007] task:sync            state:D stack:0     pid:8     ppid:2      flags:0x00004000\n\
            [    1.000008] Call Trace:\n[    1.000009]  b+0x1/0x2\n\
            [    1.000010] \n               Showing all locks held in the system:\n[    1.000011] 1 lock held by sync/8:\n\
            [    1.000012]  #0: ffff888100078948 (x){+.+.}-{0:0}, at: b+0x1/0x2\n[    1.000013] 1 lock held by gone/9:\n\
            [    1.000014]  #0: ffff888100078949 (y){+.+.}-{0:0}, at: c+0x1/0x2\n[    1.000015] =====\n\
            [    1.000016] dd/7 is trying to acquire lock:\n[    1.000017] 00000000d6be2d47 (z){+.+.}, at: d+0x1/0x2\n\
            [    1.000018] stack backtrace:\n[    1.000019]  d+0x1/0x2\n";
        assert_eq!(read(text), ["thread dd 5: a", "thread sync 8: b", "crash dd 7: d"]);
        let capture = LinuxLog.parse(text.as_bytes());
        let told = |at: usize| capture.stacks[at].annotations.as_deref().unwrap();
        assert_eq!(told(0).workqueue.as_deref(), Some("events f [zfs]"));
        let owner = told(0).waits_for.as_ref().and_then(|wait| wait.owner.as_ref()).unwrap();
        assert_eq!((owner.process.as_str(), owner.pid, told(0).held.is_none()), ("sync", Some(8), true));
        assert_eq!(capture.stacks[1].title, None, "the line about its waiter is not its title");
        assert_eq!(told(1).held.as_ref().unwrap()[0].identity().as_deref(), Some("0xffff888100078948"));
        let wanted = &told(2).waits_for.as_ref().unwrap().lock;
        assert_eq!((wanted.identity().as_deref(), wanted.at.as_deref()), (Some("z"), Some("d+0x1/0x2")));
        let [gone] = &capture.tasks_with_locks[..] else { panic!("{:?}", capture.tasks_with_locks) };
        assert_eq!((gone.process.as_str(), gone.pid, gone.held.as_ref().unwrap().len()), ("gone", 9, 1));
    }

    #[test]
    fn lines_that_mention_symbols_are_no_stacks() {
        let text = "[    1.000001] ODEBUG: free active object type: timer_list hint: f+0x1/0x2\n[    1.000002] caller is f+0x1/0x2\n\
            [    1.000003] Preemption disabled at:\n[    1.000004] [<ffffffff8168b899>] f+0x1/0x2\n[    1.000005]  #0: ffff (x){+.+.}-{3:3}, at: f+0x1/0x2\n";
        assert!(read(text).is_empty(), "{:?}", read(text));
    }

    proptest! {
        #[test]
        fn any_text_gives_frames_within_their_lines(pieces in prop::collection::vec(prop_oneof![
            Just("[    1.000001]"), Just("[   T1]"), Just("[    C1]"), Just(" "), Just("\n"), Just("Call Trace:\n"), Just(" f+0x1/0x2"), Just(" [zfs]"),
            Just("[<ffffffff8168b899>]"), Just("[<80de0078>] (a) from "), Just("(b+0x28/0x2c)"), Just("? "), Just("RIP: 0010:"), Just("-> #0"),
            Just("task:"), Just(" state:"), Just(" a.c:1"), Just(" [inline]"), Just("<IRQ>"), Just("\x1b[0m"), Just("CPU: "), Just("Comm: "), Just("\u{e9}"), Just("("), Just("0x"),
            Just("1 lock held by a/1:\n"), Just("Oops#1 Part1\n"), Just("\nOops#1 Part2\n"), Just(" #0: (x){}, at: f"), Just("\"msg\": \""), Just("\\n"), Just("INFO: task a:1 is blocked on a mutex"),
            Just("{\"MESSAGE\":\""), Just("\"_TRANSPORT\":\"kernel\""), Just("{\"log\":\""), Just(" [k@82f00000+0x10]"), Just(" 0x82f00004"), Just("MESSAGE="), Just("(d3) "), Just("#033[0m"),
        ], 0..60)) {
            let text = pieces.concat();
            let capture = LinuxLog.parse(text.as_bytes());
            let mut lines = 0;
            for stack in &capture.stacks {
                prop_assert!(stack.line >= lines && !stack.frames.is_empty());
                lines = stack.line;
                for frame in &stack.frames {
                    let line = lex::lines(text.as_bytes()).nth(frame.line as usize - 1).unwrap();
                    prop_assert_eq!(line.start, frame.line_start);
                    for span in [frame.text, frame.symbol, frame.module, frame.build_id, frame.location] {
                        prop_assert!(span.start <= span.end && span.end as usize <= line.bytes.len());
                    }
                }
            }
        }
    }
}
