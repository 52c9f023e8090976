//! From a printed symbol to the places that it may mean.

use super::{Job, Placed};
use crate::model::addr::Svma;
use crate::model::frame::{Answer, SymbolHit, Unresolved};
use crate::model::image::ImageId;
use crate::model::stack::Lookup;
use crate::parse::linux_symbol::is_generated;
use crate::place::{Image, Layout};
use crate::symbols::symtab::{Found, Reach};

/// A symbol that a printed name may mean.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Index of its image.
    pub image: usize,
    /// Where it starts, in the image's file.
    pub start: Svma,
    /// Whether it has the printed size, as far as one was printed.
    pub fits: bool,
}

/// Where kernels before 6.1 cut a name (`KSYM_NAME_LEN` 128 with its end).
const CUT_NAME: usize = 127;

/// Every symbol of that name, in every image that `module` names, or in all images when it is empty. Without one of that name
/// and size, those that the compiler split off it (`.cold`, `.isra.0` …) and that have the size.
pub fn symbols(layout: &Layout, module: &str, symbol: &str, size: Option<u64>) -> Vec<Candidate> {
    let mut found = Vec::new();
    for (image, one) in layout.images.iter().enumerate().filter(|(_, image)| module.is_empty() || image.is_called(module)) {
        let Some(program) = &one.program else { continue };
        let table = program.symbols().table();
        let plain = symbol.split_once(".llvm.").map_or(symbol, |(name, _)| name).trim_start_matches('.');
        let mut named = table.named(symbol);
        if named.is_empty() {
            named = table.named(plain);
        }
        if named.is_empty() && symbol.len() == CUT_NAME {
            named = table.beginning(symbol);
        }
        // The last symbol of a section fits many sizes; one that has the very size is meant before it.
        let exact = named.iter().any(|found| Some(found.size) == size);
        let fits = |found: &Found<'_>| size.is_none_or(|size| if exact { found.size == size } else { found.fits(size) });
        if !named.iter().any(fits) && size.is_some() {
            named.extend(table.split_off(plain).into_iter().filter(fits));
        }
        let candidate = |found: &Found<'_>| Candidate { image, start: program.from_symbols(found.start), fits: fits(found) };
        found.extend(named.iter().map(candidate));
    }
    found
}

/// More places than this for one name are not looked up: nobody would read them.
const MOST_PLACES: usize = 128;

/// A frame that prints its symbol: one symbol of that name and size, in the image that it prints or else in the kernel, or in any
/// image when the report's system has no such rule. With a build id, in an image of that build.
pub(super) fn by_symbol(
    layout: &Layout,
    module: &str,
    build: Option<ImageId>,
    symbol: &str,
    (offset, size): (u64, Option<u64>),
    lookup: Lookup,
) -> Placed {
    if size.is_some() && is_generated(module.as_bytes(), symbol.as_bytes()) {
        return Placed::Not(Answer::unresolved(None, Unresolved::Generated));
    }
    let kernel = layout.images.iter().find(|image| image.kernel);
    let anywhere = module.is_empty() && size.is_none();
    let module = if module.is_empty() && size.is_some() { kernel.map_or("", |image| image.name.as_str()) } else { module };
    let mut found = symbols(layout, module, symbol, size);
    let of_build = |image: &Image| image.wanted.is_none_or(|wanted| build.is_none_or(|build| build == wanted));
    let other = found.first().filter(|_| build.is_some()).map(|candidate| candidate.image);
    found.retain(|candidate| of_build(&layout.images[candidate.image]));
    if let Some(other) = other.filter(|_| found.is_empty()) {
        return Placed::Not(Answer::unresolved(Some(other), Unresolved::OtherBuild));
    }
    let any = found.first().map(|candidate| candidate.image);
    found.retain(|candidate| candidate.fits && (size.is_some() || holds(layout, candidate, offset, lookup)));
    // Several names of one place are one place.
    found.sort_unstable_by_key(|candidate| (candidate.image, candidate.start));
    found.dedup_by_key(|candidate| (candidate.image, candidate.start));
    let job = |candidate: &Candidate| {
        let svma = Svma(candidate.start.0.wrapping_add(offset));
        let probe = if lookup == Lookup::Return { Svma(svma.0.wrapping_sub(1)) } else { svma };
        let asked = SymbolHit { name: symbol.into(), start: candidate.start, size, contains: true };
        Job { answer: 0, image: candidate.image, probe, svma, asked: Some(asked) }
    };
    // A kernel without a file may have a function of that name too, and it is the kernel that prints no module.
    let unseen = anywhere && kernel.is_some_and(|image| image.program.is_none());
    // As may a build of the module without one.
    let unseen = unseen || (build.is_none() && any.is_some_and(|image| layout.images[image].unseen_builds));
    match &found[..] {
        several if unseen && (1..=MOST_PLACES).contains(&several.len()) => Placed::Perhaps(several.iter().map(job).collect()),
        [one] => Placed::At(job(one)),
        [] => {
            let image = any.or_else(|| layout.images.iter().position(|image| !module.is_empty() && image.is_called(module)));
            let reason = match image.map(|image| &layout.images[image]) {
                Some(_) if any.is_some() => Unresolved::OtherSize,
                Some(image) if image.refused.is_some() => Unresolved::OtherBuild,
                Some(image) if image.program.is_none() => Unresolved::NoFile,
                _ => Unresolved::NoAddress,
            };
            Placed::Not(Answer::unresolved(image, reason))
        }
        several if several.len() <= MOST_PLACES => Placed::Several(several.iter().map(job).collect()),
        _ => Placed::Not(Answer::unresolved(any, Unresolved::Ambiguous)),
    }
}

/// Whether `offset` stays within a function whose size the report does not print. A function at an offset of 0 is one that was only named,
/// or follows a call that never returns.
fn holds(layout: &Layout, candidate: &Candidate, offset: u64, lookup: Lookup) -> bool {
    let Some(program) = layout.images[candidate.image].program.as_ref().filter(|_| offset > 0) else { return true };
    let probe = candidate.start.0.wrapping_add(offset).wrapping_sub(u64::from(lookup == Lookup::Return));
    let found = program.symbols().table().at(program.in_symbols(Svma(probe)));
    found.is_some_and(|found| program.from_symbols(found.start) == candidate.start && found.reach != Reach::Behind)
}
