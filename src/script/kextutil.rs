//! kextutil: a shell script that makes symbol files of the loaded kexts, for debuggers that cannot place kexts themselves.
//!
//! `kextutil -n -s DIR -a ID@ADDR KEXT` links a kext as if it were loaded at an address and writes `DIR/ID.sym` (kext_tools, kextutil(8));
//! the addresses of what a kext is linked against are given in the same way. Addresses are those without the kernel's slide.

use super::facts::{Facts, ImageFacts};
use super::quote::{Refusal, path_text, plain, shell};
use super::{Debugger, Options, Script};
use crate::model::addr::{Arch, Avma, Slide};

/// kextutil.
pub struct Kextutil;

impl Debugger for Kextutil {
    fn name(&self) -> &'static str {
        "kextutil"
    }

    fn usage(&self, _options: Options) -> Vec<String> {
        vec![
            "Use on the Mac that ran it, or one with the same kexts: sh THIS-FILE DIR. Each kext becomes DIR/ID.sym.".to_string(),
            "For Mac OS X 10.6 to macOS 10.15, from kextutil(8); not run there. kmutil of macOS 11 and later has no".to_string(),
            "such command known to kstack: use a kext's own file and its dSYM.".to_string(),
        ]
    }

    fn commands(&self, facts: &Facts, _options: Options, script: &mut Script) {
        if !facts.images.iter().any(is_kext) {
            return script.nothing("kextutil makes symbol files of kexts of macOS, and there are none here");
        }
        let slide = match (facts.addresses_slid, facts.slide) {
            (false, _) => Some(Slide(0)),
            (true, slide) => slide,
        };
        let Some(slide) = slide else {
            return script.nothing("the addresses have the kernel slide in them, and it is not known; give --slide");
        };
        if facts.images.iter().any(|image| matches!(image.arch, Some(Arch::Arm64 | Arch::Arm64e))) {
            return script.nothing("kexts for arm64 are linked into a kernel collection, with segments apart");
        }
        script.line("dir=${1:?give the folder that gets the symbol files}");
        let mut linked = Vec::new();
        script.line("set --");
        for image in facts.images.iter().filter(|image| is_kext(image)) {
            match address(image, slide) {
                Ok(Some(address)) => {
                    script.line(format!("set -- \"$@\" -a {address}"));
                    linked.push(image);
                }
                Ok(None) => script.comment(format!("{}: no load address", image.name)),
                Err(why) => script.left_out(image, &why),
            }
        }
        for image in linked {
            script.image(image, kextutil(image));
        }
    }
}

/// The programming interfaces of the kernel are listed as kexts; they are no files. Modules of Linux, of which no file is at hand, are told by
/// their names: every bundle identifier has a dot.
fn is_kext(image: &ImageFacts) -> bool {
    let of_darwin = !image.elf && (image.file.is_some() || image.name.contains('.'));
    of_darwin && !image.kernel && !image.name.starts_with("com.apple.kpi.")
}

fn address(image: &ImageFacts, slide: Slide) -> Result<Option<String>, Refusal> {
    let Some(load) = image.load_address.filter(|load| *load != Avma(0)) else { return Ok(None) };
    Ok(Some(format!("{}@{}", plain(&image.name)?, load.unslid(slide))))
}

/// The bundle where it is at hand, else whatever the system knows by that identifier.
fn kextutil(image: &ImageFacts) -> Result<Vec<String>, Refusal> {
    let bundle = image.file.as_deref().and_then(|file| file.ancestors().find(|dir| dir.extension().is_some_and(|end| end == "kext")));
    let which = match bundle {
        Some(bundle) => shell(path_text(bundle)?)?,
        None => format!("-b {}", plain(&image.name)?),
    };
    Ok(vec![format!("kextutil -n -s \"$dir\" \"$@\" {which}")])
}
