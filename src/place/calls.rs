//! The one base from which every return address of a report follows a call in a file.
//!
//! # The rule
//! Let `o` run over the places of a file's code that follow a call, and `a` over the return addresses of the report. Where the file lies,
//! `a - o` is its base for every `a` in it; and a base is a multiple of some step (2 MiB for an x86_64 kernel, a page for a module), so that
//! only `o` with the right low bits are tried. A base is taken when
//!
//! * every return address between the base and the end of the file's code follows a call (from 8 on all but one, from 20 on nine in ten:
//!   `secondary_startup_64`, the first frame of every processor but one, pushes its return address and follows `lretq`; and a tracer's
//!   trampoline or a torn digit in a long report is no other base);
//! * no other base has half as many of them;
//! * chance does not explain it: with `p` the part of all places that follow a call, `t` bases tried, `n` addresses that agree and `w`
//!   that do not, `t · pⁿ⁻¹ · (n + w)ʷ` is less than [`CHANCE`]. A direct call whose target is the very function that the next inner frame is in counts as two more addresses.
//!
//! On x86 whether bytes are a call is asked backwards, where `E8 rel32` and `FF /2` cannot be told from the tail of another instruction; `p`
//! counts such places as well. The kernel replaces calls at places that the file lists ([`crate::symbols::patched`]): a call of an
//! indirect branch thunk becomes `call *%reg` of two or three bytes, a paravirtual call of six bytes one of five. Those ends count as well.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::model::addr::{Arch, Svma};
use crate::symbols::find::Program;
use crate::symbols::patched::Patch;
use crate::symbols::{Segment, code};

/// How likely a base may be that only looks right.
pub const CHANCE: f64 = 1e-3;
/// Fewer addresses than this are never enough.
pub const FEWEST: usize = 3;
/// From this many on, one may follow something else.
const SOME: usize = 8;
/// From this many on, one in ten may.
const MANY: usize = 20;
/// Kernels and modules have less code than this; a damaged header may say more.
const LARGEST: u64 = 1 << 28;

/// Code at offsets from one base.
pub struct Group {
    /// Each section, and where it lies from the base on.
    pub parts: Vec<(Segment, u64)>,
    /// From the base to the end of the last section, in bytes.
    pub size: u64,
    /// Bytes of code.
    code: u64,
    /// A bit for each offset that follows a call.
    follows: Vec<u64>,
    /// The offsets, ascending.
    sites: Vec<u64>,
}

impl Group {
    /// `None` when there is no code, or none that can be read.
    pub fn new(program: &Program, parts: Vec<(Segment, u64)>) -> Option<Group> {
        let size = parts.iter().map(|(segment, at)| at.saturating_add(segment.size)).max()?;
        if size > LARGEST {
            return None;
        }
        let mut group = Group { parts, size, code: 0, follows: vec![0; (size / 64 + 1) as usize], sites: Vec::new() };
        let pieces = program.code_parts();
        for (segment, at) in &group.parts {
            let (first, last) = (segment.svma.0, segment.svma.0.saturating_add(segment.size));
            let inside = pieces.iter().map(|piece| piece.start.max(first)..piece.end.min(last)).filter(|piece| !piece.is_empty());
            for piece in inside {
                let ends = ends(program, &piece)?;
                group.sites.extend(ends.into_iter().map(|end| at + (piece.start - first) + end));
                group.code += piece.end - piece.start;
            }
        }
        group.sites.sort_unstable();
        group.sites.dedup();
        group.sites.iter().for_each(|site| group.follows[(site / 64) as usize] |= 1 << (site % 64));
        (group.code > 0).then_some(group)
    }

    /// Whether a return address at that offset follows a call, or what Linux makes one.
    pub fn follows(&self, offset: u64) -> bool {
        self.follows.get((offset / 64) as usize).is_some_and(|word| word >> (offset % 64) & 1 == 1)
    }

    /// Link-time address of an offset.
    pub fn svma(&self, offset: u64) -> Option<Svma> {
        let (segment, at) = self.parts.iter().find(|(segment, at)| offset.wrapping_sub(*at) < segment.size)?;
        Some(Svma(segment.svma.0.wrapping_add(offset - at)))
    }

    /// The part of all offsets in code that follow a call.
    pub fn density(&self) -> f64 {
        self.sites.len() as f64 / self.code.max(1) as f64
    }
}

/// The offsets in a piece of code that follow a call, in the file or once the kernel has patched itself.
fn ends(program: &Program, piece: &std::ops::Range<u64>) -> Option<Vec<u64>> {
    let (start, end) = (Svma(piece.start), Svma(piece.end));
    let mut found = call_ends(program.info().arch, program.code(start, end)?)?;
    let replaced = program.patched(start, end).into_iter().flat_map(|site| {
        let ends: &[u64] = match site.why {
            Patch::Branch => &[2, 3],
            Patch::Paravirt | Patch::Alternative => &[5],
            _ => &[],
        };
        ends.iter().map(move |end| (site.range.start + end).wrapping_sub(start.0)).filter(|end| *end <= piece.end - piece.start)
    });
    found.extend(replaced);
    Some(found)
}

/// A base, and how the addresses in its range do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Where offset 0 lies.
    pub base: u64,
    /// Addresses in its range that follow a call.
    pub agree: usize,
    /// Addresses in its range.
    pub all: usize,
}

/// What was found out.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Verdict {
    /// The one base, and the chance that it only looks right before calls are followed.
    Found(Candidate, f64),
    /// Several bases do as well.
    Several,
    /// No base does.
    None,
}

/// The base at a multiple of `step` from `link`, the base at link time.
pub fn search(group: &Group, addresses: &[u64], step: u64, link: u64) -> Verdict {
    let mut by_residue: FxHashMap<u64, Vec<u64>> = FxHashMap::default();
    group.sites.iter().for_each(|site| by_residue.entry(site.wrapping_add(link) % step).or_default().push(*site));
    let mut tried: FxHashSet<u64> = FxHashSet::default();
    let mut best: Vec<Candidate> = Vec::new();
    for address in addresses {
        for site in by_residue.get(&(address % step)).into_iter().flatten() {
            let base = address.wrapping_sub(*site);
            if !tried.insert(base) {
                continue;
            }
            let candidate = judge(group, addresses, base);
            best.push(candidate);
            best.sort_by_key(|candidate| std::cmp::Reverse(candidate.agree));
            best.truncate(2);
        }
    }
    let Some(first) = best.first().copied().filter(|first| first.agree >= FEWEST) else { return Verdict::None };
    if best.get(1).is_some_and(|second| second.agree * 2 > first.agree) {
        return Verdict::Several;
    }
    let ways = (first.all as f64).powi((first.all - first.agree) as i32);
    Verdict::Found(first, tried.len() as f64 * group.density().powi(first.agree as i32 - 1) * ways)
}

/// Whether so many of all addresses may be taken for all of them.
pub fn is_enough(agree: usize, all: usize) -> bool {
    let may = if all >= MANY { all / 10 } else { usize::from(all >= SOME) };
    agree + may >= all
}

fn judge(group: &Group, addresses: &[u64], base: u64) -> Candidate {
    let from = addresses.partition_point(|address| *address < base);
    let to = addresses.partition_point(|address| *address <= base.saturating_add(group.size));
    let inside = addresses.get(from..to).unwrap_or_default();
    let mut wrong = 0;
    for address in inside {
        wrong += usize::from(!group.follows(*address - base));
        // Nearly every base that is tried is wrong, and is seen to be after a few addresses.
        if !is_enough(inside.len() - wrong, inside.len()) {
            return Candidate { base, agree: 0, all: inside.len() };
        }
    }
    Candidate { base, agree: inside.len() - wrong, all: inside.len() }
}

/// The places in `bytes` that follow a call; `None` for an architecture whose calls are not known.
fn call_ends(arch: Arch, bytes: &[u8]) -> Option<Vec<u64>> {
    match arch {
        Arch::X86_64 | Arch::I386 => {
            let first = memchr::memchr2_iter(0xe8, 0xff, bytes);
            let end = |at: usize| match bytes[at] {
                0xe8 => Some(at + 5),
                _ => Some(at + code::indirect_call(bytes.get(at + 1).copied()?)?),
            };
            Some(first.filter_map(end).filter(|end| *end <= bytes.len()).map(|end| end as u64).collect())
        }
        Arch::Arm64 | Arch::Arm64e => {
            let words = bytes.chunks_exact(4).enumerate();
            Some(words.filter(|(_, word)| code::follows_call(arch, word) == Some(true)).map(|(n, _)| 4 * (n as u64 + 1)).collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MODULES: u64 = 0xffff_ffff_c000_0000;
    const PAGE: u64 = 0x1000;

    /// A group of random code in which about one byte in `every` begins a call.
    fn group(bytes: &[u8]) -> Group {
        let segment = Segment {
            name: ".text".into(),
            svma: Svma(0x1000),
            size: bytes.len() as u64,
            align: 16,
            executable: true,
            used: bytes.len() as u64,
        };
        let sites = call_ends(Arch::X86_64, bytes).unwrap();
        let mut follows = vec![0u64; bytes.len() / 64 + 1];
        sites.iter().for_each(|site| follows[(site / 64) as usize] |= 1 << (site % 64));
        let mut sites = sites;
        sites.sort_unstable();
        sites.dedup();
        Group { parts: vec![(segment, 0)], size: bytes.len() as u64, code: bytes.len() as u64, follows, sites }
    }

    /// Random bytes from a seed, with calls at random distances.
    fn code(seed: u64, size: usize) -> Vec<u8> {
        let mut state = seed | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut bytes: Vec<u8> = (0..size).map(|_| next() as u8 & 0x7f).collect();
        let mut at = 0;
        while at + 40 < size {
            at += 8 + (next() % 24) as usize;
            bytes[at] = 0xe8;
        }
        bytes
    }

    #[test]
    fn the_forward_scan_finds_what_the_backward_check_does() {
        let bytes: Vec<u8> = (0..6000u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
        let found: FxHashSet<u64> = call_ends(Arch::X86_64, &bytes).unwrap().into_iter().collect();
        for end in 1..=bytes.len() {
            let before = &bytes[end.saturating_sub(code::CALL_BYTES)..end];
            assert_eq!(found.contains(&(end as u64)), code::follows_call(Arch::X86_64, before).unwrap(), "at {end}");
        }
    }

    proptest! {
        #[test]
        fn a_base_is_found_or_refused_and_never_wrong(
            seed in any::<u64>(),
            pages in 1usize..64,
            page in 0u64..0x3_0000,
            picks in prop::collection::vec(any::<prop::sample::Index>(), 1..40),
            noise in prop::collection::vec(0xffff_ffff_c000_0000u64..0xffff_ffff_f000_0000, 0..30),
        ) {
            let group = group(&code(seed, pages * 4096));
            let base = MODULES + page * PAGE;
            let mut addresses: Vec<u64> = picks.iter().map(|pick| base + group.sites[pick.index(group.sites.len())]).collect();
            let own: FxHashSet<u64> = addresses.iter().copied().collect();
            // Addresses of other modules, which cannot be in this one's range.
            addresses.extend(noise.iter().filter(|address| address.wrapping_sub(base) > group.size));
            addresses.sort_unstable();
            addresses.dedup();
            match search(&group, &addresses, PAGE, 0) {
                Verdict::Found(found, chance) if chance < CHANCE => {
                    prop_assert_eq!(found.base, base);
                    prop_assert_eq!(found.agree, own.len());
                }
                _ => prop_assert!(own.len() < 8, "{} addresses are enough", own.len()),
            }
        }

        #[test]
        fn another_file_is_refused(seed in any::<u64>(), picks in prop::collection::vec(any::<prop::sample::Index>(), 3..60)) {
            let (one, other) = (group(&code(seed, 1 << 16)), group(&code(!seed.rotate_left(17), 1 << 16)));
            let mut addresses: Vec<u64> = picks.iter().map(|pick| MODULES + one.sites[pick.index(one.sites.len())]).collect();
            addresses.sort_unstable();
            addresses.dedup();
            let verdict = search(&other, &addresses, PAGE, 0);
            prop_assert!(!matches!(verdict, Verdict::Found(_, chance) if chance < CHANCE), "{:?}", verdict);
        }
    }
}
