//! What changed between two captures of one machine: is it slow, or is it stuck?

use rustc_hash::FxHashMap;

use super::{Groups, StackRef, key};
use crate::model::stack::StackKind;
use crate::triage::rules::is_blocked;

/// What became of a thread.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Change {
    /// It stands where it stood, to the byte, and no signal would end its sleep or nothing is known of its state.
    Stuck,
    /// The same functions at other offsets.
    Moving,
    /// Other functions.
    Changed,
    /// It was not there before.
    New,
    /// It is no longer there.
    Gone,
    /// It stands where it stood, in a sleep that a signal would end: a worker or daemon with nothing to do.
    Idle,
}

impl Change {
    /// Every change, the most telling first.
    pub const ALL: [Change; 6] = [Change::Stuck, Change::Moving, Change::Changed, Change::New, Change::Gone, Change::Idle];

    /// The name in text and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Change::Stuck => "stuck",
            Change::Moving => "moving",
            Change::Changed => "changed",
            Change::New => "new",
            Change::Gone => "gone",
            Change::Idle => "idle",
        }
    }
}

/// A thread in two captures.
#[derive(Clone, Copy, Debug)]
pub struct Thread {
    /// What became of it.
    pub change: Change,
    /// Its stack before; the last one, if the capture has several.
    pub old: Option<StackRef>,
    /// Its stack after.
    pub new: Option<StackRef>,
}

/// How many threads of a group there were before and are now.
#[derive(Clone, Copy, Debug)]
pub struct Growth {
    /// Number of the group in the list.
    pub group: usize,
    /// Before.
    pub old: u64,
    /// Now.
    pub new: u64,
}

/// The difference of two captures.
#[derive(Clone, Debug, Default)]
pub struct Diff {
    /// Every thread of either capture, in the order of the new one, then those that are gone.
    pub threads: Vec<Thread>,
    /// Every group, those that grew most first, those that shrank most last.
    pub groups: Vec<Growth>,
}

/// What a thread is known by: its id, which some forms print as the process's. Without an id it is known by nothing.
type Identity = String;

/// Compares the reports before number `old` with those from there on. `groups` holds both.
pub fn diff(groups: &Groups<'_, '_>, old: usize) -> Diff {
    let mut before: FxHashMap<Identity, StackRef> = FxHashMap::default();
    let mut after: Vec<(Identity, StackRef)> = Vec::new();
    let mut places: FxHashMap<Identity, usize> = FxHashMap::default();
    for at in threads(groups) {
        let Some(identity) = identity(groups, at) else { continue };
        if (at.report as usize) < old {
            before.insert(identity, at);
        } else if let Some(place) = places.get(&identity) {
            after[*place].1 = at;
        } else {
            places.insert(identity.clone(), after.len());
            after.push((identity, at));
        }
    }
    let mut threads: Vec<Thread> = Vec::with_capacity(after.len());
    for (identity, new) in after {
        let old = before.get(&identity).copied().filter(|old| is_same_name(groups, *old, new));
        if old.is_some() {
            before.remove(&identity);
        }
        let change = old.map_or(Change::New, |old| compare(groups, old, new));
        threads.push(Thread { change, old, new: Some(new) });
    }
    let mut gone: Vec<StackRef> = before.into_values().collect();
    gone.sort_unstable();
    threads.extend(gone.into_iter().map(|old| Thread { change: Change::Gone, old: Some(old), new: None }));
    Diff { threads, groups: growth(groups, old) }
}

fn threads<'g>(groups: &'g Groups<'_, '_>) -> impl Iterator<Item = StackRef> + 'g {
    let of_report =
        |(report, stacks): (usize, usize)| (0..stacks).map(move |stack| StackRef { report: report as u32, stack: stack as u32 });
    let all = groups.reports.iter().map(|report| report.capture.stacks.len()).enumerate().flat_map(of_report);
    all.filter(|at| groups.stack(*at).kind == StackKind::Thread)
}

fn identity(groups: &Groups<'_, '_>, at: StackRef) -> Option<Identity> {
    let stack = groups.stack(at);
    stack.tid.clone().or_else(|| stack.pid.map(|pid| pid.to_string()))
}

/// Whether the ids were not reused: names are equal, or one is the other's beginning. Linux cuts names to 15 characters in its log, and
/// adds a worker's queue in `/proc` (`kworker/0:1-events`).
fn is_same_name(groups: &Groups<'_, '_>, old: StackRef, new: StackRef) -> bool {
    match (&groups.stack(old).process, &groups.stack(new).process) {
        (Some(old), Some(new)) => old.starts_with(new.as_str()) || new.starts_with(old.as_str()),
        _ => true,
    }
}

fn compare(groups: &Groups<'_, '_>, old: StackRef, new: StackRef) -> Change {
    let marks = |at: StackRef| key::chain(groups.stack(at), move |n| groups.mark(at, n)).map(|(_, mark)| mark);
    if !marks(old).map(|mark| mark.name).eq(marks(new).map(|mark| mark.name)) {
        return Change::Changed;
    }
    if !marks(old).map(|mark| mark.exact).eq(marks(new).map(|mark| mark.exact)) {
        return Change::Moving;
    }
    let idle = groups.stack(new).state.as_deref().is_some_and(|state| !is_blocked(state));
    if idle { Change::Idle } else { Change::Stuck }
}

fn growth(groups: &Groups<'_, '_>, old: usize) -> Vec<Growth> {
    let count = |group: &super::Group, is_old: bool| {
        let members = group.members.iter().filter(|at| ((at.report as usize) < old) == is_old);
        members.map(|at| groups.stack(*at).count).fold(0, u64::saturating_add)
    };
    let one = |(number, group)| Growth { group: number, old: count(group, true), new: count(group, false) };
    let mut all: Vec<Growth> = groups.list.iter().enumerate().map(one).collect();
    all.sort_by_key(|growth| std::cmp::Reverse(growth.new as i128 - growth.old as i128));
    all
}
