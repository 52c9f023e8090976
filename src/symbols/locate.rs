//! From an address to its source line and the chain of inlined functions.
//!
//! Only the compilation units that hold a looked-up address are read. They are worked on in parallel, each with a context of its own that
//! is dropped afterwards, so memory does not grow with the size of the file.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use addr2line::{LookupContinuation, LookupResult, SplitDwarfLoad};
use gimli::{Reader as _, Section};
use rayon::prelude::*;
use rustc_hash::FxHashMap;

use super::depth;
use super::dwarf::{Dwarf, Reader, Sections, Unit};
use super::split::{self, Finder, Held, Skeleton};
use super::units::UnitIndex;
use crate::input::map::Bytes;
use crate::model::addr::Svma;
use crate::model::frame::Location;

type Context<'d> = addr2line::Context<Reader<'d>>;

/// Bytes of units after which the pages read so far are let go: a kernel has 180 MB of them, each read once.
const KEPT: usize = 96 << 20;

/// The locations of each probe, innermost inlined function first; empty where the file has none. Answers are in the order of `probes`.
/// `bytes` is the file that the sections were loaded from, `finder` knows its split parts.
pub fn locate(
    sections: &Sections<'_>,
    bytes: &Bytes,
    index: &UnitIndex,
    finder: Option<Finder<'_>>,
    probes: &[Svma],
) -> Vec<Vec<Location>> {
    let units = index.units_of(sections, probes);
    let mut by_unit: Vec<(usize, usize)> = units.iter().enumerate().filter_map(|(at, unit)| Some(((*unit)?, at))).collect();
    by_unit.sort_unstable();
    let units: Vec<&[(usize, usize)]> = by_unit.chunk_by(|a, b| a.0 == b.0).collect();
    let read = AtomicUsize::new(0);
    let found: Vec<Option<Vec<Vec<Location>>>> = units
        .par_iter()
        .map(|unit| {
            let (mut skimmed, held) = (None, OnceCell::new());
            let dwarf = match sections.unit(unit[0].0, &mut skimmed)? {
                Unit::Alone(dwarf) => dwarf,
                Unit::TooDeep => {
                    index.is_too_deep(unit[0].0);
                    return Some(vec![Vec::new(); unit.len()]);
                }
            };
            let length = dwarf.debug_info.reader().len();
            if read.fetch_add(length, Ordering::Relaxed) % KEPT + length >= KEPT {
                bytes.release();
            }
            let context = Context::from_dwarf(*dwarf).ok()?;
            let (mut names, loader) = (Names::default(), Loader::new(finder, &held));
            let directories = directories(&context, probes[unit[0].1].0, &loader);
            let found = unit.iter().map(|(_, at)| frames(&context, probes[*at].0, &directories, &loader, &mut names)).collect();
            if loader.too_deep.get() {
                index.is_too_deep(unit[0].0);
            }
            found
        })
        .collect();
    let left: Vec<&[(usize, usize)]> = units.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(unit, _)| *unit).collect();
    let mut answers = vec![Vec::new(); probes.len()];
    let found = units.iter().zip(found).flat_map(|(unit, found)| unit.iter().zip(found.into_iter().flatten()));
    for ((_, at), locations) in found.chain(neighbourly(sections, index, probes, &left)) {
        answers[*at] = locations;
    }
    answers
}

/// Answers for units that need their neighbours: the one context over the whole file answers for all of them.
fn neighbourly<'u>(
    sections: &Sections<'_>,
    index: &UnitIndex,
    probes: &[Svma],
    units: &[&'u [(usize, usize)]],
) -> Vec<(&'u (usize, usize), Vec<Location>)> {
    let asked: Vec<u64> = units.iter().flat_map(|unit| unit.iter()).map(|(_, at)| probes[*at].0).collect();
    if asked.is_empty() {
        return Vec::new();
    }
    let refused = index.refused_at(sections, asked);
    let context = Context::from_dwarf(sections.of_many_units()).ok();
    // A split part that could be read would have answered.
    let (nothing, mut names) = (OnceCell::new(), Names::default());
    let mut answers = Vec::new();
    for unit in units {
        let loader = Loader::new(None, &nothing);
        for one in *unit {
            let probe = probes[one.1].0;
            if refused.contains(&probe) {
                continue;
            }
            let found = context.as_ref().and_then(|context| {
                let directories = directories(context, probe, &loader);
                frames(context, probe, &directories, &loader, &mut names)
            });
            if found.is_none() || loader.lacks.get() {
                index.is_damaged(unit[0].0);
            }
            answers.push((one, found.unwrap_or_default()));
        }
    }
    answers
}

/// Names that were met before, each kept once.
#[derive(Default)]
struct Names(FxHashMap<Box<str>, Arc<str>>);

impl Names {
    fn share(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        let shared: Arc<str> = name.into();
        self.0.insert(name.into(), shared.clone());
        shared
    }
}

/// Locations of one address; `None` when the context cannot tell, as when a name lies outside of it.
fn frames<'h>(
    context: &Context<'h>,
    probe: u64,
    directories: &[String],
    loader: &Loader<'h, '_>,
    names: &mut Names,
) -> Option<Vec<Location>> {
    let mut frames = loader.finish(context.find_frames(probe)).ok()?;
    let mut locations = Vec::new();
    while let Some(frame) = frames.next().ok()? {
        let function = frame.function.as_ref().and_then(|function| function.raw_name().ok()).map(|name| names.share(&name));
        let place = frame.location.as_ref();
        locations.push(Location {
            function,
            file: place.and_then(|place| place.file).map(|file| names.share(file)),
            // Line 0 stands for code that belongs to no line; a column of it means nothing.
            line: place.and_then(|place| place.line).filter(|line| *line != 0),
            column: place.filter(|place| place.line != Some(0)).and_then(|place| place.column).filter(|column| *column != 0),
            inlined: true,
            ..Location::default()
        });
    }
    if let Some(owner) = locations.last_mut() {
        owner.inlined = false;
        owner.incomplete = loader.lacks.get();
    }
    let known = locations.iter().any(|location| location.file.is_some() || location.function.is_some());
    for location in &mut locations {
        let file = location.file.as_deref().unwrap_or_default();
        let rest = directories.iter().find_map(|directory| file.strip_prefix(directory.as_str())?.strip_prefix('/'));
        location.file_prefix = rest.map_or(0, |rest| file.len() - rest.len());
    }
    Some(if known { locations } else { Vec::new() })
}

/// Directories that text output leaves out of a unit's paths: where it was compiled, else where its source file lies (a module that was
/// built outside of the kernel tree).
fn directories<'h>(context: &Context<'h>, probe: u64, loader: &Loader<'h, '_>) -> Vec<String> {
    let Some(unit) = loader.finish(context.find_dwarf_and_unit(probe)) else { return Vec::new() };
    let compiled = unit.comp_dir.map(|directory| directory.to_string_lossy().into_owned()).or_else(|| loader.directory.get().cloned());
    let compiled = compiled.map(|directory| directory.trim_end_matches('/').to_string());
    let source = unit.name.and_then(|name| name.to_string_lossy().rsplit_once('/').map(|(directory, _)| directory.to_string()));
    compiled.into_iter().chain(source).filter(|directory| !directory.is_empty()).collect()
}

/// Gives one context what it asks for of split DWARF. Of files without it, nobody asks.
struct Loader<'h, 'f> {
    finder: Option<Finder<'f>>,
    /// Keeps the split part open as long as the context reads it.
    held: &'h OnceCell<Option<Held<'f>>>,
    /// Where the unit was compiled.
    directory: OnceCell<String>,
    /// Whether something asked for is not at hand: there are lines then, but no inlined calls.
    lacks: Cell<bool>,
    /// Whether it is at hand and nests inlined calls too deep.
    too_deep: Cell<bool>,
}

impl<'h, 'f> Loader<'h, 'f> {
    fn new(finder: Option<Finder<'f>>, held: &'h OnceCell<Option<Held<'f>>>) -> Loader<'h, 'f> {
        Loader { finder, held, directory: OnceCell::new(), lacks: Cell::new(false), too_deep: Cell::new(false) }
    }

    fn finish<L: LookupContinuation<Buf = Reader<'h>>>(&self, mut lookup: LookupResult<L>) -> L::Output {
        loop {
            lookup = match lookup {
                LookupResult::Output(found) => return found,
                LookupResult::Load { load, continuation } => {
                    let part = self.load(&load);
                    self.lacks.set(self.lacks.get() || part.is_none());
                    continuation.resume(part.map(Arc::new))
                }
            };
        }
    }

    fn load(&self, load: &SplitDwarfLoad<Reader<'h>>) -> Option<Dwarf<'h>> {
        let text = |part: &Option<Reader<'h>>| part.map_or(String::new(), |part| part.to_string_lossy().into_owned());
        let skeleton = Skeleton { id: load.dwo_id.0, name: text(&load.path), directory: text(&load.comp_dir) };
        let _ = self.directory.set(skeleton.directory.clone());
        let held = self.held.get_or_init(|| self.finder?.find(&skeleton));
        let dwarf = split::dwarf(held.as_ref()?.file(), skeleton.id, Some(&load.parent))?;
        let too_deep = depth::unit_too_deep(&dwarf, &dwarf.units().next().ok()??)?;
        self.too_deep.set(self.too_deep.get() || too_deep);
        (!too_deep).then_some(dwarf)
    }
}
