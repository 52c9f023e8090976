//! Kernel Debug Kits: which of the kernels of several kits and chips a report is of, where it does not state its UUID or none has that.
//!
//! A kit is a folder `KDK_14.2_23C71.kdk` (version and build of macOS) with `System/Library/Kernels/kernel.release.t6000` for each chip family,
//! `kernel` for Intel. The kernel's version string ends in the same configuration: `RELEASE_ARM64_T6000`, `RELEASE_X86_64`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Image, PlaceOptions, Refused};
use crate::model::capture::Capture;
use crate::note::Note;
use crate::symbols::find::Program;

/// Build of macOS as Apple numbers it: `23C71` is train 23, letter C, number 71; a letter behind marks a beta.
type Build = (u32, char, u32);

/// Whether kernels of kits are among the files found.
pub fn applies(found: &[Arc<Program>]) -> bool {
    found.iter().any(|program| kit(&program.info().path).is_some())
}

/// Chooses by chip and build; says what is missing where no kernel is both.
pub fn choose(image: &mut Image, found: &[Arc<Program>], capture: &Capture, options: PlaceOptions, notes: &mut Vec<Note>) {
    let wanted = configuration(capture);
    let own: Vec<&Arc<Program>> = found.iter().filter(|program| wanted.as_ref().is_none_or(|name| is_for(name, program))).collect();
    let build = capture.os_build.as_deref();
    let exact: Vec<&Arc<Program>> = own.iter().filter(|program| build.is_some() && kit(&program.info().path) == build).copied().collect();
    // A UUID that no file has proves that none of them ran; only the user can want one all the same.
    if let ([one], None) = (&exact[..], image.wanted) {
        image.program = Some((*one).clone());
        return;
    }
    let why = missing(image, found.len(), exact.len(), wanted.as_deref(), build);
    let nearest = || own.iter().min_by_key(|program| distance(build, kit(&program.info().path)));
    match exact.first().or_else(nearest).filter(|_| options.allow_mismatch) {
        Some(program) => {
            notes.push(Note::warning("", format!("{why}; {} is used (--allow-mismatch)", program.info().path.display())));
            image.other_build = Some(why);
            image.program = Some((*program).clone());
        }
        None => {
            let path = own.first().copied().or(found.first()).map(|program| program.info().path.clone()).unwrap_or_default();
            notes.push(Note::failure("", format!("{why}; or use the nearest build with --allow-mismatch")));
            image.refused = Some(Refused { path, found: None, why });
        }
    }
}

/// What is wrong: `count` kernels were found, `exact` of them of the report's build and chip as far as it says them.
fn missing(image: &Image, count: usize, exact: usize, wanted: Option<&str>, build: Option<&str>) -> String {
    let kit = build.map_or("the Kernel Debug Kit of the report's build".to_string(), |build| format!("KDK_*_{build}.kdk"));
    let Some(file) = wanted.filter(|_| exact < 2) else {
        return format!("{}: {count} kernels in the symbol folders, and the report does not say which of those in {kit} it is", image.name);
    };
    let id = image.wanted.map_or(String::new(), |id| format!(" with {} {id}", id.kind()));
    format!("{}: none of the {count} kernels in the symbol folders is {file}{id} of the report's build: install {kit}", image.name)
}

/// The build that a path inside a kit is of.
fn kit(path: &Path) -> Option<&str> {
    let name = path.iter().filter_map(|part| part.to_str()).find(|part| part.starts_with("KDK_") && part.ends_with(".kdk"))?;
    name.strip_suffix(".kdk")?.rsplit_once('_').map(|(_, build)| build)
}

/// The folder of the kit that a path lies in.
pub fn folder(path: &Path) -> Option<PathBuf> {
    path.ancestors()
        .skip(1)
        .find(|folder| folder.parent().is_some_and(|outer| kit(outer).is_none()) && kit(folder).is_some())
        .map(Path::to_path_buf)
}

/// What speaks against a kernel of a kit: that it is for another chip, or the kit for another build.
pub fn against(path: &Path, capture: &Capture) -> Option<String> {
    let build = kit(path)?;
    let file = path.file_name()?.to_string_lossy();
    match (configuration(capture), &capture.os_build) {
        (Some(wanted), _) if !is_named(&wanted, path) => Some(format!("the report's kernel is {wanted}, this is {file}")),
        (_, Some(wanted)) if wanted != build => Some(format!("the kit is of macOS build {build}, the report of {wanted}")),
        _ => None,
    }
}

/// The name that the kernel's file has in a kit.
fn configuration(capture: &Capture) -> Option<String> {
    let version = capture.kernel_version.as_deref()?;
    let (_, configuration) = version.rsplit_once('/')?;
    let configuration = configuration.split_whitespace().next()?.to_ascii_lowercase();
    let (variant, machine) = configuration.split_once('_')?;
    match machine {
        "x86_64" if variant == "release" => Some("kernel".to_string()),
        "x86_64" => Some(format!("kernel.{variant}")),
        _ => Some(format!("kernel.{variant}.{}", machine.strip_prefix("arm64_")?)),
    }
}

/// Whether a file, or the file that a dSYM is for, has that name. Kernels were called `mach_kernel` up to 10.9.
fn is_for(name: &str, program: &Program) -> bool {
    is_named(name, &program.info().path)
}

fn is_named(name: &str, path: &Path) -> bool {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    file == name || (name == "kernel" && file == "mach_kernel")
}

fn parse(build: &str) -> Option<Build> {
    let train = build.find(|c: char| !c.is_ascii_digit())?;
    let letter = build[train..].chars().next().filter(char::is_ascii_uppercase)?;
    let number: String = build[train + 1..].chars().take_while(char::is_ascii_digit).collect();
    Some((build[..train].parse().ok()?, letter, number.parse().ok()?))
}

/// How far two builds are apart, train first.
fn distance(wanted: Option<&str>, found: Option<&str>) -> (u32, u32, u32) {
    let Some((wanted, found)) = wanted.and_then(parse).zip(found.and_then(parse)) else { return (u32::MAX, 0, 0) };
    (wanted.0.abs_diff(found.0), (wanted.1 as u32).abs_diff(found.1 as u32), wanted.2.abs_diff(found.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kits_chips_and_builds_are_read_off_names() {
        assert_eq!(kit(Path::new("/L/KDKs/KDK_14.2_23C71.kdk/System/Library/Kernels/kernel")), Some("23C71"));
        assert_eq!(kit(Path::new("/L/Kernels/kernel")), None);
        let kernel = Path::new("/L/KDKs/KDK_14.2_23C71.kdk/System/Library/Kernels/kernel");
        assert_eq!(folder(kernel).as_deref(), Some(Path::new("/L/KDKs/KDK_14.2_23C71.kdk")));
        assert_eq!(folder(Path::new("/L/Kernels/kernel")), None);
        let of_build = |build: &str| Capture { os_build: Some(build.to_string()), ..Capture::default() };
        assert_eq!(against(kernel, &of_build("23C71")), None);
        assert_eq!(against(kernel, &of_build("23C64")).as_deref(), Some("the kit is of macOS build 23C71, the report of 23C64"));
        let named = |version: &str| configuration(&Capture { kernel_version: Some(version.to_string()), ..Capture::default() });
        let of = |end: &str| named(&format!("Darwin Kernel Version 23.2.0: Wed Nov 15 21:53:34 PST 2023; root:xnu-10002.61.3~2/{end}"));
        assert_eq!(of("RELEASE_ARM64_T6000").as_deref(), Some("kernel.release.t6000"));
        assert_eq!(of("DEVELOPMENT_ARM64_T8103 x").as_deref(), Some("kernel.development.t8103"));
        assert_eq!(of("RELEASE_X86_64").as_deref(), Some("kernel"));
        assert_eq!(named("Darwin"), None);
        assert_eq!(parse("23C5030f"), Some((23, 'C', 5030)));
        assert!(distance(Some("23C71"), Some("23C64")) < distance(Some("23C71"), Some("23D56")));
        assert!(distance(Some("23C71"), Some("22A1")) < distance(Some("23C71"), None));
    }
}
