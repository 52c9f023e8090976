//! Opening files, and putting those of one build together: a binary with its dSYM, with what its `.gnu_debuglink` names, and with what the
//! symbol folders have of its UUID.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustc_hash::{FxHashMap, FxHashSet};

use super::bundle::Bundle;
use super::entry::{Entry, names};
use super::find::Library;
use super::program::Program;
use super::{DebugLink, FileKind, Symbols};
use crate::error::Error;
use crate::model::addr::Arch;
use crate::model::image::ImageId;

impl Library {
    /// Opens the files of bundles and puts those of one build together. A companion counts only by UUID, never by name.
    pub(super) fn open(&self, bundles: &[Bundle]) -> (Vec<Arc<Program>>, Vec<Error>) {
        let mut refused = Vec::new();
        let mut builds: Vec<Program> = Vec::new();
        let mut by_id = FxHashMap::default();
        for (bundle, path) in bundles.iter().flat_map(|bundle| bundle.files.iter().map(move |path| (bundle, path))) {
            match self.files(path, &mut refused) {
                Ok(files) => files.into_iter().for_each(|file| join(&mut builds, &mut by_id, file, Some(bundle))),
                Err(error) => refused.push(error),
            }
        }
        let ids: FxHashSet<Option<ImageId>> = builds.iter().filter(|build| build.is_incomplete()).map(Program::id).collect();
        let indexed = self.index.iter().filter(|entry| entry.ids.iter().any(|id| ids.contains(id))).map(|entry| &entry.path);
        let beside = bundles.iter().flat_map(|bundle| &bundle.companions);
        let known = |path: &&PathBuf| bundles.iter().any(|bundle| bundle.files.contains(path));
        let companions: BTreeSet<&PathBuf> = beside.chain(indexed).filter(|path| !known(path)).collect();
        for path in companions {
            // A damaged companion is no reason to complain about the file that the user gave.
            let files = self.files(path, &mut Vec::new()).unwrap_or_default();
            files.into_iter().for_each(|file| join(&mut builds, &mut by_id, file, None));
        }
        for build in builds.iter_mut().filter(|build| build.debug().is_none()) {
            match self.linked(build) {
                Some(Ok(files)) => build.files.extend(files),
                Some(Err(error)) => refused.push(error),
                None => {}
            }
        }
        for build in builds.iter_mut().filter(|build| build.files.len() > 1) {
            // Of two binaries of one build, the one that was not stripped speaks for it.
            build.files.sort_by_key(|file| (file.info().kind == FileKind::Dsym, std::cmp::Reverse(file.symbol_count())));
        }
        (builds.into_iter().map(Arc::new).collect(), refused)
    }

    /// The file with the debug info of `build` that its `.gnu_debuglink` names: beside it, below `.debug` there, or in a symbol folder. It
    /// counts by its CRC, or by the build id where both have one.
    fn linked(&self, build: &Program) -> Option<crate::Result<Vec<Arc<dyn Symbols>>>> {
        let (file, link) = build.files.iter().find_map(|file| Some((file.info(), file.debug_link()?)))?;
        let folder = file.path.parent()?;
        let named = |entry: &&Entry| entry.path.file_name().is_some_and(|name| name == link.name.as_str());
        let below = self.index.iter().filter(named).map(|entry| entry.path.clone());
        let mut last = None;
        for path in [folder.join(&link.name), folder.join(".debug").join(&link.name)].into_iter().chain(below) {
            if path == file.path || !path.is_file() {
                continue;
            }
            match by_link(&path, &link, build.id()) {
                Ok(files) => {
                    files.iter().for_each(|file| file.look_in(&self.places));
                    return Some(Ok(files));
                }
                Err(error) => last = Some(Err(error)),
            }
        }
        last
    }

    /// Opens one file; a kernel collection or cache only once.
    fn files(&self, path: &Path, refused: &mut Vec<Error>) -> crate::Result<Vec<Arc<dyn Symbols>>> {
        let lock = || self.collections.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = lock().get(path) {
            return Ok(known.clone());
        }
        let files: Vec<Arc<dyn Symbols>> = super::open(path, refused)?.into_iter().map(Arc::from).collect();
        files.iter().for_each(|file| file.look_in(&self.places));
        if files.iter().any(|file| file.info().is_entry()) {
            lock().insert(path.to_path_buf(), files.clone());
        }
        Ok(files)
    }
}

/// Opens `path`, if it is the file that `link` of the build `id` means.
fn by_link(path: &Path, link: &DebugLink, id: Option<ImageId>) -> crate::Result<Vec<Arc<dyn Symbols>>> {
    let files = super::open(path, &mut Vec::new())?;
    let other = files.iter().find_map(|file| file.info().id);
    let same = match (id, other) {
        (Some(id), Some(other)) => id == other,
        _ => {
            let mut crc = flate2::Crc::new();
            crc.update(&crate::input::map::map(path)?);
            crc.sum() == link.crc
        }
    };
    if !same {
        let what = "is named as the debug info of a file whose build id or CRC says otherwise: it is of another build; not used";
        return Err(Error::bad(path, what));
    }
    Ok(files.into_iter().map(Arc::from).collect())
}

fn join(builds: &mut Vec<Program>, by_id: &mut FxHashMap<(ImageId, Arch), usize>, file: Arc<dyn Symbols>, bundle: Option<&Bundle>) {
    let (id, arch) = (file.info().id, file.info().arch);
    let known = id.and_then(|id| by_id.get(&(id, arch))).copied();
    let same = known.and_then(|at| builds.get_mut(at));
    match (same, bundle) {
        (Some(build), _) => {
            build.bundle_id = build.bundle_id.take().or_else(|| file.bundle_id());
            build.files.push(file);
        }
        (None, Some(bundle)) => {
            let (bundle_id, stem) = names(&*file, bundle);
            id.and_then(|id| by_id.insert((id, arch), builds.len()));
            builds.push(Program { files: vec![file], fullest: OnceLock::new(), bundle_id, stem });
        }
        (None, None) => {}
    }
}
