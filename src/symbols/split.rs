//! Split DWARF: units whose functions and inlined calls lie in `.dwo` files, or together in a `.dwp` package beside the symbol file.
//!
//! The symbol file keeps a skeleton of each unit, with its line table, the name of its `.dwo` and an id of 64 bits that says which build of
//! it is meant: DWARF 5, section 7.3.5; for version 4, GCC's wiki page "DebugFission". Nothing is used whose id is another.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use gimli::{DwarfFileType, DwoId, EndianSlice, Reader as _, RunTimeEndian, Section};

use super::parts::{Missing, PartFile, PartKind, Places};

type Reader<'d> = EndianSlice<'d, RunTimeEndian>;
type Dwarf<'d> = gimli::Dwarf<Reader<'d>>;

/// What a skeleton unit says about the rest of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Skeleton {
    /// The id that both parts have.
    pub id: u64,
    /// `DW_AT_dwo_name`.
    pub name: String,
    /// `DW_AT_comp_dir`, that `name` is relative to.
    pub directory: String,
}

/// The split parts of one symbol file.
#[derive(Default)]
pub struct Splits {
    /// Packages at hand; opened once, as every unit is in them.
    packages: OnceLock<Vec<PartFile>>,
    /// By the id of the unit, with how often [`Places`] had changed when it was looked for.
    missing: Mutex<BTreeMap<u64, (Missing, usize)>>,
}

/// The file that a unit's split part is in.
pub enum Held<'s> {
    /// A `.dwo`, open as long as it is looked at.
    Own(PartFile),
    /// A package.
    Package(&'s PartFile),
}

impl Held<'_> {
    /// The file.
    pub fn file(&self) -> &PartFile {
        match self {
            Held::Own(file) => file,
            Held::Package(file) => file,
        }
    }
}

/// What finds the split parts of one symbol file.
#[derive(Clone, Copy)]
pub struct Finder<'s> {
    /// Those found so far.
    pub splits: &'s Splits,
    /// The symbol file.
    pub file: &'s Path,
    /// Where to look.
    pub places: &'s Places,
}

impl<'s> Finder<'s> {
    /// As [`Splits::find`].
    pub fn find(&self, skeleton: &Skeleton) -> Option<Held<'s>> {
        self.splits.find(skeleton, self.file, self.places)
    }
}

impl Splits {
    /// Those that have their parts in `part` already.
    pub fn holding(part: PartFile) -> Splits {
        Splits { packages: OnceLock::from(vec![part]), ..Splits::default() }
    }

    /// Finds the split part of a unit of the symbol file `file`; what is missing is kept for [`Splits::missing`], and not looked for again
    /// before there are other places to look: a kernel has thousands, and lookups come in many batches.
    pub fn find(&self, skeleton: &Skeleton, file: &Path, places: &Places) -> Option<Held<'_>> {
        let packages = self.packages.get_or_init(|| packages(file, places));
        if let Some(package) = packages.iter().find(|package| has(package, skeleton.id)) {
            return Some(Held::Package(package));
        }
        let changes = places.changes();
        if self.known_missing(skeleton.id, changes) {
            return None;
        }
        let looked = candidates(skeleton, file, places);
        let mut refused = None;
        for path in looked.iter().filter(|path| path.is_file()) {
            match open(path, skeleton.id) {
                Ok(part) => return Some(Held::Own(part)),
                Err(why) => refused = refused.or(Some((path.clone(), why))),
            }
        }
        let missing = Missing { kind: PartKind::Split, name: skeleton.name.clone(), id: None, looked, refused };
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).insert(skeleton.id, (missing, changes));
        None
    }

    fn known_missing(&self, id: u64, changes: usize) -> bool {
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.get(&id).is_some_and(|(_, then)| *then == changes)
    }

    /// The parts that were needed so far and not found.
    pub fn missing(&self) -> Vec<Missing> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).values().map(|(missing, _)| missing.clone()).collect()
    }
}

/// Packages for `file`: gdb and dwp call them after it, `vmlinux.dwp`; of a separate debug file after what that is of.
fn packages(file: &Path, places: &Places) -> Vec<PartFile> {
    let Some(name) = file.file_name().map(|name| name.to_string_lossy().into_owned()) else { return Vec::new() };
    let plain = [".xz", ".gz", ".zst", ".debug"].iter().find_map(|end| name.strip_suffix(end));
    let names = [Some(name.as_str()), plain].into_iter().flatten().map(|name| format!("{name}.dwp"));
    let paths = names.flat_map(|name| {
        let beside = file.with_file_name(&name);
        std::iter::once(beside).chain(places.by_name(&name)).collect::<Vec<_>>()
    });
    let paths: BTreeSet<PathBuf> = paths.filter(|path| path.is_file()).collect();
    paths.iter().filter_map(|path| PartFile::open(path).ok()).collect()
}

/// Where the build put it, where that is mapped to, beside the symbol file, and in the symbol folders.
fn candidates(skeleton: &Skeleton, file: &Path, places: &Places) -> Vec<PathBuf> {
    if skeleton.name.is_empty() {
        return Vec::new();
    }
    let named = Path::new(&skeleton.name);
    let built = Path::new(&skeleton.directory).join(named);
    let mut found = places.mapped(&built);
    // A relative directory says nothing about where to look from.
    found.extend(built.is_absolute().then(|| built.clone()));
    for folder in [file.parent(), file.canonicalize().ok().as_deref().and_then(Path::parent)].into_iter().flatten() {
        found.push(folder.join(named));
        found.extend(named.file_name().map(|name| folder.join(name)));
    }
    found.extend(places.by_name(&built.to_string_lossy()));
    let mut seen = BTreeSet::new();
    found.retain(|path| seen.insert(path.clone()));
    found
}

/// Opens `path`, if it holds the unit `id`.
fn open(path: &Path, id: u64) -> Result<PartFile, String> {
    let part = PartFile::open(path)?;
    if has(&part, id) {
        return Ok(part);
    }
    let whole = dwo(&part);
    let mut units = whole.units();
    let first = std::iter::from_fn(|| units.next().ok().flatten()).find_map(|header| id_of(&whole, &header));
    Err(match first {
        Some(other) => format!("has id {other:#018x}, not {id:#018x}: it is of another build; not used"),
        None => "holds no split unit; not used".to_string(),
    })
}

/// Whether the file has the unit.
fn has(part: &PartFile, id: u64) -> bool {
    dwarf(part, id, None).is_some()
}

/// Readers that see the unit `id` of a `.dwo` or package and nothing else; with the sections that it shares with the symbol file, whose
/// readers are `parent`.
pub fn dwarf<'d>(part: &'d PartFile, id: u64, parent: Option<&Dwarf<'d>>) -> Option<Dwarf<'d>> {
    let mut dwarf = if part.section(".debug_cu_index").is_empty() { dwo(part) } else { packed(part, id)? };
    let mut units = dwarf.units();
    let header = std::iter::from_fn(|| units.next().ok().flatten()).find(|header| id_of(&dwarf, header) == Some(id))?;
    let start = header.debug_info_offset()?.0;
    let unit = dwarf.debug_info.reader().slice().get(start..start.checked_add(header.length_including_self())?)?;
    dwarf.debug_info = gimli::DebugInfo::new(unit, part.endian);
    if let Some(parent) = parent {
        // Addresses of the one byte order make no sense in the other.
        if parent.debug_info.reader().endian() != part.endian {
            return None;
        }
        dwarf.make_dwo(parent);
    }
    Some(dwarf)
}

/// Readers over a whole `.dwo`.
fn dwo(part: &PartFile) -> Dwarf<'_> {
    let section =
        |id: gimli::SectionId| -> Result<Reader<'_>, std::convert::Infallible> { Ok(part.reader(id.dwo_name().unwrap_or_default())) };
    let Ok(mut dwarf) = Dwarf::load(section);
    dwarf.file_type = DwarfFileType::Dwo;
    dwarf
}

/// Readers over what the index of a package says is of the unit `id`.
fn packed(part: &PartFile, id: u64) -> Option<Dwarf<'_>> {
    let section = |id: gimli::SectionId| -> gimli::Result<Reader<'_>> { Ok(part.reader(id.dwo_name().unwrap_or(id.name()))) };
    let empty = EndianSlice::new(&[][..], part.endian);
    let package = gimli::DwarfPackage::load(section, empty).ok()?;
    let Ok(nothing) = Dwarf::load(|_| Ok::<_, std::convert::Infallible>(empty));
    package.find_cu(DwoId(id), &nothing).ok()?
}

/// The id of a unit: in its header, before version 5 an attribute of its root entry.
fn id_of<'d>(dwarf: &Dwarf<'d>, header: &gimli::UnitHeader<Reader<'d>>) -> Option<u64> {
    if let gimli::UnitType::SplitCompilation(id) = header.type_() {
        return Some(id.0);
    }
    let abbreviations = dwarf.abbreviations(header).ok()?;
    let mut entries = header.entries(&abbreviations);
    match entries.next_dfs().ok()??.attr_value(gimli::DW_AT_GNU_dwo_id)? {
        gimli::AttributeValue::DwoId(id) => Some(id.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_looked_for_again_when_there_are_other_places_only() {
        let folder = std::env::temp_dir().join(format!("kstack-missing-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let part = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/symbols/split/gcc-5/one.dwo");
        let opened = PartFile::open(&part).unwrap();
        let whole = dwo(&opened);
        let id = id_of(&whole, &whole.units().next().unwrap().unwrap()).unwrap();
        let skeleton = Skeleton { id, name: "unit.dwo".into(), directory: "/nowhere".into() };
        let (splits, places, kernel) = (Splits::default(), Places::default(), folder.join("vmlinux"));
        let found = || splits.find(&skeleton, &kernel, &places).is_some();
        assert!(!found());
        std::fs::copy(part, folder.join("unit.dwo")).unwrap();
        assert!(!found(), "it was looked for a moment ago");
        assert_eq!(splits.missing()[0].name, "unit.dwo");
        places.add_map("/nowhere", &folder);
        assert!(found());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
