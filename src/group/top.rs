//! In how many stacks a function occurs: gdb's `countpcs` for any report.

use super::naming::NameId;
use super::{Groups, Weight};
use crate::model::addr::Avma;
use crate::model::stack::Role;

/// How often a function occurs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Occurs {
    /// The function.
    pub name: NameId,
    /// Stacks that run through it, however often.
    pub stacks: u64,
    /// Stacks whose interesting frame it is: that wait or stand in it.
    pub leaf: u64,
}

/// Every function of the reports, the most frequent first. Weighed by bytes, numbers of stacks are numbers of their bytes.
pub fn functions(groups: &Groups<'_, '_>, weight: Weight) -> Vec<Occurs> {
    let mut all: Vec<Occurs> = (0..groups.naming.names().len() as u32).map(|name| Occurs { name, stacks: 0, leaf: 0 }).collect();
    // Stacks of a group that was made by functions share their names; those of other groups need not.
    for member in groups.list.iter().flat_map(|group| &group.members) {
        let stack = groups.stack(*member);
        let marks = |n| groups.mark(*member, n);
        let chain = stack.frames.iter().enumerate().filter(|(_, frame)| frame.reliable && frame.role != Role::Inline);
        let mut seen: Vec<NameId> = chain.map(|(n, _)| marks(n).name).collect();
        seen.sort_unstable();
        seen.dedup();
        for name in seen {
            let sum = &mut all[name as usize].stacks;
            *sum = sum.saturating_add(weight.of(stack));
        }
        if let Some(n) = super::key::interesting(stack, marks) {
            let sum = &mut all[marks(n).name as usize].leaf;
            *sum = sum.saturating_add(weight.of(stack));
        }
    }
    all.retain(|occurs| occurs.stacks > 0);
    all.sort_by_key(|occurs| (std::cmp::Reverse((occurs.stacks, occurs.leaf)), occurs.name));
    all
}

/// How many stacks hold a frame with that very address.
pub fn with_pc(groups: &Groups<'_, '_>, pc: Avma, weight: Weight) -> u64 {
    count(groups, weight, |member| groups.stack(member).frames.iter().any(|frame| frame.address == Some(pc)))
}

/// How many stacks run through a function of that base name, in the module if one is given.
pub fn with_function(groups: &Groups<'_, '_>, function: &str, module: Option<&str>, weight: Weight) -> u64 {
    let named = |name: &super::naming::FrameName| *name.function == *function && module.is_none_or(|module| *name.module == *module);
    let matching: Vec<bool> = groups.naming.names().iter().map(named).collect();
    count(groups, weight, |member| {
        let frames = groups.stack(member).frames.iter().enumerate().filter(|(_, frame)| frame.reliable);
        frames.into_iter().any(|(n, _)| matching[groups.mark(member, n).name as usize])
    })
}

fn count(groups: &Groups<'_, '_>, weight: Weight, holds: impl Fn(super::StackRef) -> bool) -> u64 {
    let members = groups.list.iter().flat_map(|group| &group.members);
    members.filter(|member| holds(**member)).map(|member| weight.of(groups.stack(*member))).fold(0, u64::saturating_add)
}

/// `count` of `all` in tenths of a percent, rounded to the nearest.
pub fn tenths(count: u64, all: impl Into<u128>) -> u64 {
    let (count, all) = (u128::from(count), all.into());
    (count * 2000 + all).checked_div(2 * all).map_or(0, |tenths| u64::try_from(tenths).unwrap_or(u64::MAX))
}

/// `count` of `all` in percent, rounded down as `countpcs` did.
pub fn percent(count: u64, all: u64) -> u64 {
    (u128::from(count) * 100).checked_div(u128::from(all)).unwrap_or(0) as u64
}

#[cfg(test)]
mod tests {
    use super::{percent, tenths};

    #[test]
    fn tenths_are_rounded_and_whole_percents_cut() {
        assert_eq!((tenths(109, 345_u64), percent(109, 345)), (316, 31));
        assert_eq!([tenths(0, 0_u64), tenths(1, 3_u64), tenths(2, 3_u64), tenths(7, 7_u64), tenths(1, 2000_u64)], [0, 333, 667, 1000, 1]);
        assert_eq!((tenths(u64::MAX, u64::MAX), percent(u64::MAX, u64::MAX)), (1000, 100));
    }
}
