//! GNU gdb, 13 and later, for ELF kernels; Apple's gdb for Mach-O ones.
//!
//! Checked with gdb 13.1: `add-symbol-file FILE -o OFFSET -s SECTION ADDRESS` moves a linked kernel and keeps a section at an address of
//! its own; with a module the first address is that of `.text` and every other section needs its own `-s`, or its functions are
//! looked for at low addresses. The settings that a script changes are kept with `$_gdb_setting`, which needs no Python (gdb 10).

use std::collections::BTreeSet;
use std::path::Path;

use super::facts::{Facts, ImageFacts, SectionFacts};
use super::quote::{Refusal, backslashed, path_text, plain, shell};
use super::{Debugger, Options, Script};
use crate::model::addr::Arch;

/// GNU gdb and Apple's.
pub struct Gdb;

impl Debugger for Gdb {
    fn name(&self) -> &'static str {
        "gdb"
    }

    fn usage(&self, options: Options) -> Vec<String> {
        if options.apple {
            return vec![
                "For Apple's gdb (Mac OS X 10.5 to 10.8). Not run in it: the form is that of its source.".to_string(),
                "Use: gdb -arch ARCH KERNEL, attach, then `source THIS-FILE`. Loaded kexts are found in the kernel's memory.".to_string(),
            ];
        }
        vec![
            "Needs gdb 10 or later; checked with 13.1. Use: gdb -x THIS-FILE vmlinux, then `target remote HOST:PORT`,".to_string(),
            "or `source THIS-FILE` in a gdb that is attached already. Where the kernel is loaded, symbols that gdb had before are dropped."
                .to_string(),
        ]
    }

    fn commands(&self, facts: &Facts, options: Options, script: &mut Script) {
        if options.apple {
            return apple(facts, script);
        }
        settings(facts, script);
        for image in &facts.images {
            load(facts, image, script);
        }
        for breakpoint in &facts.breakpoints {
            script.comment(format!("stop in {}", breakpoint.function));
            breakpoint.places.iter().for_each(|place| script.line(format!("break *{}", place.address)));
        }
        // `list` ends the script at the first address without a line, and without the sources it shows nothing: the user types it.
        facts.frames(script, |address, script| script.line(format!("info symbol {address}\ninfo line *{address}\n# list *{address}")));
        for name in SETTINGS {
            script.line(format!("if $kstack_{name}\nset {name} on\nend"));
        }
    }
}

/// What is turned off while the script runs: each file would ask for a confirmation.
const SETTINGS: [&str; 2] = ["confirm", "pagination"];

fn settings(facts: &Facts, script: &mut Script) {
    for name in SETTINGS {
        script.line(format!("set $kstack_{name} = $_gdb_setting(\"{name}\")"));
        script.line(format!("set {name} off"));
    }
    if let Some(name) = facts.arch.and_then(architecture) {
        script.line(format!("set architecture {name}"));
    }
}

/// What `set architecture` calls it (gdb 13, `set architecture` without a value lists them).
fn architecture(arch: Arch) -> Option<&'static str> {
    match arch {
        Arch::X86_64 => Some("i386:x86-64"),
        Arch::I386 => Some("i386"),
        Arch::Arm64 | Arch::Arm64e => Some("aarch64"),
        Arch::Arm => Some("arm"),
        Arch::Ppc => Some("powerpc:common"),
        Arch::Ppc64 => Some("powerpc:common64"),
        Arch::S390x => Some("s390:64-bit"),
        Arch::Riscv64 => Some("riscv:rv64"),
        Arch::Mips => None,
        Arch::LoongArch64 => Some("Loongarch64"),
    }
}

/// The line for one image, or why there is none.
fn load(facts: &Facts, image: &ImageFacts, script: &mut Script) {
    let Some(file) = &image.file else { return };
    if !image.elf {
        return script.left_out(image, "GNU gdb reads no Mach-O kernels; make a script for lldb, or with --apple for Apple's gdb");
    }
    let path = match path_text(file) {
        Ok(path) => path,
        Err(why) => return script.left_out(image, &why),
    };
    if let Some(why) = unreadable(image, path) {
        return script.left_out(image, &why);
    }
    let lines = if image.unlinked { module(image, path, script) } else { kernel(facts, image, path) };
    script.image(image, lines);
}

/// Why gdb cannot use the file as it is, and what to run.
fn unreadable(image: &ImageFacts, path: &str) -> Option<String> {
    let quoted = shell(path).ok()?;
    if image.list {
        return Some("it is a list of symbols, which gdb does not read; give the vmlinux".to_string());
    }
    if let Some(program) = image.packed {
        return Some(format!("gdb reads no packed file; give --unpack DIR, or run `{program} -dk {quoted}` and give the unpacked one"));
    }
    if image.addressed.is_empty() {
        return None;
    }
    let changes: Vec<String> =
        image.addressed.iter().filter_map(|name| Some(format!("--change-section-address {}=0", shell(name).ok()?))).collect();
    Some(format!(
        "sections of this unlinked file have addresses of their own, and gdb 13 would show wrong functions; \
         run `objcopy {} {quoted} COPY`, then kstack again with the copy",
        changes.join(" ")
    ))
}

fn kernel(facts: &Facts, image: &ImageFacts, path: &str) -> Result<Vec<String>, Refusal> {
    let slide = facts.slide.ok_or("its slide is not known: give --slide, or -k FILE@ADDR")?;
    let percpu = if image.percpu_at_zero { " -s .data..percpu 0" } else { "" };
    // Without the first line a vmlinux named on the command line stays at the addresses of its file beside the one that is moved.
    Ok(vec!["symbol-file".to_string(), format!("add-symbol-file {} -o {slide}{percpu}", backslashed(path)?)])
}

/// `.text` by its position, every other section by name, in the order of their addresses.
fn module(image: &ImageFacts, path: &str, script: &mut Script) -> Result<Vec<String>, Refusal> {
    let mut sections: Vec<&SectionFacts> = image.sections.iter().filter(|section| in_memory(&section.name)).collect();
    if sections.is_empty() {
        return Err("none of its sections has an address: give a tree of /sys/module/*/sections, or /proc/modules, with -l".to_string());
    }
    sections.sort_by_key(|section| section.address);
    let mut line = format!("add-symbol-file {}", backslashed(path)?);
    if let Some(text) = image.section(".text") {
        line.push_str(&format!(" {text}"));
    }
    for section in sections.iter().filter(|section| section.name != ".text") {
        line.push_str(&format!(" -s {} {}", backslashed(&section.name)?, section.address));
    }
    missing(image, script);
    Ok(vec![line])
}

/// Says which sections have no address: their symbols stay at low addresses, where nothing else is.
fn missing(image: &ImageFacts, script: &mut Script) {
    let unplaced = image.unplaced.iter().filter(|name| in_memory(name));
    let (init, other): (Vec<&str>, Vec<&str>) = unplaced.map(String::as_str).partition(|name| name.starts_with(".init"));
    if !other.is_empty() {
        script.comment(format!("{}: no address for {} in {}", image.name, other.join(" "), image.placed_by));
    }
    if !init.is_empty() {
        script.comment(format!("{}: {} not placed: that memory is freed once the module is loaded", image.name, init.join(" ")));
    }
}

/// Whether a section of a module is of use to a debugger: notes and version tables name no symbol, and the loader drops some.
fn in_memory(section: &str) -> bool {
    !section.starts_with(".note") && !matches!(section, ".modinfo" | "__versions")
}

/// Apple's gdb reads kexts itself: as it finds the places in the kernel, or in the `.sym` file that `kextutil -s` made.
///
/// `add-kext BUNDLE|FILE.sym`, `set kext-symbol-file-path DIR` and `add-dsym` are built in (gdb-1822 to gdb-2831); they take paths as they are.
fn apple(facts: &Facts, script: &mut Script) {
    let kexts: Vec<&ImageFacts> = facts.images.iter().filter(|image| !image.kernel && image.file.is_some()).collect();
    let folders: BTreeSet<&Path> =
        kexts.iter().filter(|kext| kext.linked_at_runtime).filter_map(|kext| kext.file.as_deref()?.parent()).collect();
    match folders.iter().next().and_then(|folder| plain(path_text(folder).ok()?).ok()) {
        Some(folder) => script.line(format!("set kext-symbol-file-path {folder}")),
        None => script.comment("Kernels before 10.7 need FILE.sym of each kext (`kstack script kextutil`): set kext-symbol-file-path DIR"),
    }
    if folders.len() > 1 {
        script.comment("gdb takes one folder of .sym files; those in other folders are named in full below");
    }
    kexts.iter().for_each(|kext| script.image(kext, add_kext(kext)));
}

fn add_kext(kext: &ImageFacts) -> Result<Vec<String>, Refusal> {
    let file = kext.file.as_deref().ok_or("no file")?;
    if kext.elf {
        return Err("Apple's gdb adds Mach-O kexts; leave --apple out for Linux modules".to_string());
    }
    let bundle = file.ancestors().find(|dir| dir.extension().is_some_and(|extension| extension == "kext"));
    let Some(path) = bundle.or(Some(file).filter(|_| kext.linked_at_runtime)) else {
        return Err("add-kext takes a .kext bundle or a .sym file, and this is neither".to_string());
    };
    let mut lines = vec![format!("add-kext {}", plain(path_text(path)?)?)];
    let dsym = kext
        .debug_file
        .as_deref()
        .and_then(|file| file.ancestors().find(|dir| dir.extension().is_some_and(|extension| extension == "dSYM")));
    if let Some(dsym) = dsym {
        lines.push(format!("add-dsym {}", plain(path_text(dsym)?)?));
    }
    Ok(lines)
}
