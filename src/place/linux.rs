//! Where the sections of a Linux kernel and its modules lie. Frames that print symbol and size need none of this; bare addresses do.

use rustc_hash::FxHashMap;

use super::evidence::Pair;
use super::{Image, Placer};
use crate::model::addr::{Arch, Avma, Slide};
use crate::model::capture::Os;
use crate::model::image::ImageClaim;
use crate::symbols::find::Program;
use crate::symbols::{FileInfo, Segment};

/// The slide that anchors of a load map show (`_text` in kallsyms): captured address minus the file's, if all agree.
pub fn slide_by_anchors(program: &Program, claims: &[ImageClaim]) -> Option<(Slide, String)> {
    let mut found: Option<(Slide, String)> = None;
    for claim in claims {
        for (name, at) in &claim.anchors {
            let [symbol] = program.symbols().table().named(name)[..] else { continue };
            let slide = Slide(at.0.wrapping_sub(program.from_symbols(symbol.start).0));
            match &found {
                Some((other, _)) if *other != slide => return None,
                _ => found = Some((slide, format!("{name} in {}", claim.source))),
            }
        }
    }
    found
}

impl Placer<'_> {
    /// Places the sections of a module: by sysfs, by kallsyms, by the base in `/proc/modules`, or by frames that print both symbol and address.
    pub(super) fn module(&mut self, image: &mut Image, program: &Program) {
        let info = program.info();
        let loading = image.claims.iter().any(|claim| claim.loading);
        // The kernel frees `.init` sections once a module is loaded, and sysfs goes on listing them.
        let kept = |segment: &&Segment| loading || !segment.name.starts_with(".init");
        let mut placed: Vec<(Segment, Avma)> = Vec::new();
        for claim in &image.claims {
            for (name, at) in &claim.sections {
                let segment = info.segment(name).filter(kept).filter(|_| at.0 != 0);
                placed.extend(segment.map(|segment| (segment.clone(), *at)));
            }
            if !placed.is_empty() {
                image.placed_by.clone_from(&claim.source);
                break;
            }
        }
        if let Some(given) = &image.given {
            // What the user says about a section, `.text` unless named, is above what a map says.
            placed = match &given.segment {
                None if info.shared => as_a_whole(info, given.at),
                name => given_section(info, name.as_deref().unwrap_or(".text"), given.at, name.is_some()),
            };
            image.placed_by = "the address given with -m".to_string();
        }
        // What kldstat lists is held against the frames afterwards.
        let listed = self.capture.os == Some(Os::FreeBsd) && image.load.is_some();
        if placed.is_empty() && !listed {
            let own: Vec<&Pair> = self.pairs.iter().filter(|pair| image.is_called(&pair.module)).collect();
            placed = by_symbols(program, &image.claims, &own);
            if let Some(base) = one_base(&placed).filter(|_| info.shared) {
                (placed, image.load) = (as_a_whole(info, base), Some(base));
            }
            if !placed.is_empty() {
                image.placed_by = "symbols whose address is printed".to_string();
            }
        }
        if let Some(base) = image.load.filter(|_| placed.is_empty()) {
            placed = match self.capture.os {
                _ if info.shared => as_a_whole(info, base),
                Some(Os::FreeBsd) => first_section(info, base),
                _ => by_base(info, base),
            };
        }
        image.load = image.load.or(placed.iter().find(|(segment, _)| segment.name == ".text").map(|(_, at)| *at));
        image.segments = placed;
    }
}

/// A module that was linked at 0 as one.
fn as_a_whole(info: &FileInfo, base: Avma) -> Vec<(Segment, Avma)> {
    let at = |segment: &Segment| Avma(base.0.wrapping_add(segment.svma.0));
    info.segments.iter().map(|segment| (segment.clone(), at(segment))).collect()
}

/// Where address 0 of a file lies of which those segments are placed, if they agree.
fn one_base(placed: &[(Segment, Avma)]) -> Option<Avma> {
    let mut bases = placed.iter().map(|(segment, at)| Avma(at.0.wrapping_sub(segment.svma.0)));
    let first = bases.next()?;
    bases.all(|base| base == first).then_some(first)
}

/// FreeBSD loads all sections of an unlinked module one behind the other (sys/kern/link_elf_obj.c), and in which way they are aligned
/// depends on its version: only the first one certainly lies at the module's address.
fn first_section(info: &FileInfo, base: Avma) -> Vec<(Segment, Avma)> {
    info.segments.first().map(|first| (first.clone(), base)).into_iter().collect()
}

/// A section at the address given for it. Those behind `.text` follow it, as [`by_base`] has them, if it is the first.
fn given_section(info: &FileInfo, name: &str, at: Avma, alone: bool) -> Vec<(Segment, Avma)> {
    let following = by_base(info, at);
    match following.first() {
        Some((first, _)) if first.name == name && !alone => following,
        _ => info.segment(name).map(|segment| (segment.clone(), at)).into_iter().collect(),
    }
}

/// From the base of a module's text: code sections follow one another in the order of the file, each aligned as it needs
/// (kernel/module/main.c, `layout_sections`); `.init` and what only module removal needs come elsewhere. Other architectures put
/// tables of a size that only the running kernel knows in between (`.plt` on arm64), so that nothing can be said there.
pub(super) fn by_base(info: &FileInfo, base: Avma) -> Vec<(Segment, Avma)> {
    if !matches!(info.arch, Arch::X86_64 | Arch::I386) {
        return Vec::new();
    }
    let code = info.segments.iter().filter(|segment| segment.executable && !segment.name.starts_with(".init"));
    one_behind_the_other(code, base.0).into_iter().map(|(segment, at)| (segment, Avma(at))).collect()
}

/// Each section from `at` on, aligned as it needs. What stands behind one that no address is aligned for has no place.
pub(super) fn one_behind_the_other<'s>(segments: impl Iterator<Item = &'s Segment>, mut at: u64) -> Vec<(Segment, u64)> {
    let mut placed = Vec::new();
    for segment in segments {
        let Some(start) = at.checked_next_multiple_of(segment.align.max(1)) else { break };
        let Some(end) = start.checked_add(segment.size) else { break };
        placed.push((segment.clone(), start));
        at = end;
    }
    placed
}

/// A code section lies where the addresses of its symbols say, if they all say the same.
fn by_symbols(program: &Program, claims: &[ImageClaim], pairs: &[&Pair]) -> Vec<(Segment, Avma)> {
    let mut votes: FxHashMap<(usize, u64), usize> = FxHashMap::default();
    let anchors = claims.iter().flat_map(|claim| claim.anchors.iter().map(|(name, at)| (name.as_str(), *at)));
    for (name, at) in anchors.chain(pairs.iter().map(|pair| (pair.symbol.as_str(), pair.start))) {
        // Of several functions of one name nobody knows which is meant.
        let [symbol] = program.symbols().table().named(name)[..] else { continue };
        let start = program.from_symbols(symbol.start);
        let inside = |segment: &Segment| start.0.wrapping_sub(segment.svma.0) < segment.size;
        if let Some(segment) = program.info().segments.iter().position(inside) {
            let base = at.0.wrapping_sub(start.0 - program.info().segments[segment].svma.0);
            *votes.entry((segment, base)).or_default() += 1;
        }
    }
    let segments = program.info().segments.iter().enumerate();
    let placed = segments.filter_map(|(at, segment)| {
        let mut bases: Vec<(usize, u64)> =
            votes.iter().filter(|((of, _), _)| *of == at).map(|((_, base), count)| (*count, *base)).collect();
        bases.sort_unstable();
        let (count, base) = bases.pop()?;
        let others: usize = bases.iter().map(|(count, _)| count).sum();
        (count >= 9 * others).then(|| (segment.clone(), Avma(base)))
    });
    placed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::addr::Svma;
    use crate::symbols::FileKind;

    #[test]
    fn text_sections_follow_one_another_aligned_and_init_is_left_out() {
        let segment =
            |name: &str, size, align, executable| Segment { name: name.into(), svma: Svma(0), size, used: size, align, executable };
        let info = FileInfo {
            path: "x.ko".into(),
            kind: FileKind::Module,
            arch: Arch::X86_64,
            id: None,
            segments: vec![
                segment(".text", 0x101, 16, true),
                segment(".init.text", 0x50, 1, true),
                segment(".text.unlikely", 0x20, 1, true),
                segment(".data", 0x20, 32, false),
                segment(".exit.text", 0x10, 16, true),
            ],
            has_debug_info: false,
            linked_at_runtime: false,
            is_elf: true,
            encrypted: false,
            collection: None,
            prelinked: None,
            shared: false,
        };
        let names = |placed: Vec<(Segment, Avma)>| placed.into_iter().map(|(segment, at)| (segment.name, at.0)).collect::<Vec<_>>();
        let placed = names(by_base(&info, Avma(0x1000)));
        assert_eq!(placed, [(".text".into(), 0x1000), (".text.unlikely".into(), 0x1101), (".exit.text".into(), 0x1130)]);
        assert_eq!(names(given_section(&info, ".text", Avma(0x1000), false)), placed);
        assert_eq!(names(given_section(&info, ".init.text", Avma(0x9000), true)), [(".init.text".into(), 0x9000)]);
        let mut damaged = FileInfo { segments: info.segments.clone(), path: "y.ko".into(), ..info };
        damaged.segments[2].align = u64::MAX;
        assert_eq!(names(by_base(&damaged, Avma(0x1000))), [(".text".into(), 0x1000)], "no address is aligned so");
        damaged.segments[2] = segment(".text.unlikely", u64::MAX, 1, true);
        assert_eq!(names(by_base(&damaged, Avma(0x1000))), [(".text".into(), 0x1000)], "none has room for it");
        let arm = FileInfo { arch: Arch::Arm64, segments: info.segments, path: info.path, ..damaged };
        assert!(by_base(&arm, Avma(0x1000)).is_empty(), "a .plt of unknown size may stand in front");
        assert_eq!(names(given_section(&arm, ".text", Avma(0x1000), false)), [(".text".into(), 0x1000)]);
    }
}
