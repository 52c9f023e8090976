//! Brings what a Linux log says about the locks of tasks to the stacks of those tasks.
//!
//! Locks are printed behind a hung task's stack, before the stack of a warning, or in one list at the end of a round of hung tasks. The
//! same task can have several stacks; the nearest is meant, and in the list one that stands above.

use rustc_hash::FxHashMap;

use super::linux_locks::Told;
use crate::model::lock::{Annotations, Lock, TaskLocks};
use crate::model::stack::{Stack, StackKind};

/// More locks than this no task holds (`MAX_LOCK_DEPTH` is 48).
const MOST_LOCKS: usize = 64;

/// Whose a stack is: thread id and command name, where known.
type Key<'s> = (i64, Option<&'s str>);

/// Adds what was told to the stacks, which are in the order of their lines; gives back what belongs to none of them.
pub fn attach(told: Vec<Told>, stacks: &mut [Stack]) -> Vec<TaskLocks> {
    if told.is_empty() {
        return Vec::new();
    }
    let owners = owners(&told, stacks);
    let given = told.into_iter().zip(owners).filter_map(|(told, owner)| match owner {
        Some(at) => give(told.locks, stacks[at].annotations.get_or_insert_default()),
        None => Some(told.locks),
    });
    given.collect()
}

/// The stack that each of those told about has.
fn owners(told: &[Told], stacks: &[Stack]) -> Vec<Option<usize>> {
    let mut own: FxHashMap<Key<'_>, Vec<usize>> = FxHashMap::default();
    for (at, stack) in stacks.iter().enumerate() {
        if let Some(key) = key(stack) {
            own.entry(key).or_default().push(at);
        }
    }
    let owner = |Told { locks, listed }: &Told| {
        let keys = [(locks.pid, Some(locks.process.as_str())), (locks.pid, None)];
        let near = keys.iter().filter_map(|key| nearest(own.get(key)?, stacks, locks.line, *listed));
        near.min_by_key(|(distance, _)| *distance).map(|(_, at)| at)
    };
    told.iter().map(owner).collect()
}

/// What stood there at another time, or was printed about an object, is not the stack that the task has now.
fn key(stack: &Stack) -> Option<Key<'_>> {
    let current = matches!(stack.kind, StackKind::Thread | StackKind::Crash | StackKind::Irq);
    let thread = stack.tid.as_deref().map_or(stack.pid, |tid| tid.parse().ok());
    thread.filter(|_| current).map(|thread| (thread, stack.process.as_deref()))
}

/// Hands a task's locks to its stack; gives back what the stack does not take.
fn give(mut locks: TaskLocks, mine: &mut Annotations) -> Option<TaskLocks> {
    locks.held = locks.held.and_then(|held| hold(mine, held));
    if mine.waits_for.is_none() {
        mine.waits_for = locks.waits_for.take();
    }
    (locks.held.is_some() || locks.waits_for.is_some()).then_some(locks)
}

/// Adds locks that the stack does not have yet; gives back those that are too many.
fn hold(mine: &mut Annotations, locks: Vec<Lock>) -> Option<Vec<Lock>> {
    let held = mine.held.get_or_insert_default();
    let mut rest = Vec::new();
    for lock in locks {
        if held.len() >= MOST_LOCKS {
            rest.push(lock);
        } else if !held.iter().any(|other| other.is_again(&lock)) {
            held.push(lock);
        }
    }
    (!rest.is_empty()).then_some(rest)
}

/// The stack among `own` whose lines are nearest to `line`, with its distance.
fn nearest(own: &[usize], stacks: &[Stack], line: u32, listed: bool) -> Option<(u32, usize)> {
    let after = own.partition_point(|at| stacks[*at].line <= line);
    let end = |stack: &Stack| stack.frames.last().map_or(stack.line, |frame| frame.line);
    let above = own[..after].last().map(|at| (line.saturating_sub(end(&stacks[*at])), *at));
    let below = own.get(after).map(|at| (stacks[*at].line - line, *at));
    if listed { above.or(below) } else { [above, below].into_iter().flatten().min() }
}
