//! What a Linux kernel log says about locks: who holds which, and who waits for whom.
//!
//! ```text
//! 2 locks held by dd/274:                                    also `1 lock on stack by`, `no locks held by dd/274.`
//!  #0: ffff8881034b2460 (sb_writers#4){.+.+}-{0:0}, at: ksys_write+0x5f/0xe0
//!  #1:  (&x->lock){+.+.+.}, at: [<ffffffff8148e81d>] f+0x2bd/0x3410 [mod]      up to 4.16: no address of the lock
//! dd/274 is trying to acquire lock:                          followed by a line as above, without its number
//! but task is already holding lock:                          the same
//! INFO: task dd:274 is blocked on a mutex likely owned by task sync:275.
//! INFO: task dd:274 <writer> blocked on an rw-semaphore likely owned by task sync:275 <reader>
//! ```
//! Sources: kernel/locking/lockdep.c (`lockdep_print_held_locks`, `print_circular_bug_header` and their like, 2.6.32 to 6.12),
//! kernel/hung_task.c (`debug_show_blocker`: mutexes in 6.15, semaphores in 6.16, rw-semaphores in 6.17). The address of the lock was
//! `%p` when it came in, a hash, and is the real one since 4.20.

use memchr::{memchr, memmem, memrchr};

use super::lex;
use super::linux_symbol::is_hash;
use crate::model::addr::Avma;
use crate::model::lock::{Lock, Owner, TaskLocks, Wait};

/// What was read about one task at one place.
#[derive(Debug, Default)]
pub struct Told {
    /// Whose locks, and which.
    pub locks: TaskLocks,
    /// Whether it stands in the list of all locks, which follows the stacks of its tasks.
    pub listed: bool,
}

/// What the next line about a lock belongs to; the number is the task's position among all that was read.
#[derive(Clone, Copy, Default)]
enum Expect {
    #[default]
    Nothing,
    /// So many lines of held locks.
    Held(usize, u64),
    /// The lock that a task wants.
    Wanted(usize),
    /// A lock that it has.
    Holding(usize),
}

/// Reads the lines about locks of one context.
#[derive(Default)]
pub struct LockReader {
    expect: Expect,
    /// The task that is trying to acquire a lock.
    current: Option<usize>,
    /// The task that the report is about: the one that prints it.
    subject: Option<usize>,
    /// Whether the list of all locks is being printed.
    pub listed: bool,
}

/// Who is trying to do what; before it may stand the task's interrupt state in brackets.
const WANTS: &[&[u8]] = &[b" is trying to acquire lock:", b" is trying to acquire:", b" is trying to lock:"];
const HOLDS: &[&[u8]] = &[b"but task is already holding lock:", b"and this task is already holding:"];

impl LockReader {
    /// Forgets what it was about.
    pub fn reset(&mut self) {
        *self = LockReader::default();
    }

    /// The task that printed the report about locks whose own stack comes next, once.
    pub fn subject<'t>(&mut self, told: &'t [Told]) -> Option<&'t TaskLocks> {
        told.get(self.subject.take()?).map(|told| &told.locks)
    }

    /// Takes a line without the blanks around it, which is of no stack.
    pub fn line(&mut self, line: &[u8], number: u32, told: &mut Vec<Told>) {
        match line[0] {
            b'#' | b'(' | b'<' => self.lock(line, number, told),
            _ if !line.ends_with(b":") && !line.ends_with(b".") => self.lock(line, number, told),
            _ => self.sentence(line, number, told),
        }
    }

    fn sentence(&mut self, line: &[u8], number: u32, told: &mut Vec<Told>) {
        if let Some((count, process, pid)) = holder(line) {
            self.expect = Expect::Held(told.len(), count);
            self.subject = Some(told.len()).filter(|_| !self.listed);
            let locks = TaskLocks { process, pid, held: Some(Vec::new()), line: number, ..TaskLocks::default() };
            told.push(Told { locks, listed: self.listed });
        } else if let Some((process, pid)) = wanting(line) {
            (self.expect, self.current, self.subject) = (Expect::Wanted(told.len()), Some(told.len()), Some(told.len()));
            told.push(Told { locks: TaskLocks { process, pid, line: number, ..TaskLocks::default() }, listed: false });
        } else if let Some(current) = self.current.filter(|_| HOLDS.contains(&line)) {
            self.expect = Expect::Holding(current);
        }
    }

    fn lock(&mut self, line: &[u8], number: u32, told: &mut [Told]) {
        let (at, more) = match self.expect {
            Expect::Nothing => return,
            Expect::Held(at, more) => (at, more.saturating_sub(1)),
            Expect::Wanted(at) | Expect::Holding(at) => (at, 0),
        };
        let numbered = matches!(self.expect, Expect::Held(..));
        let Some(lock) = if numbered { after_number(line) } else { Some(line) }.and_then(|line| lock(line, number)) else { return };
        let Some(task) = told.get_mut(at).map(|told| &mut told.locks) else { return };
        match self.expect {
            Expect::Wanted(_) => task.waits_for = Some(Wait { what: "lock".to_string(), lock, line: number, ..Wait::default() }),
            _ => task.held.get_or_insert_default().push(lock),
        }
        self.expect = if more > 0 { Expect::Held(at, more) } else { Expect::Nothing };
    }
}

/// What follows `#0:`.
fn after_number(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"#")?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    rest[digits..].strip_prefix(b":")
}

/// `ffff8881034b2460 (sb_writers#4){.+.+}-{0:0}, at: [<ffffffff8148e81d>] ksys_write+0x5f/0xe0`.
fn lock(text: &[u8], line: u32) -> Option<Lock> {
    let cut = memmem::find(text, b", at: ");
    let (name, at) = cut.map_or((text, None), |cut| (&text[..cut], Some(&text[cut + 6..])));
    let name = without_hidden(name.trim_ascii());
    if name == b"<RELEASED>" {
        return Some(Lock { line, ..Lock::default() });
    }
    let open = memchr(b'(', name)?;
    // What uses there were and what kind of lock it is stand in braces behind the class.
    let close = memmem::rfind(name, b"){").or_else(|| memrchr(b')', name)).filter(|close| *close > open)?;
    let word = name[..open].trim_ascii();
    let address = lex::bare_hex(word);
    if !word.is_empty() && address.is_none() {
        return None;
    }
    let address = address.filter(|value| *value != 0 && !is_hash(*value, word.len())).map(Avma);
    Some(Lock { class: Some(lex::text(&name[open + 1..close])), address, at: at.map(place).filter(|at| !at.is_empty()), line })
}

/// Early in boot a hash cannot be made, and `(____ptrval____)` stands in its place.
fn without_hidden(name: &[u8]) -> &[u8] {
    let hidden: [&[u8]; 3] = [b"(ptrval)", b"(____ptrval____)", b"(null)"];
    hidden.iter().find_map(|hidden| name.strip_prefix(*hidden)).map_or(name, |name| name.trim_ascii_start())
}

/// The function, without the address that stood before it.
fn place(at: &[u8]) -> String {
    let end = at.strip_prefix(b"[<").and_then(|_| memmem::find(at, b">]"));
    lex::text(end.map_or(at, |end| &at[end + 2..]).trim_ascii())
}

/// `2 locks held by dd/274:`, `no locks held by dd/274.`: how many, and whose.
fn holder(line: &[u8]) -> Option<(u64, String, i64)> {
    let at = memmem::find(line, b" by ")?;
    let said = line[..at].strip_suffix(b" held").or_else(|| line[..at].strip_suffix(b" on stack"))?;
    let count = said.strip_suffix(b" locks").or_else(|| said.strip_suffix(b" lock"))?;
    let count = if count == b"no" { 0 } else { lex::decimal(count)? };
    let (process, pid) = task(&line[at + 4..line.len() - 1], b'/')?;
    Some((count, process, pid))
}

/// `dd/274 is trying to acquire lock:`, `dd/274 [HC0[0]:SC0[2]:HE1:SE0] is trying to acquire:`.
fn wanting(line: &[u8]) -> Option<(String, i64)> {
    let who = WANTS.iter().find_map(|wants| line.strip_suffix(*wants))?;
    let state = memmem::find(who, b" [HC").unwrap_or(who.len());
    task(&who[..state], b'/')
}

/// Command name and id, which `by` separates; a name can hold that, too.
fn task(text: &[u8], by: u8) -> Option<(String, i64)> {
    let at = memrchr(by, text)?;
    let pid = i64::try_from(lex::decimal(&text[at + 1..])?).ok()?;
    Some((lex::text(&text[..at]), pid))
}

/// The edge of the wait graph that khungtaskd prints behind the stack of a hung task.
pub fn blocked(line: &[u8], number: u32) -> Option<Told> {
    let rest = line.strip_prefix(b"INFO: task ")?;
    let at = memmem::find(rest, b" blocked on a")?;
    let (who, wanted_as) = role(rest[..at].strip_suffix(b" is").unwrap_or(&rest[..at]));
    let (process, pid) = task(who, b':')?;
    let what = &rest[at + 13..];
    let what = what.strip_prefix(b"n").unwrap_or(what).strip_prefix(b" ")?;
    let end = what.iter().position(|b| matches!(b, b' ' | b',' | b'.')).unwrap_or(what.len());
    let owner = memmem::find(what, b" by task ").and_then(|at| owner(&what[at + 9..]));
    let wait = Wait { what: lex::text(&what[..end]), wanted_as, owner, line: number, ..Wait::default() };
    Some(Told { locks: TaskLocks { process, pid, waits_for: Some(wait), line: number, ..TaskLocks::default() }, listed: false })
}

fn owner(text: &[u8]) -> Option<Owner> {
    let (who, held_as) = role(text.strip_suffix(b".").unwrap_or(text));
    let (process, pid) = task(who, b':')?;
    Some(Owner { process, pid: Some(pid), tid: None, held_as })
}

/// Takes ` <reader>` or ` <writer>` off the end.
fn role(text: &[u8]) -> (&[u8], Option<String>) {
    let roles: [&[u8]; 2] = [b" <reader>", b" <writer>"];
    let found = roles.iter().find_map(|role| Some((text.strip_suffix(*role)?, &role[2..role.len() - 1])));
    found.map_or((text, None), |(who, role)| (who, Some(lex::text(role))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Vec<Told> {
        let (mut reader, mut told) = (LockReader::default(), Vec::new());
        for (at, line) in lines.iter().enumerate() {
            reader.line(line.trim().as_bytes(), at as u32 + 1, &mut told);
        }
        told
    }

    #[test]
    fn held_locks_of_every_age_have_class_address_and_place() {
        for (line, class, address, at) in [
            (
                " #0: ffff888076c3e0e0 (&type->s_umount_key#50){+.+.}-{4:4}, at: f+0x1/0x2 [zfs]",
                "&type->s_umount_key#50",
                Some(0xffff_8880_76c3_e0e0),
                "f+0x1/0x2 [zfs]",
            ),
            (" #0: 00000000d6be2d47 ((wq_completion)\"events\"){+.+.}, at: f+0x1/0x2", "(wq_completion)\"events\"", None, "f+0x1/0x2"),
            (" #0:  (&(&x->lock)->rlock#2/1){-.-...}, at: [<ffffffff8148e81d>] f+0x1/0x2", "&(&x->lock)->rlock#2/1", None, "f+0x1/0x2"),
            (" #0: (____ptrval____) ((&timer)){+.-.}, at: f+0x1/0x2", "(&timer)", None, "f+0x1/0x2"),
        ] {
            let told = read(&["1 lock held by kworker/u:2/30374:", line]);
            let locks = &told[0].locks;
            assert_eq!((locks.process.as_str(), locks.pid), ("kworker/u:2", 30374));
            let lock = &locks.held.as_ref().unwrap()[0];
            assert_eq!((lock.class.as_deref(), lock.address, lock.at.as_deref()), (Some(class), address.map(Avma), Some(at)), "{line}");
        }
        assert_eq!(read(&["no locks held by dd/1."])[0].locks.held, Some(Vec::new()));
        assert_eq!(
            read(&["1 lock on stack by dd/1:", "#0: <RELEASED>", "#0: (x){}, at: f+0x1/0x2"])[0].locks.held.as_ref().unwrap().len(),
            1
        );
    }

    #[test]
    fn lockdep_says_what_is_wanted_and_what_is_held() {
        let told = read(
            &[
                "dd/12 [HC0[0]:SC0[2]:HE1:SE0] is trying to acquire:",
                "ffffffff81e2d740 (a){+.+.}, at: f+0x1/0x2",
                "",
                "and this task is already holding:",
                " (b){+.+.}, at: [<0000000012345678>] g+0x1/0x2",
                "which lock already depends on the new lock.",
            ]
            .map(|line| if line.is_empty() { "the existing dependency chain is" } else { line }),
        );
        let [Told { locks, .. }] = &told[..] else { panic!("{told:?}") };
        let wait = locks.waits_for.as_ref().unwrap();
        assert_eq!((wait.what.as_str(), wait.lock.identity().as_deref()), ("lock", Some("0xffffffff81e2d740")));
        assert_eq!(locks.held.as_ref().unwrap()[0].identity().as_deref(), Some("b"));
    }

    #[test]
    fn hung_tasks_name_the_owner() {
        for (line, what, wanted_as, owner) in [
            ("INFO: task Web Content:1 is blocked on a mutex likely owned by task a b:2.", "mutex", None, Some(("a b", None))),
            ("INFO: task Web Content:1 is blocked on a mutex, but the owner is not found.", "mutex", None, None),
            ("INFO: task Web Content:1 blocked on a semaphore likely last held by task a b:2", "semaphore", None, Some(("a b", None))),
            (
                "INFO: task Web Content:1 <writer> blocked on an rw-semaphore likely owned by task a b:2 <reader>",
                "rw-semaphore",
                Some("writer"),
                Some(("a b", Some("reader"))),
            ),
        ] {
            let locks = blocked(line.as_bytes(), 1).unwrap().locks;
            let wait = locks.waits_for.unwrap();
            assert_eq!((locks.process.as_str(), locks.pid, wait.what.as_str()), ("Web Content", 1, what));
            assert_eq!(wait.wanted_as.as_deref(), wanted_as);
            let seen = wait.owner.as_ref().map(|owner| (owner.process.as_str(), owner.held_as.as_deref()));
            assert_eq!(seen, owner, "{line}");
        }
        assert!(blocked(b"INFO: task dd:1 blocked for more than 5 seconds.", 1).is_none());
    }
}
