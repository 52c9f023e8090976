//! Which symbol file is which image, and whether it is the right build.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::anchors::OWN;
use super::{Image, PlaceOptions, Refused, WHICH_SLICE, builds, kdk};
use crate::model::addr::{Arch, Avma};
use crate::model::capture::{Capture, Os};
use crate::model::image::{ImageClaim, ImageId};
use crate::note::Note;
use crate::parse::linux_symbol::is_generated;
use crate::symbols::find::{Given, GivenAddress, Library, Program};
use crate::symbols::{FileInfo, FileKind};

/// Images with their symbol files, where there are any.
pub struct Assigned {
    /// The kernel, kexts and modules.
    pub images: Vec<Image>,
    /// Kernel collections, and what lies in user space: no kernel address belongs to them.
    pub apart: Vec<Image>,
}

/// Every image that the report, the load maps or the given files name, with its symbol file where there is one.
pub fn images(
    capture: &Capture,
    text: &[u8],
    maps: &[(String, Capture)],
    library: &Library,
    options: PlaceOptions,
    notes: &mut Vec<Note>,
) -> Assigned {
    let arch = capture.arch.or_else(|| maps.iter().find_map(|(_, map)| map.arch));
    let mut images: Vec<Image> = kernel(capture, maps, library, arch).into_iter().collect();
    images.extend(modules(capture, text));
    images.iter_mut().for_each(|image| builds::choose(image, library, notes));
    let own = capture.images.iter().map(|claim| (claim, OWN));
    let listed = maps.iter().flat_map(|(name, map)| map.images.iter().map(move |claim| (claim, name.as_str())));
    let (apart, claims): (Vec<_>, Vec<_>) = own.chain(listed).partition(|(claim, _)| claim.collection || claim.user);
    claim(&mut images, &claims, library, notes);
    if let Some(kernel) = images.iter().position(|image| image.kernel) {
        images[kernel].wanted = images[kernel].wanted.or_else(|| kernel_id(&images));
        images[kernel].unlisted = unlisted(&images[kernel], capture);
    }
    let own = |given: &&Given| !images.iter().any(|image| builds::has(image, given));
    let given: Vec<&Given> = library.given.iter().filter(own).collect();
    for given in given {
        let fits = |program: &Arc<Program>| arch.is_none_or(|arch| program.info().arch.fits(arch));
        if given.programs.iter().any(|program| program.info().is_entry() && fits(program)) {
            give_collection(&mut images, given, arch);
        } else {
            give(&mut images, given, arch, notes);
        }
    }
    for image in images.iter_mut().filter(|image| image.program.is_none()) {
        search(image, library, arch, capture, options, notes);
    }
    images.iter_mut().for_each(name_by_file);
    let mut seen = FxHashSet::default();
    let apart = apart.into_iter().filter(|(claim, _)| seen.insert((&claim.name, claim.id, claim.load)));
    Assigned { images, apart: apart.map(|(claim, source)| set_apart(claim, source)).collect() }
}

/// Hands every claim to its image: the kernel, also where only the UUID of a kernel's file says that it is one, or the image of that name.
fn claim(images: &mut Vec<Image>, claims: &[(&ImageClaim, &str)], library: &Library, notes: &mut Vec<Note>) {
    let kernels = library.kernel_ids();
    let kernel = images.iter().position(|image| image.kernel);
    let mut by_name: FxHashMap<String, usize> = FxHashMap::default();
    for (at, image) in images.iter().enumerate().filter(|(_, image)| !image.kernel) {
        by_name.entry(image.name.clone()).or_insert(at);
    }
    for (claim, source) in claims {
        let is_kernel = claim.kernel || (is_nameless(claim) && claim.id.is_some_and(|id| kernels.contains(&id)));
        let known = if is_kernel { kernel } else { by_name.get(&claim.name).copied() };
        let at = known.unwrap_or_else(|| {
            images.push(Image { name: claim.name.clone(), version: claim.version.clone(), kernel: is_kernel, ..Image::default() });
            by_name.insert(claim.name.clone(), images.len() - 1);
            images.len() - 1
        });
        let image = &mut images[at];
        if let (Some(old), Some(new)) = (image.wanted, claim.id)
            && old != new
        {
            notes.push(Note::warning(
                "",
                format!("{} has UUID {old} in one source and {new} in {source}; only a file with the first is used", claim.name),
            ));
        }
        image.wanted = image.wanted.or(claim.id);
        image.version = image.version.take().or_else(|| claim.version.clone());
        image.needed_by.extend(claim.needed_by.iter().filter(|name| !image.needed_by.contains(name)).cloned().collect::<Vec<_>>());
        image.claims.push(ImageClaim { source: source.to_string(), ..(*claim).clone() });
    }
}

/// Whether a source knows an image by its UUID alone (JSON and kcdata stackshots).
fn is_nameless(claim: &ImageClaim) -> bool {
    ImageId::parse(&claim.name).is_some()
}

/// What speaks against any kernel file: the report lists the images of its frames by UUID, and the kernel's is not among those known.
fn unlisted(kernel: &Image, capture: &Capture) -> Option<String> {
    let nameless = capture.images.iter().filter(|claim| !claim.user && !claim.collection && is_nameless(claim)).count();
    (nameless > 0 && kernel.claims.is_empty()).then(|| format!("the report lists {nameless} images by UUID, and this is none of them"))
}

/// An image that a source knew by its UUID takes the name of its file: the bundle identifier, or what the file is called.
fn name_by_file(image: &mut Image) {
    let Some(program) = image.program.as_ref().filter(|_| ImageId::parse(&image.name).is_some()) else { return };
    image.name = program.bundle_id.clone().unwrap_or_else(|| program.stem.clone());
}

fn set_apart(claim: &ImageClaim, source: &str) -> Image {
    Image {
        name: claim.name.clone(),
        version: claim.version.clone(),
        wanted: claim.id,
        load: claim.load,
        size: claim.size,
        user: claim.user,
        collection: claim.collection,
        placed_by: format!("{source} line {}", claim.line),
        ..Image::default()
    }
}

/// The kernel's image, when there is one to speak of.
fn kernel(capture: &Capture, maps: &[(String, Capture)], library: &Library, arch: Option<Arch>) -> Option<Image> {
    let given = library.given.iter().find(|given| given.file.kernel);
    let known = capture.os.is_some() || maps.iter().any(|(_, map)| map.os.is_some());
    if given.is_none() && !(known && (!capture.stacks.is_empty() || !library.kernels(arch).is_empty())) {
        return None;
    }
    let file_name = given.and_then(|given| given.programs.first()).map(|program| {
        if program.info().is_entry() {
            return "kernel".to_string();
        }
        let name = program.info().path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    });
    let linux = capture.os == Some(Os::Linux) || maps.iter().any(|(_, map)| map.os == Some(Os::Linux));
    let name = linux.then(|| "vmlinux".to_string()).or(capture.kernel_name.clone()).or(file_name).unwrap_or_else(|| "kernel".to_string());
    Some(Image { name, kernel: true, ..Image::default() })
}

/// The modules that frames name, with the build id where the kernel prints it (`[zfs 73d1…]`).
pub(super) fn modules(capture: &Capture, text: &[u8]) -> Vec<Image> {
    let mut images: Vec<Image> = Vec::new();
    let mut seen = FxHashSet::default();
    for frame in capture.stacks.iter().flat_map(|stack| &stack.frames).filter(|_| capture.os == Some(Os::Linux)) {
        let (module, id) = (frame.module.of(text, frame.line_start), frame.build_id.of(text, frame.line_start));
        let generated = || is_generated(module, frame.symbol.of(text, frame.line_start));
        if module.is_empty() || !seen.insert((module, id)) || generated() {
            continue;
        }
        let name = String::from_utf8_lossy(module).into_owned();
        let at = images.iter().position(|image| image.name == name).unwrap_or_else(|| {
            images.push(Image { name, ..Image::default() });
            images.len() - 1
        });
        let Some(id) = ImageId::parse_build(id) else { continue };
        match images[at].wanted {
            None => images[at].wanted = Some(id),
            Some(wanted) if wanted != id => images[at].other_ids.push(id),
            Some(_) => {}
        }
    }
    images
}

/// kmutil prints the kernel's UUID for every `com.apple.kpi` kext (11 and later); before that each had one of its own.
fn kernel_id(images: &[Image]) -> Option<ImageId> {
    let mut ids = images.iter().filter(|image| image.name.starts_with("com.apple.kpi.")).map(|image| image.wanted);
    let first = ids.next()??;
    let second = ids.next()?;
    (second == Some(first) && ids.all(|id| id == Some(first))).then_some(first)
}

/// Hands a given file to the image it belongs to: by its `NAME=`, by UUID, by bundle identifier, by bundle name; else to a new image.
fn give(images: &mut Vec<Image>, given: &Given, arch: Option<Arch>, notes: &mut Vec<Note>) {
    let path = given.file.path.display();
    let wanted: Vec<ImageId> = images.iter().filter_map(|image| image.wanted).collect();
    let fits = |program: &&Arc<Program>| arch.is_none_or(|arch| program.info().arch.fits(arch));
    let by_id = given.programs.iter().find(|program| program.id().is_some_and(|id| wanted.contains(&id)));
    let Some(program) = by_id.or_else(|| given.programs.iter().find(fits)) else {
        let archs: Vec<&str> = given.programs.iter().map(|program| program.info().arch.name()).collect();
        let report = arch.map_or("unknown", Arch::name);
        notes.push(Note::failure(
            "",
            format!("{path} is for {}, but the report is of {report}: give the file or slice for {report}", archs.join(", ")),
        ));
        return;
    };
    if arch.is_none() && given.programs.iter().any(|other| !other.info().arch.fits(program.info().arch)) {
        let archs: Vec<&str> = given.programs.iter().map(|program| program.info().arch.name()).collect();
        let text = format!("{path} is for {}, and {WHICH_SLICE}: {} is taken", archs.join(" and "), program.info().arch);
        notes.push(Note::warning("", text));
    }
    let at = if given.file.kernel { images.iter().position(|image| image.kernel) } else { find(images, given, program) };
    let at = at.unwrap_or_else(|| {
        let name = given.file.name.clone().or_else(|| program.bundle_id.clone()).unwrap_or_else(|| program.stem.clone());
        images.push(Image { name, ..Image::default() });
        images.len() - 1
    });
    if program.info().kind == FileKind::Kernel && !images[at].kernel {
        notes.push(Note::warning("", format!("{path} is a kernel but was given with -m; give it with -k")));
    }
    let image = &mut images[at];
    // What was given for this image alone comes before the kernel collection or cache that has it too; only one id tells that two files are of one build.
    let another = |other: &&Arc<Program>| other.id() != program.id() || (other.id().is_none() && !Arc::ptr_eq(other, program));
    if let Some(other) = image.program.as_ref().filter(|other| another(other) && !other.info().is_entry()) {
        let other = other.info().path.display();
        notes.push(Note::warning("", format!("{path} and {other} are both for {}; the first given is used", image.name)));
        return;
    }
    // A collection's entry of the same UUID has these files besides its own.
    let united = image.program.as_ref().is_some_and(|entry| entry.info().is_entry() && entry.id() == program.id());
    if !united {
        image.program = Some(program.clone());
    }
    image.given = given.file.address.clone();
}

/// Hands the entries of a kernel collection or prelinked cache to their images: by UUID, then by bundle identifier. The others are at hand where frames lie in them.
fn give_collection(images: &mut Vec<Image>, given: &Given, arch: Option<Arch>) {
    let mut by_id: FxHashMap<ImageId, usize> = FxHashMap::default();
    let mut by_name: FxHashMap<String, usize> = FxHashMap::default();
    for (at, image) in images.iter().enumerate().filter(|(_, image)| !image.kernel) {
        image.wanted.and_then(|id| by_id.insert(id, at));
        by_name.insert(image.name.clone(), at);
    }
    let kernel = images.iter().position(|image| image.kernel);
    let fits = |program: &&Arc<Program>| arch.is_none_or(|arch| program.info().arch.fits(arch));
    for program in given.programs.iter().filter(fits) {
        let known = || by_id.get(&program.id()?).or_else(|| by_name.get(program.bundle_id.as_ref()?)).copied();
        let at = if program.info().kind == FileKind::Kernel { kernel } else { known() };
        let at = at.unwrap_or_else(|| {
            let name = program.bundle_id.clone().unwrap_or_else(|| program.stem.clone());
            images.push(Image { name, spare: true, ..Image::default() });
            images.len() - 1
        });
        images[at].program.get_or_insert_with(|| program.clone());
        images[at].given = images[at].given.take().or_else(|| given_entry(given.file.address.as_ref()?, program, given.file.kernel));
    }
}

/// What `FILE@ADDR` says about an entry: ADDR is where the collection, or the kernel of a prelinked cache, lies; `@SEGMENT=ADDR` speaks of the kernel's segment.
fn given_entry(given: &GivenAddress, program: &Program, kernel: bool) -> Option<GivenAddress> {
    let info = program.info();
    match &given.segment {
        Some(_) => (kernel && info.kind == FileKind::Kernel).then(|| given.clone()),
        None => {
            let from_start = info.base().0.wrapping_sub(info.whole_base()?.0);
            Some(GivenAddress { segment: None, at: Avma(given.at.0.wrapping_add(from_start)) })
        }
    }
}

fn find(images: &[Image], given: &Given, program: &Program) -> Option<usize> {
    let last = |name: &str| name.rsplit('.').next().unwrap_or(name).to_string();
    let only = |test: &dyn Fn(&Image) -> bool| {
        let mut found = images.iter().enumerate().filter(|(_, image)| !image.kernel && test(image));
        found.next().filter(|_| found.next().is_none()).map(|(at, _)| at)
    };
    if let Some(name) = &given.file.name {
        return only(&|image| image.name == *name).or_else(|| only(&|image| last(&image.name) == *name));
    }
    let by_id = only(&|image| image.wanted.is_some() && image.wanted == program.id());
    let by_bundle = || program.bundle_id.as_ref().and_then(|id| only(&|image| image.name == *id));
    // A file that knows its bundle identifier is not handed to another bundle of the same short name.
    let by_stem = || only(&|image| image.name == program.stem || last(&image.name) == program.stem).filter(|_| program.bundle_id.is_none());
    by_id.or_else(by_bundle).or_else(by_stem)
}

/// Looks an image up in the symbol folders: by UUID, and only without one in either by name.
fn search(image: &mut Image, library: &Library, arch: Option<Arch>, capture: &Capture, options: PlaceOptions, notes: &mut Vec<Note>) {
    if let Some(program) = image.wanted.and_then(|id| library.by_id(id)) {
        image.program = Some(program);
        return;
    }
    let mut found = if image.kernel { library.kernels(arch) } else { library.by_name(&image.name, arch) };
    found.dedup_by_key(|program| (program.id(), program.info().path.clone()));
    if image.kernel && kdk::applies(&found) {
        return kdk::choose(image, &found, capture, options, notes);
    }
    if image.kernel && found.iter().any(|program| program.has_debug_info()) {
        found.retain(|program| program.has_debug_info());
    }
    if found.iter().any(|program| program.stem == image.name) {
        found.retain(|program| program.stem == image.name);
    }
    if found.len() > 1 {
        let paths: Vec<String> = found.iter().map(|program| program.info().path.display().to_string()).collect();
        notes.push(Note::warning(
            "",
            format!(
                "{}: {} builds in the symbol folders and nothing to tell which it is, so none is used: {}",
                image.name,
                found.len(),
                paths.join(", ")
            ),
        ));
        return;
    }
    image.program = found.pop();
}

/// Compares UUIDs, and sizes where there is nothing better. A file of another build is put aside unless the user allowed it, and one of
/// another system always.
pub fn verify(image: &mut Image, os: Option<Os>, allow_mismatch: bool, notes: &mut Vec<Note>) {
    let Some(program) = image.program.clone() else { return };
    let info = program.info();
    if let Some(why) = foreign(info, os) {
        notes.push(Note::failure("", format!("{}: {} {why}; not used", image.name, info.path.display())));
        image.refused = Some(Refused { path: info.path.clone(), found: program.id(), why: why.to_string() });
        image.program = None;
        return;
    }
    let listed = image.claims.iter().find_map(|claim| claim.size);
    let needed = super::extent(&info.segments);
    let why = match (image.wanted, program.id()) {
        (Some(wanted), Some(found)) if wanted == found => {
            image.matched = true;
            return;
        }
        (Some(wanted), Some(found)) => format!("the report's {} is {wanted}, the file's is {found}", wanted.kind()),
        (None, Some(found)) if image.unlisted.is_some() => {
            format!("{}: the file's {} is {found}", image.unlisted.as_deref().unwrap_or_default(), found.kind())
        }
        (Some(wanted), None) => format!("the report's {} is {wanted}, the file has none", wanted.kind()),
        // kextstat's size may leave the linker's part out, but never code or data.
        _ if listed.is_some_and(|listed| listed < needed) && matches!(info.kind, FileKind::Kext | FileKind::Dsym) => {
            format!("the load map says {:#x} bytes, the file needs {needed:#x}", listed.unwrap_or_default())
        }
        _ => return,
    };
    let text = format!("{}: {} is another build: {why}", image.name, info.path.display());
    if allow_mismatch {
        notes.push(Note::warning("", format!("{text}; used all the same (--allow-mismatch)")));
        image.other_build = Some(why);
    } else {
        notes.push(Note::failure("", format!("{text}; not used. Find the right file, or force it with --allow-mismatch")));
        image.refused = Some(Refused { path: info.path.clone(), found: program.id(), why });
        image.program = None;
    }
}

/// Why a file cannot be what ran in that system, whatever its name says.
fn foreign(info: &FileInfo, os: Option<Os>) -> Option<&'static str> {
    match os? {
        Os::Darwin if info.is_elf => Some("is ELF, and the report is of macOS, where kernel and kexts are Mach-O"),
        Os::FreeBsd | Os::NetBsd | Os::OpenBsd if !info.is_elf => {
            Some("is Mach-O, and the report is of a BSD, where kernel and modules are ELF")
        }
        Os::Linux if !info.is_elf => Some("is Mach-O, and the report is of Linux, where kernel and modules are ELF"),
        _ => None,
    }
}
