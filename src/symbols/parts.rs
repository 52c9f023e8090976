//! Debug info that lies in other files: what a symbol file leaves to a supplementary file (`.gnu_debugaltlink`, `.debug_sup`) or to split
//! DWARF (`.dwo`, `.dwp`). Where such files are looked for, and how they are read.
//!
//! Nothing here is taken by its name alone: [`altlink`](super::altlink) compares build ids, [`split`](super::split) compares the ids of units.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use gimli::{EndianSlice, RunTimeEndian};
use object::{Object, ObjectSection};
use rustc_hash::FxHashMap;

use crate::input::{Bytes, map};
use crate::model::image::ImageId;
use crate::symbols::packed;

/// Files of one name in the symbol folders that are tried, those first whose path agrees longest: a kernel has a hundred `core.dwo`.
const TRIED: usize = 32;

/// Where parts of debug info are looked for, besides where the file itself says and beside it. Shared by all files of a run.
#[derive(Default)]
pub struct Places(RwLock<Where>);

#[derive(Default)]
struct Where {
    /// Directories that have `usr/lib/debug`.
    roots: Vec<PathBuf>,
    /// Symbol folders, with the files in them that are parts by their names.
    folders: Vec<PathBuf>,
    by_name: FxHashMap<String, Vec<PathBuf>>,
    /// What stands in place of which beginning of a path.
    maps: Vec<(String, PathBuf)>,
    /// What was fetched by build id.
    fetched: BTreeMap<ImageId, PathBuf>,
    /// How often any of this changed.
    changes: usize,
}

impl Places {
    /// Looks below `root` (`/`) too, where debug packages are installed.
    pub fn add_root(&self, root: &Path) {
        self.change(|places| places.roots.push(root.to_path_buf()));
    }

    /// Looks in a symbol folder whose files are `files`.
    pub fn add_folder(&self, folder: &Path, files: &[PathBuf]) {
        let parts = files.iter().filter(|path| is_part(path));
        self.change(|places| {
            places.folders.push(folder.to_path_buf());
            for path in parts {
                places.by_name.entry(name(path)).or_default().push(path.clone());
            }
        });
    }

    /// Paths that begin with `from` begin with `to` here.
    pub fn add_map(&self, from: &str, to: &Path) {
        self.change(|places| places.maps.push((from.to_string(), to.to_path_buf())));
    }

    /// A file that was fetched by its build id.
    pub fn add_fetched(&self, id: ImageId, path: &Path) {
        self.change(|places| drop(places.fetched.insert(id, path.to_path_buf())));
    }

    fn change(&self, change: impl FnOnce(&mut Where)) {
        let mut places = self.0.write().unwrap_or_else(PoisonError::into_inner);
        places.changes += 1;
        change(&mut places);
    }

    /// How often there came a place to look in.
    pub fn changes(&self) -> usize {
        self.read(|places| places.changes)
    }

    fn read<T>(&self, read: impl FnOnce(&Where) -> T) -> T {
        read(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where a file of that build id may be, as debug packages and debuginfod's client keep it.
    pub fn by_id(&self, id: ImageId) -> Vec<PathBuf> {
        let place = super::local::place_of(id);
        self.read(|places| {
            let installed = places.roots.iter().map(|root| root.join("usr/lib/debug/.build-id").join(&place));
            let given = places
                .folders
                .iter()
                .flat_map(|folder| ["usr/lib/debug/.build-id", ".build-id", ""].map(|below| folder.join(below).join(&place)));
            places.fetched.get(&id).cloned().into_iter().chain(given).chain(installed).collect()
        })
    }

    /// Where a file of that name may be below `usr/lib/debug/.dwz`.
    pub fn below_dwz(&self, name: &str) -> Vec<PathBuf> {
        let name = Path::new(name).file_name().unwrap_or_default();
        self.read(|places| places.roots.iter().map(|root| root.join("usr/lib/debug/.dwz").join(name)).collect())
    }

    /// Files of the symbol folders with the name of `path`, those first that have most of its directories too.
    pub fn by_name(&self, path: &str) -> Vec<PathBuf> {
        let wanted: Vec<_> = Path::new(path).components().rev().collect();
        let common = |found: &PathBuf| found.components().rev().zip(&wanted).take_while(|(one, other)| one == *other).count();
        let mut found = self.read(|places| places.by_name.get(&name(Path::new(path))).cloned().unwrap_or_default());
        found.sort_by_cached_key(|path| std::cmp::Reverse(common(path)));
        found.truncate(TRIED);
        found
    }

    /// What `path` may be called here.
    pub fn mapped(&self, path: &Path) -> Vec<PathBuf> {
        let here = |(from, to): &(String, PathBuf)| Some(to.join(path.strip_prefix(from).ok()?));
        self.read(|places| places.maps.iter().filter_map(here).collect())
    }
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Whether a file in a symbol folder may be a part: of the others there are too many to remember.
fn is_part(path: &Path) -> bool {
    let ends = path.extension().is_some_and(|end| ["dwo", "dwp", "debug", "dwz", "sup"].iter().any(|known| end == *known));
    ends || path.parent().is_some_and(|folder| folder.components().any(|part| part.as_os_str() == ".dwz"))
}

/// A part that is needed and not at hand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Missing {
    /// What kind of file it is.
    pub kind: PartKind,
    /// The file as the symbol file names it.
    pub name: String,
    /// The build id by which it can be got, of a supplementary file.
    pub id: Option<ImageId>,
    /// Where it was looked for.
    pub looked: Vec<PathBuf>,
    /// A file that was found there and is not used, and why.
    pub refused: Option<(PathBuf, String)>,
}

/// Kinds of files that hold a part of debug info.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PartKind {
    /// What dwz took out of several files, or `.debug_sup` names.
    Supplementary,
    /// The unit that a skeleton unit stands for.
    Split,
}

impl Missing {
    /// In words: which file, why none is used, and where it was looked for.
    pub fn said(&self) -> String {
        const MOST: usize = 8;
        let id = self.id.map_or(String::new(), |id| format!(" (build id {id})"));
        let refused = self.refused.as_ref().map_or(String::new(), |(path, why)| format!("; {}: {why}", path.display()));
        let looked: Vec<String> = self.looked.iter().take(MOST).map(|path| path.display().to_string()).collect();
        let more = if self.looked.len() > MOST { format!(" and {} more", self.looked.len() - MOST) } else { String::new() };
        format!("{}{id}{refused}; looked for: {}{more}", self.name, looked.join(", "))
    }
}

/// What lacks for want of the parts of that kind, in words.
pub fn said(missing: &[Missing], kind: PartKind) -> Option<String> {
    let of_kind: Vec<&Missing> = missing.iter().filter(|part| part.kind == kind).collect();
    let first = of_kind.first()?.said();
    Some(match kind {
        PartKind::Supplementary => format!("its supplementary debug file is missing, and names that are in it: {first}"),
        PartKind::Split => format!(
            "{} of its split DWARF files are missing, so that of their units lines are known and inlined calls are not: {first}",
            of_kind.len()
        ),
    })
}

/// A file with debug sections, in memory or mapped; it needs neither code nor symbols.
pub struct PartFile {
    bytes: Bytes,
    sections: Vec<(String, Stored)>,
    /// Byte order.
    pub endian: RunTimeEndian,
    /// Build id.
    pub id: Option<ImageId>,
}

enum Stored {
    At(std::ops::Range<usize>),
    Unpacked(Vec<u8>),
}

/// What is read of a part: everything that the index of a package may speak of, and what a supplementary file has.
const NEEDED: &[&str] = &[
    ".debug_info",
    ".debug_abbrev",
    ".debug_str",
    ".debug_str_offsets",
    ".debug_line",
    ".debug_line_str",
    ".debug_rnglists",
    ".debug_loc",
    ".debug_loclists",
    ".debug_macinfo",
    ".debug_macro",
    ".debug_types",
    ".debug_cu_index",
    ".debug_tu_index",
    ".debug_sup",
];

impl PartFile {
    /// Opens a regular file.
    ///
    /// # Errors
    /// When it cannot be read, or is no ELF file.
    pub fn open(path: &Path) -> Result<PartFile, String> {
        PartFile::read(map::map(path).map_err(|error| error.to_string())?)
    }

    /// Reads a file that is in memory.
    ///
    /// # Errors
    /// When it is no ELF file, or a section is packed and damaged.
    pub fn read(bytes: Bytes) -> Result<PartFile, String> {
        let file = object::File::parse(&bytes[..]).map_err(|cause| format!("damaged or no ELF file: {cause}"))?;
        let endian = if file.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
        let id = file.build_id().ok().flatten().and_then(ImageId::build);
        let mut sections = Vec::new();
        for section in file.sections() {
            let Ok(name) = section.name() else { continue };
            if NEEDED.contains(&name.strip_suffix(".dwo").unwrap_or(name)) {
                sections.push((name.to_string(), stored(&section, &bytes).ok_or_else(|| format!("its section {name} is damaged"))?));
            }
        }
        Ok(PartFile { bytes, sections, endian, id })
    }

    /// The bytes of a section; none where it has no such section.
    pub fn section(&self, name: &str) -> &[u8] {
        match self.sections.iter().find(|(known, _)| known == name) {
            Some((_, Stored::At(range))) => self.bytes.get(range.clone()).unwrap_or_default(),
            Some((_, Stored::Unpacked(bytes))) => bytes,
            None => &[],
        }
    }

    /// The same, to read from.
    pub fn reader(&self, name: &str) -> EndianSlice<'_, RunTimeEndian> {
        EndianSlice::new(self.section(name), self.endian)
    }
}

fn stored(section: &object::Section<'_, '_>, bytes: &[u8]) -> Option<Stored> {
    let range = section.compressed_file_range().ok()?;
    if range.format != object::CompressionFormat::None {
        return Some(Stored::Unpacked(packed::data(section).ok()?.into_owned()));
    }
    let start = usize::try_from(range.offset).ok()?;
    let end = start.checked_add(usize::try_from(range.uncompressed_size).ok()?)?;
    bytes.get(start..end).map(|_| Stored::At(start..end))
}
