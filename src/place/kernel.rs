//! Where the kernel lies: by its own addresses in the report, by the slide, by the frames; and the slide of everything else.

use super::anchors::{Anchors, EXEC, alone, is_split, shifted};
use super::evidence::{self, MapSlide, Pair, Tally};
use super::{Image, Placer, extent, infer, linux};
use crate::model::addr::{Arch, Avma, Slide};
use crate::model::image::Basis;
use crate::symbols::find::{GivenAddress, Program};

/// What is known about the slide, and from where.
pub(super) type Stated = (Option<Slide>, String);

impl Placer<'_> {
    /// Places the kernel; its slide is what lies between the report's addresses and the file's.
    pub(super) fn kernel(&mut self, images: &mut [Image]) -> Stated {
        let stated = self.stated();
        let Some(image) = images.iter_mut().find(|image| image.kernel) else { return stated };
        let own = MapSlide { basis: self.basis(), difference: None };
        let anchors = self.anchors(image, own).unwrap_or_default();
        image.hold(&anchors);
        let Some(program) = image.program.clone() else { return stated };
        image.size = image.size.or(Some(extent(&program.info().segments)));
        if image.given.is_none() && self.is_of_several_boots() {
            return (None, String::new());
        }
        if let Some(given) = image.given.clone() {
            return self.given_kernel(image, &program, &given, &anchors, stated);
        }
        if is_split(program.info()) || program.info().collection.is_some() {
            return self.split_kernel(image, &program, anchors, stated);
        }
        self.whole_kernel(image, &program, &anchors, stated)
    }

    /// The slide as the user or the report states it.
    fn stated(&self) -> Stated {
        match self.basis() {
            Basis::Unslid => (Some(Slide(0)), "the report's addresses have the slide taken off".to_string()),
            Basis::Runtime if self.options.slide.is_some() => (self.options.slide, "--slide".to_string()),
            Basis::Runtime => (self.capture.slide, "the report".to_string()),
        }
    }

    /// `-k FILE@ADDR`: all segments move alike where they can, else `__TEXT` alone; `-k FILE@SEGMENT=ADDR`: that segment.
    fn given_kernel(&mut self, image: &mut Image, program: &Program, given: &GivenAddress, anchors: &Anchors, stated: Stated) -> Stated {
        let info = program.info();
        image.placed_by = "the address given with -k".to_string();
        let Some(name) = &given.segment else {
            let slide = Slide(given.at.0.wrapping_sub(info.base().0));
            image.load = Some(given.at);
            image.segments = shifted(info, slide.0);
            if is_split(info) {
                let text = Some(super::anchors::Anchor { at: given.at, size: None, source: image.placed_by.clone() });
                self.by_anchors(image, program, &Anchors { text, exec: anchors.exec.clone() }, None);
            }
            return (Some(slide), "the address given with -k".to_string());
        };
        let Some(segment) = info.segment(name) else {
            let names: Vec<&str> = info.segments.iter().map(|segment| segment.name.as_str()).collect();
            self.warn(format!("{} has no segment {name}; it has {}", info.path.display(), names.join(", ")));
            return stated;
        };
        image.segments = vec![(if is_split(info) { alone(segment, None) } else { segment.clone() }, given.at)];
        if is_split(info) {
            return stated;
        }
        (Some(Slide(given.at.0.wrapping_sub(segment.svma.0))), image.placed_by.clone())
    }

    /// A kernel whose segments all move alike: x86, Linux, and what was linked as one.
    fn whole_kernel(&mut self, image: &mut Image, program: &Program, anchors: &Anchors, stated: Stated) -> Stated {
        let info = program.info();
        let stated = if info.linked_at_runtime { self.live_slide(program) } else { stated };
        let by_user = self.options.slide.is_some();
        let anchored = if by_user { None } else { linux::slide_by_anchors(program, &image.claims) };
        let stated = anchored.map_or(stated, |(slide, from)| (Some(slide), from));
        let stated = self.based(program, anchors, stated);
        self.check_hib(image, program, stated.0);
        let (slide, from) = self.agreed_slide(program, stated);
        // Run-time addresses and no way to tell the slide: names in frames are enough, addresses are not.
        if let Some(slide) = slide {
            image.segments = shifted(info, slide.0);
            image.load = Some(Avma(info.base().0).slid(slide));
        }
        image.placed_by.clone_from(&from);
        image.evidence.extend(infer::evidence(&from));
        (slide, from)
    }

    /// The slide that the kernel's printed start gives; a slide that is stated besides has to be the same.
    fn based(&mut self, program: &Program, anchors: &Anchors, stated: Stated) -> Stated {
        let Some(text) = &anchors.text else { return stated };
        let slide = Slide(text.at.0.wrapping_sub(program.info().base().0));
        let from = format!("the kernel's start {} ({}) less the file's __TEXT {}", text.at, text.source, program.info().base());
        match stated.0 {
            Some(other) if other != slide && self.basis() == Basis::Runtime => {
                let used = if self.options.slide.is_some() { &stated.1 } else { "the start" };
                self.warn(format!("the kernel's slide is {other} by {} but {slide} by {from}; {used} is used", stated.1));
                if self.options.slide.is_some() { stated } else { (Some(slide), from) }
            }
            _ => (Some(slide), from),
        }
    }

    /// `__HIB  text base` lies 1 MiB below where the kernel, or since macOS 11 its collection, is linked (xnu, x86_64 only).
    fn check_hib(&mut self, image: &Image, program: &Program, slide: Option<Slide>) {
        const LINKED: u64 = 0xffff_ff80_0010_0000;
        let sections = image.claims.iter().flat_map(|claim| &claim.sections);
        let Some((_, hib)) = sections.into_iter().find(|(name, _)| name == "__HIB") else { return };
        let moved = Slide(hib.0.wrapping_sub(LINKED));
        let expected = self.collection_slide(None).or(slide);
        if program.info().arch == Arch::X86_64 && expected.is_some_and(|expected| expected != moved) {
            self.warn(format!("__HIB at {hib} says that the slide is {moved}, not {}; the latter is used", expected.unwrap_or_default()));
        }
    }

    /// The stated slide held against the frames that print both symbol and address, and without one what the frames alone prove.
    fn agreed_slide(&mut self, program: &Program, stated: Stated) -> Stated {
        let kernel = |pair: &&Pair| pair.kernel;
        let Some(tally) = Tally::of(program, self.pairs.iter().filter(kernel)) else { return self.called_slide(program, stated) };
        let (agree, all) = (tally.agree, tally.all);
        let says = format!("{agree} of {all} frames that print both symbol and address");
        if stated.0 == Some(Slide(tally.delta)) || self.options.slide.is_some() {
            return (stated.0, if stated.0 == Some(Slide(tally.delta)) { says } else { stated.1 });
        }
        let convincing = match stated.0 {
            None => tally.is_base(),
            Some(_) => tally.is_slide(program.info().arch) && agree >= 2,
        };
        if convincing {
            if let Some(stated) = stated.0 {
                self.warn(format!("the kernel's addresses are slid by {:#x}, not {stated}: {says} say so", tally.delta));
            }
            return (Some(Slide(tally.delta)), says);
        }
        if stated.0.is_none() {
            self.warn(format!(
                "the kernel's slide cannot be told: only {says} agree on one; bare addresses in the kernel are not resolved, give --slide"
            ));
        }
        stated
    }

    /// Without any statement: 10.7 and older are not slid, xnu prints no slide when it is 0, and later logs may have lost the line. The return
    /// addresses tell, because each of them follows a call in the file.
    fn called_slide(&mut self, program: &Program, stated: Stated) -> Stated {
        if stated.0.is_some() {
            return stated;
        }
        let why = match self.infer_slide(program) {
            Ok((slide, from)) => {
                if program.info().is_elf || slide != Slide(0) {
                    let said = from.strip_prefix(infer::INFERRED).unwrap_or(&from);
                    self.warn(format!("the report says no slide: slide {slide} inferred, {said}"));
                }
                return (Some(slide), from);
            }
            Err(why) => why,
        };
        // KASLR came with 10.8, Darwin 12 (xnu-2050).
        if self.darwin().is_some_and(|version| version < 12) {
            return (Some(Slide(0)), "the system's version: before 10.8 kernels were not slid".to_string());
        }
        if let Some(why) = why {
            self.warn(format!("the kernel's slide cannot be inferred: {why}; bare addresses in the kernel are not resolved, give --slide"));
        }
        stated
    }

    /// A kernel of arm64, or an entry of a collection, whose segments are placed one by one.
    fn split_kernel(&mut self, image: &mut Image, program: &Program, mut anchors: Anchors, stated: Stated) -> Stated {
        let info = program.info();
        let anchor = |at: u64, source: &str| Some(super::anchors::Anchor { at: Avma(at), size: None, source: source.to_string() });
        let kernel = |pair: &&Pair| pair.kernel;
        let tally = Tally::of(program, self.pairs.iter().filter(kernel)).filter(|tally| tally.is_base() && tally.agree >= 2);
        if let (Some(tally), Some(exec)) = (tally, info.segment(EXEC)) {
            let says = format!("{} of {} frames that print both symbol and address", tally.agree, tally.all);
            let at = exec.svma.0.wrapping_add(tally.delta);
            match &anchors.exec {
                Some(stated) if stated.at.0 != at => {
                    self.warn(format!("the kernel's {EXEC} is at {} in {} but at {at:#x} by {says}", stated.at, stated.source));
                }
                Some(_) => {}
                None => anchors.exec = anchor(at, &says),
            }
        }
        let text = anchors.text.as_ref().map(|text| Slide(text.at.0.wrapping_sub(info.base().0)));
        let stated = match (text, stated.0) {
            (Some(text), Some(other)) if info.collection.is_none() && text != other && self.basis() == Basis::Runtime => {
                let start = &anchors.text.as_ref().map_or(Avma(0), |text| text.at);
                self.warn(format!("the kernel's slide is {other} by {} but {text} by its start {start}; the start is used", stated.1));
                (Some(text), "the kernel's start".to_string())
            }
            (Some(text), None) => (Some(text), "the kernel's start".to_string()),
            _ => stated,
        };
        let collection = self.collection_slide(Some(program));
        if anchors.is_empty() && collection.is_none() {
            return self.alike(image, program, stated);
        }
        image.placed_by = if anchors.is_empty() { "the start of the kernel collection".to_string() } else { anchors.said() };
        if info.collection.is_none() && anchors.exec.is_none() && self.moved_as_one(image, program, text) {
            return stated;
        }
        self.by_anchors(image, program, &anchors, collection);
        stated
    }

    /// Whether the code proves that the whole kernel moved with its `__TEXT`; then it is placed so.
    fn moved_as_one(&self, image: &mut Image, program: &Program, slide: Option<Slide>) -> bool {
        let Some(slide) = slide else { return false };
        let segments = shifted(program.info(), slide.0);
        let (hits, misses) = evidence::calls(self.capture, program, &segments);
        let proven = misses == 0 && hits >= evidence::FEWEST_CALLS;
        if proven {
            image.placed_by.push_str(&format!("; all segments alike: with that all {hits} return addresses in the kernel follow a call"));
            image.segments = segments;
        }
        proven
    }

    /// All segments of an arm64 kernel moved by one slide: right for kernels that are no part of a collection. Nothing but the code itself can
    /// prove it; where there are no frames to hold against it (`kstack lookup`), addresses are taken for what the user says they are.
    fn alike(&mut self, image: &mut Image, program: &Program, (slide, from): Stated) -> Stated {
        let info = program.info();
        let Some(slide) = slide else { return (None, from) };
        let segments = shifted(info, slide.0);
        let (hits, misses) = evidence::calls(self.capture, program, &segments);
        if self.capture.stacks.is_empty() || (misses == 0 && (self.options.slide.is_some() || hits >= evidence::FEWEST_CALLS)) {
            image.load = Some(Avma(info.base().0).slid(slide));
            image.segments = segments;
            image.placed_by.clone_from(&from);
        } else {
            self.warn(format!(
                "{}: slide {slide} ({from}) is known, but not where {EXEC} lies, which a kernel collection places apart; {hits} of {} return \
                 addresses would follow a call. Give -k FILE@{EXEC}=ADDR (`Kernel text exec base` of a panic)",
                image.name,
                hits + misses
            ));
        }
        (Some(slide), from)
    }

    /// The kernel's major version: `Darwin Kernel Version 23.2.0` is 23.
    fn darwin(&self) -> Option<u32> {
        let version = self.capture.kernel_version.as_deref()?.split_once("Darwin Kernel Version ")?.1;
        version.split('.').next()?.parse().ok()
    }

    /// What the kernel collection moved by: its printed base less where it was linked, which is the same for all of macOS. With a program,
    /// only if that is of the very collection, as far as both say which.
    pub(super) fn collection_slide(&self, program: Option<&Program>) -> Option<Slide> {
        let claim = self.capture.images.iter().find(|claim| claim.collection);
        let own = match program {
            Some(program) => Some(program.info().collection.as_ref()?),
            None => None,
        };
        if let (Some(own), Some(claim)) = (own, claim)
            && own.id.is_some()
            && claim.id.is_some()
            && own.id != claim.id
        {
            return None;
        }
        if self.basis() == Basis::Unslid {
            return Some(Slide(0));
        }
        let claim = claim.filter(|claim| claim.basis == Basis::Runtime)?;
        let base = claim.load?;
        match own {
            // Only its UUID makes sure that this is the collection whose start is printed, and not an auxiliary one.
            Some(own) => (own.id.is_some() && own.id == claim.id).then(|| Slide(base.0.wrapping_sub(own.base.0))),
            None => Some(Slide(base.0.wrapping_sub(link_base(base)?))),
        }
    }

    /// What has to be added to an address of a load map to get one of the report's world, for both kinds of map.
    pub(super) fn map_slide(&mut self, images: &[Image], slide: Option<Slide>) -> MapSlide {
        let basis = self.basis();
        let collection = self.collection_slide(None);
        let maps = |difference| MapSlide { basis, difference };
        let stated = |claim: &crate::model::image::ImageClaim| claim.load.is_some() || claim.exec.is_some();
        let other = |image: &Image| image.given.is_none() && image.claims.iter().any(|claim| stated(claim) && claim.basis != basis);
        if !images.iter().any(other) {
            return maps(Some(Slide(0)));
        }
        let listed = evidence::slide_by_maps(images);
        let known = self.options.slide.or(match basis {
            // Since macOS 11 the kernel's own slide is not that of the collection, which kexts have.
            Basis::Runtime if self.in_collection() => collection,
            Basis::Runtime => collection.or(slide),
            Basis::Unslid => self.capture.slide,
        });
        if let (Some(known), Some((listed, name, source))) = (known, &listed)
            && known != *listed
        {
            self.warn(format!("{name} in {source} differs from the report by {listed}, but the slide is {known}: is it of the same boot?"));
        }
        if known.is_some() {
            return maps(known);
        }
        if let Some((slide, name, source)) = listed {
            self.remark_slide(slide, &format!("from {name}, which report and {source} both list"));
            return maps(Some(slide));
        }
        if basis == Basis::Runtime {
            self.warn(
                "the load map has unslid addresses and the report run-time ones, and the report does not say by how much kexts were slid; \
                 give it with --slide (`KernelCache slide`, before macOS 11 `Kernel slide`)"
                    .to_string(),
            );
            return maps(None);
        }
        let inferred = evidence::slide_by_calls(self.capture, images);
        match inferred {
            Some((slide, hits)) => self.warn(format!(
                "the load map has run-time addresses and the report unslid ones: slide {slide} inferred, with it all {hits} return addresses in kexts follow a call"
            )),
            None => self.warn(
                "the load map has run-time (slid) addresses and the report unslid ones, and the slide cannot be told from the frames: \
                 give it with --slide (--slide 0 for 10.7 and older, or with slide=0 in the boot arguments)"
                    .to_string(),
            ),
        }
        maps(inferred.map(|(slide, _)| slide))
    }

    fn remark_slide(&mut self, slide: Slide, from: &str) {
        self.notes.push(crate::note::Note::warning("", format!("slide {slide} of the load map inferred {from}")));
    }

    /// Whether kernel and kexts come as a collection: macOS 11 and later, Darwin 20, and every macOS of arm64.
    fn in_collection(&self) -> bool {
        let arm64 = matches!(self.capture.arch, Some(Arch::Arm64 | Arch::Arm64e));
        arm64 || self.darwin().is_some_and(|version| version >= 20) || self.capture.images.iter().any(|claim| claim.collection)
    }
}

/// Where the collection that was loaded at `base` is linked: checked on reports of macOS 11 to 26 for x86_64 and 12 to 26 for arm64; iOS and
/// bridgeOS link at another address.
fn link_base(base: Avma) -> Option<u64> {
    match Arch::of_darwin_address(base)? {
        Arch::X86_64 => Some(0xffff_ff80_0020_0000),
        Arch::Arm64 if base.0 >> 40 == 0xff_fffe => Some(0xffff_fe00_0700_4000),
        Arch::Arm64 => Some(0xffff_fff0_0700_4000),
        _ => None,
    }
}
