//! What threads wait for, as stackshots tell it: in words (`waitInfo` of JSON reports) or in numbers (kcdata).
//!
//! ```text
//! thread 800866: krwlock 0x5ee9b380d4e609cd for reading owned by thread 798645
//! thread 2283: semaphore port 0xc8bd8d1d owned by pid 142 [turnstile with unknown inheritor]
//! thread 1590: mach_msg send on port 0x9f with unknown owner [blocked on: 1604, hops: 1, priority: 31]
//! ```
//! The kinds of waits, what their owner and context are, and the words are those of xnu-11417: `osfmk/kern/block_hint.h`,
//! `stackshot_thread_waitinfo` in `osfmk/kern/kcdata.h`, `tools/lldbmacros/kcdata.py`. Lock addresses are obfuscated, but alike for all
//! threads of one report.

use rustc_hash::FxHashMap;

use crate::model::addr::{Avma, parse_hex};
use crate::model::lock::{Lock, Owner, Wait};
use crate::model::stack::Stack;

/// What a thread waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// Id of the thread that waits.
    pub waiter: u64,
    /// Who has to act for the wait to end, where that is known.
    pub holder: Option<Holder>,
    /// What it is, still without the owner's name.
    pub wait: Wait,
}

/// Who is named as the owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holder {
    /// A thread, by its id.
    Thread(u64),
    /// Any thread of a process, by the process' id.
    Process(i64),
}

/// What comes before a lock's address in the words, and what the lock is called then. The first that fits counts.
const NOUNS: &[(&str, &str)] = &[
    ("krwlock ", "krwlock"),
    ("kernel mutex ", "kernel mutex"),
    ("pthread mutex ", "pthread mutex"),
    ("pthread rwlock ", "pthread rwlock"),
    ("pthread condvar ", "pthread condvar"),
    ("unfair lock ", "unfair lock"),
    ("spin lock ", "spin lock"),
    ("semaphore port ", "semaphore"),
    ("workloop id ", "workloop"),
    ("compressor segment ", "compressor segment"),
    ("exclavecore wait, id ", "exclavecore wait"),
    ("exclavekit wait, id ", "exclavekit wait"),
    ("busy page ", "busy page"),
    ("vm object ", "vm object"),
    ("port set ", "port set"),
    ("port ", "port"),
    ("mutex ", "mutex"),
];

/// Words before the id of a thread that owns, or of a process.
const THREADS: &[&str] = &["owned by thread ", "pushing thread ", "signaled by thread ", "busy for thread ", "owner thread "];
const PROCESSES: &[&str] = &["owned by pid ", "waitpid, for pid "];
/// The same of the turnstile, which names the last of a chain.
const CHAIN_THREADS: &[&str] = &["blocked on thread ", "blocked on: ", "blocked on "];
const CHAIN_PROCESSES: &[&str] = &["blocked on task pid "];

/// Reads one text of `waitInfo` or `turnstileInfo`, which stands in line `line` of the report. `None` when it names no thread.
pub fn words(text: &str, line: u32) -> Option<Told> {
    let (waiter, rest) = text.trim().strip_prefix("thread ")?.split_once(':')?;
    let rest = rest.trim();
    let (main, chain) = rest.split_once(" [").map_or((rest, rest), |(main, chain)| (main, chain));
    let (what, address) = object(main);
    let lock = Lock { address: address.map(Avma), line, ..Lock::default() };
    let wanted = [("for reading", "reader"), ("for writing", "writer"), ("for upgrading", "upgrader")];
    let wanted_as = wanted.iter().find(|(words, _)| main.contains(words)).map(|(_, name)| (*name).to_string());
    let wait = Wait { what, lock, wanted_as, words: Some(rest.to_string()), line, owner: None };
    Some(Told { waiter: id(waiter)?, holder: holder(main, chain), wait })
}

/// What is waited for, and its address.
fn object(main: &str) -> (String, Option<u64>) {
    let Some((noun, what)) = NOUNS.iter().find(|(noun, _)| main.contains(noun)) else {
        return (main.split(" owned by ").next().unwrap_or(main).trim_end_matches(',').to_string(), None);
    };
    let address = main.split_once(noun).and_then(|(_, rest)| parse_hex(rest.split([' ', ',', '[']).next()?));
    let message = ["mach_msg receive", "mach_msg send"].into_iter().find(|message| main.starts_with(message));
    (message.unwrap_or(what).to_string(), address.filter(|address| *address != 0))
}

fn holder(main: &str, chain: &str) -> Option<Holder> {
    let after = |text: &str, words: &[&str]| words.iter().find_map(|before| id(text.split_once(before)?.1));
    let process = |text: &str, words: &[&str]| after(text, words).and_then(|pid| i64::try_from(pid).ok()).map(Holder::Process);
    let direct = after(main, THREADS).map(Holder::Thread).or_else(|| process(main, PROCESSES));
    let of_chain = || process(chain, CHAIN_PROCESSES).or_else(|| after(chain, CHAIN_THREADS).map(Holder::Thread));
    direct.or_else(of_chain)
}

/// The decimal or `0x` number that `text` begins with.
fn id(text: &str) -> Option<u64> {
    let word = text.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
    if word.starts_with("0x") { parse_hex(word) } else { word.parse().ok() }
}

/// `stackshot_thread_waitinfo`, numbers as in kcdata.
#[derive(Clone, Copy, Debug)]
pub struct WaitInfo {
    /// Thread or process that owns the object, or one of the values above [`SPECIAL_OWNERS`].
    pub owner: u64,
    /// Thread that waits.
    pub waiter: u64,
    /// Obfuscated address of the object, or another number that is its own.
    pub context: u64,
    /// `kThreadWait…`.
    pub kind: u8,
}

/// `STACKSHOT_WAITOWNER_…`: from here on owners are no ids but say why there is none (kernel, port locked, spinning, suspended).
const SPECIAL_OWNERS: u64 = u64::MAX - 7;

/// What the owner of a kind of wait is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OwnerIs {
    Thread,
    Process,
    Nothing,
}

/// `kThreadWait…` from 1 on: what is waited for, as what, and what its owner is.
const KINDS: &[(&str, Option<&str>, OwnerIs)] = &[
    ("kernel mutex", None, OwnerIs::Thread),
    ("mach_msg receive", None, OwnerIs::Nothing),
    ("mach_msg receive", None, OwnerIs::Nothing),
    ("mach_msg send", None, OwnerIs::Process),
    ("mach_msg send", None, OwnerIs::Nothing),
    ("semaphore", None, OwnerIs::Process),
    ("krwlock", Some("reader"), OwnerIs::Thread),
    ("krwlock", Some("writer"), OwnerIs::Thread),
    ("krwlock", Some("upgrader"), OwnerIs::Thread),
    ("unfair lock", None, OwnerIs::Thread),
    ("pthread mutex", None, OwnerIs::Thread),
    ("pthread rwlock", Some("reader"), OwnerIs::Nothing),
    ("pthread rwlock", Some("writer"), OwnerIs::Nothing),
    ("pthread condvar", None, OwnerIs::Nothing),
    ("parked workqueue", None, OwnerIs::Nothing),
    ("workloop", None, OwnerIs::Thread),
    ("waitpid", None, OwnerIs::Process),
    ("turnstile", None, OwnerIs::Thread),
    ("eventlink", None, OwnerIs::Thread),
    ("compressor segment", None, OwnerIs::Thread),
    ("parked bound workqueue", None, OwnerIs::Nothing),
    ("busy page", None, OwnerIs::Nothing),
    ("pager initialization", None, OwnerIs::Nothing),
    ("pager ready", None, OwnerIs::Nothing),
    ("paging activity", None, OwnerIs::Nothing),
    ("mapping in progress", None, OwnerIs::Nothing),
    ("blocked vm object", None, OwnerIs::Nothing),
    ("paging in progress", None, OwnerIs::Nothing),
    ("throttled vm object", None, OwnerIs::Nothing),
    ("exclavecore wait", None, OwnerIs::Thread),
    ("exclavekit wait", None, OwnerIs::Thread),
];

impl WaitInfo {
    /// The same in words, told in line `line`. `None` for a thread that waits for nothing.
    pub fn told(self, line: u32) -> Option<Told> {
        let at = usize::from(self.kind).checked_sub(1)?;
        let unknown = format!("unknown object of type {}", self.kind);
        let (what, wanted_as, owner) = KINDS.get(at).copied().unwrap_or((&unknown, None, OwnerIs::Nothing));
        let holder = match owner {
            _ if self.owner == 0 || self.owner >= SPECIAL_OWNERS => None,
            OwnerIs::Thread => Some(Holder::Thread(self.owner)),
            // What does not fit into a process id is a process group.
            OwnerIs::Process => i32::try_from(self.owner).ok().map(|pid| Holder::Process(pid.into())),
            OwnerIs::Nothing => None,
        };
        let lock = Lock { address: Some(Avma(self.context)).filter(|address| address.0 != 0), line, ..Lock::default() };
        let wait = Wait { what: what.to_string(), lock, wanted_as: wanted_as.map(str::to_string), line, ..Wait::default() };
        Some(Told { waiter: self.waiter, holder, wait })
    }
}

/// `stackshot_thread_turnstileinfo`: whom the kernel lends the waiter's priority.
#[derive(Clone, Copy, Debug)]
pub struct TurnstileInfo {
    /// Thread id, process id or address, by `flags`.
    pub context: u64,
    /// `STACKSHOT_TURNSTILE_STATUS_…`.
    pub flags: u64,
}

impl TurnstileInfo {
    /// The last of the chain.
    pub fn holder(self) -> Option<Holder> {
        const THREAD: u64 = 0x08;
        const BLOCKED_ON_TASK: u64 = 0x10;
        match self.flags {
            flags if flags & BLOCKED_ON_TASK != 0 => i32::try_from(self.context).ok().map(|pid| Holder::Process(pid.into())),
            flags if flags & THREAD != 0 => Some(Holder::Thread(self.context)),
            _ => None,
        }
    }
}

/// Hands every stack what its thread waits for, with the names of the owners. What is told of a thread twice is joined.
pub fn attach(stacks: &mut [Stack], told: Vec<Told>) {
    if told.is_empty() {
        return;
    }
    let thread = |stack: &Stack| stack.tid.as_deref().and_then(id);
    let threads: FxHashMap<u64, usize> = stacks.iter().enumerate().filter_map(|(at, stack)| Some((thread(stack)?, at))).collect();
    let mut processes: FxHashMap<i64, (usize, usize)> = FxHashMap::default();
    for (at, stack) in stacks.iter().enumerate() {
        stack.pid.into_iter().for_each(|pid| processes.entry(pid).or_insert((at, 0)).1 += 1);
    }
    for Told { waiter, holder, mut wait } in told {
        let Some(at) = threads.get(&waiter) else { continue };
        // What is told without a line of its own stands with its thread.
        if wait.line == 0 {
            (wait.line, wait.lock.line) = (stacks[*at].line, stacks[*at].line);
        }
        let owner = holder.map(|holder| match holder {
            Holder::Thread(tid) => owner(threads.get(&tid).map(|at| &stacks[*at]), None, Some(tid)),
            Holder::Process(pid) => match processes.get(&pid) {
                Some((first, 1)) => owner(Some(&stacks[*first]), Some(pid), thread(&stacks[*first])),
                known => owner(known.map(|(first, _)| &stacks[*first]), Some(pid), None),
            },
        });
        join(&mut stacks[*at].annotations.get_or_insert_default().waits_for, Wait { owner, ..wait });
    }
}

fn owner(stack: Option<&Stack>, pid: Option<i64>, tid: Option<u64>) -> Owner {
    Owner {
        process: stack.and_then(|stack| stack.process.clone()).unwrap_or_default(),
        pid: pid.or(stack.and_then(|stack| stack.pid)),
        tid: tid.map(|tid| tid.to_string()),
        held_as: None,
    }
}

fn join(known: &mut Option<Wait>, new: Wait) {
    match known {
        None => *known = Some(new),
        Some(known) => {
            known.owner = known.owner.take().or(new.owner);
            if let (Some(words), Some(more)) = (&mut known.words, new.words) {
                words.push_str("; ");
                words.push_str(&more);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (u64, Option<Holder>, String, Option<u64>, Option<String>) {
        let told = words(text, 1).unwrap();
        (told.waiter, told.holder, told.wait.what, told.wait.lock.address.map(|address| address.0), told.wait.wanted_as)
    }

    #[test]
    fn words_name_lock_and_owner() {
        use Holder::{Process, Thread};
        let some = |text: &str| Some(text.to_string());
        let cases = [
            (
                "thread 800866: krwlock 0x5ee9b380d4e609cd for reading owned by thread 798645",
                Some(Thread(798_645)),
                "krwlock",
                Some(0x5ee9_b380_d4e6_09cd),
                some("reader"),
            ),
            ("thread 800866: krwlock 5ee9b380 for writing", None, "krwlock", Some(0x5ee9_b380), some("writer")),
            ("thread 800866: kernel mutex 0xab in spin mode", None, "kernel mutex", Some(0xab), None),
            ("thread 800866: semaphore port 0xc8 owned by pid 142", Some(Process(142)), "semaphore", Some(0xc8), None),
            ("thread 800866: mach_msg receive on port 0x9f name 0x103", None, "mach_msg receive", Some(0x9f), None),
            ("thread 800866: mach_msg send on port 0x9f owned by kernel", None, "mach_msg send", Some(0x9f), None),
            (
                "thread 800866: mach_msg send on port 0x9f with unknown owner [blocked on: 12, hops: 1, priority: 31]",
                Some(Thread(12)),
                "mach_msg send",
                Some(0x9f),
                None,
            ),
            (
                "thread 800866: semaphore port 0x9f with unknown owner [turnstile blocked on task pid 7, hops: 1, priority: 31]",
                Some(Process(7)),
                "semaphore",
                Some(0x9f),
                None,
            ),
            ("thread 800866: workloop sync wait, owned by thread 0x10, workloop id 0x77", Some(Thread(16)), "workloop", Some(0x77), None),
            ("thread 800866: waitpid, for pid 99", Some(Process(99)), "waitpid, for pid 99", None, None),
            ("thread 800866: turnstile, pushing thread 5", Some(Thread(5)), "turnstile, pushing thread 5", None, None),
            ("thread 800866: something new 0x12", None, "something new 0x12", None, None),
        ];
        for (text, holder, what, address, wanted) in cases {
            assert_eq!(read(text), (800_866, holder, what.to_string(), address, wanted), "{text}");
        }
        assert_eq!(words("launchd waits", 1), None);
        assert_eq!(words("thread x: krwlock 0x1", 1), None);
    }

    #[test]
    fn numbers_mean_what_the_words_say() {
        let told = |kind, owner| WaitInfo { owner, waiter: 1, context: 0x10, kind }.told(3);
        assert_eq!(
            told(7, 5),
            words("thread 1: krwlock 0x10 for reading owned by thread 5", 3).map(|mut told| {
                told.wait.words = None;
                told
            })
        );
        assert_eq!(told(6, 5).unwrap().holder, Some(Holder::Process(5)));
        assert_eq!(told(1, u64::MAX - 5).unwrap().holder, None);
        assert_eq!(told(0, 5), None);
        assert_eq!(told(200, 5).unwrap().wait.what, "unknown object of type 200");
        assert_eq!(TurnstileInfo { context: 9, flags: 8 }.holder(), Some(Holder::Thread(9)));
    }

    #[test]
    fn owners_get_the_names_of_their_stacks() {
        let stack =
            |pid, tid: &str, name: &str| Stack { pid: Some(pid), tid: Some(tid.into()), process: Some(name.into()), ..Stack::default() };
        let mut stacks = [stack(7, "1", "a"), stack(8, "2", "b"), stack(8, "3", "b")];
        let told = [
            "thread 1: krwlock 0x1 owned by thread 3",
            "thread 2: semaphore port 0x2 owned by pid 7",
            "thread 3: waitpid, for pid 8",
            "thread 9: x",
        ];
        attach(&mut stacks, told.iter().filter_map(|text| words(text, 1)).collect());
        let owners: Vec<Owner> = stacks.iter().filter_map(|stack| stack.annotations.clone()?.waits_for?.owner).collect();
        let owner = |process: &str, pid, tid: Option<&str>| Owner {
            process: process.into(),
            pid: Some(pid),
            tid: tid.map(Into::into),
            held_as: None,
        };
        assert_eq!(owners, [owner("b", 8, Some("3")), owner("a", 7, Some("1")), owner("b", 8, None)]);
    }
}
