//! From what a report and the load maps say to placed images: which symbol file is which image, whether it is the right
//! build, and where each of its segments lies.

mod anchors;
mod assign;
mod boot_sizes;
mod boots;
mod bug_lines;
mod builds;
mod calls;
mod code_arm;
pub mod code_bytes;
mod darwin;
mod evidence;
mod foreign;
mod infer;
mod kdk;
mod kernel;
mod linux;
pub mod proof;
mod ranges;
mod returns;
pub mod searched;
mod wanted;

use std::path::PathBuf;
use std::sync::Arc;

use crate::model::addr::{Avma, Slide, Svma};
use crate::model::capture::{Capture, Os};
use crate::model::image::{Basis, ImageClaim, ImageId, ImageStatus};
use crate::note::Note;
use crate::space::AddressSpace;
use crate::symbols::Segment;
use crate::symbols::find::{GivenAddress, Library, Program};
use anchors::Anchors;
use evidence::Pair;
pub use wanted::wanted;

/// Part of the warning that a file for several architectures was given and the report tells none.
pub const WHICH_SLICE: &str = "nothing says which is meant";

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
    /// Images that a source lists this one as a dependency of.
    pub needed_by: Vec<String>,
    /// UUID that the report or a load map states.
    pub wanted: Option<ImageId>,
    /// Further build ids that frames print beside its name: the module was built anew and loaded again.
    other_ids: Vec<ImageId>,
    /// The files of those at hand, until each has an image of its own.
    other_builds: Vec<Arc<Program>>,
    /// Whether it was loaded in several builds, of some of which no file is at hand: a frame without a build id may be of those.
    pub unseen_builds: bool,
    /// Where its `__TEXT` lies, in the world of the report's addresses.
    pub load: Option<Avma>,
    /// Size in bytes, from the load map or the file.
    pub size: Option<u64>,
    /// Where its `__TEXT_EXEC` lies and how many bytes that has, where a source states it apart (arm64). In the world of the report's addresses.
    pub exec: Option<(Avma, Option<u64>)>,
    /// The symbol file, when one may be used.
    pub program: Option<Arc<Program>>,
    /// A file that was found and is not used: where, its UUID, and why.
    pub refused: Option<Refused>,
    /// A file of the running kernel that was tried because the report does not say which kernel it is of, and that nothing proves.
    pub guess: Option<Refused>,
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
    /// Whether it is a kernel collection, whose entries are images of their own.
    pub collection: bool,
    /// Whether it is of user space.
    pub user: bool,
    /// What speaks for and against the file.
    pub evidence: Vec<proof::Evidence>,
    /// How many return addresses follow a call where it was placed, unless it was placed by them.
    calls: Option<usize>,
    /// Whether some return address contradicts where a file of the right id was placed.
    pub doubted: bool,
    claims: Vec<ImageClaim>,
    given: Option<GivenAddress>,
    /// Whether only a kernel collection or prelinked cache has it, and no source names it.
    spare: bool,
    /// Why no kernel file can be the report's: it lists all UUIDs, and none is a kernel's at hand.
    unlisted: Option<String>,
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

    /// Bytes from where the image was loaded to `address`; from its `__TEXT_EXEC` where that is all that is known.
    pub fn offset_of(&self, address: Avma) -> Option<u64> {
        let start = self.load.or(self.exec.map(|(exec, _)| exec))?;
        Some(address.0.wrapping_sub(start.0))
    }

    /// Takes over what the sources say about its place.
    fn hold(&mut self, anchors: &Anchors) {
        self.load = anchors.text.as_ref().map(|text| text.at);
        self.exec = anchors.exec.as_ref().map(|exec| (exec.at, exec.size));
        self.size = self.claims.iter().find_map(|claim| claim.size);
        self.placed_by = anchors.said();
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
    /// Kernel collections and what lies in user space: named by the report, but no kernel address belongs to them.
    pub apart: Vec<Image>,
    /// Where they lie.
    pub space: AddressSpace,
    /// What is between the report's kernel addresses and the kernel file's, when that is known.
    pub slide: Option<Slide>,
    /// Where the slide comes from.
    pub slide_from: String,
    /// Whether the addresses of report and images have the slide in them.
    pub basis: Basis,
    /// Whether a source or the user says so, and it is not only assumed.
    pub basis_is_said: bool,
    /// What a user should know.
    pub notes: Vec<Note>,
}

/// Places everything that `capture` and `maps` name. `text` is the report's, for the names that its frames print.
pub fn place(capture: &Capture, text: &[u8], maps: &[(String, Capture)], library: &Library, options: PlaceOptions) -> Layout {
    let mut notes = Vec::new();
    let mut pairs = evidence::pairs(capture, text);
    let assign::Assigned { mut images, apart } = assign::images(capture, text, maps, library, options, &mut notes);
    foreign::drop_other_builds(&mut images, &mut notes);
    if capture.os == Some(Os::FreeBsd) {
        evidence::attribute(&mut pairs, &images);
    }
    let os = capture.os.or_else(|| maps.iter().find_map(|(_, map)| map.os));
    for image in &mut images {
        assign::verify(image, os, options.allow_mismatch, &mut notes);
    }
    let listed = maps.iter().flat_map(|(_, map)| &map.images).map(|claim| claim.basis).next();
    let unsaid = if options.slide.is_some() { Basis::Runtime } else { listed.unwrap_or_default() };
    let mut placer = Placer { capture, options, text, pairs: &pairs, unsaid, notes, foreign: Vec::new(), kernel: None, returns: None };
    placer.drop_other_boots(&mut images);
    let (slide, slide_from) = placer.kernel(&mut images);
    placer.kernel = images.iter().find(|image| image.kernel).and_then(darwin::RunningKernel::of);
    let map_slide = placer.map_slide(&images, slide);
    placer.find_foreign(&images, map_slide);
    for image in images.iter_mut().filter(|image| !image.kernel) {
        placer.kext(image, map_slide);
    }
    placer.infer_modules(&mut images);
    for image in &mut images {
        placer.note_id(image);
        placer.check_pairs(image);
        placer.check_returns(image);
        placer.check_release(image);
        placer.check_boot_sizes(image);
        placer.check_bug_lines(image);
        placer.check_code(image, slide);
    }
    let basis = placer.basis();
    let basis_is_said = capture.basis.or(listed).is_some() || options.slide.is_some();
    // What was only assumed is no finding, unless addresses are looked up by it.
    let slide = slide.filter(|_| basis_is_said || images.iter().any(|image| image.kernel && image.program.is_some()));
    let mut notes = placer.notes;
    drop_idle(&mut images, capture);
    builds::add_others(&mut images, os, options.allow_mismatch, &mut notes);
    let space = AddressSpace::new(&ranges::all(&images, os));
    for (one, two, at) in space.overlaps() {
        let (one, two) = (&images[one].name, &images[two].name);
        notes.push(Note::warning(
            "",
            format!("{one} and {two} overlap from {at} on; addresses there are not resolved: one of the load addresses is wrong"),
        ));
    }
    Layout { images, apart, space, slide, slide_from, basis, basis_is_said, notes }
}

/// Leaves out the entries of a kernel collection, hundreds as a rule, that neither a source names nor a frame lies in.
fn drop_idle(images: &mut Vec<Image>, capture: &Capture) {
    if capture.stacks.is_empty() || !images.iter().any(|image| image.spare) {
        return;
    }
    let mut addresses: Vec<Avma> = capture.stacks.iter().flat_map(|stack| &stack.frames).filter_map(|frame| frame.address).collect();
    addresses.sort_unstable();
    let is_hit = |(segment, start): &(Segment, Avma)| {
        // A return address behind the last call lies one past the end.
        let at = addresses.partition_point(|address| address < start);
        addresses.get(at).is_some_and(|address| address.0 - start.0 <= segment.size)
    };
    images.retain(|image| !image.spare || image.segments.iter().any(is_hit));
}

struct Placer<'a> {
    capture: &'a Capture,
    options: PlaceOptions,
    text: &'a [u8],
    pairs: &'a [Pair],
    /// What a format that does not say is taken for: run-time addresses once a slide is given, else those of the load maps.
    unsaid: Basis,
    notes: Vec<Note>,
    /// The kernel with its file, once it is placed.
    kernel: Option<darwin::RunningKernel>,
    /// Load maps of another boot than the report's.
    foreign: Vec<String>,
    /// The report's distinct return addresses, ascending, once an image needs them.
    returns: Option<Vec<Avma>>,
}

impl Placer<'_> {
    /// Whether the report's addresses have the slide in them.
    fn basis(&self) -> Basis {
        self.capture.basis.unwrap_or(self.unsaid)
    }

    fn warn(&mut self, text: String) {
        self.notes.push(Note::warning("", text));
    }

    /// Holds the report's own symbol + offset pairs against the placed file. Where they disagree the file is another build.
    fn check_pairs(&mut self, image: &mut Image) {
        let Some(program) = image.program.clone() else { return };
        let own = self.pairs.iter().filter(|pair| if image.kernel { pair.kernel } else { image.is_called(&pair.module) });
        let (agree, wrong) = match image.segments.is_empty() {
            true => evidence::check_unplaced(&program, own, image.kernel),
            false => evidence::check(&program, own, |svma| image.captured(svma)),
        };
        let (fitting, misfit) = evidence::sizes(self.capture, self.text, image, &program);
        let (there, elsewhere) = evidence::functions(self.capture, self.text, image, &program);
        let count = |found: Option<(u32, usize)>| found.map_or(0, |(_, count)| count);
        image.evidence.extend(evidence::counted((agree + there, wrong.len() + count(elsewhere)), (fitting, count(misfit))));
        let line = wrong.first().map(|pair| pair.line).or(misfit.or(elsewhere).map(|(line, _)| line));
        let (agree, wrong) = (agree + fitting + there, wrong.len() + count(misfit) + count(elsewhere));
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
        self.refuse(image, why);
    }
}

/// From the lowest to the highest mapped byte.
fn extent(segments: &[Segment]) -> u64 {
    let low = segments.iter().map(|segment| segment.svma.0).min().unwrap_or(0);
    let high = segments.iter().map(|segment| segment.svma.0.saturating_add(segment.size)).max().unwrap_or(0);
    high - low
}
