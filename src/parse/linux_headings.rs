//! The lines of a Linux kernel log that say what comes next.
//!
//! ```text
//! Call Trace:                                                  the frames of what was announced before
//! BUG: KASAN: slab-use-after-free in f+0x1/0x2                  a report; its own trace is the first
//! Allocated by task 123:                                        a stack of another time
//! -> #1 (&zilog->zl_lock){+.+.}-{3:3}:                          one for each link of a lockdep chain
//! Preemption disabled at:                                       one address, which is no stack
//! ```
//! Sources: lib/dump_stack.c, kernel/panic.c, kernel/hung_task.c, kernel/watchdog.c, kernel/rcu, kernel/locking/lockdep.c,
//! mm/kasan/report.c, mm/kmsan, kernel/kcsan/report.c, mm/kfence/report.c, mm/slub.c, mm/page_owner.c, mm/kmemleak.c (6.12) and
//! what older kernels printed in their place.

use super::linux_task;
use crate::model::stack::StackKind;

/// What a heading announces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heading {
    /// The frames of the stack that earlier lines announced.
    Trace,
    /// A stack of that kind; the line is its title.
    Stack(StackKind),
    /// A report, whose first trace is of that kind; the line is its title.
    Report(StackKind),
    /// One address that is no stack.
    Place,
    /// The end of whatever stack there was.
    End,
    /// Facts about the machine or task; the end of a stack, and frames may follow.
    Facts,
}

use Heading::{End, Facts, Place, Report, Stack, Trace};
use StackKind::{Alloc, Crash, Free, Irq, Lock};

/// Where in a line, without the blanks around it, a marker must stand.
#[derive(Clone, Copy)]
enum Where {
    Start,
    End,
}

/// The headings; the first that fits counts.
static HEADINGS: &[(Where, &[u8], Heading)] = &[
    (Where::Start, b"Call Trace:", Trace),
    (Where::Start, b"Call trace:", Trace),
    (Where::Start, b"Backtrace:", Trace),
    (Where::Start, b"stack backtrace:", Trace),
    (Where::End, b"Call Trace:", Trace),
    (Where::Start, b"---[ end ", End),
    (Where::Start, b"------------[ cut here ]", End),
    (Where::Start, b"=========", End),
    (Where::Start, b"Showing all locks held", End),
    (Where::Start, b"Hardware name:", Facts),
    (Where::Start, b"Modules linked in:", Facts),
    (Where::Start, b"Workqueue:", Facts),
    (Where::Start, b"Stack:", Facts),
    (Where::Start, b"Process ", Facts),
    (Where::Start, b"Process: ", Facts),
    // Sanitizers.
    (Where::Start, b"BUG: KFENCE:", Report(Crash)),
    (Where::Start, b"Allocated by task", Stack(Alloc)),
    (Where::Start, b"Allocated:", Stack(Alloc)),
    (Where::Start, b"Freed by task", Stack(Free)),
    (Where::Start, b"Freed:", Stack(Free)),
    (Where::Start, b"INFO: Allocated in ", Stack(Alloc)),
    (Where::Start, b"Allocated in ", Stack(Alloc)),
    (Where::Start, b"INFO: Freed in ", Stack(Free)),
    (Where::Start, b"Freed in ", Stack(Free)),
    (Where::Start, b"freed by task ", Stack(Free)),
    (Where::Start, b"allocated by task ", Stack(Alloc)),
    (Where::Start, b"kfence-#", Stack(Alloc)),
    (Where::Start, b"Last potentially related work creation:", Stack(Alloc)),
    (Where::Start, b"Second to last potentially related work creation:", Stack(Alloc)),
    (Where::Start, b"Last call_rcu():", Stack(Alloc)),
    (Where::Start, b"Second to last call_rcu():", Stack(Alloc)),
    (Where::Start, b"Uninit was ", Stack(Alloc)),
    (Where::Start, b"Local variable ", Stack(Alloc)),
    (Where::Start, b"chained origin", Stack(Alloc)),
    (Where::Start, b"origin:", Stack(Alloc)),
    (Where::Start, b"origin description:", Stack(Alloc)),
    (Where::Start, b"The buggy address belongs to the variable:", Place),
    (Where::End, b"in frame:", Place),
    (Where::Start, b"page last allocated via", Stack(Alloc)),
    (Where::Start, b"page allocated via", Stack(Alloc)),
    (Where::Start, b"Page allocated via", Stack(Alloc)),
    (Where::Start, b"page last free ", Stack(Free)),
    (Where::Start, b"page_owner ", Facts),
    (Where::Start, b"unreferenced object ", Report(Alloc)),
    (Where::Start, b"backtrace:", Stack(Alloc)),
    (Where::Start, b"backtrace (crc ", Stack(Alloc)),
    (Where::Start, b"ref_tracker: ", Stack(Alloc)),
    (Where::Start, b"leaked reference.", Stack(Alloc)),
    // Locks.
    (Where::Start, b"-> #", Stack(Lock)),
    (Where::End, b" state was registered at:", Stack(Lock)),
    (Where::Start, b"... which became ", Stack(Lock)),
    (Where::End, b"... acquired at:", Stack(Lock)),
    (Where::End, b"-W at:", Stack(Lock)),
    (Where::End, b"-R at:", Stack(Lock)),
    (Where::End, b" USE at:", Stack(Lock)),
    (Where::Start, b"Preemption disabled at:", Place),
    (Where::Start, b"Last Breaking-Event-Address:", Place),
    (Where::End, b") at:", Place),
    // CPUs that somebody looked at.
    (Where::Start, b"INFO: rcu", Report(Irq)),
    (Where::Start, b"BUG: soft lockup", Report(Irq)),
    (Where::Start, b"Watchdog detected hard LOCKUP", Report(Irq)),
    (Where::Start, b"NMI backtrace for cpu ", Report(Irq)),
    (Where::Start, b"Task dump for CPU ", Facts),
    (Where::Start, b"RCU grace-period kthread stack dump:", Facts),
    (Where::Start, b"Stack dump where", Facts),
    (Where::Start, b"Sending NMI ", Facts),
    // Reports.
    (Where::Start, b"BUG: ", Report(Crash)),
    (Where::Start, b"WARNING: ", Report(Crash)),
    (Where::Start, b"INFO: task ", Report(Crash)),
    (Where::Start, b"INFO: ", Report(Crash)),
    (Where::Start, b"UBSAN: ", Report(Crash)),
    (Where::Start, b"kernel BUG at ", Report(Crash)),
    (Where::Start, b"Kernel panic - not syncing", Report(Crash)),
    (Where::Start, b"general protection fault", Report(Crash)),
    (Where::Start, b"Internal error: ", Report(Crash)),
    (Where::Start, b"Oops: ", Report(Crash)),
    (Where::Start, b"Oops[#", Report(Crash)),
    (Where::Start, b"Unable to handle kernel", Report(Crash)),
    (Where::Start, b"[ BUG: ", Report(Crash)),
    (Where::Start, b"[ INFO: ", Report(Crash)),
    (Where::Start, b"divide error:", Report(Crash)),
    (Where::Start, b"invalid opcode:", Report(Crash)),
    (Where::Start, b"double fault:", Report(Crash)),
    (Where::Start, b"stack segment:", Report(Crash)),
    (Where::Start, b"kernel stack overflow", Report(Crash)),
    (Where::Start, b"illegal operation:", Report(Crash)),
    (Where::Start, b"Unhandled kernel unaligned access", Report(Crash)),
    (Where::Start, b"Kernel bug detected", Report(Crash)),
    (Where::Start, b"Reserved instruction in kernel code", Report(Crash)),
    (Where::Start, b"Break instruction in kernel code", Report(Crash)),
    (Where::Start, b"Kernel Fault: Code=", Report(Crash)),
    (Where::Start, b"VERIFY", Report(Crash)),
    (Where::Start, b"PANIC at ", Facts),
    (Where::Start, b"SPLError: ", Report(Crash)),
    (Where::Start, b"Showing stack for process ", Facts),
    (Where::Start, b"panicked at ", Report(Crash)),
    (Where::Start, b"FAULT_INJECTION: ", Report(Crash)),
    (Where::Start, b"page allocation failure", Report(Crash)),
    // Places of accesses, whose frames follow without more words.
    (Where::Start, b"write to 0x", Facts),
    (Where::Start, b"write (marked) to 0x", Facts),
    (Where::Start, b"read to 0x", Facts),
    (Where::Start, b"read (marked) to 0x", Facts),
    (Where::Start, b"read-write to 0x", Facts),
    (Where::Start, b"read-write (marked) to 0x", Facts),
    (Where::Start, b"race at unknown origin", Facts),
    (Where::Start, b"assert no ", Facts),
    (Where::Start, b"Out-of-bounds ", Facts),
    (Where::Start, b"Use-after-free ", Facts),
    (Where::Start, b"Invalid free of 0x", Facts),
    (Where::Start, b"Invalid read at 0x", Facts),
    (Where::Start, b"Invalid write at 0x", Facts),
    (Where::Start, b"Corrupted memory at ", Facts),
];

/// Who speaks can stand in front: `rcu: INFO: …`, `NMI watchdog: BUG: …`, `rust_kernel: panicked at …`.
const LONGEST_SPEAKER: usize = 24;

/// What `line`, without the blanks around it, announces.
pub fn heading(line: &[u8]) -> Option<Heading> {
    let near = &line[..line.len().min(LONGEST_SPEAKER)];
    let words = |line: &[u8]| find(&line[cpu(line)..]);
    let found = words(line).or_else(|| words(&line[memchr::memmem::find(near, b": ")? + 2..]))?;
    // `NMI backtrace for cpu 2 skipped: idling at f+0xb/0x10`.
    let skipped = found == Report(Irq) && memchr::memmem::find(line, b" skipped: idling").is_some();
    Some(if skipped { End } else { found })
}

/// How long the `CPU3: ` and `CPU 0 ` are that can stand in front of a heading.
fn cpu(line: &[u8]) -> usize {
    let Some(rest) = line.strip_prefix(b"CPU") else { return 0 };
    let blank = usize::from(rest.first() == Some(&b' '));
    let end = blank + rest[blank..].iter().take(5).take_while(|b| b.is_ascii_digit()).count();
    match &rest[end..] {
        [b':', b' ', ..] if end > blank => 3 + end + 2,
        [b' ', ..] if end > blank => 3 + end + 1,
        _ => 0,
    }
}

/// Whether a heading is of a CPU that was asked what it does. One in user space has no stack.
pub fn is_cpu(title: &str) -> bool {
    title.contains("NMI backtrace for cpu ")
}

/// `sysrq: CPU2:`, above what a CPU does, where NMIs are not used for that.
fn is_sysrq_cpu(line: &[u8]) -> bool {
    let number = line.strip_prefix(b"sysrq: CPU").and_then(|rest| rest.strip_suffix(b":"));
    number.is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit))
}

/// How lines begin that say what went wrong, whether or not a stack follows.
static HEADLINES: &[&[u8]] = &[
    b"BUG: ",
    b"BUG ",
    b"WARNING: ",
    b"INFO: ",
    b"UBSAN: ",
    b"[ BUG: ",
    b"[ INFO: ",
    b"[ WARNING: ",
    b"kernel BUG at ",
    b"Kernel BUG at ",
    b"Kernel panic - not syncing",
    b"general protection fault",
    b"Unable to handle kernel",
    b"Internal error: ",
    b"Unhandled fault: ",
    b"Unhandled fault at 0x",
    b"Alignment trap: ",
    b"Oops",
    b"divide error:",
    b"divide_error:",
    b"invalid opcode:",
    b"int3:",
    b"PANIC: double fault",
    b"double fault:",
    b"stack segment",
    b"kernel stack overflow",
    b"illegal operation:",
    b"Unhandled kernel unaligned access",
    b"Kernel bug detected",
    b"Reserved instruction in kernel code",
    b"Break instruction in kernel code",
    b"Kernel Fault: Code=",
    b"Watchdog detected hard LOCKUP",
    b"unreferenced object 0x",
    b"unreferenced object (percpu) 0x",
    b"unreferenced object (phys) 0x",
    b"unregister_netdevice: waiting for ",
    b"VERIFY",
    b"SPLError: ",
    b"panicked at ",
];

/// Where in `line`, without the blanks around it, the message begins that says what went wrong.
pub fn headline(line: &[u8]) -> Option<usize> {
    let says = |line: &[u8]| line.first().is_some_and(|first| HEADLINES.iter().any(|words| words[0] == *first && line.starts_with(words)));
    let mut at = cpu(line);
    if says(&line[at..]) {
        return Some(at);
    }
    // `NMI watchdog: Watchdog detected …`; `traps: PANIC: …` has two speakers at most.
    while let Some(colon) = memchr::memmem::find(&line[at..line.len().min(LONGEST_SPEAKER)], b": ") {
        at += colon + 2;
        if says(&line[at..]) {
            return Some(at);
        }
        if at >= LONGEST_SPEAKER {
            break;
        }
    }
    None
}

fn find(line: &[u8]) -> Option<Heading> {
    let (first, last) = (*line.first()?, *line.last()?);
    let fits = |at: Where, marker: &[u8]| match at {
        Where::Start => marker[0] == first && line.starts_with(marker),
        // All of them end so.
        Where::End => last == b':' && line.ends_with(marker),
    };
    let found = HEADINGS.iter().find(|(at, marker, _)| fits(*at, marker)).map(|(.., heading)| *heading);
    let found = found.or_else(|| is_sysrq_cpu(line).then_some(Report(Irq)));
    found.or_else(|| linux_task::named(line).map(|_| Facts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_exact_heading_wins() {
        assert_eq!(heading(b"Call Trace:"), Some(Trace));
        assert_eq!(heading(b"dffffc0000000000Call Trace:"), Some(Trace));
        assert_eq!(heading(b"INFO: Allocated in f+0x1/0x2 age=5 cpu=0 pid=1"), Some(Stack(Alloc)));
        assert_eq!(heading(b"INFO: rcu_sched self-detected stall on CPU"), Some(Report(Irq)));
        assert_eq!(heading(b"... which became HARDIRQ-irq-safe at:"), Some(Stack(Lock)));
        assert_eq!(heading(b"rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:"), Some(Report(Irq)));
        assert_eq!(heading(b"watchdog: BUG: soft lockup - CPU#1 stuck for 134s! [dd:4588]"), Some(Report(Irq)));
        assert_eq!(heading(b"dd/12 is trying to release lock (&mm->mmap_lock) at:"), Some(Place));
        assert_eq!(heading(b"watchdog: CPU3: Watchdog detected hard LOCKUP on cpu 3"), Some(Report(Irq)));
        assert_eq!(heading(b"CPU 0 Unable to handle kernel paging request at virtual address 00000008"), Some(Report(Crash)));
        assert_eq!(heading(b"sysrq: CPU2:"), Some(Report(Irq)));
        assert_eq!(heading(b"sysrq: CPU1: backtrace skipped as idling"), None);
        assert_eq!(heading(b"NMI backtrace for cpu 2 skipped: idling at f+0xb/0x10"), Some(End));
        assert_eq!(heading(b"CPU3: Core temperature above threshold"), None);
        assert_eq!(heading(b"eth0: link up"), None);
    }

    #[test]
    fn headlines_stand_alone_or_behind_who_speaks() {
        assert_eq!(headline(b"BUG: KASAN: use-after-free in f+0x1/0x2"), Some(0));
        assert_eq!(headline(b"rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:"), Some(5));
        assert_eq!(headline(b"NMI watchdog: BUG: soft lockup - CPU#1 stuck for 22s!"), Some(14));
        assert_eq!(headline(b"watchdog: CPU3: Watchdog detected hard LOCKUP on cpu 3"), Some(16));
        assert_eq!(headline(b"CPU 0 Unable to handle kernel paging request at virtual address 00000008"), Some(6));
        assert_eq!(headline(b"CPU 0"), None);
        assert_eq!(headline(b"kmemleak: unreferenced object (percpu) 0x607ee16 (size 16):"), Some(10));
        assert_eq!(headline(b"traps: dd[12] general protection fault ip:7feb96eb56a1"), None);
        assert_eq!(headline(b"ODEBUG: free active object type: timer_list"), None);
        assert_eq!(headline(b": : : : : : : : : : : : : : : : :"), None);
        assert_eq!(headline(b""), None);
    }
}
