//! Where a kext's segments lie.

use super::evidence::{MapSlide, Tally};
use super::{Image, Placer, Refused, extent};
use crate::model::addr::{Arch, Avma};
use crate::model::image::{Basis, ImageClaim};
use crate::note::Note;
use crate::symbols::find::{GivenAddress, Program};
use crate::symbols::{FileKind, Segment};

impl Placer<'_> {
    /// Places one kext: by the address given with it, by a load map, by its own addresses if it was linked at them, or by frames
    /// that name both symbol and address.
    pub(super) fn kext(&mut self, image: &mut Image, maps: MapSlide) {
        let claimed = self.claimed(image, maps);
        image.load = claimed.as_ref().map(|(load, _)| *load);
        image.size = image.claims.iter().find_map(|claim| claim.size);
        if let Some((_, source)) = &claimed {
            image.placed_by.clone_from(source);
        }
        let Some(program) = image.program.clone() else { return };
        let info = program.info();
        if info.kind == FileKind::Module {
            return self.module(image, &program);
        }
        image.size = image.size.or(Some(extent(&info.segments)));
        if let Some(given) = image.given.clone() {
            return self.given_kext(image, &program, &given);
        }
        if info.linked_at_runtime && self.linked(image, &program, maps) {
            return;
        }
        let inferred = Tally::of(&program, self.pairs.iter().filter(|pair| image.is_called(&pair.module))).filter(|tally| tally.is_base());
        match (claimed, inferred) {
            (Some((load, _)), _) => self.segments(image, &program, load),
            (None, Some(tally)) => {
                image.placed_by = format!("{} of {} frames that print both symbol and address", tally.agree, tally.all);
                image.load = Some(Avma(info.base().0.wrapping_add(tally.delta)));
                image.segments = shifted(&info.segments, tally.delta);
            }
            (None, None) => self.warn(format!(
                "{}: {} has no load address: give -m FILE@ADDR, or a load map with -l (kextstat, kmutil showloaded)",
                image.name,
                info.path.display()
            )),
        }
    }

    /// The address that load maps state, brought into the report's world. Two that disagree place nothing.
    fn claimed(&mut self, image: &Image, maps: MapSlide) -> Option<(Avma, String)> {
        if let Some(given) = image.given.as_ref().filter(|given| given.segment.is_none()) {
            return Some((given.at, "the address given with -m".to_string()));
        }
        let mut found: Option<(Avma, &ImageClaim)> = None;
        for claim in &image.claims {
            let Some(load) = claim.load.and_then(|load| maps.bring(load, claim.basis)) else { continue };
            match found {
                Some((first, other)) if first != load => {
                    self.warn(format!(
                        "{} is at {first} in {} but at {load} in {} line {}; it is not placed: leave one of them out",
                        image.name, other.source, claim.source, claim.line
                    ));
                    return None;
                }
                _ => found = Some((load, claim)),
            }
        }
        found.map(|(load, claim)| (load, format!("{} line {}", claim.source, claim.line)))
    }

    fn given_kext(&mut self, image: &mut Image, program: &Program, given: &GivenAddress) {
        let info = program.info();
        let basis = self.basis();
        for claim in image.claims.iter().filter(|claim| claim.basis == basis) {
            if let Some(load) = claim.load.filter(|load| given.segment.is_none() && *load != given.at) {
                let text = format!(
                    "{} is given at {} but {} line {} says {load}; the given address is used",
                    image.name, given.at, claim.source, claim.line
                );
                self.notes.push(Note::warning("", text));
            }
        }
        match &given.segment {
            None => self.segments(image, program, given.at),
            Some(name) => match info.segment(name) {
                Some(segment) => image.segments = vec![(segment.clone(), given.at)],
                None => {
                    let names: Vec<&str> = info.segments.iter().map(|segment| segment.name.as_str()).collect();
                    self.warn(format!("{} has no segment {name}; it has {}", info.path.display(), names.join(", ")));
                }
            },
        }
        image.placed_by = "the address given with -m".to_string();
    }

    /// A `kextutil -s` file knows its unslid address; a load map that says otherwise is reported and wins nothing.
    fn linked(&mut self, image: &mut Image, program: &Program, maps: MapSlide) -> bool {
        let info = program.info();
        let Some(own) = maps.bring(Avma(info.base().0), Basis::Unslid) else { return false };
        if let Some(load) = image.load.filter(|load| *load != own) {
            self.warn(format!(
                "{} was linked by kextutil at {own} but {} says {load}: the file was made for another boot; not used",
                info.path.display(),
                image.placed_by
            ));
            image.refused = Some(Refused { path: info.path.clone(), found: info.id, why: format!("linked at {own}, loaded at {load}") });
            image.program = None;
            return true;
        }
        image.load = Some(own);
        image.placed_by = "the addresses it was linked at by kextutil".to_string();
        image.segments = shifted(&info.segments, own.0.wrapping_sub(info.base().0));
        true
    }

    /// Places the segments of a kext whose `__TEXT` is at `load`.
    ///
    /// On x86 all of them move alike. On arm64 a kernel collection places each segment of its own accord, so `__TEXT_EXEC` is
    /// known only where the source prints it.
    fn segments(&mut self, image: &mut Image, program: &Program, load: Avma) {
        let info = program.info();
        if info.kind == FileKind::Object {
            self.warn(format!(
                "{}: an MH_OBJECT kext is linked when it is loaded; its first section is taken to lie at {load}, which no file proves",
                image.name
            ));
        }
        let split = matches!(info.arch, Arch::Arm64 | Arch::Arm64e) && info.segment("__TEXT_EXEC").is_some();
        if !split {
            image.segments = shifted(&info.segments, load.0.wrapping_sub(info.base().0));
            return;
        }
        let exec = image.claims.iter().find(|claim| claim.exec.is_some());
        let exec = exec.and_then(|claim| Some((claim.basis, claim.exec?)));
        image.segments = info.segment("__TEXT").map(|text| (text.clone(), load)).into_iter().collect();
        match (info.segment("__TEXT_EXEC"), exec) {
            (Some(segment), Some((basis, at))) => {
                let shift = image
                    .claims
                    .iter()
                    .find_map(|claim| (claim.basis == basis).then_some(claim.load?))
                    .map_or(0, |from| load.0.wrapping_sub(from.0));
                image.segments.push((segment.clone(), Avma(at.0.wrapping_add(shift))));
            }
            _ => self.warn(format!(
                "{}: only __TEXT is placed: on arm64 __TEXT_EXEC lies elsewhere and {} does not say where; \
                 use a load map with `TEXT exec` (lldb's showallkexts), or -m FILE@__TEXT_EXEC=ADDR",
                image.name, image.placed_by
            )),
        }
    }
}

/// All segments moved alike.
fn shifted(segments: &[Segment], by: u64) -> Vec<(Segment, Avma)> {
    segments.iter().map(|segment| (segment.clone(), Avma(segment.svma.0.wrapping_add(by)))).collect()
}
