//! What the frames themselves prove: pairs of symbol and address, and return addresses that follow a call.

use rustc_hash::{FxHashMap, FxHashSet};

use super::Image;
use super::proof::{Evidence, EvidenceKind};
use crate::model::addr::{Arch, Avma, Slide, Svma};
use crate::model::capture::{Capture, Os};
use crate::model::image::{Basis, ImageId};
use crate::model::stack::Lookup;
use crate::parse::lex;
use crate::symbols::find::Program;
use crate::symbols::{Segment, code};

/// A frame that prints both where it is and what it is called.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Pair {
    /// Where the printed symbol would start.
    pub start: Avma,
    /// As printed.
    pub symbol: String,
    /// The image as printed.
    pub module: String,
    /// Whether that image is the kernel.
    pub kernel: bool,
    /// First line with this pair.
    pub line: u32,
}

/// Distinct pairs beyond this many prove nothing more.
const MAX_PAIRS: usize = 10_000;

/// The distinct pairs of a capture, in the order of the report.
pub fn pairs(capture: &Capture, text: &[u8]) -> Vec<Pair> {
    let mut seen = FxHashSet::default();
    let mut pairs = Vec::new();
    for frame in capture.stacks.iter().flat_map(|stack| &stack.frames) {
        let (Some(address), Some(offset), false) = (frame.address, frame.offset, frame.symbol.is_empty()) else { continue };
        let (symbol, module) = (frame.symbol.of(text, frame.line_start), frame.module.of(text, frame.line_start));
        if !seen.insert((address, offset, symbol, module)) {
            continue;
        }
        let module = lex::text(module);
        let unnamed = matches!(capture.os, Some(Os::Linux | Os::FreeBsd)) && module.is_empty();
        let kernel = capture.kernel_name.as_deref() == Some(&*module) || unnamed;
        pairs.push(Pair { start: Avma(address.0.wrapping_sub(offset)), symbol: lex::text(symbol), module, kernel, line: frame.line });
        if pairs.len() == MAX_PAIRS {
            break;
        }
    }
    pairs
}

/// Gives pairs without an image that of the only file which has their symbol: frames of FreeBSD name no module. One such function proves
/// nothing, because a module that is not at hand may have one of the same name.
pub fn attribute(pairs: &mut [Pair], images: &[Image]) {
    let files: Vec<(usize, &Program)> = images.iter().enumerate().filter_map(|(n, image)| Some((n, &**image.program.as_ref()?))).collect();
    if !files.iter().any(|(n, _)| images[*n].kernel) {
        return;
    }
    let only = |pair: &Pair| {
        let mut has = files.iter().filter(|(_, program)| !program.symbols().table().named(&pair.symbol).is_empty());
        has.next().map(|(n, _)| *n).filter(|_| has.next().is_none())
    };
    let homes: Vec<Option<usize>> = pairs.iter().map(|pair| if pair.module.is_empty() { only(pair) } else { None }).collect();
    let mut functions: FxHashMap<usize, FxHashSet<&str>> = FxHashMap::default();
    for (pair, home) in pairs.iter().zip(&homes) {
        if let Some(home) = home {
            functions.entry(*home).or_default().insert(&pair.symbol);
        }
    }
    let sure: FxHashSet<usize> = functions.into_iter().filter(|(_, functions)| functions.len() > 1).map(|(home, _)| home).collect();
    for (pair, home) in pairs.iter_mut().zip(homes) {
        if let Some(home) = home.filter(|home| sure.contains(home) && !images[*home].kernel) {
            (pair.module, pair.kernel) = (images[home].name.clone(), false);
        }
    }
}

/// What pairs say about where a program lies.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    /// Captured address minus the file's, for most of the pairs.
    pub delta: u64,
    /// Pairs with that difference.
    pub agree: usize,
    /// Pairs whose symbol the file has.
    pub all: usize,
}

impl Tally {
    /// Counts the differences; `None` when the file has none of the symbols.
    pub fn of<'p>(program: &Program, pairs: impl Iterator<Item = &'p Pair>) -> Option<Tally> {
        let mut votes: FxHashMap<u64, usize> = FxHashMap::default();
        let mut all = 0;
        for pair in pairs {
            let found = program.symbols().table().named(&pair.symbol);
            all += usize::from(!found.is_empty());
            for symbol in found {
                *votes.entry(pair.start.0.wrapping_sub(program.from_symbols(symbol.start).0)).or_default() += 1;
            }
        }
        let (delta, agree) = votes.into_iter().max_by_key(|(delta, count)| (*count, std::cmp::Reverse(*delta)))?;
        Some(Tally { delta, agree, all })
    }

    /// Nine in ten agree, and on a multiple of a page.
    pub fn is_base(&self) -> bool {
        self.agree * 10 >= self.all * 9 && self.delta.is_multiple_of(0x1000)
    }

    /// As [`Tally::is_base`], and on a multiple of what kernels are slid by: 2 MiB on x86_64 (xnu and Linux), a page of 16 KiB elsewhere.
    pub fn is_slide(&self, arch: Arch) -> bool {
        let step = if arch == Arch::X86_64 { SLIDE_STEP } else { 0x4000 };
        self.is_base() && self.delta.is_multiple_of(step) && self.delta < 1 << 40
    }
}

/// How many pairs agree with a placed program, and those that do not. A symbol that the file lacks says nothing.
pub fn check<'p>(
    program: &Program,
    pairs: impl Iterator<Item = &'p Pair>,
    placed: impl Fn(Svma) -> Option<Avma>,
) -> (usize, Vec<&'p Pair>) {
    let (mut agree, mut wrong) = (0, Vec::new());
    for pair in pairs {
        let found = program.symbols().table().named(&pair.symbol);
        if found.iter().any(|symbol| placed(program.from_symbols(symbol.start)) == Some(pair.start)) {
            agree += 1;
        } else if found.iter().any(|symbol| placed(program.from_symbols(symbol.start)).is_some()) {
            wrong.push(pair);
        }
    }
    (agree, wrong)
}

/// How many pairs agree with a program of which nobody knows where it lies, and those that do not: whole pages lie between the file's
/// addresses and the report's, one distance or, in a log of several boots, several. A function that moved by less within its section is
/// another build's. A kernel is linked at a page, so that its distance is one; where a section of a module lies in its page, most pairs say.
pub fn check_unplaced<'p>(program: &Program, pairs: impl Iterator<Item = &'p Pair>, kernel: bool) -> (usize, Vec<&'p Pair>) {
    let mut within: FxHashMap<usize, FxHashMap<u64, Vec<&Pair>>> = FxHashMap::default();
    for pair in pairs {
        // Of several functions of one name nobody knows which is meant.
        let [symbol] = program.symbols().table().named(&pair.symbol)[..] else { continue };
        let start = program.from_symbols(symbol.start);
        let inside = |segment: &Segment| start.0.wrapping_sub(segment.svma.0) < segment.size;
        let Some(segment) = program.info().segments.iter().position(inside) else { continue };
        within.entry(segment).or_default().entry(pair.start.0.wrapping_sub(start.0) % PAGE).or_default().push(pair);
    }
    let (mut agree, mut wrong) = (0, Vec::new());
    for mut groups in within.into_values() {
        let most = groups.iter().max_by_key(|(within, pairs)| (pairs.len(), std::cmp::Reverse(**within))).map(|(within, _)| *within);
        let right = if kernel { Some(0) } else { most };
        agree += right.and_then(|right| groups.remove(&right)).map_or(0, |pairs| pairs.len());
        wrong.extend(groups.into_values().flatten());
    }
    wrong.sort_by_key(|pair| pair.line);
    (agree, wrong)
}

/// Kernels and modules lie at multiples of this.
const PAGE: u64 = 0x1000;

/// Distinct frames that print a symbol with its size, and whether the file has one such: how many agree, and the first line that does not
/// with their number. A symbol that the file lacks says nothing: it may be one that the compiler split off.
pub fn sizes(capture: &Capture, text: &[u8], image: &Image, program: &Program) -> (usize, Option<(u32, usize)>) {
    let mut seen = FxHashSet::default();
    let (mut agree, mut wrong) = (0, None);
    for frame in capture.stacks.iter().flat_map(|stack| &stack.frames).filter(|frame| frame.reliable) {
        let Some(size) = frame.size else { continue };
        let (symbol, module) = (frame.symbol.of(text, frame.line_start), frame.module.of(text, frame.line_start));
        let own = if module.is_empty() { image.kernel } else { !image.kernel && image.is_called(&lex::text(module)) };
        // A frame of another build of the module says nothing about this one.
        let build = ImageId::parse_build(frame.build_id.of(text, frame.line_start));
        let own = own && build.is_none_or(|build| image.wanted.is_none_or(|wanted| wanted == build));
        if !own || seen.len() >= MAX_PAIRS || !seen.insert((symbol, size)) {
            continue;
        }
        let found = program.symbols().table().named(&lex::text(symbol));
        if found.iter().any(|found| found.fits(size)) {
            agree += 1;
        } else if !found.is_empty() {
            let (_, count) = wrong.get_or_insert((frame.line, 0));
            *count += 1;
        }
    }
    (agree, wrong)
}

/// Distinct frames that print an address and its function without an offset, as debuggers do, and whether the placed file has that function
/// there: how many agree, and the first line that does not with their number. A function that the file lacks says nothing.
pub fn functions(capture: &Capture, text: &[u8], image: &Image, program: &Program) -> (usize, Option<(u32, usize)>) {
    let mut seen = FxHashSet::default();
    let (mut agree, mut wrong) = (0, None);
    for frame in capture.stacks.iter().flat_map(|stack| &stack.frames) {
        let (Some(probe), None, true) = (frame.probe(), frame.offset, frame.location.is_empty()) else { continue };
        let symbol = frame.symbol.of(text, frame.line_start);
        let within = |(segment, start): &&(Segment, Avma)| probe.0.wrapping_sub(start.0) < segment.size;
        let Some((segment, start)) = image.segments.iter().find(within).filter(|_| !symbol.is_empty()) else { continue };
        if seen.len() >= MAX_PAIRS || !seen.insert((probe, symbol)) {
            continue;
        }
        let svma = Svma(segment.svma.0.wrapping_add(probe.0.wrapping_sub(start.0)));
        let table = program.symbols().table();
        let (there, named) = (table.at(program.in_symbols(svma)), table.named(&lex::text(symbol)));
        if named.iter().any(|named| there.is_some_and(|there| there.start == named.start)) {
            agree += 1;
        } else if !named.is_empty() {
            let (_, count) = wrong.get_or_insert((frame.line, 0));
            *count += 1;
        }
    }
    (agree, wrong)
}

/// What pairs and sizes, each agreeing and contradicting, say about a file.
pub fn counted(pairs: (usize, usize), sizes: (usize, usize)) -> Vec<Evidence> {
    let kinds = [(EvidenceKind::Pairs, "frames with symbol and address", pairs), (EvidenceKind::Sizes, "function sizes", sizes)];
    let one = |(kind, what, (agree, wrong)): (EvidenceKind, &str, (usize, usize))| {
        let said = Evidence::counted(kind, what, agree, agree + wrong);
        // As in `check_pairs`: a torn digit is no other build.
        (agree + wrong > 0).then_some(Evidence { contradicts: wrong * 10 > agree, ..said })
    };
    kinds.into_iter().filter_map(one).collect()
}

/// How load maps' addresses get into the report's world.
#[derive(Clone, Copy, Debug)]
pub struct MapSlide {
    /// The report's world.
    pub basis: Basis,
    /// The slide between the two worlds; `None` when it is needed and unknown.
    pub difference: Option<Slide>,
}

impl MapSlide {
    /// `address` of a source of `basis` in the report's world.
    pub fn bring(self, address: Avma, basis: Basis) -> Option<Avma> {
        match (basis, self.basis) {
            (from, to) if from == to => Some(address),
            (Basis::Unslid, _) => Some(address.slid(self.difference?)),
            (Basis::Runtime, _) => Some(address.unslid(self.difference?)),
        }
    }
}

/// xnu moves x86_64 kernels by a multiple of this, at most 511 times (osfmk/x86_64, boot.efi).
const SLIDE_STEP: u64 = 0x20_0000;
const SLIDE_STEPS: u64 = 512;
/// Fewer agreeing return addresses than this are no proof.
pub const FEWEST_CALLS: usize = 3;

/// The slide that lies between two sources of which one has run-time and the other unslid addresses of the same kexts, if all of them agree;
/// with the first kext and the unslid source.
pub fn slide_by_maps(images: &[Image]) -> Option<(Slide, String, String)> {
    let mut found: Option<(Slide, String, String)> = None;
    for image in images.iter().filter(|image| !image.kernel) {
        let load =
            |basis: Basis| image.claims.iter().filter(move |claim| claim.basis == basis).find_map(|claim| Some((claim.load?, claim)));
        let (Some((slid, _)), Some((unslid, claim))) = (load(Basis::Runtime), load(Basis::Unslid)) else { continue };
        let slide = Slide(slid.0.wrapping_sub(unslid.0));
        match &found {
            Some((other, ..)) if *other != slide => return None,
            Some(_) => {}
            None => found = Some((slide, image.name.clone(), claim.source.clone())),
        }
    }
    found
}

/// The distinct return addresses of a report, ascending. Those that may be stale are left out.
fn returns(capture: &Capture) -> Vec<Avma> {
    let frames = capture.stacks.iter().flat_map(|stack| &stack.frames);
    let sure = frames.filter(|frame| frame.lookup == Lookup::Return && frame.reliable);
    let mut returns: Vec<Avma> = sure.filter_map(|frame| frame.address).collect();
    returns.sort_unstable();
    returns.dedup();
    returns
}

/// How many return addresses in placed code follow a call, and how many do not.
pub fn calls(capture: &Capture, program: &Program, segments: &[(Segment, Avma)]) -> (usize, usize) {
    let returns = returns(capture);
    let mut counts = (0, 0);
    for (segment, start) in segments.iter().filter(|(segment, _)| segment.executable) {
        let (one, two) = calls_in(&returns, program, segment, *start).unwrap_or_default();
        counts = (counts.0 + one, counts.1 + two);
    }
    counts
}

/// The same for one segment; `None` where the file has no code to look at.
fn calls_in(returns: &[Avma], program: &Program, segment: &Segment, start: Avma) -> Option<(usize, usize)> {
    let from = returns.partition_point(|address| *address < start);
    let to = returns.partition_point(|address| address.0 < start.0.saturating_add(segment.size));
    let (mut hits, mut misses) = (0, 0);
    for address in returns.get(from..to)? {
        let svma = segment.svma.0 + (address.0 - start.0);
        let before = svma.saturating_sub(code::CALL_BYTES as u64).max(segment.svma.0);
        let follows = code::follows_call(program.info().arch, program.code(Svma(before), Svma(svma))?)?;
        (hits, misses) = (hits + usize::from(follows), misses + usize::from(!follows));
    }
    Some((hits, misses))
}

/// The step with far more hits than any other.
fn best(mut scores: Vec<(usize, u64)>) -> Option<(Slide, usize)> {
    scores.sort_unstable_by(|a, b| b.cmp(a));
    let (best, step) = *scores.first()?;
    let second = scores.get(1).map_or(0, |(hits, _)| *hits);
    (best >= FEWEST_CALLS && second * 2 <= best).then_some((Slide(step * SLIDE_STEP), best))
}

/// The one slide between run-time load maps and unslid frames with which every return address in a kext follows a call.
pub fn slide_by_calls(capture: &Capture, images: &[Image]) -> Option<(Slide, usize)> {
    let returns = returns(capture);
    best((0..SLIDE_STEPS).filter_map(|step| Some((score(&returns, images, step * SLIDE_STEP)?, step))).collect())
}

/// How many return addresses lie in a kext behind a call; `None` when one lies in code that does not call there.
fn score(returns: &[Avma], images: &[Image], slide: u64) -> Option<usize> {
    let mut hits = 0;
    for image in images.iter().filter(|image| !image.kernel) {
        let Some(program) = &image.program else { continue };
        let Some(load) = image.claims.iter().find(|claim| claim.basis == Basis::Runtime).and_then(|claim| claim.load) else { continue };
        let info = program.info();
        for segment in info.segments.iter().filter(|segment| segment.executable) {
            let start = load.0.wrapping_sub(slide).wrapping_add(segment.svma.0.wrapping_sub(info.base().0));
            let (one, misses) = calls_in(returns, program, segment, Avma(start))?;
            hits += (misses == 0).then_some(one)?;
        }
    }
    Some(hits)
}
