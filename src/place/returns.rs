//! Return addresses held against each image once it is placed: each of them follows a call there, or the file is another build, or it lies
//! elsewhere.
//!
//! One address in 25 or so follows a call by chance, so that of a wrong file or place nearly all speak against it. A few may in a right one:
//! `secondary_startup_64` of Linux pushes its address and follows `lretq`, and a long report has torn digits.

use super::anchors::OWN;
use super::calls::{Group, is_enough};
use super::infer::is_return;
use super::proof::{Evidence, EvidenceKind};
use super::{Image, Placer};
use crate::model::addr::{Avma, Svma};
use crate::model::capture::{Capture, Os};
use crate::symbols::find::Program;
use crate::symbols::{Segment, code};

/// Addresses of one segment beyond these prove nothing more.
const MOST: usize = 4_000;
/// Fewer addresses than this put no file aside, unless not one of them follows a call.
const SEVERAL: usize = 4;

/// What the return addresses in an image say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Tally {
    follow: usize,
    all: usize,
    /// The lowest that follows no call.
    first: Option<Avma>,
}

impl Tally {
    fn misses(&self) -> usize {
        self.all - self.follow
    }

    /// Whether that is more than what goes wrong in a right file at its place.
    fn is_against(&self) -> bool {
        self.misses() >= 2 && !is_enough(self.follow, self.all) && (self.all >= SEVERAL || self.follow == 0)
    }

    fn count(&mut self, address: Avma, follows: bool) {
        self.all += 1;
        self.follow += usize::from(follows);
        self.first = self.first.or((!follows).then_some(address));
    }

    fn said(&self) -> String {
        format!("{} of {} return addresses follow a call", self.follow, self.all)
    }
}

/// The distinct return addresses of a report, ascending.
pub(super) fn distinct(capture: &Capture) -> Vec<Avma> {
    let frames = capture.stacks.iter().filter(|stack| !stack.aside).flat_map(|stack| &stack.frames);
    let mut found: Vec<Avma> = frames.filter_map(is_return).collect();
    found.sort_unstable();
    found.dedup();
    found
}

impl Placer<'_> {
    /// Holds the return addresses of the report against the code where they point. Nothing is to be learnt of a file that has the report's id
    /// and lies where the report says.
    pub(super) fn check_returns(&mut self, image: &mut Image) {
        let known = |image: &Image| image.evidence.iter().any(|evidence| evidence.kind == EvidenceKind::Calls);
        let Some(program) = image.program.clone().filter(|_| !known(image) && !self.is_told(image)) else { return };
        let returns = self.returns.get_or_insert_with(|| distinct(self.capture));
        let tally = tally(returns, &program, &image.segments);
        if tally.all == 0 {
            return;
        }
        image.calls = Some(tally.follow);
        let text = format!("calls: {}", tally.said());
        image.evidence.push(Evidence { kind: EvidenceKind::Calls, contradicts: tally.is_against(), text });
        let Some(first) = tally.first else { return };
        let path = program.info().path.display();
        let said = format!("with {path} as placed ({}) only {}, {first} does not", image.placed_by, tally.said());
        if tally.is_against() && image.matched {
            self.misplaced(image, &said);
        } else if tally.is_against() {
            self.refuse(image, format!("{said}: it is another build, or lies elsewhere"));
        } else if image.matched && (!image.kernel || !is_enough(tally.follow, tally.all)) {
            image.doubted = true;
            self.warn(format!("{}: {said}; nothing in it is called verified", image.name));
        } else if tally.follow == 0 && image.pairs.is_none() {
            self.warn(format!("{}: {said}; too few to call it another build", image.name));
        }
    }

    /// Whether report and file have one id and the report itself says where the image lies.
    fn is_told(&self, image: &Image) -> bool {
        let own = || image.claims.iter().any(|claim| claim.source == OWN && (claim.load.is_some() || claim.exec.is_some()));
        // A log can be of several boots.
        let slid = || image.kernel && self.capture.os != Some(Os::Linux) && self.options.slide.is_none() && self.capture.slide.is_some();
        image.matched && image.given.is_none() && (own() || slid())
    }

    /// The right file at the wrong place names nothing.
    fn misplaced(&mut self, image: &mut Image, said: &str) {
        self.warn(format!("{}: {said}; its UUID or build id matches, so it lies elsewhere: addresses in it are not resolved", image.name));
        image.segments.clear();
        image.load = None;
    }
}

fn tally(returns: &[Avma], program: &Program, segments: &[(Segment, Avma)]) -> Tally {
    let mut tally = Tally::default();
    for (segment, start) in segments.iter().filter(|(segment, _)| segment.executable) {
        let inside = inside(returns, segment, *start);
        let mut missed = Vec::new();
        for address in inside {
            let Some(follows) = follows(program, segment, address.0 - start.0) else { continue };
            match follows {
                true => tally.count(address, true),
                false => missed.push(address),
            }
        }
        if missed.is_empty() {
            continue;
        }
        // Linux writes calls where the file has something else: only that which is none there either speaks against it.
        let patched = Some(program).filter(|program| program.info().is_elf);
        let group = patched.and_then(|program| Group::new(program, vec![(segment.clone(), 0)]));
        missed.into_iter().for_each(|at| tally.count(at, group.as_ref().is_some_and(|group| group.follows(at.0 - start.0))));
    }
    tally
}

/// The addresses that a return to code of a segment can have: a call may be its last instruction.
fn inside(returns: &[Avma], segment: &Segment, start: Avma) -> Vec<Avma> {
    let from = returns.partition_point(|address| *address <= start);
    let to = returns.partition_point(|address| address.0 < start.0.saturating_add(segment.size));
    let inside = returns.get(from..to).unwrap_or_default();
    inside.iter().copied().step_by(inside.len().div_ceil(MOST).max(1)).collect()
}

/// `None` where the file has no code to look at.
fn follows(program: &Program, segment: &Segment, offset: u64) -> Option<bool> {
    let svma = segment.svma.0.wrapping_add(offset);
    let before = svma.saturating_sub(code::CALL_BYTES as u64).max(segment.svma.0);
    code::follows_call(program.info().arch, program.code(Svma(before), Svma(svma))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_digit_puts_no_file_aside_and_a_tenth_of_all_addresses_does() {
        let against = |follow: usize, all: usize| Tally { follow, all, first: None }.is_against();
        assert!([(0, 2), (2, 4), (6, 8), (20, 24), (10, 853)].into_iter().all(|(follow, all)| against(follow, all)));
        assert!(![(0, 1), (1, 3), (3, 4), (7, 8), (18, 20), (900, 924), (5, 5)].into_iter().any(|(follow, all)| against(follow, all)));
    }
}
