//! What a report says about the locks of a task, beside its stack: those it holds and what it waits for.
//!
//! Together these are the edges of a wait graph: a task waits for another that is named as the owner, or that holds a lock of the same
//! [`Lock::identity`].

use std::borrow::Cow;

use super::addr::Avma;

/// A lock as the kernel's lock checker prints it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lock {
    /// Its class, which all locks of one origin share: `&sb->s_type->i_mutex_key#3`. `None` when the class was gone already.
    pub class: Option<String>,
    /// Its address; `None` when the report prints none, a hash of it, or zero.
    pub address: Option<Avma>,
    /// The function that took it, or began to wait for it, as printed: `iterate_dir+0x51/0x1a0`.
    pub at: Option<String>,
    /// Line of the report, from 1.
    pub line: u32,
}

impl Lock {
    /// What the lock is told from others by: its address, else its class. Two locks of one class are then taken for the same.
    pub fn identity(&self) -> Option<Cow<'_, str>> {
        self.address.map(|address| Cow::Owned(address.to_string())).or_else(|| self.class.as_deref().map(Cow::Borrowed))
    }

    /// Whether both are the same line printed twice: lock and place are equal.
    pub fn is_again(&self, other: &Lock) -> bool {
        (self.address, &self.class, &self.at) == (other.address, &other.class, &other.at)
    }
}

/// The task that is said to hold what another waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owner {
    /// Command name.
    pub process: String,
    /// Id of the task; on Darwin of the process. `None` where only the thread is named and nobody knows its process.
    pub pid: Option<i64>,
    /// Id of the thread, where the system counts threads apart from processes (Darwin) and the report names one.
    pub tid: Option<String>,
    /// `reader` or `writer` of an rw-semaphore.
    pub held_as: Option<String>,
}

/// What a task waits for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wait {
    /// `mutex`, `semaphore`, `rw-semaphore` as printed; `lock` where only the lock checker speaks of it.
    pub what: String,
    /// The lock itself; empty where the report names only its owner.
    pub lock: Lock,
    /// `reader` or `writer` of an rw-semaphore.
    pub wanted_as: Option<String>,
    /// Who is likely to hold it.
    pub owner: Option<Owner>,
    /// The report's own words, where it has some: `krwlock 0x5ee9b380d4e609cd for reading owned by thread 798645`.
    pub words: Option<String>,
    /// Line of the report, from 1.
    pub line: u32,
}

/// Who ended the sleep of another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waker {
    /// Command name.
    pub process: String,
    /// Id of its process, where the report says it.
    pub pid: Option<i64>,
    /// Line at which the stack that did it begins, which stands aside directly before the sleeper's; `None` where the report has none.
    pub line: Option<u32>,
}

/// What a report says about the task of a stack beside its frames.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Annotations {
    /// Locks it holds, oldest first; empty when the report says that it holds none, `None` when it says nothing. A lock counts from the
    /// moment in which the task asks for it, so that the last one may be what it still waits for.
    pub held: Option<Vec<Lock>>,
    /// What it waits for.
    pub waits_for: Option<Wait>,
    /// Who ended its sleep, in profiles of blocked time.
    pub woken_by: Option<Waker>,
    /// Work queue and function of a kernel worker: `events foo_work [mod]`.
    pub workqueue: Option<String>,
    /// Command line of its process, arguments separated by blanks.
    pub command_line: Option<String>,
    /// Path of its control group.
    pub cgroup: Option<String>,
}

/// Locks of a task that has no stack in the report.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TaskLocks {
    /// Where the report came from that groups were made of; `None` for the report itself.
    pub source: Option<String>,
    /// Command name.
    pub process: String,
    /// Id of the task.
    pub pid: i64,
    /// As [`Annotations::held`].
    pub held: Option<Vec<Lock>>,
    /// As [`Annotations::waits_for`].
    pub waits_for: Option<Wait>,
    /// Line of the report, from 1.
    pub line: u32,
}
