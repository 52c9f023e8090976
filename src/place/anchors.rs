//! Where sources say that an image's parts lie, and what follows from it for the segments of its file.
//!
//! On x86_64 all segments of a kernel or kext move alike. On arm64 a kernel collection places each of them on its own (macOS 11 and later),
//! so that a segment's place is proven only by an address of that segment: panics print `__TEXT_EXEC` (xnu, `OSKext::printSummary`), kextstat
//! and kmutil `__TEXT`, lldb's showallkexts both.

use super::evidence::MapSlide;
use super::{Image, Placer};
use crate::model::addr::{Arch, Avma, Slide};
use crate::model::image::ImageClaim;
use crate::symbols::find::Program;
use crate::symbols::{FileInfo, Segment};

/// What the report itself is called as a source.
pub(super) const OWN: &str = "the report";

/// The segment that arm64 kernels and kexts have their code in.
pub(super) const EXEC: &str = "__TEXT_EXEC";

/// An address that a source states, in the world of the report's addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Anchor {
    pub at: Avma,
    /// Bytes that lie there, where the source says so.
    pub size: Option<u64>,
    /// The source and its line.
    pub source: String,
}

/// Where an image's `__TEXT` and `__TEXT_EXEC` are said to lie.
#[derive(Clone, Default, Debug)]
pub(super) struct Anchors {
    pub text: Option<Anchor>,
    pub exec: Option<Anchor>,
}

/// What two sources that disagree say.
struct Conflict {
    part: &'static str,
    first: Anchor,
    second: Anchor,
}

impl Anchors {
    /// Whether anything is known.
    pub fn is_empty(&self) -> bool {
        self.text.is_none() && self.exec.is_none()
    }

    /// The sources, for `placed_by`.
    pub fn said(&self) -> String {
        match (&self.text, &self.exec) {
            (Some(text), Some(exec)) if text.source == exec.source => text.source.clone(),
            (Some(text), Some(exec)) => format!("{} for __TEXT, {} for {EXEC}", text.source, exec.source),
            (Some(one), None) | (None, Some(one)) => one.source.clone(),
            (None, None) => String::new(),
        }
    }

    fn of(image: &Image, maps: MapSlide, foreign: &[String]) -> Result<Anchors, Box<Conflict>> {
        let mut anchors = Anchors::default();
        for claim in image.claims.iter().filter(|claim| !foreign.contains(&claim.source)) {
            let bring = |at: Option<Avma>| at.and_then(|at| maps.bring(at, claim.basis));
            keep(&mut anchors.text, "", bring(claim.load), claim.size, claim)?;
            keep(&mut anchors.exec, "__TEXT_EXEC of ", bring(claim.exec), claim.exec_size, claim)?;
        }
        Ok(anchors)
    }
}

fn keep(
    known: &mut Option<Anchor>,
    part: &'static str,
    at: Option<Avma>,
    size: Option<u64>,
    claim: &ImageClaim,
) -> Result<(), Box<Conflict>> {
    let Some(at) = at else { return Ok(()) };
    let new = Anchor { at, size, source: format!("{} line {}", claim.source, claim.line) };
    match known {
        Some(first) if first.at != at => return Err(Box::new(Conflict { part, first: first.clone(), second: new })),
        Some(first) => first.size = first.size.or(size),
        None => *known = Some(new),
    }
    Ok(())
}

impl Placer<'_> {
    /// What the sources say about an image, brought into the report's world. Two that disagree place nothing.
    pub(super) fn anchors(&mut self, image: &Image, maps: MapSlide) -> Option<Anchors> {
        match Anchors::of(image, maps, &self.foreign) {
            Ok(anchors) => Some(anchors),
            Err(conflict) => {
                let Conflict { part, first, second } = *conflict;
                self.warn(format!(
                    "{part}{} is at {} in {} but at {} in {}; it is not placed: leave one of them out",
                    image.name, first.at, first.source, second.at, second.source
                ));
                None
            }
        }
    }

    /// Places the segments of a file whose sources state at least one address. `collection` is what its collection as a whole moved by.
    pub(super) fn by_anchors(&mut self, image: &mut Image, program: &Program, anchors: &Anchors, collection: Option<Slide>) {
        let info = program.info();
        if info.collection.is_some()
            && let Some(slide) = self.entry_slide(image, info, anchors, collection)
        {
            image.segments = shifted(info, slide.0);
            image.load = image.load.or(Some(Avma(info.base().0.wrapping_add(slide.0))));
            image.placed_by.push_str("; all segments as the kernel collection holds them");
        } else if is_split(info) {
            self.one_by_one(image, info, anchors);
        } else if let Some(text) = &anchors.text {
            image.segments = shifted(info, text.at.0.wrapping_sub(info.base().0));
        } else {
            let names: Vec<&str> = info.segments.iter().map(|segment| segment.name.as_str()).collect();
            self.warn(format!(
                "{}: {} says where {EXEC} lies, but {} has no such segment, only {}: give the arm64e file or slice of this build",
                image.name,
                anchors.said(),
                info.path.display(),
                names.join(", ")
            ));
        }
    }

    /// What a collection's entry moved by, if everything that is stated about it says the same. An entry of the boot collection that runs from
    /// an auxiliary one lies elsewhere, each segment by itself.
    fn entry_slide(&self, image: &Image, info: &FileInfo, anchors: &Anchors, collection: Option<Slide>) -> Option<Slide> {
        let delta = |anchor: &Option<Anchor>, name: &str| Some(Slide(anchor.as_ref()?.at.0.wrapping_sub(info.segment(name)?.svma.0)));
        let own = [delta(&anchors.text, "__TEXT"), delta(&anchors.exec, EXEC)];
        let collection = collection.filter(|_| image.matched || self.capture.stacks.is_empty());
        let mut slides = own.into_iter().flatten();
        let first = slides.next().or(collection)?;
        slides.all(|slide| slide == first).then_some(first)
    }

    /// Each segment that has an address of its own; the others cannot be placed.
    fn one_by_one(&mut self, image: &mut Image, info: &FileInfo, anchors: &Anchors) {
        let placed = |anchor: &Option<Anchor>, name: &str| {
            let anchor = anchor.as_ref()?;
            Some((alone(info.segment(name)?, anchor.size.filter(|_| name == EXEC)), anchor.at))
        };
        image.segments = [placed(&anchors.text, "__TEXT"), placed(&anchors.exec, EXEC)].into_iter().flatten().collect();
        if anchors.exec.is_some() {
            image.placed_by.push_str(&format!("; arm64: an address in code minus {EXEC}'s, plus the file's {EXEC}"));
        } else {
            let advice = if image.kernel {
                "give -k FILE@__TEXT_EXEC=ADDR, which is `Kernel text exec base` in a panic"
            } else {
                "use a load map with `TEXT exec` (lldb's showallkexts), or give FILE@__TEXT_EXEC=ADDR"
            };
            self.warn(format!(
                "{}: only __TEXT is placed: on arm64 __TEXT_EXEC lies elsewhere and {} does not say where; {advice}",
                image.name, image.placed_by
            ));
        }
    }
}

/// Whether its segments are placed one by one.
pub(super) fn is_split(info: &FileInfo) -> bool {
    matches!(info.arch, Arch::Arm64 | Arch::Arm64e) && info.segment(EXEC).is_some() && info.prelinked.is_none()
}

/// A segment that is placed by itself, without the padding at its end, where a collection has the next image. `stated` is the size that a
/// source prints.
pub(super) fn alone(segment: &Segment, stated: Option<u64>) -> Segment {
    Segment { size: segment.used.min(stated.unwrap_or(u64::MAX)), ..segment.clone() }
}

/// All segments moved alike.
pub(super) fn shifted(info: &FileInfo, by: u64) -> Vec<(Segment, Avma)> {
    let split = is_split(info);
    let moved = |segment: &Segment| {
        let at = Avma(segment.svma.0.wrapping_add(by));
        (if split { alone(segment, None) } else { segment.clone() }, at)
    };
    info.segments.iter().map(moved).collect()
}
