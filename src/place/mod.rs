//! From what a report and the load maps say to placed images: which symbol file is which image, whether it is the right
//! build, and where each of its segments lies.

mod assign;
mod darwin;
mod evidence;
mod linux;
mod wanted;

use std::path::PathBuf;
use std::sync::Arc;

use crate::model::addr::{Avma, Slide, Svma};
use crate::model::capture::Capture;
use crate::model::image::{Basis, ImageClaim, ImageId, ImageStatus};
use crate::note::Note;
use crate::space::{AddressSpace, PlacedRange};
use crate::symbols::Segment;
use crate::symbols::find::{GivenAddress, Library, Program};
use evidence::{MapSlide, Pair, Tally};
pub use wanted::wanted;

/// What the user decides about placing.
#[derive(Clone, Copy, Default, Debug)]
pub struct PlaceOptions {
    /// `--slide`: the kernel slide; `None` for `auto`.
    pub slide: Option<Slide>,
    /// `--allow-mismatch`: use a file that is known to be another build.
    pub allow_mismatch: bool,
}

/// One image of a report after placing.
#[derive(Default)]
pub struct Image {
    /// Bundle identifier, or the kernel's name.
    pub name: String,
    /// Whether it is the kernel.
    pub kernel: bool,
    /// Version as a load map prints it.
    pub version: Option<String>,
    /// UUID that the report or a load map states.
    pub wanted: Option<ImageId>,
    /// Where its `__TEXT` lies, in the world of the report's addresses.
    pub load: Option<Avma>,
    /// Size in bytes, from the load map or the file.
    pub size: Option<u64>,
    /// The symbol file, when one may be used.
    pub program: Option<Arc<Program>>,
    /// A file that was found and is not used: where, its UUID, and why.
    pub refused: Option<Refused>,
    /// Why `program` is known to be another build although it is used.
    pub other_build: Option<String>,
    /// Whether both sides have a UUID and they are equal.
    pub matched: bool,
    /// Where each segment lies, in the world of the report's addresses.
    pub segments: Vec<(Segment, Avma)>,
    /// Where the load address comes from, for `modules -v`.
    pub placed_by: String,
    /// What the report's own symbol + offset pairs say about the file: agreeing and all.
    pub pairs: Option<(usize, usize)>,
    claims: Vec<ImageClaim>,
    given: Option<GivenAddress>,
}

/// A symbol file that is not used.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The file.
    pub path: PathBuf,
    /// Its UUID.
    pub found: Option<ImageId>,
    /// Why.
    pub why: String,
}

impl Image {
    /// How far the file is proven.
    pub fn status(&self) -> ImageStatus {
        match &self.program {
            _ if self.refused.is_some() || self.other_build.is_some() => ImageStatus::Mismatched,
            None => ImageStatus::Missing,
            Some(_) if self.matched => ImageStatus::Matched,
            Some(_) => ImageStatus::Unverified,
        }
    }

    /// The symbol file, used or refused.
    pub fn file(&self) -> Option<&std::path::Path> {
        let used = self.program.as_ref().map(|program| program.info().path.as_path());
        used.or(self.refused.as_ref().map(|refused| refused.path.as_path()))
    }

    /// Whether its symbol file is ELF.
    pub fn is_linux(&self) -> bool {
        self.program.as_ref().is_some_and(|program| program.info().is_elf)
    }

    /// Where a link-time address of the image's file lies, if its segment is placed.
    pub fn captured(&self, svma: Svma) -> Option<Avma> {
        let (segment, start) = self.segments.iter().find(|(segment, _)| svma.0.wrapping_sub(segment.svma.0) < segment.size)?;
        Some(Avma(start.0.wrapping_add(svma.0 - segment.svma.0)))
    }

    /// Bytes from where the image was loaded to `address`.
    pub fn offset_of(&self, address: Avma) -> Option<u64> {
        Some(address.0.wrapping_sub(self.load?.0))
    }

    /// Whether a report that prints `module` means this image: its name, the last part of its bundle identifier, or the name
    /// of the `.sym` file that symstacks.rb was given.
    pub fn is_called(&self, module: &str) -> bool {
        let module = module.split(", ").next().unwrap_or(module);
        let module = module.strip_suffix(".sym").unwrap_or(module);
        let last = self.name.rsplit('.').next().unwrap_or(&self.name);
        let kernel = self.kernel && (matches!(module, "mach_kernel" | "kernel" | "vmlinux") || module.starts_with("kernel."));
        self.name == module || kernel || (!self.kernel && last == module)
    }
}

/// Everything that resolving needs to know about one report.
#[derive(Default)]
pub struct Layout {
    /// The kernel first, if the report is of a kernel at all, then the other images in the order in which they were named.
    pub images: Vec<Image>,
    /// Where they lie.
    pub space: AddressSpace,
    /// What is between the report's kernel addresses and the kernel file's, when that is known.
    pub slide: Option<Slide>,
    /// Where the slide comes from.
    pub slide_from: String,
    /// Whether the addresses of report and images have the slide in them.
    pub basis: Basis,
    /// What a user should know.
    pub notes: Vec<Note>,
}

/// Places everything that `capture` and `maps` name. `text` is the report's, for the names that its frames print.
pub fn place(capture: &Capture, text: &[u8], maps: &[(String, Capture)], library: &Library, options: PlaceOptions) -> Layout {
    let mut notes = Vec::new();
    let pairs = evidence::pairs(capture, text);
    let arch = capture.arch.or_else(|| maps.iter().find_map(|(_, map)| map.arch));
    let mut images = assign::images(capture, text, maps, library, arch, &mut notes);
    for image in &mut images {
        assign::verify(image, options.allow_mismatch, &mut notes);
    }
    let listed = maps.iter().flat_map(|(_, map)| &map.images).map(|claim| claim.basis).next();
    let unsaid = if options.slide.is_some() { Basis::Runtime } else { listed.unwrap_or_default() };
    let mut placer = Placer { capture, options, text, pairs: &pairs, unsaid, notes };
    let (slide, slide_from) = placer.kernel(&mut images);
    let map_slide = placer.map_slide(&images, slide);
    for image in images.iter_mut().filter(|image| !image.kernel) {
        placer.kext(image, map_slide);
    }
    for image in &mut images {
        placer.check_pairs(image);
    }
    let basis = placer.basis();
    let mut notes = placer.notes;
    let ranges: Vec<PlacedRange> = images.iter().enumerate().flat_map(|(at, image)| ranges(at, image)).collect();
    let space = AddressSpace::new(&ranges);
    for (one, two, at) in space.overlaps() {
        let (one, two) = (&images[one].name, &images[two].name);
        notes.push(Note::warning(
            "",
            format!("{one} and {two} overlap from {at} on; addresses there are not resolved: one of the load addresses is wrong"),
        ));
    }
    Layout { images, space, slide, slide_from, basis, notes }
}

/// The ranges of an image: its segments, or without a file what the load map says.
fn ranges(at: usize, image: &Image) -> Vec<PlacedRange> {
    let end = |start: Avma, size: u64| Avma(start.0.saturating_add(size));
    if image.program.is_some() {
        let range = |(segment, start): &(Segment, Avma)| PlacedRange {
            start: *start,
            end: end(*start, segment.size),
            image: at,
            svma: Some(segment.svma),
        };
        return image.segments.iter().map(range).collect();
    }
    let exec = image.claims.iter().find_map(|claim| claim.exec.zip(claim.exec_size));
    let whole = image.load.zip(image.size);
    [whole, exec.filter(|exec| Some(exec.0) != image.load)]
        .into_iter()
        .flatten()
        .map(|(start, size)| PlacedRange { start, end: end(start, size), image: at, svma: None })
        .collect()
}

struct Placer<'a> {
    capture: &'a Capture,
    options: PlaceOptions,
    text: &'a [u8],
    pairs: &'a [Pair],
    /// What a format that does not say is taken for: run-time addresses once a slide is given, else those of the load maps.
    unsaid: Basis,
    notes: Vec<Note>,
}

impl Placer<'_> {
    /// Whether the report's addresses have the slide in them.
    fn basis(&self) -> Basis {
        self.capture.basis.unwrap_or(self.unsaid)
    }

    fn warn(&mut self, text: String) {
        self.notes.push(Note::warning("", text));
    }

    /// Places the kernel; its slide is what lies between the report's addresses and the file's.
    fn kernel(&mut self, images: &mut [Image]) -> (Option<Slide>, String) {
        let stated = match self.basis() {
            Basis::Unslid => (Some(Slide(0)), "the report's addresses have the slide taken off".to_string()),
            Basis::Runtime if self.options.slide.is_some() => (self.options.slide, "--slide".to_string()),
            Basis::Runtime => (self.capture.slide, "the report".to_string()),
        };
        let Some(image) = images.iter_mut().find(|image| image.kernel) else { return stated };
        let Some(program) = image.program.clone() else { return stated };
        let own = program.info().linked_at_runtime;
        let stated = if own { (Some(Slide(0)), "the symbol file's addresses are those of the running kernel".to_string()) } else { stated };
        let anchored = if self.options.slide.is_none() { linux::slide_by_anchors(&program, &image.claims) } else { None };
        let stated = anchored.map_or(stated, |(slide, from)| (Some(slide), from));
        let (slide, from) = self.kernel_slide(&program, image.given.as_ref(), stated);
        let info = program.info();
        let given = image.given.as_ref().and_then(|given| given.segment.as_deref());
        let moved = info.segments.iter().filter(|segment| given.is_none_or(|name| segment.name == name));
        // Run-time addresses and no way to tell the slide: names in frames are enough, addresses are not.
        if let Some(slide) = slide {
            image.segments = moved.map(|segment| (segment.clone(), Avma(segment.svma.0).slid(slide))).collect();
            image.load = Some(Avma(info.base().0).slid(slide)).filter(|_| given.is_none());
        }
        image.size = Some(extent(&info.segments));
        image.placed_by = from.clone();
        (slide, from)
    }

    fn kernel_slide(
        &mut self,
        program: &Program,
        given: Option<&GivenAddress>,
        stated: (Option<Slide>, String),
    ) -> (Option<Slide>, String) {
        if let Some(given) = given {
            let base = match &given.segment {
                Some(name) => program.info().segment(name).map_or(program.info().base(), |segment| segment.svma),
                None => program.info().base(),
            };
            return (Some(Slide(given.at.0.wrapping_sub(base.0))), "the address given with -k".to_string());
        }
        let kernel = |pair: &&Pair| pair.kernel;
        let Some(tally) = Tally::of(program, self.pairs.iter().filter(kernel)) else { return stated };
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

    /// What has to be added to an address of a load map to get one of the report's world, for both kinds of map.
    fn map_slide(&mut self, images: &[Image], slide: Option<Slide>) -> MapSlide {
        let basis = self.basis();
        let other = |image: &Image| image.given.is_none() && image.claims.iter().any(|claim| claim.load.is_some() && claim.basis != basis);
        if !images.iter().any(other) {
            return MapSlide { basis, difference: Some(Slide(0)) };
        }
        let known = match basis {
            Basis::Runtime => slide,
            Basis::Unslid => self.options.slide.or(self.capture.slide),
        };
        if known.is_some() || basis == Basis::Runtime {
            return MapSlide { basis, difference: known };
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
        MapSlide { basis, difference: inferred.map(|(slide, _)| slide) }
    }

    /// Holds the report's own symbol + offset pairs against the placed file. Where they disagree the file is another build.
    fn check_pairs(&mut self, image: &mut Image) {
        let Some(program) = image.program.clone() else { return };
        let own = self.pairs.iter().filter(|pair| if image.kernel { pair.kernel } else { image.is_called(&pair.module) });
        let (agree, wrong) = evidence::check(&program, own, |svma| image.captured(svma));
        let (fitting, misfit) = evidence::sizes(self.capture, self.text, image, &program);
        let (agree, line) = (agree + fitting, wrong.first().map(|pair| pair.line).or(misfit.map(|(line, _)| line)));
        let wrong = wrong.len() + misfit.map_or(0, |(_, count)| count);
        if agree + wrong > 0 {
            image.pairs = Some((agree, agree + wrong));
        }
        let Some(line) = line else { return };
        let path = program.info().path.display().to_string();
        let said = format!(
            "{wrong} of {} frames that print a symbol with its address or size contradict {path}, first line {line}",
            agree + wrong
        );
        if image.matched {
            self.warn(format!(
                "{}: {said}; its UUID or build id matches, so the report was resolved with another build before",
                image.name
            ));
            return;
        }
        // A single torn digit in a long report is no other build; a tenth of all frames is.
        if wrong * 10 <= agree {
            self.warn(format!("{}: {said}; too few to call it another build", image.name));
            return;
        }
        let why = format!("{said}: it is another build");
        if self.options.allow_mismatch {
            self.warn(format!("{}: {why}; used all the same (--allow-mismatch)", image.name));
            image.other_build = Some(why);
        } else {
            self.notes.push(Note::failure(
                "",
                format!("{}: {why}; not used. Find the right file, or force it with --allow-mismatch", image.name),
            ));
            image.refused = Some(Refused { path: program.info().path.clone(), found: program.id(), why });
            image.program = None;
        }
    }
}

/// From the lowest to the highest mapped byte.
fn extent(segments: &[Segment]) -> u64 {
    let low = segments.iter().map(|segment| segment.svma.0).min().unwrap_or(0);
    let high = segments.iter().map(|segment| segment.svma.0.saturating_add(segment.size)).max().unwrap_or(0);
    high - low
}
