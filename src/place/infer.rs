//! Where a kernel or module lies, from nothing but return addresses: each of them must follow a call in the file. The rule is that of
//! [`super::calls`].

use rustc_hash::FxHashSet;

use super::calls::{CHANCE, Candidate, FEWEST, Group, Verdict, search};
use super::linux::{by_base, one_behind_the_other};
use super::proof::{Evidence, EvidenceKind};
use super::{Image, Placer};
use crate::model::addr::{Arch, Avma, Slide, Svma};
use crate::model::capture::Capture;
use crate::model::stack::{Lookup, RawFrame};
use crate::symbols::find::Program;
use crate::symbols::{Callee, FileInfo, FileKind, Segment};

/// Addresses beyond these prove nothing more.
const MOST: usize = 4_000;

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
pub(super) fn is_return(frame: &RawFrame) -> Option<Avma> {
    let sound = |address: &Avma| address.0 != 0 && address.0 != u64::MAX;
    frame.address.filter(|_| frame.lookup == Lookup::Return && frame.reliable).filter(sound)
}

/// What a kernel is slid by a multiple of: `CONFIG_PHYSICAL_ALIGN` on x86_64 (2 MiB at least; xnu too), 64 KiB on arm64 Linux
/// (`MIN_KIMG_ALIGN` is 2 MiB, other boot loaders have less), a page of 16 KiB on arm64 xnu. The i386 kernels of macOS were never slid: no
/// other address is a multiple of this away.
fn kernel_step(info: &FileInfo) -> Option<u64> {
    match (info.arch, info.is_elf) {
        (Arch::X86_64, _) => Some(0x20_0000),
        (Arch::Arm64, true) => Some(0x1_0000),
        (Arch::Arm64 | Arch::Arm64e, _) => Some(0x4000),
        (Arch::I386, false) => Some(1 << 32),
        _ => None,
    }
}

/// Linux puts modules on x86_64 from here on (`MODULES_VADDR` with KASLR), xnu all kexts below its kernel.
const MODULES: u64 = 0xffff_ffff_c000_0000;

impl Placer<'_> {
    /// The slide of a kernel whose report says nothing about it, with how it is known; or why it cannot be told, where there is enough to say so.
    pub(super) fn infer_slide(&self, program: &Program) -> Result<(Slide, String), Option<String>> {
        let info = program.info();
        let code = || info.segments.iter().filter(|segment| segment.executable);
        let (Some(step), Some(base)) = (kernel_step(info), code().map(|segment| segment.svma.0).min()) else { return Err(None) };
        let linux = info.is_elf && info.arch == Arch::X86_64;
        let addresses = returns(self.capture, |address| address >= base.min(0xffff_ffff_8000_0000) && (!linux || address < MODULES));
        let parts = code().map(|segment| (segment.clone(), segment.svma.0 - base)).collect();
        let group = Group::new(program, parts).filter(|_| addresses.len() >= FEWEST).ok_or(None)?;
        let why = match search(&group, &addresses, step, base) {
            // On Linux nothing but the kernel is where these addresses are.
            Verdict::Found(found, _) if linux && found.all * 10 < addresses.len() * 9 => {
                format!("the best one explains only {} of {} return addresses", found.all, addresses.len())
            }
            Verdict::Found(found, chance) if chance < CHANCE => {
                let said = format!("{INFERRED}with it {} return addresses follow a call", counted(found));
                return Ok((Slide(found.base.wrapping_sub(base)), said));
            }
            Verdict::Found(found, _) => format!("only {} return addresses are known", found.all),
            Verdict::Several => "more than one slide makes all return addresses follow a call".to_string(),
            Verdict::None => "with none do all return addresses follow a call, so that the file may be another build".to_string(),
        };
        Err(Some(why))
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
    let init = info.segments.iter().filter(|segment| segment.executable && segment.name.starts_with(".init"));
    let init = one_behind_the_other(init, 0);
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
