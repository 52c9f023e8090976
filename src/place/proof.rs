//! What speaks for or against a symbol file being the build that the report is of, each piece with its name.

use super::{Image, Placer, Refused};
use crate::model::capture::Os;
use crate::note::Note;
use crate::symbols::patched::BANNER;

/// One piece of evidence about an image's symbol file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evidence {
    /// What was compared.
    pub kind: EvidenceKind,
    /// Whether it contradicts the file.
    pub contradicts: bool,
    /// The finding in words: `code bytes: 61 of 64 agree (3 in patched places)`.
    pub text: String,
}

/// What can be compared. The names are those of the JSON form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EvidenceKind {
    /// UUID or build id, which prove the identity.
    Id,
    /// Sizes of functions that the report prints, against the file's.
    Sizes,
    /// Frames that print both a symbol and its address.
    Pairs,
    /// The kernel's release, against the one that the file was built for.
    Release,
    /// Machine code that the report prints.
    Code,
    /// Return addresses, each of which must follow a call.
    Calls,
}

impl EvidenceKind {
    /// The JSON name.
    pub fn name(self) -> &'static str {
        match self {
            EvidenceKind::Id => "id",
            EvidenceKind::Sizes => "sizes",
            EvidenceKind::Pairs => "pairs",
            EvidenceKind::Release => "release",
            EvidenceKind::Code => "code",
            EvidenceKind::Calls => "calls",
        }
    }
}

impl Evidence {
    /// Counts that agree, out of all.
    pub fn counted(kind: EvidenceKind, what: &str, agree: usize, all: usize) -> Evidence {
        Evidence { kind, contradicts: false, text: format!("{what}: {agree} of {all} agree") }
    }
}

/// Agreeing sizes and addresses of distinct functions from which on a file that nobody chose counts as the report's: builds of one series
/// have most sizes in common.
const FEWEST_FOR_A_GUESS: usize = 8;

/// Why a file that nobody chose cannot count as the report's; `None` where the report proves it.
pub fn doubt(image: &Image) -> Option<String> {
    let against = image.evidence.iter().find(|evidence| evidence.contradicts).map(|evidence| evidence.text.clone());
    if let Some(why) = image.refused.as_ref().map(|refused| refused.why.clone()).or(against) {
        return Some(why);
    }
    let (agree, all) = image.pairs.unwrap_or_default();
    let by = |kind| image.evidence.iter().any(|evidence| evidence.kind == kind);
    // By chance one address in 25 follows a call, and files of one series have much code in common.
    let called = by(EvidenceKind::Calls) && image.calls.is_none_or(|follow| follow >= FEWEST_FOR_A_GUESS);
    if image.matched || by(EvidenceKind::Code) || called || (agree >= FEWEST_FOR_A_GUESS && agree == all) {
        return None;
    }
    Some(match agree {
        0 => "nothing in the report says that it is of this kernel".to_string(),
        _ => format!("only {agree} sizes or addresses of functions in the report agree with it; {FEWEST_FOR_A_GUESS} would do"),
    })
}

impl Placer<'_> {
    /// Says what comparing the UUIDs or build ids gave.
    pub(super) fn note_id(&mut self, image: &mut Image) {
        let (Some(wanted), Some(program)) = (image.wanted, &image.program) else { return };
        let text = match image.matched {
            true => format!("{}: {wanted} in report and file", wanted.kind()),
            false => format!("{}: {wanted} in the report, another or none in the file", wanted.kind()),
        };
        debug_assert!(image.matched || program.id() != Some(wanted));
        image.evidence.push(Evidence { kind: EvidenceKind::Id, contradicts: !image.matched, text });
    }

    /// Compares the release that the report names with the one that the file was built for.
    pub(super) fn check_release(&mut self, image: &mut Image) {
        let (Some(program), Some(Os::Linux), false) = (image.program.clone(), self.capture.os, image.matched) else { return };
        let path = program.info().path.display();
        if !image.kernel {
            let (Some(running), Some(built)) = (&self.capture.kernel_version, program.release()) else { return };
            let (contradicts, text) = release(running, &built);
            image.evidence.push(Evidence { kind: EvidenceKind::Release, contradicts, text: text.clone() });
            match contradicts {
                true if series(running) != series(&built) => self.refuse(image, format!("{text}: {path} is another build")),
                // A module can serve several releases of one series (`modversions`).
                true => self.warn(format!("{}: {path} may be another build: {text}", image.name)),
                false => {}
            }
            return;
        }
        let said = banners(self.text);
        if let Some((contradicts, text)) = kernel(self.capture.kernel_version.as_deref(), &said, &program.banners()) {
            image.evidence.push(Evidence { kind: EvidenceKind::Release, contradicts, text: text.clone() });
            if contradicts {
                self.refuse(image, format!("{text}: {path} is another build"));
            }
        }
    }

    /// Puts a file aside that is another build, unless the user allowed it.
    pub(super) fn refuse(&mut self, image: &mut Image, why: String) {
        let Some(program) = image.program.clone() else { return };
        let text = format!("{}: {why}", image.name);
        if self.options.allow_mismatch {
            self.warn(format!("{text}; used all the same (--allow-mismatch)"));
            image.other_build = Some(why);
        } else {
            self.notes.push(Note::failure("", format!("{text}; not used. Find the right file, or force it with --allow-mismatch")));
            image.refused = Some(Refused { path: program.info().path.clone(), found: program.id(), why });
            image.program = None;
        }
    }
}

/// Lines of a report that say what kernel boots; of a log of many boots the first ones.
fn banners(text: &[u8]) -> Vec<String> {
    const MOST: usize = 64;
    let line = |at: usize| {
        String::from_utf8_lossy(text[at..].split(|b| matches!(b, b'\n' | b'\r')).next().unwrap_or_default().trim_ascii()).into_owned()
    };
    memchr::memmem::find_iter(text, BANNER).take(MOST).map(line).collect()
}

/// `6.1` of `6.1.0-56-amd64`.
fn series(release: &str) -> Vec<&str> {
    release.split(['.', '-']).take(2).collect()
}

fn release(running: &str, built: &str) -> (bool, String) {
    match running == built {
        true => (false, format!("release: {running} in report and file")),
        false => (true, format!("release: the report is of {running}, the file was built for {built}")),
    }
}

/// Whether a kernel's banners contradict the report: none of those that it prints, or else its release, is the file's.
fn kernel(running: Option<&str>, said: &[String], built: &[String]) -> Option<(bool, String)> {
    let first = built.first()?;
    let word = |banner: &str| banner.split_ascii_whitespace().nth(2).unwrap_or_default().to_string();
    if let Some(same) = said.iter().find(|said| built.contains(said)) {
        return Some((false, format!("release: report and file say `{}`", last_words(same))));
    }
    // A line that was cut short says no more than its release.
    let whole: Vec<&String> =
        said.iter().filter(|said| said.contains(" #") && !built.iter().any(|built| built.starts_with(said.as_str()))).collect();
    if let Some(said) = whole.first().filter(|_| whole.len() == said.len()) {
        let (said, built) = (last_words(said), last_words(built.last().unwrap_or(first)));
        return Some((true, format!("release: the report is of `{said}`, the file of `{built}`")));
    }
    Some(release(running?, &word(first)))
}

/// A banner without who built it with what.
fn last_words(banner: &str) -> String {
    let release = banner.split_ascii_whitespace().nth(2).unwrap_or_default();
    banner.rfind(" #").map_or_else(|| release.to_string(), |at| format!("{release}{}", &banner[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_told_by_its_banner_and_else_by_its_release() {
        let banner = |release: &str, build: &str| format!("Linux version {release} (me@here) (gcc 12.2) {build}");
        let file = [banner("6.1.0-56", "# SMP Debian 6.1.192-2"), banner("6.1.0-56", "#1 SMP Debian 6.1.192-2")];
        let ask = |running: Option<&str>, said: &[String]| kernel(running, said, &file).map(|(contradicts, _)| contradicts);
        assert_eq!(ask(None, &[banner("6.1.0-56", "#1 SMP Debian 6.1.192-2")]), Some(false));
        assert_eq!(ask(Some("6.1.0-56"), &[banner("6.1.0-56", "#1 SMP Debian 6.1.192-1")]), Some(true), "the same release, built before");
        let boots = [banner("6.1.0-55", "#1 SMP x"), banner("6.1.0-56", "#1 SMP Debian 6.1.192-2")];
        assert_eq!(ask(Some("6.1.0-55"), &boots), Some(false), "one boot of several");
        assert_eq!(ask(Some("6.1.0-56"), &["Linux version 6.1.0-56 (me@".to_string()]), Some(false), "cut short");
        assert_eq!((ask(Some("6.1.0-55"), &[]), ask(Some("6.1.0-56"), &[]), ask(None, &[])), (Some(true), Some(false), None));
        assert_eq!(kernel(Some("6.1.0-56"), &[], &[]), None, "a .debug file without data");
    }
}
