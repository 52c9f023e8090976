//! The JSON form of what a report says about locks.

use std::borrow::Cow;

use serde::Serialize;

use crate::model::capture::Capture;
use crate::model::lock::{Annotations, Lock, Owner, TaskLocks, Wait};
use crate::model::stack::Stack;

/// A held lock.
#[derive(Serialize)]
pub(super) struct JsonLock<'a> {
    /// What tells it from others: its address, else its class.
    lock: Option<Cow<'a, str>>,
    class: Option<&'a str>,
    address: Option<String>,
    at: Option<&'a str>,
    line: u32,
}

impl<'a> JsonLock<'a> {
    fn of(lock: &'a Lock) -> JsonLock<'a> {
        JsonLock {
            lock: lock.identity(),
            class: lock.class.as_deref(),
            address: lock.address.map(|address| address.to_string()),
            at: lock.at.as_deref(),
            line: lock.line,
        }
    }

    fn all(held: &'a Option<Vec<Lock>>) -> Option<Vec<JsonLock<'a>>> {
        held.as_ref().map(|held| held.iter().map(JsonLock::of).collect())
    }

    /// Those that the task of a stack holds, if the report says so.
    pub(super) fn held(of: &'a Option<Box<Annotations>>) -> Option<Vec<JsonLock<'a>>> {
        JsonLock::all(&of.as_ref()?.held)
    }
}

/// What a task waits for.
#[derive(Serialize)]
pub(super) struct JsonWait<'a> {
    what: &'a str,
    lock: Option<Cow<'a, str>>,
    class: Option<&'a str>,
    address: Option<String>,
    at: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wanted_as: Option<&'a str>,
    owner: Option<JsonOwner<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    words: Option<&'a str>,
    line: u32,
}

impl<'a> JsonWait<'a> {
    fn of(wait: &'a Wait) -> JsonWait<'a> {
        JsonWait {
            what: &wait.what,
            lock: wait.lock.identity(),
            class: wait.lock.class.as_deref(),
            address: wait.lock.address.map(|address| address.to_string()),
            at: wait.lock.at.as_deref(),
            wanted_as: wait.wanted_as.as_deref(),
            owner: wait.owner.as_ref().map(JsonOwner::of),
            words: wait.words.as_deref(),
            line: wait.line,
        }
    }

    /// What the task of a stack waits for, if the report says so.
    pub(super) fn waiting(of: &'a Option<Box<Annotations>>) -> Option<JsonWait<'a>> {
        of.as_ref()?.waits_for.as_ref().map(JsonWait::of)
    }
}

/// The task that holds what another waits for.
#[derive(Serialize)]
struct JsonOwner<'a> {
    process: &'a str,
    pid: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_as: Option<&'a str>,
}

impl<'a> JsonOwner<'a> {
    fn of(owner: &'a Owner) -> JsonOwner<'a> {
        JsonOwner { process: &owner.process, pid: owner.pid, tid: owner.tid.as_deref(), held_as: owner.held_as.as_deref() }
    }
}

/// Who ended a sleep.
#[derive(Serialize)]
pub(super) struct JsonWaker<'a> {
    process: &'a str,
    pid: Option<i64>,
    /// Where the stack that did it begins, which stands before the sleeper's.
    line: Option<u32>,
}

impl<'a> JsonWaker<'a> {
    /// Who woke the task of `stack`, if the report says so.
    pub(super) fn of(stack: &'a Stack) -> Option<JsonWaker<'a>> {
        stack.waker().map(|waker| JsonWaker { process: &waker.process, pid: waker.pid, line: waker.line })
    }
}

/// Locks of a task that has no stack in the report.
#[derive(Serialize)]
pub(super) struct JsonTask<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    process: &'a str,
    pid: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_locks: Option<Vec<JsonLock<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<JsonWait<'a>>,
    line: u32,
}

impl<'a> JsonTask<'a> {
    /// All of a report.
    pub(super) fn all(capture: &'a Capture) -> Vec<JsonTask<'a>> {
        capture.tasks_with_locks.iter().map(JsonTask::of).collect()
    }

    /// All of a report, with where it came from: for output in which nothing else says that.
    pub(super) fn all_of(source: &'a str, capture: &'a Capture) -> impl Iterator<Item = JsonTask<'a>> {
        capture.tasks_with_locks.iter().map(move |task| JsonTask { source: task.source.as_deref().or(Some(source)), ..JsonTask::of(task) })
    }

    fn of(task: &'a TaskLocks) -> JsonTask<'a> {
        JsonTask {
            source: task.source.as_deref(),
            process: &task.process,
            pid: task.pid,
            held_locks: JsonLock::all(&task.held),
            waits_for: task.waits_for.as_ref().map(JsonWait::of),
            line: task.line,
        }
    }
}
