//! Locks in kstack's own JSON: `held_locks`, `waits_for` and `workqueue` of a stack, `tasks_with_locks` of a report.

use serde::Deserialize;

use crate::model::addr::{Avma, parse_hex};
use crate::model::lock::{Annotations, Lock, Owner, TaskLocks, Wait, Waker};

#[derive(Deserialize)]
pub struct JsonLock {
    class: Option<String>,
    address: Option<String>,
    at: Option<String>,
    line: Option<u32>,
}

#[derive(Deserialize)]
pub struct JsonWait {
    what: String,
    wanted_as: Option<String>,
    owner: Option<JsonOwner>,
    words: Option<String>,
    // The lock's own fields stand beside these.
    class: Option<String>,
    address: Option<String>,
    at: Option<String>,
    line: Option<u32>,
}

#[derive(Deserialize)]
pub struct JsonOwner {
    process: String,
    pid: Option<i64>,
    tid: Option<String>,
    held_as: Option<String>,
}

/// Who ended a sleep.
#[derive(Deserialize)]
pub struct JsonWaker {
    process: String,
    pid: Option<i64>,
    line: Option<u32>,
}

impl JsonWaker {
    /// Adds it to what is said about its task.
    pub fn woke(self, annotations: Option<Box<Annotations>>) -> Option<Box<Annotations>> {
        let mut annotations = annotations.unwrap_or_default();
        annotations.woken_by = Some(Waker { process: self.process, pid: self.pid, line: self.line });
        Some(annotations)
    }
}

#[derive(Deserialize)]
pub struct JsonTask {
    source: Option<String>,
    process: String,
    pid: i64,
    held_locks: Option<Vec<JsonLock>>,
    waits_for: Option<JsonWait>,
    line: Option<u32>,
}

fn lock(json: JsonLock) -> Lock {
    let address = json.address.as_deref().and_then(parse_hex).map(Avma);
    Lock { class: json.class, address, at: json.at, line: json.line.unwrap_or(1) }
}

fn wait(json: JsonWait) -> Wait {
    let line = json.line.unwrap_or(1);
    let owner = json.owner.map(|owner| Owner { process: owner.process, pid: owner.pid, tid: owner.tid, held_as: owner.held_as });
    let lock = lock(JsonLock { class: json.class, address: json.address, at: json.at, line: json.line });
    Wait { what: json.what, lock, wanted_as: json.wanted_as, owner, words: json.words, line }
}

/// What a stack's document says about its task beside the frames: locks, then work queue, command line and control group; `None` when it
/// says nothing.
pub fn annotations(held: Option<Vec<JsonLock>>, waits_for: Option<JsonWait>, words: [Option<String>; 3]) -> Option<Box<Annotations>> {
    if held.is_none() && waits_for.is_none() && words.iter().all(Option::is_none) {
        return None;
    }
    let [workqueue, command_line, cgroup] = words;
    let held = held.map(|held| held.into_iter().map(lock).collect());
    Some(Box::new(Annotations { held, waits_for: waits_for.map(wait), workqueue, command_line, cgroup, ..Annotations::default() }))
}

/// Locks of a task that has no stack.
pub fn task(json: JsonTask) -> TaskLocks {
    TaskLocks {
        source: json.source,
        process: json.process,
        pid: json.pid,
        held: json.held_locks.map(|held| held.into_iter().map(lock).collect()),
        waits_for: json.waits_for.map(wait),
        line: json.line.unwrap_or(1),
    }
}
