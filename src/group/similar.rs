//! Groups that differ in a frame or two.

use super::naming::NameId;
use super::{Group, Groups, key};

/// A group and those that are nearly the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cluster {
    /// Number of the most frequent one.
    pub head: usize,
    /// Numbers of the others, most frequent first.
    pub others: Vec<usize>,
}

/// Frames in which near-equal stacks may differ.
pub const MOST: usize = 2;
/// Stacks shorter than this have too little in common to be called alike.
const SHORTEST: usize = 5;
/// Groups behind the most frequent ones stand alone: comparing each with each would take long.
const COMPARED: usize = 4096;

/// Every group once, in the order of the list: near-equal ones with the most frequent of them.
pub fn clusters(groups: &Groups<'_, '_>) -> Vec<Cluster> {
    let chains: Vec<Vec<NameId>> = groups.list.iter().map(|group| chain(groups, group)).collect();
    let mut clusters: Vec<Cluster> = Vec::new();
    for (at, group) in groups.list.iter().enumerate() {
        let alike = |cluster: &&mut Cluster| {
            let head = &groups.list[cluster.head];
            // What differs among its own has no chain that another could be near to.
            head.kind == group.kind && head.shared.is_none() && group.shared.is_none() && are_near(&chains[cluster.head], &chains[at])
        };
        let near = if at < COMPARED { clusters.iter_mut().find(alike) } else { None };
        match near {
            Some(cluster) => cluster.others.push(at),
            None => clusters.push(Cluster { head: at, others: Vec::new() }),
        }
    }
    clusters
}

/// The names that the group's fingerprint is made of, innermost first.
pub fn chain(groups: &Groups<'_, '_>, group: &Group) -> Vec<NameId> {
    key::chain(groups.stack(group.shown), |n| groups.mark(group.shown, n)).map(|(_, mark)| mark.name).collect()
}

/// The frames in which two near-equal groups differ, each with its number in its own stack, from 0.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Differences {
    /// Only in the first.
    pub gone: Vec<(usize, NameId)>,
    /// Only in the second.
    pub new: Vec<(usize, NameId)>,
}

/// How `b` differs from `a`.
pub fn differences(groups: &Groups<'_, '_>, a: &Group, b: &Group) -> Differences {
    let numbers =
        |group: &Group| -> Vec<usize> { key::chain(groups.stack(group.shown), |n| groups.mark(group.shown, n)).map(|(n, _)| n).collect() };
    let (mut in_a, mut in_b) = (numbers(a).into_iter(), numbers(b).into_iter());
    let mut found = Differences::default();
    for step in steps(&chain(groups, a), &chain(groups, b), MOST).into_iter().flatten() {
        match step {
            Step::Same(_) => _ = (in_a.next(), in_b.next()),
            Step::Gone(name) => found.gone.extend(in_a.next().map(|n| (n, name))),
            Step::New(name) => found.new.extend(in_b.next().map(|n| (n, name))),
        }
    }
    found
}

fn are_near(a: &[NameId], b: &[NameId]) -> bool {
    a.len().min(b.len()) >= SHORTEST && a.len().abs_diff(b.len()) <= MOST && steps(a, b, MOST).is_some()
}

/// One step from a chain to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The frame is in both.
    Same(NameId),
    /// Only in the first.
    Gone(NameId),
    /// Only in the second.
    New(NameId),
}

/// The way from `a` to `b` in which the fewest frames differ, a replaced frame counting once; `None` when more than `most` do. It goes
/// no deeper than `most`: a stack can have a million frames.
pub fn steps(a: &[NameId], b: &[NameId], most: usize) -> Option<Vec<Step>> {
    let same = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let rest = match (&a[same..], &b[same..]) {
        ([], []) => Vec::new(),
        _ if most == 0 => return None,
        (a, b) => other_steps(a, b, most - 1)?,
    };
    Some(a[..same].iter().map(|name| Step::Same(*name)).chain(rest).collect())
}

/// The same where the first frames differ: one is replaced, gone or new.
fn other_steps(a: &[NameId], b: &[NameId], most: usize) -> Option<Vec<Step>> {
    let differing = |way: &Vec<Step>| way.iter().filter(|step| !matches!(step, Step::Same(_))).count();
    let then = |first: &[Step], rest: Option<Vec<Step>>| rest.map(|rest| [first, &rest].concat());
    let ways = [
        match (a, b) {
            ([x, a @ ..], [y, b @ ..]) => then(&[Step::Gone(*x), Step::New(*y)], steps(a, b, most)),
            _ => None,
        },
        a.split_first().and_then(|(x, a)| then(&[Step::Gone(*x)], steps(a, b, most))),
        b.split_first().and_then(|(y, b)| then(&[Step::New(*y)], steps(a, b, most))),
    ];
    ways.into_iter().flatten().min_by_key(differing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_near_when_few_frames_differ() {
        let a = [1, 2, 3, 4, 5, 6];
        assert!(are_near(&a, &[1, 2, 9, 4, 5, 6]));
        assert!(are_near(&a, &[2, 3, 4, 5, 6]));
        assert!(are_near(&a, &[8, 1, 2, 3, 9, 5, 6]));
        assert!(!are_near(&a, &[9, 8, 7, 4, 5, 6]));
        assert!(!are_near(&[1, 2], &[1, 2]));
        let way = steps(&a, &[1, 3, 4, 5, 6], 2).unwrap();
        assert_eq!(way.iter().filter(|step| matches!(step, Step::Gone(2))).count(), 1);
    }

    #[test]
    fn a_stack_of_a_million_frames_is_compared_too() {
        let a: Vec<NameId> = (0..1_000_000).collect();
        let b: Vec<NameId> = (0..1_000_000).filter(|name| *name != 500_000).collect();
        assert!(are_near(&a, &b));
    }
}
