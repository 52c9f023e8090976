//! Which symbol file is which image, and whether it is the right build.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::{Image, Refused};
use crate::model::addr::Arch;
use crate::model::capture::{Capture, Os};
use crate::model::image::ImageId;
use crate::note::Note;
use crate::parse::linux_symbol::is_generated;
use crate::symbols::FileKind;
use crate::symbols::find::{Given, Library, Program};

/// Every image that the report, the load maps or the given files name, with its symbol file where there is one.
pub fn images(
    capture: &Capture,
    text: &[u8],
    maps: &[(String, Capture)],
    library: &Library,
    arch: Option<Arch>,
    notes: &mut Vec<Note>,
) -> Vec<Image> {
    let mut images: Vec<Image> = kernel(capture, maps, library, arch).into_iter().collect();
    images.extend(modules(capture, text));
    let own = capture.images.iter().map(|claim| (claim, "the report"));
    let listed = maps.iter().flat_map(|(name, map)| map.images.iter().map(move |claim| (claim, name.as_str())));
    for (claim, source) in own.chain(listed) {
        let same = |image: &Image| if claim.kernel { image.kernel } else { image.name == claim.name };
        let at = images.iter().position(same).unwrap_or_else(|| {
            images.push(Image { name: claim.name.clone(), version: claim.version.clone(), kernel: claim.kernel, ..Image::default() });
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
        image.claims.push(crate::model::image::ImageClaim { source: source.to_string(), ..claim.clone() });
    }
    if let Some(kernel) = images.iter().position(|image| image.kernel) {
        images[kernel].wanted = images[kernel].wanted.or_else(|| kernel_id(&images));
    }
    for given in &library.given {
        give(&mut images, given, arch, notes);
    }
    for image in images.iter_mut().filter(|image| image.program.is_none()) {
        search(image, library, arch, notes);
    }
    images
}

/// The kernel's image, when there is one to speak of.
fn kernel(capture: &Capture, maps: &[(String, Capture)], library: &Library, arch: Option<Arch>) -> Option<Image> {
    let given = library.given.iter().find(|given| given.file.kernel);
    let known = capture.os.is_some() || maps.iter().any(|(_, map)| map.os.is_some());
    if given.is_none() && !(known && (!capture.stacks.is_empty() || !library.kernels(arch).is_empty())) {
        return None;
    }
    let file_name = given.and_then(|given| given.programs.first()).map(|program| {
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
        images[at].wanted = images[at].wanted.or_else(|| ImageId::parse_build(id));
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
    if let Some(other) = image.program.as_ref().filter(|other| other.id() != program.id()) {
        let other = other.info().path.display();
        notes.push(Note::warning("", format!("{path} and {other} are both for {}; the first given is used", image.name)));
        return;
    }
    image.program = Some(program.clone());
    image.given = given.file.address.clone();
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
fn search(image: &mut Image, library: &Library, arch: Option<Arch>, notes: &mut Vec<Note>) {
    if let Some(program) = image.wanted.and_then(|id| library.by_id(id)) {
        image.program = Some(program);
        return;
    }
    let mut found = if image.kernel { library.kernels(arch) } else { library.by_name(&image.name, arch) };
    if image.kernel && found.iter().any(|program| program.has_debug_info()) {
        found.retain(|program| program.has_debug_info());
    }
    if found.iter().any(|program| program.stem == image.name) {
        found.retain(|program| program.stem == image.name);
    }
    found.dedup_by_key(|program| (program.id(), program.info().path.clone()));
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

/// Compares UUIDs, and sizes where there is nothing better. A file of another build is put aside unless the user allowed it.
pub fn verify(image: &mut Image, allow_mismatch: bool, notes: &mut Vec<Note>) {
    let Some(program) = image.program.clone() else { return };
    let info = program.info();
    let listed = image.claims.iter().find_map(|claim| claim.size);
    let needed = super::extent(&info.segments);
    let why = match (image.wanted, program.id()) {
        (Some(wanted), Some(found)) if wanted == found => {
            image.matched = true;
            return;
        }
        (Some(wanted), Some(found)) => format!("the report's {} is {wanted}, the file's is {found}", wanted.kind()),
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
