//! The rules. A new one is one function and one entry in [`RULES`].

use super::{Evidence, Facts};
use crate::model::stack::{Stack, StackKind};

/// The reason and the evidence.
pub type Said = Option<(String, Vec<Evidence>)>;

/// A rule of triage.
pub struct Rule {
    /// What it says.
    pub verdict: &'static str,
    /// Where it comes from.
    pub rests_on: &'static str,
    /// The reason and the evidence, when it has something to say.
    pub speaks: fn(&Facts<'_, '_>) -> Said,
}

/// Every rule, in the order in which verdicts are given.
pub static RULES: &[Rule] = &[
    Rule {
        verdict: "kernel crash",
        rests_on: "Linux, Documentation/admin-guide/bug-hunting.rst: after an oops, BUG or panic the rest of the log is its consequence; \
                   OpenZFS, lib/libspl and module/os/linux/spl/spl-err.c: a failed VERIFY and PANIC stop the thread for good",
        speaks: crash,
    },
    Rule {
        verdict: "kernel crash",
        rests_on: "xnu, osfmk/kern/debug.c (panic): the kernel found that it must not go on, wrote down where it was and stopped the machine",
        speaks: panic,
    },
    Rule {
        verdict: "deadlock suspected",
        rests_on: "Linux, kernel/hung_task.c (owner of the lock, since 6.15) and kernel/locking/lockdep.c (held locks): tasks that wait \
                   for each other in a circle never go on",
        speaks: deadlock,
    },
    Rule {
        verdict: "kernel lockup",
        rests_on: "Linux, Documentation/admin-guide/sysctl/kernel.rst (hung_task_timeout_secs, softlockup_panic) and \
                   Documentation/RCU/stallwarn.rst; xnu, osfmk/kern/thread.h (TH_UNINT): sleep that no signal ends waits for the kernel itself",
        speaks: lockup,
    },
    Rule {
        verdict: "storage below ZFS",
        rests_on: "OpenZFS, module/zfs/zio.c: zio_wait sleeps until zio_done of the same I/O wakes it, and zio_interrupt hands a finished \
                   I/O on; when nobody is in either, the device has not answered",
        speaks: below_zfs,
    },
    Rule {
        verdict: "deadlock in ZFS suspected",
        rests_on: "OpenZFS, module/zfs/zio.c: I/O that came back (zio_done, zio_interrupt) while others still sleep in zio_wait is held up \
                   inside ZFS",
        speaks: inside_zfs,
    },
    Rule {
        verdict: "kernel warning",
        rests_on: "Linux, kernel/panic.c (__warn): the kernel saw what should not be and went on",
        speaks: warning,
    },
    Rule {
        verdict: "userspace wait",
        rests_on: "Linux, fs/proc/array.c (state S: interruptible); xnu, TH_WAIT without TH_UNINT: every thread waits for what a program, a \
                   socket or a timer does, and a signal would end it",
        speaks: userspace,
    },
];

/// Words of headings after which a kernel or its thread did not go on.
const FATAL: &[&str] = &[
    "Oops",
    "BUG",
    "panic",
    "PANIC",
    "VERIFY",
    "ASSERT",
    "general protection fault",
    "double fault",
    "Unable to handle",
    "unable to handle",
    "divide error",
    "invalid opcode",
    "stack segment",
    "stack guard page",
    "Internal error",
    "segmentation",
    "bad page",
    "soft lockup",
];
/// Of these, headings of a machine that only stands still.
const STILL: &[&str] = &[
    "soft lockup",
    "hard LOCKUP",
    "blocked for more than",
    "self-detected stall",
    "detected stall",
    "detected expedited stall",
    "rcu_tasks",
    "workqueue lockup",
];
/// Headings with one of the fatal words after which the kernel goes on all the same.
const MILD: &[&str] =
    &["sleeping function called", "scheduling while atomic", "BUG: using ", "Invalid wait context", "[ BUG: ", "MAX_LOCK"];

/// The stack's heading, if it has one of `words` and is no warning: the file or function that a warning names can have any of them.
fn titled<'t>(stack: &'t Stack, words: &[&str]) -> Option<&'t str> {
    stack.title.as_deref().filter(|title| !warns(title) && words.iter().any(|word| title.contains(word)))
}

fn warns(title: &str) -> bool {
    title.starts_with("WARNING") || MILD.iter().any(|words| title.contains(words))
}

/// The heading as evidence, with the line that has it: a stack begins at its first frames.
fn heading(facts: &Facts<'_, '_>, stack: &Stack, title: &str) -> Evidence {
    Evidence { line: facts.line_of(stack, title).unwrap_or(stack.line), text: title.to_string() }
}

fn crashes<'f>(facts: &'f Facts<'_, '_>) -> impl Iterator<Item = (&'f Stack, &'f str)> {
    let fatal = |stack: &'f Stack| {
        let title = titled(stack, FATAL).filter(|title| titled(stack, STILL).is_none() && !title.starts_with(MACOS_PANIC));
        title.map(|title| (stack, title))
    };
    facts.stacks().map(|(_, stack)| stack).filter(|stack| stack.kind == StackKind::Crash).filter_map(fatal)
}

/// How the title of a macOS panic's stack begins.
const MACOS_PANIC: &str = "panic(cpu ";

/// Whether a stack is that of a macOS panic, which for all but a watchdog's is no hang: its stackshot shows what ran beside it.
fn is_panic(stack: &Stack) -> bool {
    stack.title.as_deref().is_some_and(|title| title.starts_with(MACOS_PANIC) && !title.contains("watchdog"))
}

fn panic(facts: &Facts<'_, '_>) -> Said {
    let titled = facts.stacks().filter(|(_, stack)| stack.kind == StackKind::Crash && !stack.aside);
    let panics = titled.filter_map(|(_, stack)| Some((stack, stack.title.as_deref()?))).filter(|(_, title)| title.starts_with(MACOS_PANIC));
    let evidence: Vec<Evidence> = panics.map(|(stack, title)| heading(facts, stack, title)).collect();
    let why = match evidence.len() {
        0 | 1 => "the kernel panicked".to_string(),
        count => format!("the kernel panicked {count} times; the first counts"),
    };
    Some((why, evidence))
}

fn crash(facts: &Facts<'_, '_>) -> Said {
    let mut evidence: Vec<Evidence> = crashes(facts).map(|(stack, title)| heading(facts, stack, title)).collect();
    evidence.dedup();
    let count = evidence.len();
    Some((
        if count > 1 {
            format!("the log has {count} of oops, BUG, failed VERIFY or panic; the first counts")
        } else {
            "the log has an oops, BUG, failed VERIFY or panic".to_string()
        },
        evidence,
    ))
}

fn warning(facts: &Facts<'_, '_>) -> Said {
    let warned = facts.stacks().filter(|(_, stack)| stack.kind == StackKind::Crash);
    let mut evidence: Vec<Evidence> =
        warned.filter_map(|(_, stack)| Some(heading(facts, stack, stack.title.as_deref().filter(|title| warns(title))?))).collect();
    evidence.dedup();
    Some(("the kernel reported what should not happen, and went on".to_string(), evidence))
}

/// Lines with which the lock checker begins (kernel/locking/lockdep.c, 2.6.18 to 6.17).
const LOCK_CHECKER: &[&str] = &[
    "possible circular locking dependency detected",
    "possible recursive locking detected",
    "inconsistent lock state",
    "possible irq lock inversion dependency detected",
    "lock order inversion",
];

fn deadlock(facts: &Facts<'_, '_>) -> Said {
    let Some(cycle) = facts.graph.cycle() else {
        let evidence = LOCK_CHECKER.iter().flat_map(|words| facts.lines_with(words)).collect();
        return Some(("the kernel's lock checker found an order of locks in which tasks can wait for each other".to_string(), evidence));
    };
    let names: Vec<String> = cycle.iter().map(|edge| edge.from.to_string()).collect();
    let evidence = cycle.iter().map(|edge| Evidence { line: edge.line, text: edge.to_string() }).collect();
    Some((format!("{} → {} wait for each other", names.join(" → "), names.first()?), evidence))
}

fn lockup(facts: &Facts<'_, '_>) -> Said {
    if crashes(facts).next().is_some() || facts.beside().any(|report| report.capture.stacks.iter().any(is_panic)) {
        return None;
    }
    let mut evidence: Vec<Evidence> = facts.stacks().filter_map(|(_, stack)| Some(heading(facts, stack, titled(stack, STILL)?))).collect();
    evidence.dedup();
    evidence.truncate(3);
    // Idle threads of xnu's kernel task always sleep so.
    let is_idle = |stack: &Stack| stack.pid == Some(0) && stack.process.as_deref() == Some("kernel_task");
    let blocked = |stack: &Stack| stack.state.as_deref().is_some_and(is_blocked) && !is_idle(stack);
    // A log can tell of the same thread every few seconds.
    let mut seen = rustc_hash::FxHashSet::default();
    let mut fresh = |stack: &Stack| stack.pid.is_none() || seen.insert((stack.pid, stack.tid.clone(), stack.process.clone()));
    let all = facts.stacks().map(|(_, stack)| stack).filter(|stack| blocked(stack));
    let count: u64 = all.filter(|stack| fresh(stack)).map(|stack| stack.count).fold(0, u64::saturating_add);
    evidence.extend(facts.one_of_each(blocked));
    let why = match count {
        0 => "the kernel found a CPU or task that makes no progress".to_string(),
        1 => "a thread sleeps uninterruptibly, and nothing crashed".to_string(),
        _ => format!("{count} threads sleep uninterruptibly, and nothing crashed"),
    };
    Some((why, evidence))
}

/// Whether no signal ends a sleep in that state: Linux' D, Darwin's `TH_UNINT`.
pub fn is_blocked(state: &str) -> bool {
    state == "D" || state.starts_with("D ") || state.split('|').any(|flag| flag == "TH_UNINT")
}

/// Threads that wait for I/O of ZFS, and threads that finish some.
fn zios(facts: &Facts<'_, '_>) -> [Vec<(usize, usize)>; 2] {
    [&["zio_wait"][..], &["zio_done", "zio_interrupt"]].map(|functions| facts.in_functions("zfs", functions))
}

fn below_zfs(facts: &Facts<'_, '_>) -> Said {
    let [waiting, finishing] = zios(facts);
    if !finishing.is_empty() {
        return None;
    }
    let evidence = waiting.iter().map(|(stack, n)| facts.at_frame(*stack, *n)).collect();
    Some((
        format!("{} in zio_wait and none in zio_done or zio_interrupt: the devices below have not answered", threads(waiting.len())),
        evidence,
    ))
}

fn inside_zfs(facts: &Facts<'_, '_>) -> Said {
    const EACH: usize = 4;
    let [waiting, finishing] = zios(facts);
    if waiting.is_empty() || finishing.is_empty() {
        return None;
    }
    let both = waiting.iter().take(EACH).chain(finishing.iter().take(EACH));
    let why = format!("{} in zio_wait while {} in zio_done or zio_interrupt", threads(waiting.len()), threads(finishing.len()));
    Some((why, both.map(|(stack, n)| facts.at_frame(*stack, *n)).collect()))
}

fn threads(count: usize) -> String {
    if count == 1 { "1 thread is".to_string() } else { format!("{count} threads are") }
}

/// States in which a signal ends the sleep, or in which a kernel thread is idle.
fn is_interruptible(state: &str) -> bool {
    let darwin = state.split('|').any(|flag| flag == "TH_WAIT") && !is_blocked(state);
    matches!(state.split(' ').next(), Some("S" | "I" | "R")) || darwin
}

fn userspace(facts: &Facts<'_, '_>) -> Said {
    let mut stacks = facts.stacks();
    let all = stacks.all(|(_, stack)| stack.kind == StackKind::Thread && stack.state.as_deref().is_some_and(is_interruptible));
    let sleeping = |stack: &Stack| !stack.state.as_deref().is_some_and(|state| state.starts_with('R'));
    all.then(|| ("every thread is idle or waits for something that a signal would end".to_string(), facts.one_of_each(sleeping)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_warning_is_no_crash_and_no_stall() {
        let stack = |title: &str| Stack { title: Some(title.to_string()), ..Stack::default() };
        for title in [
            "WARNING: CPU: 0 PID: 1 at kernel/rcu/tree.c:25 rcu_note+0x1/0x2",
            "WARNING: CPU: 0 PID: 1 at kernel/panic.c:25 __warn+0x1/0x2",
            "BUG: sleeping function called from invalid context at mm/slab.h:1",
        ] {
            assert!(titled(&stack(title), FATAL).is_none() && titled(&stack(title), STILL).is_none() && warns(title), "{title}");
        }
        assert!(titled(&stack("BUG: kernel NULL pointer dereference, address: 0"), FATAL).is_some());
        assert!(titled(&stack("rcu: INFO: rcu_preempt self-detected stall on CPU"), STILL).is_some());
        assert!(titled(&stack("INFO: rcu_sched detected stalls on CPUs/tasks:"), STILL).is_some());
    }
}
