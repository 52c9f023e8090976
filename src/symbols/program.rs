//! One build of one image: its binary and what belongs to it, answering as one.

use std::sync::{Arc, OnceLock};

use super::parts::{self, Missing, PartKind};
use super::{BugLines, FileInfo, FileKind, Segment, Symbols};
use crate::model::addr::Svma;
use crate::model::frame::Location;
use crate::model::image::ImageId;
use crate::note::Note;

/// Everything known about one build of one image for one architecture: its binary and its dSYM, in either order or alone.
pub struct Program {
    pub(super) files: Vec<Arc<dyn Symbols>>,
    /// Index of the file with the most symbols.
    pub(super) fullest: OnceLock<usize>,
    /// Bundle identifier, from Info.plist or from inside the binary.
    pub bundle_id: Option<String>,
    /// File or bundle name without extension.
    pub stem: String,
}

impl Program {
    /// The file that says where things are: the binary, else the dSYM.
    pub fn info(&self) -> &FileInfo {
        self.binary().unwrap_or(&*self.files[0]).info()
    }

    /// What each of its files says about itself.
    pub fn infos(&self) -> impl Iterator<Item = &FileInfo> {
        self.files.iter().map(|file| file.info())
    }

    /// The UUID, which all its files share.
    pub fn id(&self) -> Option<ImageId> {
        self.info().id
    }

    pub(super) fn binary(&self) -> Option<&dyn Symbols> {
        self.files.iter().map(|file| &**file).find(|file| file.info().kind != FileKind::Dsym)
    }

    /// The file with the most symbols: a stripped binary leaves that to its dSYM.
    pub fn symbols(&self) -> &dyn Symbols {
        let fullest = || (0..self.files.len()).max_by_key(|at| (self.files[*at].symbol_count(), std::cmp::Reverse(*at))).unwrap_or(0);
        let at = if self.files.len() == 1 { 0 } else { *self.fullest.get_or_init(fullest) };
        &*self.files[at]
    }

    /// The file with DWARF, if there is one.
    pub(super) fn debug(&self) -> Option<&dyn Symbols> {
        self.files.iter().map(|file| &**file).find(|file| file.info().has_debug_info)
    }

    /// Whether another file of the same UUID could add to what is known: DWARF to a binary, or code to a dSYM.
    pub(super) fn is_incomplete(&self) -> bool {
        self.id().is_some() && (self.debug().is_none() || self.binary().is_none())
    }

    /// Parts of its debug info that lie in other files and are not at hand, as [`Symbols::missing_parts`] tells them.
    pub fn missing_parts(&self, all: bool) -> Vec<Missing> {
        self.debug().map_or_else(Vec::new, |debug| debug.missing_parts(all))
    }

    /// What could not be read or found of its debug info in the lookups so far.
    pub fn remarks(&self) -> Vec<Note> {
        let Some(debug) = self.debug() else { return Vec::new() };
        let place = debug.info().path.display().to_string();
        let lacks = |kind| parts::said(&self.missing_parts(false), kind);
        let parts = [PartKind::Supplementary, PartKind::Split].into_iter().filter_map(lacks);
        parts.chain(debug.damage()).map(|text| Note::warning(&place, text)).collect()
    }

    /// The file with DWARF that is not [`Program::info`]'s own: a dSYM's inner file, as a rule.
    pub fn companion(&self) -> Option<&FileInfo> {
        self.debug().map(|debug| debug.info()).filter(|debug| debug.path != self.info().path)
    }

    /// Whether source lines can be had.
    pub fn has_debug_info(&self) -> bool {
        self.debug().is_some()
    }

    /// Code bytes between two addresses of [`Program::info`]'s file.
    pub fn code(&self, from: Svma, to: Svma) -> Option<&[u8]> {
        self.binary()?.code(from, to)
    }

    /// As [`Symbols::code_parts`], for addresses of [`Program::info`]'s file.
    pub fn code_parts(&self) -> Vec<std::ops::Range<u64>> {
        self.binary().map_or_else(Vec::new, |binary| binary.code_parts())
    }

    /// As [`Symbols::patched`], for addresses of [`Program::info`]'s file.
    pub fn patched(&self, from: Svma, to: Svma) -> Vec<super::patched::Site> {
        self.binary().map_or_else(Vec::new, |binary| binary.patched(from, to))
    }

    /// As [`Symbols::callee`].
    pub fn callee(&self, end: Svma) -> Option<super::Callee> {
        self.binary()?.callee(end)
    }

    /// As [`Symbols::banners`].
    pub fn banners(&self) -> Vec<String> {
        self.binary().map_or_else(Vec::new, |binary| binary.banners())
    }

    /// As [`Symbols::bug_lines`], for addresses of [`Program::info`]'s file.
    pub fn bug_lines(&self, at: &[Svma]) -> BugLines {
        self.binary().map_or_else(BugLines::default, |binary| binary.bug_lines(at))
    }

    /// As [`Symbols::kernel_sizes`].
    pub fn kernel_sizes(&self) -> super::kernel_sizes::KernelSizes {
        self.symbols().kernel_sizes()
    }

    /// As [`Symbols::release`].
    pub fn release(&self) -> Option<String> {
        self.binary()?.release()
    }

    /// Source locations, as [`Symbols::locate`], for addresses of [`Program::info`]'s file.
    pub fn locate(&self, probes: &[Svma]) -> Vec<Vec<Location>> {
        let Some(debug) = self.debug() else { return vec![Vec::new(); probes.len()] };
        let probes: Vec<Svma> = probes.iter().map(|probe| translate(self.info(), debug.info(), *probe)).collect();
        debug.locate(&probes)
    }

    /// The function that debug info says covers an address of [`Program::info`]'s file, its start as such an address too.
    pub fn debug_function(&self, at: Svma) -> Option<(String, Svma)> {
        let debug = self.debug()?;
        let (name, start) = debug.debug_function(translate(self.info(), debug.info(), at))?;
        Some((name, translate(debug.info(), self.info(), start)))
    }

    /// `at` in the file that [`Program::symbols`] answers from.
    pub fn in_symbols(&self, at: Svma) -> Svma {
        translate(self.info(), self.symbols().info(), at)
    }

    /// The inverse of [`Program::in_symbols`].
    pub fn from_symbols(&self, at: Svma) -> Svma {
        translate(self.symbols().info(), self.info(), at)
    }
}

/// An address of one file of a program in another, which a `kextutil -s` file and its dSYM state differently: segment by segment.
fn translate(from: &FileInfo, to: &FileInfo, at: Svma) -> Svma {
    let holds = |segment: &&Segment| at.0.wrapping_sub(segment.svma.0) < segment.size;
    let target = from.segments.iter().find(holds).and_then(|segment| Some((segment.svma, to.segment(&segment.name)?.svma)));
    target.map_or(at, |(old, new)| Svma(at.0.wrapping_sub(old.0).wrapping_add(new.0)))
}
