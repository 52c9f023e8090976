//! Plain lldb, and lldb with the macros that come with xnu.
//!
//! Checked with lldb 14 (Debian's, on Linux): the first file goes to `target create`, others to `target modules add`; then each segment is
//! loaded by name, which is the only right form where they do not move together. A path must be the very one that was added. A dSYM
//! bundle is refused (`invalid module path`), its inner file is taken and matched by UUID.
//!
//! No setting is changed, so none has to be restored: nothing here asks or pages.

use super::facts::{Facts, ImageFacts};
use super::quote::{Refusal, one_line, path_text, plain};
use super::{Debugger, Options, Script};
use crate::model::addr::Arch;

/// lldb.
pub struct Lldb;

impl Debugger for Lldb {
    fn name(&self) -> &'static str {
        "lldb"
    }

    fn usage(&self, options: Options) -> Vec<String> {
        if options.xnu {
            return vec![
                "Needs the kernel's own lldb macros (xnu's lldbmacros, loaded from the kernel's dSYM) and an attached kernel or core."
                    .to_string(),
                "Not run against them: the form is that of xnu's source. Use: command source THIS-FILE".to_string(),
            ];
        }
        vec!["Checked with lldb 14. Use: lldb -s THIS-FILE, or `command source THIS-FILE`. It changes no settings.".to_string()]
    }

    fn commands(&self, facts: &Facts, options: Options, script: &mut Script) {
        if !facts.addresses_slid {
            script.comment("Addresses are as the report and load maps print them, without the kernel slide: right for looking them up;");
            script.comment("in an attached kernel that is slid they are wrong.");
        }
        let mut first = !options.xnu;
        for image in facts.images.iter().filter(|image| image.file.is_some()) {
            let lines = if options.xnu { addkext(image) } else { load(image, first) };
            first &= lines.is_err();
            match lines {
                Err(why) if options.xnu && image.kernel => script.comment(format!("{}: {why}", image.name)),
                lines => script.image(image, lines),
            }
        }
        for breakpoint in &facts.breakpoints {
            script.comment(format!("stop in {}", breakpoint.function));
            breakpoint.places.iter().for_each(|place| script.line(format!("breakpoint set --address {}", place.address)));
        }
        facts.frames(script, |address, script| script.line(format!("image lookup -v -a {address}")));
    }
}

/// A word of a plain lldb command.
///
/// Outside quotes lldb 14 drops a backslash before blanks, quotes and another backslash and keeps any other (`Args.cpp`). What stands
/// between backticks is an expression, wherever it is in the line: one backslash is used up there, and one when words are split.
fn word(text: &str) -> Result<String, Refusal> {
    let quoted = |c: char| match c {
        '`' => "\\\\`".to_string(),
        ' ' | '"' | '\'' | '\\' => format!("\\{c}"),
        c => c.to_string(),
    };
    Ok(one_line(text)?.chars().map(quoted).collect())
}

/// The commands for one image.
fn load(image: &ImageFacts, first: bool) -> Result<Vec<String>, Refusal> {
    let path = word(path_text(image.file.as_deref().ok_or("no file")?)?)?;
    usable(image)?;
    let arch = image.arch.map(Arch::name).ok_or("its architecture is not known")?;
    let mut lines =
        vec![if first { format!("target create --no-dependents --arch {arch} {path}") } else { format!("target modules add {path}") }];
    if let Some(debug) = &image.debug_file {
        lines.push(format!("target symbols add {}", word(path_text(debug)?)?));
    }
    let mut load = format!("target modules load --file {path}");
    // Of two files of one name the UUID tells which is meant.
    if let Some(id) = image.id.as_ref().filter(|_| !image.elf) {
        load.push_str(&format!(" --uuid {id}"));
    }
    for section in image.sections.iter().filter(|section| !image.elf || section.executable) {
        load.push_str(&format!(" {} {}", word(&section.name)?, section.address));
    }
    lines.push(load);
    Ok(lines)
}

/// Whether lldb can use the file as it is.
fn usable(image: &ImageFacts) -> Result<(), Refusal> {
    match image.arch {
        _ if image.sections.is_empty() => Err("its load address is not known: give a load map with -l, or @ADDR".to_string()),
        _ if image.unlinked => Err("an unlinked Linux module; lldb was not checked with those, make a script for gdb".to_string()),
        _ if image.list => Err("it is a list of symbols, which lldb does not read; give the kernel's file".to_string()),
        _ if image.packed.is_some() => Err("lldb reads no packed file; give --unpack DIR".to_string()),
        Some(Arch::Ppc | Arch::Ppc64) if !image.elf => Err("lldb 14 has no Mach-O for PowerPC (`invalid triple`)".to_string()),
        _ => Ok(()),
    }
}

/// xnu's `addkext -F PATH ADDRESS`, which runs `target modules load --slide ADDRESS`: one number for all segments.
fn addkext(image: &ImageFacts) -> Result<Vec<String>, Refusal> {
    if image.kernel {
        return Err("the macros load the kernel themselves".to_string());
    }
    usable(image)?;
    // The macro puts the path into another command as it is.
    let path = plain(path_text(image.file.as_deref().ok_or("no file")?)?)?;
    let mut slides: Vec<u64> = image.sections.iter().map(|section| section.address.0.wrapping_sub(section.linked.0)).collect();
    slides.sort_unstable();
    slides.dedup();
    let apart = matches!(image.arch, Some(Arch::Arm64 | Arch::Arm64e))
        && image.unplaced.iter().chain(image.sections.iter().map(|s| &s.name)).any(|name| name == "__TEXT_EXEC");
    match slides[..] {
        [slide] if !apart => Ok(vec![format!("addkext -F {path} {slide:#x}")]),
        _ => Err(format!(
            "addkext takes one address, and the segments of this kext (arm64) lie apart; in an attached kernel `addkext -F {path}` without an \
             address finds them by UUID, and plain lldb scripts place each segment"
        )),
    }
}
