//! What the stacks of a group have in common where they need not run through the same functions.

use rustc_hash::FxHashMap;
use sha2::{Digest, Sha256};

use super::fingerprint::digits;
use super::naming::{NameId, Naming};
use super::{By, StackRef, key, mark};
use crate::model::stack::{Stack, StackKind};
use crate::report::Report;

/// What names a group whose stacks differ. No frame and no fingerprint of one of them is true of all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shared {
    /// What all have: `state D`, `wait channel cv_wait_common`, `modules zfs, kernel`; for functions the first of them.
    pub name: String,
    /// Whether `name` is a function, in which all of them stand.
    pub in_function: bool,
    /// Stands for the group as `k1:` does for a stack: the key, a colon, and the first 32 hexadecimal digits of the SHA-256 of what is
    /// compared, a line for each (`state:` and those of `D`).
    pub fingerprint: String,
    /// How many of the group stand as the stack that is shown does.
    pub alike: u64,
}

/// The members of a group that run through the same functions, those of the most frequent stack; of equally frequent ones those whose
/// names come first, so that the order of reports does not matter. `None` if all members do.
pub fn most(reports: &[Report<'_>], naming: &Naming, members: &[StackRef]) -> Option<(Vec<StackRef>, u64)> {
    let chain = |at: StackRef| -> Vec<NameId> { chain(reports, naming, at) };
    let first = chain(members[0]);
    if members[1..].iter().all(|at| chain(*at) == first) {
        return None;
    }
    let mut alike: FxHashMap<Vec<NameId>, (Vec<StackRef>, u64)> = FxHashMap::default();
    for at in members {
        let (members, count) = alike.entry(chain(*at)).or_default();
        members.push(*at);
        *count = count.saturating_add(stack(reports, *at).count);
    }
    let names = |chain: &[NameId]| chain.iter().map(|id| naming.name(*id).to_string()).collect::<Vec<_>>();
    let most = alike.into_iter().max_by(|(a, (_, count)), (b, (_, other))| count.cmp(other).then_with(|| names(b).cmp(&names(a))));
    most.map(|(_, members)| members)
}

/// What the stacks of a group that was made by `by` have, told by one of them; `alike` of all run through the same functions.
pub fn of(reports: &[Report<'_>], naming: &Naming, by: By, at: StackRef, alike: u64) -> Shared {
    let of = stack(reports, at);
    let (key, what, compared): (_, _, Vec<String>) = match by {
        By::State => ("state", "state", of.state.iter().cloned().collect()),
        By::WaitChannel => ("wchan", "wait channel", of.wait_channel.iter().cloned().collect()),
        By::Process => ("process", "process", of.process.iter().cloned().collect()),
        By::Modules => ("module", "modules", modules(reports, naming, at)),
        By::Top(count) => ("top", "", top(reports, naming, at, count)),
        By::Functions | By::Stack => ("functions", "", top(reports, naming, at, usize::MAX)),
    };
    let in_function = what.is_empty();
    let name = match &compared[..] {
        [first, ..] if in_function => first.clone(),
        [] => format!("no {}", if in_function { "kernel frames" } else { what }),
        several => format!("{what} {}", several.join(", ")),
    };
    let lines: String = compared.iter().map(|line| format!("{line}\n")).collect();
    Shared { name, in_function, fingerprint: format!("{key}:{}", digits(&Sha256::digest(lines))), alike }
}

/// What stands for a group of different threads that an earlier run has made: it has told no frames, and groups are not the same because both
/// have none.
pub fn of_earlier(stack: &Stack) -> Option<String> {
    let name = stack.title.as_deref().filter(|_| stack.tally.is_some() && stack.kind == StackKind::Thread && stack.frames.is_empty())?;
    Some(format!("shared:{}", digits(&Sha256::digest(format!("{name}\n")))))
}

/// The modules that a stack enters, innermost first, each as often as it is entered.
fn modules(reports: &[Report<'_>], naming: &Naming, at: StackRef) -> Vec<String> {
    let mut modules: Vec<&str> = chain(reports, naming, at).into_iter().map(|id| &*naming.name(id).module).collect();
    modules.dedup();
    modules.into_iter().map(|module| if module.is_empty() { "kernel" } else { module }.to_string()).collect()
}

/// The innermost functions from the interesting one on.
fn top(reports: &[Report<'_>], naming: &Naming, at: StackRef, count: usize) -> Vec<String> {
    let of = stack(reports, at);
    let marks = |n| mark(reports, naming, at, n);
    let from = key::interesting(of, marks).unwrap_or(0);
    let counted = (from..of.frames.len()).filter(|n| key::counts(&of.frames[*n], &marks(*n)));
    counted.map(|n| naming.name(marks(n).name).to_string()).take(count).collect()
}

fn chain(reports: &[Report<'_>], naming: &Naming, at: StackRef) -> Vec<NameId> {
    key::chain(stack(reports, at), |n| mark(reports, naming, at, n)).map(|(_, mark)| mark.name).collect()
}

fn stack<'a>(reports: &[Report<'a>], at: StackRef) -> &'a Stack {
    &reports[at.report as usize].capture.stacks[at.stack as usize]
}
