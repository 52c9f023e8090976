//! crash: `mod -s NAME FILE` for each module.
//!
//! crash reads where sections lie from the kernel itself, so only names and files are needed; the slide goes on its command line
//! (`--kaslr`, crash 7.1.4 and later, help of crash 8). Checked with 8.0.2: `tests/qemu/`. Its command lines have redirections and no escapes, so only plain words are written.

use super::facts::{Facts, ImageFacts};
use super::quote::{Refusal, path_text, plain, shell};
use super::{Debugger, Options, Script};

/// crash.
pub struct Crash;

impl Debugger for Crash {
    fn name(&self) -> &'static str {
        "crash"
    }

    fn usage(&self, _options: Options) -> Vec<String> {
        vec!["Checked with crash 8.0.2 on a memory dump of QEMU.".to_string()]
    }

    fn commands(&self, facts: &Facts, _options: Options, script: &mut Script) {
        command_line(facts, script);
        for image in facts.images.iter().filter(|image| !image.kernel && image.file.is_some()) {
            script.image(image, module(image));
        }
        facts.frames(script, |address, script| script.line(format!("sym {address:x}", address = address.0)));
    }
}

/// The command that starts crash, which a script of its commands cannot hold.
fn command_line(facts: &Facts, script: &mut Script) {
    let kernel = facts.images.iter().find(|image| image.kernel && image.file.is_some() && image.elf && !image.list);
    let path = kernel.and_then(|image| shell(path_text(image.file.as_deref()?).ok()?).ok());
    let path = path.unwrap_or_else(|| "VMLINUX".to_string());
    let slide =
        facts.slide.filter(|slide| slide.0 != 0 && facts.addresses_slid).map(|slide| format!("--kaslr={slide} ")).unwrap_or_default();
    script.comment(format!("Use: crash {slide}{path} VMCORE -i THIS-FILE"));
    if slide.is_empty() {
        script.comment("With a slide that kstack does not know crash finds its own from the dump, or with --kaslr=auto.");
    }
}

fn module(image: &ImageFacts) -> Result<Vec<String>, Refusal> {
    if !image.unlinked {
        return Err("crash takes only ELF modules of Linux".to_string());
    }
    if image.packed.is_some() {
        return Err("it is packed; give --unpack DIR".to_string());
    }
    Ok(vec![format!("mod -s {} {}", plain(&image.name)?, plain(path_text(image.file.as_deref().ok_or("no file")?)?)?)])
}
