//! Where a kext's segments lie.

use std::path::{Path, PathBuf};

use super::anchors::{Anchor, Anchors, alone, is_split, shifted};
use super::evidence::{MapSlide, Tally};
use super::{Image, Placer, Refused, extent};
use crate::model::addr::Avma;
use crate::model::addr::Slide;
use crate::model::image::Basis;
use crate::model::image::ImageId;
use crate::note::Note;
use crate::symbols::find::{GivenAddress, Program};
use crate::symbols::{FileKind, Prelinked};

/// The kernel of the report as its file says.
pub(super) struct RunningKernel {
    id: Option<ImageId>,
    path: PathBuf,
    /// `None` when the kernel could not be placed.
    slide: Option<Slide>,
    /// Whether it is known to be another build and used all the same.
    other_build: Option<String>,
}

impl RunningKernel {
    /// What is known once the kernel's image is placed; `None` without a file.
    pub(super) fn of(image: &Image) -> Option<RunningKernel> {
        let info = image.program.as_ref()?.info();
        let slide = image.segments.first().map(|(segment, at)| Slide(at.0.wrapping_sub(segment.svma.0)));
        Some(RunningKernel { id: info.id, path: info.path.clone(), slide, other_build: image.other_build.clone() })
    }

    /// Whether it is the one that the kexts of a cache were linked to.
    fn is_of(&self, cache: &Prelinked, path: &Path) -> bool {
        if self.id.is_some() { self.id == cache.id } else { cache.id.is_none() && self.path == path }
    }
}

impl Placer<'_> {
    /// Places one kext: by the address given with it, by the report or a load map, by its own addresses if it was linked at them, or by frames
    /// that name both symbol and address.
    pub(super) fn kext(&mut self, image: &mut Image, maps: MapSlide) {
        let stated = self.anchors(image, maps);
        let contradicted = stated.is_none();
        let mut anchors = stated.unwrap_or_default();
        if let Some(given) = image.given.as_ref().filter(|given| given.segment.is_none()) {
            anchors.text = Some(Anchor { at: given.at, size: None, source: "the address given with -m".to_string() });
        }
        image.hold(&anchors);
        let Some(program) = image.program.clone() else { return };
        let info = program.info();
        if info.kind == FileKind::Module {
            return self.module(image, &program);
        }
        image.size = image.size.or(Some(extent(&info.segments)));
        if let Some(given) = image.given.clone() {
            return self.given_kext(image, &program, &given, &anchors);
        }
        if let Some(cache) = &info.prelinked {
            if contradicted || self.prelinked(image, &program, cache, &anchors) {
                return;
            }
        } else if info.linked_at_runtime && self.linked(image, &program, maps) {
            return;
        }
        if info.kind == FileKind::Object && anchors.text.is_some() {
            self.warn(format!(
                "{}: an MH_OBJECT kext is linked when it is loaded; its first section is taken to lie at {}, which no file proves",
                image.name,
                image.load.unwrap_or(Avma(0))
            ));
        }
        let inferred = Tally::of(&program, self.pairs.iter().filter(|pair| image.is_called(&pair.module))).filter(|tally| tally.is_base());
        let collection = self.collection_slide(Some(&program));
        match inferred {
            _ if !anchors.is_empty() => self.by_anchors(image, &program, &anchors, None),
            Some(tally) => {
                image.placed_by = format!("{} of {} frames that print both symbol and address", tally.agree, tally.all);
                image.load = Some(Avma(info.base().0.wrapping_add(tally.delta)));
                image.segments = shifted(info, tally.delta);
            }
            None if collection.is_some() => {
                image.placed_by = "the start of the kernel collection".to_string();
                self.by_anchors(image, &program, &anchors, collection);
            }
            None => self.warn(format!(
                "{}: {} has no load address: give -m FILE@ADDR, or a load map with -l (kextstat, kmutil showloaded)",
                image.name,
                info.path.display()
            )),
        }
    }

    fn given_kext(&mut self, image: &mut Image, program: &Program, given: &GivenAddress, anchors: &Anchors) {
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
        image.placed_by = "the address given with -m".to_string();
        match &given.segment {
            None => self.by_anchors(image, program, anchors, None),
            Some(name) => match info.segment(name) {
                Some(segment) => image.segments = vec![(if is_split(info) { alone(segment, None) } else { segment.clone() }, given.at)],
                None => {
                    let names: Vec<&str> = info.segments.iter().map(|segment| segment.name.as_str()).collect();
                    self.warn(format!("{} has no segment {name}; it has {}", info.path.display(), names.join(", ")));
                }
            },
        }
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
        image.segments = shifted(info, own.0.wrapping_sub(info.base().0));
        true
    }
    /// A kext of a prelinked kernelcache moves with that cache's kernel, unless the report, which has its UUID, says where else it lies. Without
    /// its UUID only the kernel tells that the cache is the one that ran. Gives back whether nothing else has to be tried.
    fn prelinked(&mut self, image: &mut Image, program: &Program, cache: &Prelinked, anchors: &Anchors) -> bool {
        let info = program.info();
        let kernel = self.kernel.as_ref().filter(|kernel| kernel.is_of(cache, &info.path));
        if image.matched && !anchors.is_empty() {
            return false;
        }
        let Some(kernel) = kernel else {
            if !image.matched {
                self.put_aside(image, program, "nothing proves that its kernelcache is the one that ran, whose kernel is not the report's");
            }
            return !image.matched;
        };
        let Some(slide) = kernel.slide else { return image.spare };
        let own = Avma(info.base().0).slid(slide);
        if let Some(load) = image.load.filter(|load| *load != own) {
            let why = format!("the kernelcache has it at {own}, but {} says {load}", image.placed_by);
            self.put_aside(image, program, &why);
            return true;
        }
        image.other_build = image.other_build.take().or_else(|| kernel.other_build.clone().filter(|_| !image.matched));
        image.load = Some(own);
        image.placed_by = format!("the kernelcache that it is linked in, slide {slide}");
        image.segments = shifted(info, slide.0);
        true
    }

    /// Does without a file. What no source asked for is not worth a word.
    fn put_aside(&mut self, image: &mut Image, program: &Program, why: &str) {
        let info = program.info();
        if !image.spare {
            self.warn(format!("{}: {} is not used: {why}", image.name, info.path.display()));
        }
        image.refused = Some(Refused { path: info.path.clone(), found: info.id, why: why.to_string() });
        image.program = None;
    }
}
