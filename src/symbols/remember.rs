//! What earlier runs learned about the files of a symbol folder, by path, size and time of change, so that a folder of 20,000 files is read
//! once and afterwards only asked whether it changed.
//!
//! Whoever runs kstack keeps the bytes, one piece for each folder; here they are read and written. What is remembered names no frame: an
//! image's file is opened when it is wanted, and then its own UUID or build id counts.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::entry::{Entry, entry};
use crate::model::image::ImageId;

/// Changes when what is kept of a file changes: older pieces are then forgotten.
const VERSION: u32 = 2;

/// Smaller folders are read faster than remembered.
const WORTH_IT: usize = 200;

/// A file that changed less than this ago may change again without its time telling.
const SETTLED: Duration = Duration::from_secs(2);

#[derive(Serialize, Deserialize)]
struct Memory {
    version: u32,
    files: BTreeMap<String, Known>,
}

/// What was learned of one file; no entries where it is no symbol file.
#[derive(Serialize, Deserialize, Clone, PartialEq)]
struct Known {
    size: u64,
    /// Nanoseconds since 1970.
    changed: u64,
    entries: Vec<KnownEntry>,
}

#[derive(Serialize, Deserialize, Clone, PartialEq)]
struct KnownEntry {
    ids: Vec<Option<String>>,
    kernel: bool,
    bundle_id: Option<String>,
    stem: String,
}

/// Size and time of change of a file.
type State = (u64, u64);

/// What the index keeps of a file, its state, and whether that is new.
type Learned = (Vec<Entry>, Option<State>, bool);

/// What the index keeps of `files`, and the bytes to keep for the next run, where there is something new to remember. `known` is what
/// [`entries`] gave the last time; damaged bytes count as none. `each` is called once for each file that is done.
pub fn entries(files: &[std::path::PathBuf], known: Option<&[u8]>, each: impl Fn() + Sync) -> (Vec<Entry>, Option<Vec<u8>>) {
    let known = known.filter(|_| files.len() >= WORTH_IT).and_then(read).unwrap_or_default();
    let one = |path: &std::path::PathBuf| {
        each();
        let state = state(path);
        let old = path.to_str().and_then(|path| known.get(path)).filter(|old| Some((old.size, old.changed)) == state);
        let entries = old.map_or_else(|| entry(path), |old| old.entries.iter().map(|entry| entry.open(path)).collect());
        (entries, state, old.is_none())
    };
    let found: Vec<Learned> = files.par_iter().map(one).collect();
    let news = found.iter().any(|(_, state, new)| *new && state.is_some()) || known.len() > found.len();
    let memory = (news && files.len() >= WORTH_IT).then(|| write(files, &found)).flatten();
    (found.into_iter().flat_map(|(entries, ..)| entries).collect(), memory)
}

fn read(bytes: &[u8]) -> Option<BTreeMap<String, Known>> {
    let memory: Memory = serde_json::from_slice(bytes).ok()?;
    (memory.version == VERSION).then_some(memory.files)
}

fn write(files: &[std::path::PathBuf], found: &[Learned]) -> Option<Vec<u8>> {
    let one = |(path, (entries, state, _)): (&std::path::PathBuf, &Learned)| {
        let (size, changed) = (*state)?;
        Some((path.to_str()?.to_string(), Known { size, changed, entries: entries.iter().map(KnownEntry::of).collect() }))
    };
    serde_json::to_vec(&Memory { version: VERSION, files: files.iter().zip(found).filter_map(one).collect() }).ok()
}

/// Size and time of change; `None` when the file changed just now, or has neither.
fn state(path: &Path) -> Option<State> {
    let meta = std::fs::metadata(path).ok()?;
    let changed = meta.modified().ok()?;
    SystemTime::now().duration_since(changed).ok().filter(|age| *age > SETTLED)?;
    Some((meta.len(), changed.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_nanos() as u64))
}

impl KnownEntry {
    fn of(entry: &Entry) -> KnownEntry {
        let ids = entry.ids.iter().map(|id| id.map(|id| id.to_string())).collect();
        KnownEntry { ids, kernel: entry.kernel, bundle_id: entry.bundle_id.clone(), stem: entry.stem.clone() }
    }

    fn open(&self, path: &Path) -> Entry {
        let id = |text: &String| ImageId::parse(text).filter(|_| text.contains('-')).or_else(|| ImageId::parse_build(text.as_bytes()));
        Entry {
            path: path.to_path_buf(),
            ids: self.ids.iter().map(|text| text.as_ref().and_then(id)).collect(),
            kernel: self.kernel,
            bundle_id: self.bundle_id.clone(),
            stem: self.stem.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A folder of that many modules, all alike and older than [`SETTLED`].
    fn folder(test: &str, count: usize) -> Vec<PathBuf> {
        let root = std::env::temp_dir().join(format!("kstack-remember-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/symbols/linux/unit.ko");
        let file = |n| {
            let path = root.join(format!("m{n}.ko"));
            std::fs::copy(&module, &path).unwrap();
            age(&path, 60);
            path
        };
        (0..count).map(file).collect()
    }

    fn age(path: &Path, seconds: u64) {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
    }

    #[test]
    fn what_is_remembered_is_what_was_read_until_a_file_changes() {
        let files = folder("changes", WORTH_IT);
        let (first, memory) = entries(&files, None, || ());
        let memory = memory.unwrap();
        let ids = |entries: &[Entry]| entries.iter().map(|entry| (entry.path.clone(), entry.ids.clone())).collect::<Vec<_>>();
        let count = AtomicUsize::new(0);
        let (second, news) = entries(&files, Some(&memory), || _ = count.fetch_add(1, Ordering::Relaxed));
        assert_eq!((ids(&first), news.is_none(), count.into_inner()), (ids(&second), true, WORTH_IT));
        std::fs::write(&files[7], b"no module any more").unwrap();
        age(&files[7], 30);
        let (third, news) = entries(&files, Some(&memory), || ());
        assert_eq!((third.len(), news.is_some()), (WORTH_IT - 1, true));
        for damaged in [&b""[..], b"{", b"{\"version\":99,\"files\":{}}", &memory[..memory.len() / 2]] {
            assert_eq!(entries(&files, Some(damaged), || ()).0.len(), WORTH_IT - 1);
        }
    }

    #[test]
    fn small_folders_and_fresh_files_are_not_remembered() {
        let files = folder("fresh", 3);
        assert!(entries(&files, None, || ()).1.is_none());
        age(&files[0], 0);
        assert_eq!(state(&files[0]), None);
    }
}
