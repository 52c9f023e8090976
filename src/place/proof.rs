//! What speaks for or against a symbol file being the build that the report is of, each piece with its name.

use super::{Image, Placer, Refused};
use crate::model::capture::Os;
use crate::note::Note;
use crate::parse::lex;
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
    /// Source lines of BUG and WARN that the report prints, against the file's table of them.
    Lines,
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
            EvidenceKind::Lines => "lines",
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
        let running = self.capture.kernel_version.as_deref();
        let (said, builds) = (banners(self.text), running.map_or_else(Vec::new, |release| builds(self.text, release)));
        if let Some((contradicts, text)) = kernel(running, &said, &builds, &program.banners()) {
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

/// Which builds of `release` the headings of traces name, `CPU: 0 PID: 7 Comm: cat Not tainted 6.13.0-rc1+ #57`: the number, and the version
/// of the package that Debian prints behind it (`dump_stack_print_info` in lib/dump_stack.c, 3.10 to 6.12).
fn builds(text: &[u8], release: &str) -> Vec<String> {
    const MOST: usize = 256;
    const LONGEST: usize = 512;
    let named = format!(" {release} #");
    let build = |at: usize| {
        // Other lines name a build more briefly: what `uname -a` says fits every one of a distribution's.
        let start = memchr::memrchr(b'\n', &text[at.saturating_sub(LONGEST)..at]).map_or(0, |line| at.saturating_sub(LONGEST) + line);
        memchr::memmem::find(&text[start..at], b"Comm: ").or_else(|| memchr::memmem::find(&text[start..at], b"Pid: "))?;
        let rest = &text[at + named.len() - 1..text.len().min(at + named.len() + LONGEST)];
        let line = rest.split(|b| matches!(b, b'\n' | b'\r')).next()?;
        let mut words = lex::words(line).map(lex::text);
        let number = words.next()?;
        let package = words.next().filter(|word| word == "Debian").and_then(|_| words.next());
        Some(package.map_or(number.clone(), |version| format!("{number} Debian {version}")))
    };
    let mut found: Vec<String> = memchr::memmem::find_iter(text, named.as_bytes()).take(MOST).filter_map(build).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Whether a banner is of that build: `... #57 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-16)`.
fn is_build(banner: &str, build: &str) -> bool {
    let (number, package) = build.split_once(" Debian ").map_or((build, None), |(number, version)| (number, Some(version)));
    let words: Vec<&str> = banner.split_ascii_whitespace().collect();
    words.contains(&number) && package.is_none_or(|version| words.windows(2).any(|pair| pair == ["Debian", version]))
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

/// Whether a kernel's banners contradict the report: none of those that it prints, or else its release and build, is the file's.
fn kernel(running: Option<&str>, said: &[String], builds: &[String], built: &[String]) -> Option<(bool, String)> {
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
    let (running, numbered) = (running?, built.iter().find(|banner| banner.contains(" #")));
    let (contradicts, text) = release(running, &word(first));
    let (Some(build), Some(numbered), false) = (builds.first(), numbered, contradicts) else { return Some((contradicts, text)) };
    Some(match builds.iter().find(|build| built.iter().any(|banner| is_build(banner, build))) {
        Some(build) => (false, format!("release: {running} {build} in report and file")),
        None => (true, format!("release: the report is of `{running} {build}`, the file of `{}`", last_words(numbered))),
    })
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
        let ask = |running: Option<&str>, said: &[String]| kernel(running, said, &[], &file).map(|(contradicts, _)| contradicts);
        assert_eq!(ask(None, &[banner("6.1.0-56", "#1 SMP Debian 6.1.192-2")]), Some(false));
        assert_eq!(ask(Some("6.1.0-56"), &[banner("6.1.0-56", "#1 SMP Debian 6.1.192-1")]), Some(true), "the same release, built before");
        let boots = [banner("6.1.0-55", "#1 SMP x"), banner("6.1.0-56", "#1 SMP Debian 6.1.192-2")];
        assert_eq!(ask(Some("6.1.0-55"), &boots), Some(false), "one boot of several");
        assert_eq!(ask(Some("6.1.0-56"), &["Linux version 6.1.0-56 (me@".to_string()]), Some(false), "cut short");
        assert_eq!((ask(Some("6.1.0-55"), &[]), ask(Some("6.1.0-56"), &[]), ask(None, &[])), (Some(true), Some(false), None));
        assert_eq!(kernel(Some("6.1.0-56"), &[], &[], &[]), None, "a .debug file without data");
    }

    #[test]
    fn a_kernel_that_was_built_again_has_another_number() {
        let text = b"[ 1.0] CPU: 0 PID: 7 Comm: cat Not tainted 6.13.0-rc1+ #57 PREEMPT(full)\r\n\
            [ 2.0] CPU: 1 UID: 0 PID: 8 Comm: ls Tainted: G   OE  6.1.0-56-amd64 #1  Debian 6.1.192-2\n[ 3.0] Linux version 6.13.0-rc1+ (me)\n";
        assert_eq!((builds(text, "6.13.0-rc1+"), builds(text, "6.13")), (vec!["#57".to_string()], vec![]));
        assert_eq!(builds(text, "6.1.0-56-amd64"), ["#1 Debian 6.1.192-2"]);
        let uname = b"Linux lab 6.1.0-56-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 x86_64\n";
        assert!(builds(uname, "6.1.0-56-amd64").is_empty(), "no heading of a trace");
        let ask = |release: &str, builds: &[&str], built: &str| {
            let builds: Vec<String> = builds.iter().map(ToString::to_string).collect();
            kernel(Some(release), &[], &builds, &[format!("Linux version {release} (me@here) (gcc 12.2) {built}")]).unwrap()
        };
        assert!(!ask("6.13.0-rc1+", &["#57"], "#57 SMP Tue Nov 17").0);
        let (against, text) = ask("6.13.0-rc1+", &["#57"], "#58 SMP Tue Nov 17");
        assert!(against && text.contains("`6.13.0-rc1+ #57`") && text.contains("`6.13.0-rc1+ #58 SMP Tue Nov 17`"), "{text}");
        assert!(!ask("6.13.0-rc1+", &["#57", "#58"], "#58 SMP Tue Nov 17").0, "two boots in one log");
        assert!(!ask("6.13.0-rc1+", &["#57"], "").0, "a banner without a number says nothing");
        let debian = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-1 (2026-11-14)";
        assert!(ask("6.1.0-56-amd64", &["#1 Debian 6.1.192-2"], debian).0);
        assert!(!ask("6.1.0-56-amd64", &["#1 Debian 6.1.192-1"], debian).0);
        assert!(ask("6.13.0-rc2+", &["#57"], "#58 SMP").0);
    }
}
