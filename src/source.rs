//! Source files: where the one that a location names lies on this machine, and the lines around it.
//!
//! A symbol file names its sources as they were called where it was built. Here they are looked for, in this order: where a
//! [`SourceMap`] says, under the very path, and by the longest possible end of the path in a checkout. Only the first two are certain to
//! be the file that is meant; that it is of the version that was built, nothing proves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::input::{self, Bytes};
use crate::model::frame::{Answer, Excerpt, Location};
use crate::note::Note;

/// Source files larger than this, in bytes, are not read.
const LARGEST: usize = 16 << 20;

/// A longer line is cut here, in characters: generated sources have lines of megabytes.
const LONGEST_LINE: usize = 240;

/// Where a part of the tree that was built lies here, as gdb's `set substitute-path` has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceMap {
    /// Beginning of the path in the symbol file, whole components.
    pub from: String,
    /// What stands in its place here.
    pub to: PathBuf,
}

/// What is wanted of source files, and those read so far.
#[derive(Default)]
pub struct Sources {
    /// Lines above and below the place; `None` for no lines, only the path.
    context: Option<u32>,
    maps: Vec<SourceMap>,
    /// Directories that may hold the tree that was built.
    checkouts: Vec<PathBuf>,
    found: FxHashMap<Arc<str>, Option<Found>>,
    excerpts: FxHashMap<(Arc<str>, u32), Arc<Excerpt>>,
    /// Files taken from each checkout.
    borrowed: BTreeMap<PathBuf, usize>,
    /// Files that are shorter than a location in them.
    too_short: BTreeMap<PathBuf, u32>,
}

/// A source file on this machine.
struct Found {
    path: Arc<str>,
    /// Its bytes and where each line starts; `None` when only the path is wanted.
    text: Option<(Bytes, Vec<u32>)>,
}

impl Sources {
    /// Looks by `maps` first, under the path itself, then in `checkouts`; wants `context` lines above and below each place.
    pub fn new(context: Option<u32>, maps: Vec<SourceMap>, checkouts: Vec<PathBuf>) -> Sources {
        Sources { context, maps, checkouts, ..Sources::default() }
    }

    /// Adds to every location of `answers` what its source file says, where there is one.
    pub fn attach(&mut self, answers: &mut [Answer]) {
        for location in answers.iter_mut().flat_map(|answer| &mut answer.locations) {
            location.source = self.excerpt(location);
        }
    }

    /// What a user should know about the files that were used.
    pub fn notes(&self) -> Vec<Note> {
        let borrowed = self.borrowed.iter().filter(|_| self.context.is_some()).map(|(checkout, count)| {
            let text = format!("{count} source files are shown from this checkout; nothing proves that it is the version that was built");
            Note::warning(checkout.display().to_string(), text)
        });
        let short = self.too_short.iter().map(|(path, line)| {
            let text = format!("has no line {line}: it is not the version that was built, so nothing of that place is shown");
            Note::warning(path.display().to_string(), text)
        });
        borrowed.chain(short).collect()
    }

    fn excerpt(&mut self, location: &Location) -> Option<Arc<Excerpt>> {
        let (file, line) = (location.file.as_ref()?, location.line.filter(|line| *line > 0)?);
        if let Some(known) = self.excerpts.get(&(file.clone(), line)) {
            return Some(known.clone());
        }
        if !self.found.contains_key(file) {
            let found = self.find(file);
            self.found.insert(file.clone(), found);
        }
        let found = self.found.get(file)?.as_ref()?;
        if found.text.as_ref().is_some_and(|(_, starts)| line as usize > starts.len()) {
            self.too_short.entry(PathBuf::from(&*found.path)).or_insert(line);
            return None;
        }
        let shown = found.text.as_ref().map(|(text, starts)| around(text, starts, line, self.context.unwrap_or(0)));
        let (first, lines) = shown.unwrap_or((line, Vec::new()));
        let excerpt = Arc::new(Excerpt { path: found.path.clone(), first, line, lines });
        self.excerpts.insert((file.clone(), line), excerpt.clone());
        Some(excerpt)
    }

    /// The file that is meant by `file`, if it is here.
    fn find(&mut self, file: &str) -> Option<Found> {
        let path = self.candidates(file).into_iter().find(|path| path.is_file());
        let path = path.or_else(|| self.in_checkout(file))?;
        let text = if self.context.is_some() { Some(read(&path)?) } else { None };
        Some(Found { path: std::path::absolute(&path).unwrap_or(path).to_string_lossy().into(), text })
    }

    fn candidates(&self, file: &str) -> Vec<PathBuf> {
        let mapped = self.maps.iter().filter_map(|map| {
            let rest = Path::new(file).strip_prefix(&map.from).ok()?;
            Some(map.to.join(rest))
        });
        // A relative path says nothing about where to look from.
        mapped.chain(Path::new(file).is_absolute().then(|| PathBuf::from(file))).collect()
    }

    /// The file in a checkout with the longest common end, of two components at least: many directories have a `main.c`.
    fn in_checkout(&mut self, file: &str) -> Option<PathBuf> {
        use std::path::Component;
        let parts: Vec<&std::ffi::OsStr> =
            Path::new(file).components().filter_map(|part| if let Component::Normal(name) = part { Some(name) } else { None }).collect();
        // `..` inside a path would lead out of the checkout.
        let ends = (0..parts.len().saturating_sub(1)).map(|from| parts[from..].iter().collect::<PathBuf>());
        let (checkout, path) =
            ends.flat_map(|end| self.checkouts.iter().map(move |root| (root.clone(), root.join(&end)))).find(|(_, path)| path.is_file())?;
        *self.borrowed.entry(checkout).or_default() += 1;
        Some(path)
    }
}

/// Text and line starts of a source file.
fn read(path: &Path) -> Option<(Bytes, Vec<u32>)> {
    let text = input::map::map(path).ok().filter(|text| text.len() <= LARGEST)?;
    let mut starts: Vec<u32> = std::iter::once(0).chain(memchr::memchr_iter(b'\n', &text).map(|at| at as u32 + 1)).collect();
    // Behind the last line feed no line begins.
    starts.pop_if(|start| *start as usize == text.len());
    Some((text, starts))
}

/// `context` lines above and below `line`, which counts from 1, and the number of the first.
fn around(text: &[u8], starts: &[u32], line: u32, context: u32) -> (u32, Vec<String>) {
    let first = line.saturating_sub(context).max(1);
    let last = line.saturating_add(context).min(starts.len() as u32);
    let one = |number: u32| {
        let start = starts[number as usize - 1] as usize;
        let end = starts.get(number as usize).map_or(text.len(), |end| *end as usize);
        let bytes = text[start..end].trim_ascii_end();
        String::from_utf8_lossy(&bytes[..bytes.len().min(4 * LONGEST_LINE)]).chars().take(LONGEST_LINE).collect()
    };
    (first, (first..=last).map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::frame::Trust;

    fn answer(file: &str, line: u32) -> Answer {
        let location = Location { file: Some(file.into()), line: Some(line), ..Location::default() };
        Answer {
            image: None,
            symbol: None,
            offset: None,
            locations: vec![location],
            trust: Trust::Unverified,
            reason: None,
            candidates: Vec::new(),
        }
    }

    /// A checkout with one file of three lines, the last without line feed.
    fn checkout(test: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("kstack-source-{test}-{}", std::process::id()));
        std::fs::create_dir_all(root.join("module/zfs")).unwrap();
        std::fs::write(root.join("module/zfs/spa.c"), "one\r\n\ttwo\nthree").unwrap();
        std::fs::write(root.join("spa.c"), "another\n").unwrap();
        root
    }

    fn lines(sources: &mut Sources, file: &str, line: u32) -> Option<(u32, Vec<String>)> {
        let mut answers = [answer(file, line)];
        sources.attach(&mut answers);
        answers[0].locations[0].source.as_ref().map(|excerpt| (excerpt.first, excerpt.lines.clone()))
    }

    #[test]
    fn a_checkout_is_searched_by_the_end_of_the_path_but_never_by_the_name_alone() {
        let root = checkout("ends");
        let mut sources = Sources::new(Some(1), Vec::new(), vec![root]);
        assert_eq!(
            lines(&mut sources, "/build/zfs-2.1/module/zfs/spa.c", 2),
            Some((1, vec!["one".into(), "\ttwo".into(), "three".into()]))
        );
        assert_eq!(lines(&mut sources, "/build/zfs-2.1/module/zfs/spa.c", 3), Some((2, vec!["\ttwo".into(), "three".into()])));
        assert_eq!(lines(&mut sources, "/elsewhere/spa.c", 1), None);
        assert_eq!(lines(&mut sources, "../../spa.c", 1), None);
        assert!(sources.notes()[0].text.contains("1 source files are shown from this checkout"));
    }

    #[test]
    fn a_place_behind_the_end_shows_nothing_and_is_said() {
        let root = checkout("behind");
        let map = SourceMap { from: "/build".into(), to: root };
        let mut sources = Sources::new(Some(5), vec![map], Vec::new());
        assert_eq!(lines(&mut sources, "/build/module/zfs/spa.c", 4), None);
        assert_eq!(lines(&mut sources, "/builder/module/zfs/spa.c", 1), None, "whole components only");
        assert!(sources.notes()[0].text.contains("no line 4"));
    }

    #[test]
    fn without_context_only_the_path_is_told() {
        let root = checkout("path");
        let file = root.join("spa.c").display().to_string();
        let mut sources = Sources::new(None, Vec::new(), Vec::new());
        assert_eq!(lines(&mut sources, &file, 9), Some((9, Vec::new())));
    }
}
