//! Supplementary files: what dwz took out of several files of debug info into one that all of them share.
//!
//! `.gnu_debugaltlink` holds a path and a build id (dwz 0.15, `dwz.c`; gdb's manual, "Separate Debug Files"); `.debug_sup` of DWARF 5,
//! section 7.3.6, a path and a checksum, for which `dwz --dwarf-5` takes the same bytes. A supplementary file that names another is not
//! followed: there is no such thing, and so no cycle.

use std::path::{Path, PathBuf};

use gimli::{EndianSlice, Reader, RunTimeEndian};
use object::Object;

use super::packed;
use super::parts::{Missing, PartFile, PartKind, Places};
use crate::model::image::ImageId;

/// What a file says about its supplementary file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AltLink {
    /// Its path, relative to the file's directory unless absolute.
    pub path: String,
    /// Its build id or checksum; whatever is longer than a build id can be counts as none, and nothing is used then.
    pub id: Option<ImageId>,
}

/// The link of `file`, if it has one.
pub fn link(file: &object::File<'_>) -> Option<AltLink> {
    if let Some((path, id)) = file.gnu_debugaltlink().ok().flatten() {
        return Some(AltLink { path: String::from_utf8_lossy(path).into_owned(), id: ImageId::build(id) });
    }
    let section = packed::data(&file.section_by_name(".debug_sup")?).ok()?;
    let endian = if file.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
    let (supplementary, path, id) = debug_sup(EndianSlice::new(&section, endian))?;
    (!supplementary).then_some(AltLink { path, id })
}

/// Whether the file is a supplementary one, the path that it names, and the checksum.
fn debug_sup(mut section: EndianSlice<'_, RunTimeEndian>) -> Option<(bool, String, Option<ImageId>)> {
    let (_version, supplementary) = (section.read_u16().ok()?, section.read_u8().ok()? != 0);
    let path = section.read_null_terminated_slice().ok()?.to_string_lossy().into_owned();
    let length = usize::try_from(section.read_uleb128().ok()?).ok()?;
    let id = section.split(length).ok()?;
    Some((supplementary, path, ImageId::build(id.slice())))
}

/// Finds the file that `link` in `file` means.
///
/// # Errors
/// What is missing, and where it was looked for.
pub fn find(link: &AltLink, file: &Path, places: &Places) -> Result<PartFile, Box<Missing>> {
    let looked = candidates(link, file, places);
    let mut refused = None;
    for path in looked.iter().filter(|path| path.is_file()) {
        match open(path, link) {
            Ok(part) => return Ok(part),
            Err(why) => refused = refused.or(Some((path.clone(), why))),
        }
    }
    Err(Box::new(Missing { kind: PartKind::Supplementary, name: link.path.clone(), id: link.id, looked, refused }))
}

/// By its build id, as it is written, and by its name where dwz files are kept.
fn candidates(link: &AltLink, file: &Path, places: &Places) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let written = Path::new(&link.path);
    // A debug file is often reached by a link below `.build-id`; the path is relative to where it really lies.
    let real = file.canonicalize().ok();
    for folder in real.iter().map(PathBuf::as_path).chain([file]).filter_map(Path::parent) {
        found.push(folder.join(written));
        found.extend(written.file_name().map(|name| folder.join(name)));
        found.extend(link.id.map(|id| folder.join(".build-id").join(super::local::place_of(id))));
    }
    found.extend(link.id.into_iter().flat_map(|id| places.by_id(id)));
    found.extend(places.mapped(written));
    found.extend(places.below_dwz(&link.path));
    found.extend(places.by_name(&link.path));
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|path| seen.insert(path.clone()));
    found
}

/// Opens `path`, if it is what `link` means.
pub fn open(path: &Path, link: &AltLink) -> Result<PartFile, String> {
    let part = PartFile::open(path)?;
    let Some(wanted) = link.id else { return Err("the link to it has no build id to check it by; not used".to_string()) };
    if ids(&part).any(|id| id == wanted) {
        return Ok(part);
    }
    let has = ids(&part).next().map_or("no build id".to_string(), |id| format!("build id {id}"));
    Err(format!("has {has}, not {wanted}: it is of another build; not used"))
}

/// The build id of a file, and the checksum that its `.debug_sup` gives.
pub fn ids(part: &PartFile) -> impl Iterator<Item = ImageId> {
    let sup = debug_sup(part.reader(".debug_sup")).filter(|(supplementary, ..)| *supplementary).and_then(|(_, _, id)| id);
    part.id.into_iter().chain(sup)
}
