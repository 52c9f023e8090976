//! What speaks for or against a symbol file being the build that the report is of, each piece with its name.

use super::{Image, Placer, Refused};
use crate::model::capture::Os;
use crate::note::Note;

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

    /// Compares the release that the report names with the one that the file was built for. A kernel of another release is another
    /// build; a module can serve several (`modversions`), so that it is only said.
    pub(super) fn check_release(&mut self, image: &mut Image) {
        let (Some(program), Some(Os::Linux)) = (image.program.clone(), self.capture.os) else { return };
        let (Some(running), false) = (&self.capture.kernel_version, image.matched) else { return };
        let Some(built) = program.release() else { return };
        let contradicts = built != *running;
        let text = match contradicts {
            true => format!("release: the report is of {running}, the file was built for {built}"),
            false => format!("release: {running} in report and file"),
        };
        image.evidence.push(Evidence { kind: EvidenceKind::Release, contradicts, text: text.clone() });
        if contradicts && image.kernel {
            self.refuse(image, format!("{text}: {} is another build", program.info().path.display()));
        } else if contradicts {
            self.warn(format!("{}: {} may be another build: {text}", image.name, program.info().path.display()));
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
