//! Bundles: from the path a user gives to the files that matter inside and beside it.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What a path given with `-k` or `-m` stands for.
#[derive(Clone, Debug, Default)]
pub struct Bundle {
    /// Files to open: the executable, or every file of a dSYM.
    pub files: Vec<PathBuf>,
    /// Files that may belong to those: a dSYM beside the binary, the binary beside a dSYM. Used only if their UUID is the same.
    pub companions: Vec<PathBuf>,
    /// `CFBundleIdentifier` of the kext.
    pub bundle_id: Option<String>,
    /// Name without extension, as in `zfs` of `zfs.kext`.
    pub stem: String,
}

/// Looks into and around `path`: a `.kext` or `.dSYM` directory, or a file.
///
/// # Errors
/// When there is nothing there, or the directory is no bundle.
pub fn find(path: &Path) -> Result<Bundle> {
    let meta = std::fs::metadata(path).map_err(|cause| Error::io(path, cause))?;
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match (meta.is_dir(), extension) {
        (true, "kext") => kext(path),
        (true, "dSYM") => dsym(path),
        (true, _) => Err(Error::bad(
            path,
            "is a directory, and neither a .kext nor a .dSYM bundle; give the file inside, or search the whole directory with -S",
        )),
        (false, _) => Ok(file(path)),
    }
}

fn kext(path: &Path) -> Result<Bundle> {
    let stem = stem(path);
    // Shallow bundles (10.5 and iOS) have no Contents.
    let root = if path.join("Contents").is_dir() { path.join("Contents") } else { path.to_path_buf() };
    let info = Info::read(&root.join("Info.plist"));
    let executable = info.executable.unwrap_or_else(|| stem.clone());
    let candidates = [root.join("MacOS").join(&executable), root.join(&executable)];
    let Some(file) = candidates.into_iter().find(|file| file.is_file()) else {
        return Err(Error::bad(path, format!("this kext bundle has no executable `{executable}` in Contents/MacOS")));
    };
    let companions = dsyms_beside(&[path, &file]);
    Ok(Bundle { files: vec![file], companions, bundle_id: info.id, stem })
}

fn dsym(path: &Path) -> Result<Bundle> {
    let files = dsym_files(path);
    if files.is_empty() {
        return Err(Error::bad(path, "this dSYM bundle has no file in Contents/Resources/DWARF"));
    }
    let binary = path.with_extension("");
    let beside = if binary.extension().is_some_and(|extension| extension == "kext") { kext(&binary).ok() } else { None };
    let companions = match &beside {
        Some(kext) => kext.files.clone(),
        None => Some(binary.clone()).filter(|binary| binary.is_file()).into_iter().collect(),
    };
    Ok(Bundle { files, companions, bundle_id: beside.and_then(|kext| kext.bundle_id), stem: stem(&binary) })
}

fn file(path: &Path) -> Bundle {
    let bundle = enclosing_kext(path);
    let bundle_id = bundle.as_deref().and_then(|kext| {
        let contents = Info::read(&kext.join("Contents/Info.plist")).id;
        contents.or_else(|| Info::read(&kext.join("Info.plist")).id)
    });
    let companions = dsyms_beside(&[Some(path), bundle.as_deref()].into_iter().flatten().collect::<Vec<_>>());
    // kextutil -s names its files BUNDLE-ID.sym.
    let sym_id = path.extension().filter(|extension| *extension == "sym").map(|_| stem(path));
    Bundle { files: vec![path.to_path_buf()], companions, bundle_id: bundle_id.or(sym_id), stem: stem(path) }
}

/// The kext that `X.kext/Contents/MacOS/X` or `X.kext/X` belongs to.
fn enclosing_kext(path: &Path) -> Option<PathBuf> {
    path.ancestors().skip(1).take(3).find(|dir| dir.extension().is_some_and(|extension| extension == "kext")).map(Path::to_path_buf)
}

/// Files of `NAME.dSYM` beside each of `paths`.
fn dsyms_beside(paths: &[&Path]) -> Vec<PathBuf> {
    paths.iter().flat_map(|path| dsym_files(&dsym_of(path))).collect()
}

fn dsym_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(".dSYM");
    name.into()
}

/// Where the dSYM of a binary can lie beside it: `NAME.dSYM`, and for a kext `NAME.kext.dSYM` beside that.
pub(super) fn dsym_places(path: &Path) -> Vec<PathBuf> {
    [Some(path), enclosing_kext(path).as_deref()].into_iter().flatten().map(dsym_of).collect()
}

fn dsym_files(bundle: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(bundle.join("Contents/Resources/DWARF"));
    let mut files: Vec<PathBuf> = entries.into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// The file name without its extensions: all that follow `.ko`, else the last. Linux module names have no `-`.
pub fn stem(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match name.find(".ko").filter(|at| matches!(name.as_bytes().get(at + 3), None | Some(b'.'))) {
        Some(at) => name[..at].replace('-', "_"),
        None => path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default(),
    }
}

#[derive(Default)]
struct Info {
    id: Option<String>,
    executable: Option<String>,
}

impl Info {
    /// An absent or unreadable Info.plist says nothing; names then come from the files.
    fn read(path: &Path) -> Info {
        let Ok(plist::Value::Dictionary(keys)) = plist::Value::from_file(path) else { return Info::default() };
        let text = |key: &str| keys.get(key).and_then(|value| value.as_string()).map(str::to_string);
        // An executable named `../x` would leave the bundle.
        let executable = text("CFBundleExecutable").filter(|name| !name.contains('/') && name != "..");
        Info { id: text("CFBundleIdentifier"), executable }
    }
}
