//! Scripts that load every symbol file at its address in a debugger.
//!
//! [`facts`] says what is known without any debugger's syntax; a debugger is one module that implements [`Debugger`], and one line in
//! [`DEBUGGERS`]. Paths and names that come from reports are words, never commands: [`quote`].

mod crash;
mod drgn;
pub mod facts;
mod gdb;
mod kextutil;
mod lldb;
pub mod quote;

use crate::model::addr::Avma;
use crate::note::Note;
use facts::{Facts, FrameFacts, ImageFacts};
use quote::Refusal;

/// What the user decides about a script.
#[derive(Clone, Copy, Default, Debug)]
pub struct Options {
    /// For Apple's own gdb instead of GNU's.
    pub apple: bool,
    /// With the macros that come with xnu instead of plain lldb.
    pub xnu: bool,
}

/// A debugger that scripts are written for.
pub trait Debugger: Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;
    /// How the script is used, as its first comment says it.
    fn usage(&self, options: Options) -> Vec<String>;
    /// Writes the commands behind the comments that every script begins with.
    fn commands(&self, facts: &Facts, options: Options, script: &mut Script);
}

/// Every debugger that kstack writes scripts for.
pub static DEBUGGERS: &[&dyn Debugger] = &[&gdb::Gdb, &lldb::Lldb, &crash::Crash, &drgn::Drgn, &kextutil::Kextutil];

/// The debugger of that name.
pub fn by_name(name: &str) -> Option<&'static dyn Debugger> {
    DEBUGGERS.iter().copied().find(|debugger| debugger.name() == name)
}

/// A script in the making.
#[derive(Default, Debug)]
pub struct Script {
    /// Its text.
    pub text: String,
    /// What a user should know beside it.
    pub notes: Vec<Note>,
}

impl Script {
    /// Appends one command, which must hold no line feed of its own.
    pub fn line(&mut self, line: impl AsRef<str>) {
        self.text.push_str(line.as_ref());
        self.text.push('\n');
    }

    /// Appends a comment; whatever is in `text` stays one.
    pub fn comment(&mut self, text: impl AsRef<str>) {
        let text: String = text.as_ref().chars().map(|c| if is_harmless(c) { c } else { '\u{fffd}' }).collect();
        let line = format!("# {text}");
        let line = line.trim_end();
        // gdb continues a line, comment or not, that ends in a backslash.
        let end = if line.ends_with('\\') { "." } else { "" };
        self.line(format!("{line}{end}"));
    }

    /// Appends the commands for one image, or a comment that says why it is left out.
    pub fn image(&mut self, image: &ImageFacts, lines: Result<Vec<String>, Refusal>) {
        match lines {
            Ok(lines) => lines.iter().for_each(|line| self.line(line)),
            Err(why) => self.left_out(image, &why),
        }
    }

    /// Says that there is nothing to write a script of.
    pub fn nothing(&mut self, why: &str) {
        self.comment(format!("nothing can be made: {why}"));
        self.notes.push(Note::failure("", format!("nothing can be made: {why}")));
    }

    /// Says that an image is left out of the script.
    pub fn left_out(&mut self, image: &ImageFacts, why: &str) {
        self.comment(format!("{}: left out: {why}", image.name));
        self.notes.push(Note::failure("", format!("{}: left out of the script: {why}", image.name)));
    }
}

/// Whether a character of a comment neither ends the line nor shows what is on it in another order than a debugger reads it.
fn is_harmless(c: char) -> bool {
    !(c.is_control() || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
}

/// Writes the script of `debugger`.
pub fn write(debugger: &dyn Debugger, facts: &Facts, options: Options) -> Script {
    let mut script = Script::default();
    head(debugger, facts, options, &mut script);
    debugger.commands(facts, options, &mut script);
    script
}

/// The comments that say what the script is, what it was made from and how far it is proven.
fn head(debugger: &dyn Debugger, facts: &Facts, options: Options, script: &mut Script) {
    script.comment(format!("Made by kstack {} for {}.", env!("CARGO_PKG_VERSION"), debugger.name()));
    debugger.usage(options).iter().for_each(|line| script.comment(line));
    facts.made_from.iter().for_each(|source| script.comment(format!("made from {source}")));
    if let Some(slide) = facts.slide {
        script.comment(format!("kernel slide {slide}: {}", facts.slide_from));
    }
    for status in ["matched", "unverified", "mismatched", "missing"] {
        let images: Vec<&ImageFacts> = facts.images.iter().filter(|image| image.status == status).collect();
        if !images.is_empty() {
            script.comment(format!("{} {}", images.len(), about(status)));
        }
        images.iter().for_each(|image| script.comment(described(image)));
    }
    if facts.images.iter().any(ImageFacts::is_missing) {
        let folders: Vec<String> = facts.searched.iter().map(|folder| folder.display().to_string()).collect();
        let places = if folders.is_empty() { "no folder was given with -S".to_string() } else { folders.join(", ") };
        script.comment(format!("looked for files in: {places}"));
    }
    if facts.has_no_address() {
        script.comment(NO_ADDRESS);
        script.notes.push(Note::failure("", NO_ADDRESS));
    }
}

impl Facts {
    /// The frames of the chosen stack, each a comment and the command that `look_up` writes for its address.
    fn frames(&self, script: &mut Script, look_up: impl Fn(Avma, &mut Script)) {
        let Some(stack) = &self.stack else { return };
        script.comment(format!("stack {} of {}", stack.number, stack.title));
        for (n, frame) in stack.frames.iter().enumerate() {
            script.comment(format!("#{n} {}{}", frame.name, place(frame)));
            if let Some(address) = frame.look_up {
                look_up(address, script);
            }
        }
    }
}

/// The address as printed, where another is looked up.
fn place(frame: &FrameFacts) -> String {
    match (frame.address, frame.look_up) {
        (Some(address), Some(look_up)) if address != look_up => format!(", returns to {address}: the call before it"),
        (Some(address), _) => format!(", at {address}"),
        _ => ": its address is not known".to_string(),
    }
}

/// What to do about a load map of zeros.
const NO_ADDRESS: &str = "no image has an address, so nothing can be placed: the kernel hides addresses from users without privilege \
    (kernel.kptr_restrict); read /proc/modules, /proc/kallsyms and /sys/module/*/sections as root, or give -k FILE@ADDR and -m FILE@ADDR";

fn about(status: &str) -> &'static str {
    match status {
        "matched" => "verified: UUID or build id of the file is the one that ran",
        "unverified" => "unverified: nothing says whether the file is the build that ran",
        "mismatched" => "of another build",
        _ => "missing: no symbol file",
    }
}

fn described(image: &ImageFacts) -> String {
    let mut parts = vec![format!("  {}", image.name)];
    parts.extend(image.load_address.map(|at| format!("at {at}")));
    parts.extend(image.id.clone());
    parts.extend(image.file.as_ref().map(|file| file.display().to_string()));
    parts.extend(image.reason.as_ref().map(|reason| format!("({reason})")));
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_in_a_comment_stays_on_its_line() {
        let comment = |text: &str| {
            let mut script = Script::default();
            script.comment(text);
            script.text
        };
        assert_eq!(comment("a\\"), "# a\\.\n");
        assert_eq!(comment("a\\ \u{a0}"), "# a\\.\n", "blanks behind the backslash are taken away");
        assert_eq!(comment("a\\\t"), "# a\\\u{fffd}\n");
        assert_eq!(comment("a\nb\u{2028}c\u{202e}d\u{2066}e\u{85}"), "# a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e\u{fffd}\n");
        assert_eq!(comment(" "), "#\n");
    }
}
