//! Where a kernel or module lies, from nothing but return addresses: each of them must follow a call in the file.
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
//! * chance does not explain it: with `p` the part of all places that follow a call, `t` bases tried, `n` addresses that agree and `w` that do not, `t · pⁿ⁻¹ · (n + w)ʷ` is less
//!   than [`CHANCE`]. A direct call whose target is the very function that the next inner frame is in counts as two more addresses.
//!
//! On x86 whether bytes are a call is asked backwards, where `E8 rel32` and `FF /2` cannot be told from the tail of another instruction; `p`
//! counts such places as well. The kernel replaces calls at places that the file lists ([`crate::symbols::patched`]): an indirect call through a
//! thunk becomes a direct one of two or three bytes, a paravirtual call of six bytes one of five. Those ends count as well.

use rustc_hash::{FxHashMap, FxHashSet};

use super::linux::by_base;
use super::proof::{Evidence, EvidenceKind};
use super::{Image, Placer};
use crate::model::addr::{Arch, Avma, Slide, Svma};
use crate::model::capture::Capture;
use crate::model::stack::{Lookup, RawFrame};
use crate::symbols::find::Program;
use crate::symbols::patched::Patch;
use crate::symbols::{Callee, FileInfo, FileKind, Segment, code};

/// How likely a base may be that only looks right.
const CHANCE: f64 = 1e-3;
/// Fewer addresses than this are never enough.
const FEWEST: usize = 3;
/// From this many on, one may follow something else.
const SOME: usize = 8;
/// From this many on, one in ten may.
const MANY: usize = 20;
/// Addresses beyond these prove nothing more.
const MOST: usize = 4_000;
/// Kernels and modules have less code than this; a damaged header may say more.
const LARGEST: u64 = 1 << 28;

/// Code at offsets from one base.
struct Group {
    /// Each section, and where it lies from the base on.
    parts: Vec<(Segment, u64)>,
    size: u64,
    /// A bit for each offset that follows a call.
    follows: Vec<u64>,
    /// The offsets, ascending.
    sites: Vec<u64>,
}

impl Group {
    /// `None` when there is no code, or none that can be read.
    fn new(program: &Program, parts: Vec<(Segment, u64)>) -> Option<Group> {
        let size = parts.iter().map(|(segment, at)| at.saturating_add(segment.size)).max()?;
        if size > LARGEST {
            return None;
        }
        let mut group = Group { parts, size, follows: vec![0; (size / 64 + 1) as usize], sites: Vec::new() };
        for (segment, at) in &group.parts {
            let (start, end) = (segment.svma, Svma(segment.svma.0.saturating_add(segment.size)));
            let found = call_ends(program.info().arch, program.code(start, end)?)?;
            let replaced = program.patched(start, end).into_iter().flat_map(|site| {
                let ends: &[u64] = match site.why {
                    Patch::Branch => &[2, 3],
                    Patch::Paravirt | Patch::Alternative => &[5],
                    _ => &[],
                };
                ends.iter().map(move |end| (site.range.start + end).wrapping_sub(start.0)).filter(|end| *end <= segment.size)
            });
            for end in found.into_iter().chain(replaced) {
                group.sites.push(at + end);
            }
        }
        group.sites.sort_unstable();
        group.sites.dedup();
        group.sites.iter().for_each(|site| group.follows[(site / 64) as usize] |= 1 << (site % 64));
        Some(group)
    }

    fn follows(&self, offset: u64) -> bool {
        self.follows.get((offset / 64) as usize).is_some_and(|word| word >> (offset % 64) & 1 == 1)
    }

    /// Link-time address of an offset.
    fn svma(&self, offset: u64) -> Option<Svma> {
        let (segment, at) = self.parts.iter().find(|(segment, at)| offset.wrapping_sub(*at) < segment.size)?;
        Some(Svma(segment.svma.0.wrapping_add(offset - at)))
    }

    /// The part of all offsets that follow a call.
    fn density(&self) -> f64 {
        let code: u64 = self.parts.iter().map(|(segment, _)| segment.size).sum();
        self.sites.len() as f64 / code.max(1) as f64
    }
}

/// A base, and how the addresses in its range do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Candidate {
    base: u64,
    agree: usize,
    all: usize,
}

/// What was found out.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Verdict {
    /// The one base, and the chance that it only looks right before calls are followed.
    Found(Candidate, f64),
    /// Several bases do as well.
    Several,
    /// No base does.
    None,
}

/// The base at a multiple of `step` from `link`, the base at link time.
fn search(group: &Group, addresses: &[u64], step: u64, link: u64) -> Verdict {
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
fn is_enough(agree: usize, all: usize) -> bool {
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

/// The distinct return addresses of a report for which `wanted` holds, ascending.
fn returns(capture: &Capture, wanted: impl Fn(u64) -> bool) -> Vec<u64> {
    let frames = capture.stacks.iter().filter(|stack| !stack.aside).flat_map(|stack| &stack.frames);
    let mut found: Vec<u64> = frames.filter_map(is_return).map(|address| address.0).filter(|address| wanted(*address)).collect();
    found.sort_unstable();
    found.dedup();
    let step = found.len().div_ceil(MOST).max(1);
    found.into_iter().step_by(step).collect()
}

/// The address of a frame that follows a call. `/proc/PID/stack` of older kernels ends in one that is all ones.
fn is_return(frame: &RawFrame) -> Option<Avma> {
    let sound = |address: &Avma| address.0 != 0 && address.0 != u64::MAX;
    frame.address.filter(|_| frame.lookup == Lookup::Return && frame.reliable).filter(sound)
}

/// What a kernel is slid by a multiple of: `CONFIG_PHYSICAL_ALIGN` on x86_64 (2 MiB at least; xnu too), 64 KiB on arm64 Linux
/// (`MIN_KIMG_ALIGN` is 2 MiB, other boot loaders have less), a page of 16 KiB on arm64 xnu.
fn kernel_step(info: &FileInfo) -> Option<u64> {
    match (info.arch, info.is_elf) {
        (Arch::X86_64, _) => Some(0x20_0000),
        (Arch::Arm64, true) => Some(0x1_0000),
        (Arch::Arm64 | Arch::Arm64e, _) => Some(0x4000),
        _ => None,
    }
}

/// Linux puts modules on x86_64 from here on (`MODULES_VADDR` with KASLR), xnu all kexts below its kernel.
const MODULES: u64 = 0xffff_ffff_c000_0000;

impl Placer<'_> {
    /// The slide of a kernel whose report says nothing about it.
    pub(super) fn infer_slide(&mut self, program: &Program) -> Option<(Slide, String)> {
        let info = program.info();
        let (step, base) =
            (kernel_step(info)?, info.segments.iter().filter(|segment| segment.executable).map(|segment| segment.svma.0).min()?);
        let linux = info.is_elf && info.arch == Arch::X86_64;
        let addresses = returns(self.capture, |address| address >= base.min(0xffff_ffff_8000_0000) && (!linux || address < MODULES));
        if addresses.len() < FEWEST {
            return None;
        }
        let code = info.segments.iter().filter(|segment| segment.executable);
        let parts = code.map(|segment| (segment.clone(), segment.svma.0 - base)).collect();
        let verdict = search(&Group::new(program, parts)?, &addresses, step, base);
        match verdict {
            // On Linux nothing but the kernel is where these addresses are.
            Verdict::Found(found, _) if linux && found.all * 10 < addresses.len() * 9 => {
                self.unproven(&format!("the best one explains only {} of {} return addresses", found.all, addresses.len()))
            }
            Verdict::Found(found, chance) if chance < CHANCE => {
                let slide = Slide(found.base.wrapping_sub(base));
                let said = format!("with it {} return addresses follow a call", counted(found));
                self.warn(format!("the report says no slide: slide {slide} inferred, {said}"));
                Some((slide, format!("{INFERRED}{said}")))
            }
            Verdict::Found(found, _) => self.unproven(&format!("only {} return addresses are known", found.all)),
            Verdict::Several => self.unproven("more than one slide makes all return addresses follow a call"),
            Verdict::None => self.unproven("with none do all return addresses follow a call, so that the file may be another build"),
        }
    }

    fn unproven(&mut self, why: &str) -> Option<(Slide, String)> {
        self.warn(format!("the kernel's slide cannot be inferred: {why}; bare addresses in the kernel are not resolved, give --slide"));
        None
    }

    /// The bases of Linux modules that no load map names. Those with the most addresses come first; nothing is put where something is.
    pub(super) fn infer_modules(&mut self, images: &mut [Image]) {
        let free = |images: &[Image], address: u64| !images.iter().any(|image| lies_in(image, address));
        let mut open: Vec<usize> = (0..images.len()).filter(|at| is_unplaced(&images[*at])).collect();
        if open.is_empty() || returns(self.capture, |address| free(images, address)).len() < FEWEST {
            return;
        }
        let groups: Vec<(usize, Group)> =
            open.drain(..).flat_map(|at| groups(&images[at]).into_iter().map(move |group| (at, group))).collect();
        let mut refused = FxHashSet::default();
        loop {
            let addresses = returns(self.capture, |address| free(images, address));
            let verdicts = groups.iter().enumerate().filter(|(n, (at, group))| !refused.contains(n) && !is_placed(&images[*at], group));
            let found = verdicts.filter_map(|(n, (at, group))| match search(group, &addresses, PAGE, 0) {
                Verdict::Found(found, chance) => Some((found.agree, n, *at, found, chance)),
                _ => None,
            });
            let Some((_, n, at, found, chance)) = found.max_by_key(|(agree, n, ..)| (*agree, std::cmp::Reverse(*n))) else { return };
            let group = &groups[n].1;
            let called = self.called(images, &images[at], group, found.base);
            let chance = chance * group.density().powi(2 * called as i32);
            let name = &images[at].name;
            if chance >= CHANCE || overlaps(images, group, found.base) {
                self.warn(format!("{name}: {} return addresses do not prove where it lies; addresses in it are not resolved", found.agree));
                refused.insert(n);
                continue;
            }
            let text = format!("{} return addresses follow a call", counted(found));
            self.warn(format!("{name} has no load address: {} inferred, with it {text}", Avma(found.base)));
            place(&mut images[at], group, found.base, &text);
        }
    }

    /// How many direct calls of the group lead to the function that the next inner frame is in.
    fn called(&self, images: &[Image], image: &Image, group: &Group, base: u64) -> usize {
        let mut seen = FxHashSet::default();
        let pairs = self.capture.stacks.iter().flat_map(|stack| stack.frames.windows(2));
        let leads = |pair: &&[RawFrame]| {
            let (Some(inner), Some(outer)) = (pair[0].address, is_return(&pair[1])) else { return false };
            outer.0.wrapping_sub(base) <= group.size
                && seen.insert((inner, outer))
                && leads_to(images, image, group, base, outer.0 - base, inner, pair[0].lookup).unwrap_or(false)
        };
        pairs.filter(leads).count()
    }
}

fn is_unplaced(image: &Image) -> bool {
    let module = |info: &FileInfo| info.kind == FileKind::Module && matches!(info.arch, Arch::X86_64 | Arch::I386);
    image.segments.is_empty() && image.program.as_ref().is_some_and(|program| module(program.info()))
}

const PAGE: u64 = 0x1000;
/// What is said before how a place was inferred.
pub(super) const INFERRED: &str = "inferred: ";

/// The evidence for a kernel whose slide was found so.
pub(super) fn evidence(from: &str) -> Option<Evidence> {
    let text = format!("calls: {}", from.strip_prefix(INFERRED)?);
    Some(Evidence { kind: EvidenceKind::Calls, contradicts: false, text })
}

fn counted(found: Candidate) -> String {
    if found.agree == found.all { format!("all {}", found.all) } else { format!("{} of {}", found.agree, found.all) }
}

fn lies_in(image: &Image, address: u64) -> bool {
    image.segments.iter().any(|(segment, start)| address.wrapping_sub(start.0) <= segment.size)
}

/// The code that a module keeps, and that of its initialisation, which lies elsewhere and is gone after it.
fn groups(image: &Image) -> Vec<Group> {
    let Some(program) = &image.program else { return Vec::new() };
    let info = program.info();
    let kept: Vec<(Segment, u64)> = by_base(info, Avma(0)).into_iter().map(|(segment, at)| (segment, at.0)).collect();
    let mut at = 0u64;
    let init = info.segments.iter().filter(|segment| segment.executable && segment.name.starts_with(".init")).map(|segment| {
        let start = at.next_multiple_of(segment.align.max(1));
        at = start.saturating_add(segment.size);
        (segment.clone(), start)
    });
    let init = init.collect();
    [kept, init].into_iter().filter_map(|parts| Group::new(program, parts)).collect()
}

fn is_placed(image: &Image, group: &Group) -> bool {
    image.segments.iter().any(|(segment, _)| group.parts.iter().any(|(part, _)| part.svma == segment.svma))
}

fn overlaps(images: &[Image], group: &Group, base: u64) -> bool {
    let clear =
        |(segment, start): &(Segment, Avma)| base.saturating_add(group.size) <= start.0 || start.0.saturating_add(segment.size) <= base;
    !images.iter().flat_map(|image| &image.segments).all(clear)
}

fn place(image: &mut Image, group: &Group, base: u64, text: &str) {
    image.segments.extend(group.parts.iter().map(|(segment, at)| (segment.clone(), Avma(base.wrapping_add(*at)))));
    let text_at = image.segments.iter().find(|(segment, _)| segment.name == ".text").map(|(_, at)| *at);
    image.load = image.load.or(text_at);
    image.placed_by = format!("{INFERRED}{text}");
    image.evidence.push(Evidence { kind: EvidenceKind::Calls, contradicts: false, text: format!("calls: {text}") });
}

/// Whether the call before `offset` is a direct one to the function that holds `inner`; `None` when that cannot be told.
fn leads_to(images: &[Image], image: &Image, group: &Group, base: u64, offset: u64, inner: Avma, lookup: Lookup) -> Option<bool> {
    let program = image.program.as_deref()?;
    let callee = program.callee(Svma(group.svma(offset.checked_sub(1)?)?.0.wrapping_add(1)))?;
    let inner = if lookup == Lookup::Return { inner.before() } else { inner };
    let start = |program: &Program, svma: Svma| {
        let found = program.symbols().table().at(program.in_symbols(svma))?;
        Some((program.from_symbols(found.start), found.name.to_string()))
    };
    match callee {
        Callee::At(target) => Some(start(program, group.svma(inner.0.wrapping_sub(base))?)?.0 == target),
        Callee::Named(name) => images.iter().find_map(|other| {
            let (segment, at) = other.segments.iter().find(|(segment, at)| inner.0.wrapping_sub(at.0) < segment.size)?;
            let (_, found) = start(other.program.as_deref()?, Svma(segment.svma.0.wrapping_add(inner.0 - at.0)))?;
            Some(found == name)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A group of random code in which about one byte in `every` begins a call.
    fn group(bytes: &[u8]) -> Group {
        let segment = Segment { name: ".text".into(), svma: Svma(0x1000), size: bytes.len() as u64, align: 16, executable: true };
        let sites = call_ends(Arch::X86_64, bytes).unwrap();
        let mut follows = vec![0u64; bytes.len() / 64 + 1];
        sites.iter().for_each(|site| follows[(site / 64) as usize] |= 1 << (site % 64));
        let mut sites = sites;
        sites.sort_unstable();
        sites.dedup();
        Group { parts: vec![(segment, 0)], size: bytes.len() as u64, follows, sites }
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
