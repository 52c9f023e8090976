//! drgn: a Python file that gives modules their files at the addresses of their sections.
//!
//! The module API is that of drgn 0.0.31 and later (`Program.relocatable_module`, `RelocatableModule.section_addresses`,
//! `Module.try_file`, from its API reference); checked with 0.3.0.

use super::facts::{Facts, ImageFacts};
use super::quote::{Refusal, path_text, python};
use super::{Debugger, Options, Script};

/// drgn.
pub struct Drgn;

impl Debugger for Drgn {
    fn name(&self) -> &'static str {
        "drgn"
    }

    fn usage(&self, _options: Options) -> Vec<String> {
        vec!["Needs drgn 0.0.31 or later; checked with 0.3.0. Use: drgn -c VMCORE THIS-FILE, or drgn -k THIS-FILE.".to_string()]
    }

    fn commands(&self, facts: &Facts, _options: Options, script: &mut Script) {
        script.line("import sys\n");
        let kernel = facts.images.iter().find(|image| image.kernel && image.file.is_some());
        let path = kernel.map(|image| (image, kernel_file(image)));
        match path {
            Some((_, Ok(path))) => script.line(format!("KERNEL = {path}")),
            Some((image, Err(why))) => {
                script.left_out(image, &why);
                script.line("KERNEL = None");
            }
            None => script.line("KERNEL = None"),
        }
        script.line("# name, load address, file, whether to use it although it is of another build, addresses and sizes of sections");
        script.line("MODULES = [");
        for image in facts.images.iter().filter(|image| !image.kernel && image.file.is_some()) {
            script.image(image, module(image));
        }
        script.line("]");
        frames(facts, script);
        script.line(LOAD.trim_end());
    }
}

/// What the file does with its lists.
const LOAD: &str = r#"

def load(prog):
    """Give every module its file; what drgn has found already is kept."""
    loaded = {module.name: module for module in prog.modules()}
    if KERNEL:
        # drgn makes the module of the kernel when it looks for loaded ones, which --no-default-symbols leaves undone.
        next(iter(prog.loaded_modules()), None)
        try:
            prog.main_module().try_file(KERNEL)
        except LookupError:
            print("this program has no kernel:", KERNEL, "not loaded", file=sys.stderr)
    for name, address, path, force, sections in MODULES:
        module = loaded.get(name)
        if module is None:
            module = prog.relocatable_module(name, address, create=True)
            for section, (at, size) in sections.items():
                module.section_addresses[section] = at
            # drgn asks a module for an address only if it lies in its ranges.
            module.address_ranges = [(at, at + size) for at, size in sections.values() if size]
        if module.wants_debug_file():
            module.try_file(path, force=force)
        if module.wants_debug_file():
            print(name + ": drgn did not take", path, file=sys.stderr)


def look_up(prog):
    """Name the frames of the chosen stack."""
    for address in FRAMES:
        try:
            print(hex(address), prog.symbol(address).name)
        except LookupError:
            print(hex(address), "?")


load(prog)
look_up(prog)
"#;

fn kernel_file(image: &ImageFacts) -> Result<String, Refusal> {
    usable(image)?;
    python(path_text(image.file.as_deref().ok_or("no file")?)?)
}

fn usable(image: &ImageFacts) -> Result<(), Refusal> {
    match image.packed {
        _ if !image.elf => Err("drgn reads no Mach-O".to_string()),
        _ if image.list => Err("it is a list of symbols, which drgn does not read; give the vmlinux".to_string()),
        Some(_) => Err("drgn reads no packed file; give --unpack DIR".to_string()),
        None => Ok(()),
    }
}

fn module(image: &ImageFacts) -> Result<Vec<String>, Refusal> {
    usable(image)?;
    let path = python(path_text(image.file.as_deref().ok_or("no file")?)?)?;
    let load = image.load_address.or(image.sections.first().map(|section| section.address));
    let load = load.ok_or("none of its sections has an address: give a load map with -l")?;
    let force = if image.status == "mismatched" { "True" } else { "False" };
    let mut lines = vec![format!("    ({}, {load}, {path}, {force}, {{", python(&image.name)?)];
    for section in &image.sections {
        lines.push(format!("        {}: ({}, {:#x}),", python(&section.name)?, section.address, section.size));
    }
    lines.push("    }),".to_string());
    Ok(lines)
}

fn frames(facts: &Facts, script: &mut Script) {
    script.line("# frames of the chosen stack");
    script.line("FRAMES = [");
    facts.frames(script, |address, script| script.line(format!("    {address},")));
    script.line("]");
}
