//! Every place where the symbol file of an image was looked for, in order, and what came of it: for `kstack modules`. Found out when somebody
//! asks, from what placing left behind.

use std::path::{Path, PathBuf};

use super::{Image, kdk};
use crate::model::addr::Arch;
use crate::model::capture::{Capture, Os};
use crate::symbols::find::{Given, Library};
use crate::symbols::local::{self, Wanted};
use crate::symbols::looked::{self, Candidate, Looked};

/// A place, and what was found there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Searched {
    /// A file or folder, a cache or a server, or what was given.
    pub place: String,
    /// `given`, `folder`, `kdk`, `build-id`, `debug`, `modules`, `boot`, `local` (these together), `beside`, `debuglink`, `debuginfod-cache` or `debuginfod`.
    pub kind: &'static str,
    /// What came of it.
    pub result: Outcome,
    /// The file that is used, why one is not, or what is not there.
    pub why: String,
}

/// What came of looking at a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// A file from there is used.
    Used,
    /// Files are there that come into question, and none is used.
    Refused,
    /// Nothing is there.
    Nothing,
    /// The place was not looked at.
    NotSearched,
}

impl Outcome {
    /// The JSON name.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Used => "used",
            Outcome::Refused => "refused",
            Outcome::Nothing => "nothing",
            Outcome::NotSearched => "not-searched",
        }
    }
}

/// Files named for one place; more are counted.
const NAMED: usize = 4;

/// What is known about the search for one report's images.
pub struct Search<'a> {
    looked: Looked<'a>,
    capture: &'a Capture,
    /// Where this machine's own files are, and which were looked for; `None` where the user wants none of them.
    local: Option<(&'a Path, &'a Wanted)>,
}

impl<'a> Search<'a> {
    /// Sorts what is at hand.
    pub fn new(library: &'a Library, capture: &'a Capture, local: Option<(&'a Path, &'a Wanted)>) -> Search<'a> {
        Search { looked: Looked::of(library), capture, local }
    }

    /// The places where the file of `image` was looked for.
    pub fn of(&self, image: &Image) -> Vec<Searched> {
        if image.user || image.collection {
            return Vec::new();
        }
        let mut places: Vec<Searched> = self.given(image).into_iter().collect();
        let candidates = self.looked.candidates(&image.name, image.kernel, image.wanted);
        places.extend(candidates.iter().filter(|candidate| candidate.given).map(|candidate| {
            let place = format!("{} {}", if image.kernel { "-k" } else { "-m" }, candidate.path.display());
            Searched { place, kind: "given", result: Outcome::Refused, why: candidate.refused.clone().unwrap_or_default() }
        }));
        places.extend(self.looked.library().folders().iter().flat_map(|folder| self.folder(image, folder, &candidates)));
        places.extend(self.installed(image, &candidates));
        places.extend(self.beside(image));
        places
    }

    /// The files given by name: that of the image, else how many are for others.
    fn given(&self, image: &Image) -> Option<Searched> {
        let all = &self.looked.library().given;
        let of_image = |given: &&Given| {
            let paths = || given.programs.iter().flat_map(|program| program.infos()).map(|info| &info.path);
            paths().any(|path| uses(image, path) || is_refused(image, path))
        };
        if let Some(given) = all.iter().find(of_image) {
            let inner = given.programs.iter().flat_map(|program| program.infos()).map(|info| info.path.clone());
            let path = inner.into_iter().find(|path| uses(image, path)).unwrap_or_else(|| given.file.path.clone());
            let (result, why) = match &image.refused {
                Some(refused) if !uses(image, &path) => (Outcome::Refused, refused.why.clone()),
                _ => (Outcome::Used, path.display().to_string()),
            };
            return Some(Searched { place: option(given), kind: "given", result, why });
        }
        let others = all.iter().filter(|given| given.file.kernel == image.kernel).count();
        let option = if image.kernel { "-k" } else { "-m" };
        (others > 0).then(|| {
            let files = if others == 1 { "1 file".to_string() } else { format!("{others} files") };
            let why = "none is for this image".to_string();
            Searched { place: format!("{option} ({files})"), kind: "given", result: Outcome::Nothing, why }
        })
    }

    /// A symbol folder; kernels of Kernel Debug Kits in it, kit by kit.
    fn folder(&self, image: &Image, folder: &Path, candidates: &[Candidate]) -> Vec<Searched> {
        let mut loose: Vec<&Candidate> = candidates.iter().filter(|candidate| candidate.path.starts_with(folder)).collect();
        let mut kits: Vec<(PathBuf, Vec<&Candidate>)> = Vec::new();
        if image.kernel {
            loose.retain(|candidate| {
                let Some(kit) = kdk::folder(&candidate.path) else { return true };
                match kits.iter_mut().find(|(known, _)| *known == kit) {
                    Some((_, inside)) => inside.push(candidate),
                    None => kits.push((kit, vec![candidate])),
                }
                false
            });
        }
        let mut places = Vec::new();
        if kits.is_empty() || !loose.is_empty() {
            places.push(self.place(image, "folder", folder, &loose));
        }
        places.extend(kits.iter().map(|(kit, inside)| self.place(image, "kdk", kit, inside)));
        places
    }

    /// Where this machine has files installed, up to the one that was taken.
    fn installed(&self, image: &Image, candidates: &[Candidate]) -> Vec<Searched> {
        let Some((root, wanted)) = self.local else {
            let linux = self.capture.os == Some(Os::Linux) && image.program.is_none();
            let off = || not_searched("--no-local or KSTACK_NO_LOCAL is set");
            return linux.then(off).into_iter().collect();
        };
        let asked = if image.kernel { wanted.kernel } else { wanted.modules.iter().any(|(name, _)| *name == image.name) };
        if !asked {
            return Vec::new();
        }
        let mut places = Vec::new();
        for place in local::places(root, wanted, (!image.kernel).then_some(&image.name)) {
            let there: Vec<&Candidate> = candidates.iter().filter(|candidate| candidate.path.starts_with(&place.path)).collect();
            places.push(self.place(image, place.kind, &place.path, &there));
            if there.iter().any(|candidate| self.looked.is_local(&candidate.path)) {
                return places;
            }
        }
        if wanted.release.is_none() {
            places.push(not_searched("nothing says which kernel release the report is of"));
        }
        places
    }

    /// Where debug info was looked for that the image's own file lacks.
    fn beside(&self, image: &Image) -> Vec<Searched> {
        let Some(program) = &image.program else { return Vec::new() };
        let one = |(path, linked): (PathBuf, bool)| {
            let kind = if linked { "debuglink" } else { "beside" };
            let used = program.infos().find(|info| info.path.starts_with(&path));
            let (result, why) = match used {
                Some(info) => (Outcome::Used, info.path.display().to_string()),
                None if !path.exists() => (Outcome::Nothing, "not there".to_string()),
                None => {
                    let other = || "of another build: UUIDs differ".to_string();
                    (Outcome::Refused, self.looked.why(&path).unwrap_or_else(other))
                }
            };
            Searched { place: path.display().to_string(), kind, result, why }
        };
        looked::beside(program).into_iter().map(one).collect()
    }

    /// What the candidates that lie in one place came to.
    fn place(&self, image: &Image, kind: &'static str, path: &Path, there: &[&Candidate]) -> Searched {
        let place = path.display().to_string();
        if let Some(used) = there.iter().find(|candidate| uses(image, &candidate.path)) {
            let more = if there.len() > 1 { format!(", of {} candidates", there.len()) } else { String::new() };
            return Searched { place, kind, result: Outcome::Used, why: format!("{}{more}", used.path.display()) };
        }
        let Some(first) = there.first() else {
            let why = if path.is_dir() { "no file there has its UUID or name" } else { "not there" };
            return Searched { place, kind, result: Outcome::Nothing, why: why.to_string() };
        };
        let reason = |candidate: &&Candidate| self.reason(image, candidate);
        if there.len() == 1 && first.path == path {
            return Searched { place, kind, result: Outcome::Refused, why: reason(first) };
        }
        let mut words: Vec<String> =
            there.iter().take(NAMED).map(|candidate| format!("{}: {}", candidate.path.display(), reason(candidate))).collect();
        if there.len() > NAMED {
            words.push(format!("and {} more", there.len() - NAMED));
        }
        let count = if there.len() == 1 { "1 candidate".to_string() } else { format!("{} candidates", there.len()) };
        Searched { place, kind, result: Outcome::Refused, why: format!("{count}: {}", words.join("; ")) }
    }

    /// Why a candidate is not used.
    fn reason(&self, image: &Image, candidate: &Candidate) -> String {
        if let Some(refused) = image.refused.as_ref().filter(|refused| refused.path == candidate.path) {
            return refused.why.clone();
        }
        if let Some(why) = candidate.refused.clone().filter(|why| !why.is_empty()) {
            return why;
        }
        if let Some(why) = kdk::against(&candidate.path, self.capture).filter(|_| image.kernel) {
            return why;
        }
        if let (Some(wanted), Some(found)) = (image.wanted, candidate.ids.first())
            && !candidate.ids.contains(&wanted)
        {
            return format!("its {} is {found}, the report's is {wanted}", found.kind());
        }
        if let Some(program) = &image.program {
            return format!("{} comes first", program.info().path.display());
        }
        self.not_for(&candidate.path).unwrap_or_else(|| {
            let option = if image.kernel { "-k FILE".to_string() } else { format!("-m {}=FILE", image.name) };
            format!("one of several, and nothing tells which is meant: give the right one with {option}")
        })
    }

    /// What a file is for, if not for the report's machine.
    fn not_for(&self, path: &Path) -> Option<String> {
        let own = self.capture.arch?;
        let archs = looked::architectures(path);
        let names = || archs.iter().map(|arch| arch.name()).collect::<Vec<_>>().join(" and ");
        (!archs.is_empty() && !archs.iter().any(|arch: &Arch| arch.fits(own)))
            .then(|| format!("is for {}, the report is of {own}", names()))
    }
}

/// What the user wrote for a file.
fn option(given: &Given) -> String {
    let name = given.file.name.as_ref().map(|name| format!("{name}=")).unwrap_or_default();
    format!("{} {name}{}", if given.file.kernel { "-k" } else { "-m" }, given.file.path.display())
}

/// The places of this machine together, where there was no use in looking at them.
fn not_searched(why: &str) -> Searched {
    let place = "/usr/lib/debug, /lib/modules, /boot".to_string();
    Searched { place, kind: "local", result: Outcome::NotSearched, why: why.to_string() }
}

fn uses(image: &Image, path: &Path) -> bool {
    image.program.as_ref().is_some_and(|program| program.infos().any(|info| info.path == path))
}

fn is_refused(image: &Image, path: &Path) -> bool {
    image.refused.as_ref().is_some_and(|refused| refused.path == path)
}
