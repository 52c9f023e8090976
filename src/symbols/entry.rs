//! What the index of symbol folders keeps of a file.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::bundle::{self, Bundle};
use super::{FileInfo, FileKind, OPENERS, Symbols};
use crate::input::unpack;
use crate::model::image::ImageId;

/// What the index of the symbol folders keeps of a file; the file itself is opened when an image wants it.
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) ids: Vec<Option<ImageId>>,
    pub(super) kernel: bool,
    pub(super) bundle_id: Option<String>,
    pub(super) stem: String,
}

/// Whether a file is a kernel or its dSYM.
pub(super) fn is_kernel(info: &FileInfo) -> bool {
    info.kind == FileKind::Kernel || (info.kind == FileKind::Dsym && info.base().0 >> 63 == 1)
}

/// Bundle identifier and short name; the entries of a collection or cache have their own, and its kernel is called `kernel`.
pub(super) fn names(file: &dyn Symbols, bundle: &Bundle) -> (Option<String>, String) {
    if !file.info().is_entry() {
        return (bundle.bundle_id.clone().or_else(|| file.bundle_id()), bundle.stem.clone());
    }
    let id = file.bundle_id();
    let last = id.as_ref().and_then(|id| id.rsplit('.').next()).unwrap_or("kernel").to_string();
    (id, last)
}

/// What the index keeps of one file, if it is a symbol file at all. Only its first bytes are read unless it is.
pub(super) fn entry(path: &Path) -> Vec<Entry> {
    whole_entry(path).unwrap_or_default()
}

fn whole_entry(path: &Path) -> Option<Vec<Entry>> {
    let name = path.file_name()?.to_string_lossy();
    // Unpacking every module of a system to learn its build id would take minutes; it is checked when an image wants the file.
    if [".ko.xz", ".ko.gz", ".ko.zst"].iter().any(|packed| name.ends_with(packed)) {
        return Some(vec![Entry { path: path.to_path_buf(), ids: Vec::new(), kernel: false, bundle_id: None, stem: bundle::stem(path) }]);
    }
    let mut head = [0; 64];
    let count = std::fs::File::open(path).ok()?.read(&mut head).ok()?;
    if !OPENERS.iter().any(|opener| opener.sniff(&head[..count])) && !unpack::is_kernelcache(&head[..count]) {
        return None;
    }
    let files = super::open(path, &mut Vec::new()).ok()?;
    let first = files.first()?.info();
    let kernel = is_kernel(first);
    let around = bundle::find(path).ok()?;
    if first.is_entry() {
        let one = |file: &dyn Symbols| {
            let (bundle_id, stem) = names(file, &around);
            Entry { path: path.to_path_buf(), ids: vec![file.info().id], kernel: is_kernel(file.info()), bundle_id, stem }
        };
        return Some(files.iter().map(|file| one(&**file)).collect());
    }
    let ids = files.iter().map(|file| file.info().id).collect();
    // A module's own name needs its sections; its file name is as good until it is opened.
    let inside = || files.iter().filter(|file| file.info().kind != FileKind::Module).find_map(|file| file.bundle_id());
    Some(vec![Entry { path: path.to_path_buf(), ids, kernel, bundle_id: around.bundle_id.or_else(inside), stem: around.stem }])
}
