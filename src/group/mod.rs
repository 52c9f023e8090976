//! Thousands of stacks become the few that differ.
//!
//! [`Groups::of`] compares the stacks of all reports by what [`By`] says, most often by the functions of their [`fingerprint`]. A group
//! keeps its members as numbers; [`Groups::tally`] counts who they are when somebody wants to know.

pub mod diff;
pub mod filter;
pub mod fingerprint;
pub mod key;
pub mod naming;
pub mod plumbing;
pub mod shared;
pub mod similar;
pub mod top;
pub mod weight;
pub mod zones;

use rayon::prelude::*;
use rustc_hash::FxHashMap;

pub use key::By;
use key::Texts;
use naming::{FrameName, Mark, Naming};
use shared::Shared;
pub use weight::Weight;

use crate::model::crash::Blamed;
use crate::model::group::{Member, Tally, count_in};
use crate::model::stack::{Stack, StackKind};
use crate::report::Report;

/// A stack of one of several reports.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StackRef {
    /// Number of the report, from 0.
    pub report: u32,
    /// Number of the stack in it, from 0.
    pub stack: u32,
}

/// Stacks that are the same.
#[derive(Clone, Debug)]
pub struct Group {
    /// What they are.
    pub kind: StackKind,
    /// Their fingerprint, by the functions of `shown`; where they do not all run through these, that of what they share.
    pub fingerprint: String,
    /// What they share where their functions differ: then `shown` is an example. `None` where the functions are the same.
    pub shared: Option<Shared>,
    /// How many threads stand there: members, each as often as its report counts it.
    pub count: u64,
    /// Bytes that stand for the group where its reports count memory: those of its members together.
    pub bytes: Option<u64>,
    /// In the order of the reports.
    pub members: Vec<StackRef>,
    /// The member whose frames stand for all: the one about which most is known.
    pub shown: StackRef,
    /// Number of the frame of `shown` that names the group, from 0; `None` without frames.
    pub interesting: Option<usize>,
}

/// The groups of some reports, most frequent first.
pub struct Groups<'r, 'a> {
    /// The reports.
    pub reports: &'r [Report<'a>],
    /// The names of their frames.
    pub naming: Naming,
    /// The groups.
    pub list: Vec<Group>,
}

/// Stacks that are compared at once by one thread.
const CHUNK: usize = 4096;

type Found = FxHashMap<Box<[u32]>, Vec<StackRef>>;

impl<'r, 'a> Groups<'r, 'a> {
    /// Groups every stack of `reports` but those set aside, whose names `naming` holds.
    pub fn of(reports: &'r [Report<'a>], mut naming: Naming, by: By) -> Groups<'r, 'a> {
        let texts: Vec<Texts> = reports.iter().map(|report| Texts::of(&report.capture.stacks, by, &mut naming)).collect();
        let chunks: Vec<(usize, usize)> = reports
            .iter()
            .enumerate()
            .flat_map(|(n, report)| (0..report.capture.stacks.len()).step_by(CHUNK).map(move |at| (n, at)))
            .collect();
        let one = |(report, from): &(usize, usize)| keys(&reports[*report], *report, *from, by, &texts[*report], &naming);
        let parts: Vec<Found> = chunks.par_iter().map(one).collect();
        let mut found = Found::default();
        for (key, members) in parts.into_iter().flatten() {
            found.entry(key).or_default().extend(members);
        }
        let mut list: Vec<Group> = found.into_par_iter().map(|(_, members)| group(reports, &naming, by, members)).collect();
        list.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.fingerprint.cmp(&b.fingerprint)).then_with(|| a.shown.cmp(&b.shown)));
        Groups { reports, naming, list }
    }

    /// Puts the groups in the order of their weights, the heaviest first.
    pub fn sort_by_weight(&mut self, weight: Weight) {
        if weight == Weight::Bytes {
            self.list.sort_by_key(|group| std::cmp::Reverse(group.bytes));
        }
    }

    /// The stack itself.
    pub fn stack(&self, at: StackRef) -> &'a Stack {
        &self.reports[at.report as usize].capture.stacks[at.stack as usize]
    }

    /// What frame `n` of a stack counts as.
    pub fn mark(&self, at: StackRef, n: usize) -> Mark {
        mark(self.reports, &self.naming, at, n)
    }

    /// The name of frame `n` of a stack.
    pub fn name(&self, at: StackRef, n: usize) -> &FrameName {
        self.naming.name(self.mark(at, n).name)
    }

    /// What a crash's title says about the stacks of `group`, all of them.
    pub fn blamed(&self, group: &Group) -> Option<&'a Blamed> {
        self.stack(group.shown).blamed.as_deref().filter(|_| group.shared.is_none())
    }

    /// Who is in `group`.
    pub fn tally(&self, group: &Group) -> Tally {
        let mut tally = Tally::default();
        for at in &group.members {
            let stack = self.stack(*at);
            match &stack.tally {
                Some(known) => tally.add(known),
                None => count_stack(&mut tally, self.reports[at.report as usize].source, *at, stack),
            }
        }
        tally
    }
}

fn count_stack(tally: &mut Tally, source: &str, at: StackRef, stack: &Stack) {
    for (counts, name) in
        [(&mut tally.states, &stack.state), (&mut tally.wait_channels, &stack.wait_channel), (&mut tally.processes, &stack.process)]
    {
        if let Some(name) = name {
            count_in(counts, name, stack.count);
        }
    }
    tally.members.push(Member {
        source: source.to_string(),
        stack: u64::from(at.stack),
        pid: stack.pid,
        tid: stack.tid.clone(),
        process: stack.process.clone(),
        state: stack.state.clone(),
        annotations: stack.annotations.clone(),
        count: stack.count,
    });
}

fn mark(reports: &[Report<'_>], naming: &Naming, at: StackRef, n: usize) -> Mark {
    let answer = reports[at.report as usize].resolved.frames[at.stack as usize][n];
    naming.marks(at.report as usize)[answer as usize]
}

/// The stacks of one chunk by key.
fn keys(report: &Report<'_>, number: usize, from: usize, by: By, texts: &Texts, naming: &Naming) -> Found {
    let (stacks, marks) = (&report.capture.stacks, naming.marks(number));
    let mut found = Found::default();
    let mut key = Vec::new();
    for (at, stack) in stacks.iter().enumerate().skip(from).take(CHUNK).filter(|(_, stack)| !stack.aside) {
        let member = StackRef { report: number as u32, stack: at as u32 };
        key::write(&mut key, by, at, stack, &report.resolved.frames[at], marks, texts);
        if by == By::Modules {
            modules(&mut key, naming);
        }
        match found.get_mut(&key[..]) {
            Some(members) => members.push(member),
            None => _ = found.insert(key.as_slice().into(), vec![member]),
        }
    }
    found
}

/// Leaves of each run of frames in one module the first; its number stands for the module.
fn modules(key: &mut Vec<u32>, naming: &Naming) {
    let module = |id: u32| &naming.name(id).module;
    let mut kept = key.split_off(1);
    kept.dedup_by(|a, b| module(*a) == module(*b));
    // The first function that was ever seen in the module has its lowest number.
    key.extend(kept.into_iter().map(|id| naming.first_in_module(id)));
}

fn group(reports: &[Report<'_>], naming: &Naming, by: By, members: Vec<StackRef>) -> Group {
    let stack = |at: StackRef| &reports[at.report as usize].capture.stacks[at.stack as usize];
    let most = if matches!(by, By::Functions | By::Stack) { None } else { shared::most(reports, naming, &members) };
    let shown = shown(reports, naming, most.as_ref().map_or(&members, |(most, _)| most));
    let shared = most.map(|(_, alike)| shared::of(reports, naming, by, shown, alike));
    let marks = |n| mark(reports, naming, shown, n);
    let earlier = || shared::of_earlier(stack(shown));
    let of_functions = || fingerprint::fingerprint(key::chain(stack(shown), marks).map(|(_, mark)| naming.name(mark.name)));
    Group {
        kind: stack(shown).kind,
        fingerprint: shared.as_ref().map(|shared| shared.fingerprint.clone()).or_else(earlier).unwrap_or_else(of_functions),
        count: members.iter().map(|at| stack(*at).count).fold(0, u64::saturating_add),
        bytes: members.iter().filter_map(|at| stack(*at).bytes).reduce(u64::saturating_add),
        shown,
        interesting: key::interesting(stack(shown), marks),
        shared,
        members,
    }
}

/// The member with most frames named and located; of equal ones the first by its text, so that the order of reports does not matter.
fn shown(reports: &[Report<'_>], naming: &Naming, members: &[StackRef]) -> StackRef {
    let answers = |at: StackRef| &reports[at.report as usize].resolved.frames[at.stack as usize];
    let rank = |at: StackRef| {
        let resolved = reports[at.report as usize].resolved;
        let located: usize = answers(at).iter().map(|answer| resolved.answers[*answer as usize].locations.len()).sum();
        let named = answers(at).iter().filter(|answer| naming.name(naming.marks(at.report as usize)[**answer as usize].name).named).count();
        let text: Vec<&str> = (0..answers(at).len()).map(|n| naming.exact_text(mark(reports, naming, at, n).exact)).collect();
        (std::cmp::Reverse((named, located)), text)
    };
    let mut best = members[0];
    let mut best_rank = None;
    for at in &members[1..] {
        if at.report == best.report && answers(*at) == answers(best) {
            continue;
        }
        let rank_here = rank(*at);
        if rank_here < *best_rank.get_or_insert_with(|| rank(best)) {
            (best, best_rank) = (*at, Some(rank_here));
        }
    }
    best
}
