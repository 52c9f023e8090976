//! Fetching missing debug info: from the cache of debuginfod's client, and with the user's leave through `debuginfod-find`.
//!
//! The client is run rather than linked: it brings a TLS stack of its own and knows the user's servers, proxies and cache.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::memory;
use super::term::Progress;
use crate::model::image::ImageId;
use crate::note::Note;
use crate::place::searched::{Outcome, Searched};
use crate::place::{Image, Layout};
use crate::symbols::debuginfod;

/// Whether and how long servers are asked.
#[derive(clap::Args, Clone, Debug)]
pub struct DebuginfodArgs {
    /// Fetch missing debug info by build id through debuginfod-find: always (the meaning without WHEN), never (without this option), or auto: when DEBUGINFOD_URLS is set
    ///
    /// What debuginfod's client has in its cache already is used in any case.
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_value = "never", default_missing_value = "always", value_parser = ["always", "auto", "never"], hide_default_value = true)]
    debuginfod: String,
    /// Give up on one file after this many seconds
    #[arg(long, value_name = "SECONDS", default_value = "90")]
    debuginfod_timeout: u64,
}

/// What was looked for by build id, and what came of it.
#[derive(Default)]
pub struct Fetched {
    cache: Option<PathBuf>,
    /// What the cache has.
    cached: BTreeMap<ImageId, PathBuf>,
    /// What a server was asked for: the file, or why there is none.
    asked: BTreeMap<ImageId, Result<PathBuf, String>>,
}

impl Fetched {
    /// The cache, and the servers, as places where the file of `image` was looked for. A file that is of another build has been said so
    /// in a note.
    pub fn places(&self, image: &Image) -> Vec<Searched> {
        let id = image.wanted.or(image.program.as_ref().and_then(|program| program.id()));
        let Some((id, key)) = id.and_then(|id| Some((id, debuginfod::key(id)?))) else { return Vec::new() };
        let complete = image.program.as_ref().is_some_and(|program| program.has_debug_info());
        if complete && !self.cached.contains_key(&id) && !self.asked.contains_key(&id) {
            return Vec::new();
        }
        let found = |path: &PathBuf| {
            let used = image.program.as_ref().is_some_and(|program| program.infos().any(|info| info.path == *path));
            let result = if used { Outcome::Used } else { Outcome::Refused };
            (result, if used { path.display().to_string() } else { format!("{}: of another build, or unreadable", path.display()) })
        };
        let cached = self.cached.get(&id).map_or((Outcome::Nothing, "not there".to_string()), found);
        let mut places = Vec::new();
        places.extend(self.cache.as_ref().map(|cache| searched(cache.join(key).display().to_string(), "debuginfod-cache", cached)));
        if !self.cached.contains_key(&id) {
            let asked = match self.asked.get(&id) {
                Some(Ok(path)) => found(path),
                Some(Err(why)) => (Outcome::Nothing, why.clone()),
                None => (Outcome::NotSearched, "--debuginfod is not given, or DEBUGINFOD_URLS not set".to_string()),
            };
            places.push(searched("debuginfod".to_string(), "debuginfod", asked));
        }
        places
    }
}

fn searched(place: String, kind: &'static str, (result, why): (Outcome, String)) -> Searched {
    Searched { place, kind, result, why }
}

/// How often a running client is looked at.
const PULSE: Duration = Duration::from_millis(20);

impl DebuginfodArgs {
    /// Files with what `layouts` lack, by build id. What a server does not have or give is said in `notes`, and all of it kept in `fetched`.
    pub fn find(&self, layouts: &[Layout], fetched: &mut Fetched, notes: &mut Vec<Note>) -> Vec<(ImageId, PathBuf)> {
        let missing = missing(layouts);
        notes.extend(self.nothing_to_ask_for(layouts).filter(|_| missing.is_empty()));
        let cache = cache();
        fetched.cache.clone_from(&cache);
        let mut found = Vec::new();
        let mut wanted = Vec::new();
        for (id, name) in missing {
            match cache.as_ref().and_then(|cache| debuginfod::cached(cache, id)) {
                Some(path) => {
                    fetched.cached.insert(id, path.clone());
                    found.push((id, path));
                }
                None => wanted.push((id, name)),
            }
        }
        if !wanted.is_empty() && self.may_ask(notes) {
            let progress = Progress::new("debuginfod");
            for (n, (id, name)) in wanted.iter().enumerate() {
                progress.at(n as u64, wanted.len() as u64);
                let answer = self.fetch(*id);
                let kept = answer.as_ref().map(PathBuf::clone).map_err(|failure| failure.why().to_string());
                fetched.asked.insert(*id, kept);
                match answer {
                    Ok(path) => found.push((*id, path)),
                    Err(Failure::NoClient(why)) => {
                        wanted.iter().for_each(|(id, _)| drop(fetched.asked.insert(*id, Err(why.clone()))));
                        notes.push(Note::failure("debuginfod-find", why));
                        break;
                    }
                    Err(Failure::Other(why)) => notes.push(Note::warning(name.clone(), why)),
                }
            }
        }
        found
    }

    /// What explains that no server was asked although images have no debug info.
    fn nothing_to_ask_for(&self, layouts: &[Layout]) -> Option<Note> {
        let without = layouts.iter().flat_map(|layout| &layout.images).filter(lacks).count();
        let wished = self.debuginfod == "always" || self.debuginfod == "auto" && memory::set("DEBUGINFOD_URLS").is_some();
        let text =
            "images have no debug info here and no build id to ask a server for; a capture, /sys/module/*/notes or drgn's dump has them";
        (wished && without > 0).then(|| Note::warning("--debuginfod", format!("{without} {text}")))
    }

    fn may_ask(&self, notes: &mut Vec<Note>) -> bool {
        let servers = memory::set("DEBUGINFOD_URLS").is_some();
        if self.debuginfod == "always" && !servers {
            let text = "DEBUGINFOD_URLS names no server, so none is asked; your distribution's documentation says which to set";
            notes.push(Note::failure("--debuginfod", text));
        }
        self.debuginfod != "never" && servers
    }

    /// Runs the client for one build, no longer than the time limit.
    fn fetch(&self, id: ImageId) -> Result<PathBuf, Failure> {
        let key = debuginfod::key(id).unwrap_or_default();
        let run = Command::new("debuginfod-find")
            .args(["debuginfo", &key])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = run.map_err(|cause| {
            Failure::NoClient(format!(
                "cannot be run ({cause}); install elfutils' debuginfod client (Debian: debuginfod, Fedora: elfutils-debuginfod-client)"
            ))
        })?;
        let (said, complained) = (reader(child.stdout.take()), reader(child.stderr.take()));
        if !ends_within(&mut child, Duration::from_secs(self.debuginfod_timeout)) {
            return Err(Failure::Other(format!(
                "debuginfod gave nothing for build id {key} in {} seconds; --debuginfod-timeout allows more",
                self.debuginfod_timeout
            )));
        }
        let output = said.join().unwrap_or_default();
        let path = PathBuf::from(String::from_utf8_lossy(&output).trim());
        if path.is_file() {
            return Ok(path);
        }
        let why = String::from_utf8_lossy(&complained.join().unwrap_or_default()).trim().replace('\n', "; ");
        Err(Failure::Other(format!("debuginfod has no debug info of build id {key}: {why}")))
    }
}

/// Why a file could not be fetched.
enum Failure {
    /// The client is not there: no other file can be fetched either.
    NoClient(String),
    Other(String),
}

impl Failure {
    fn why(&self) -> &str {
        match self {
            Failure::NoClient(why) | Failure::Other(why) => why,
        }
    }
}

/// Build ids of images that have no symbol file, or one without debug info or without a part of it, each with the image's name.
fn missing(layouts: &[Layout]) -> BTreeMap<ImageId, String> {
    let id = |image: &Image| image.wanted.or(image.program.as_ref().and_then(|program| program.id()));
    let images = layouts.iter().flat_map(|layout| &layout.images).filter(lacks);
    let whole = images.filter_map(|image| Some((id(image).filter(|id| matches!(id, ImageId::Build(..)))?, image.name.clone())));
    // Servers give supplementary files by their build ids too.
    let programs = layouts.iter().flat_map(|layout| &layout.images).filter_map(|image| Some((image.program.as_ref()?, &image.name)));
    let parts = programs.flat_map(|(program, name)| {
        program.missing_parts(false).into_iter().filter_map(move |part| Some((part.id?, format!("{name}: {}", part.name))))
    });
    whole.chain(parts).collect()
}

fn lacks(image: &&Image) -> bool {
    image.program.as_ref().is_none_or(|program| !program.has_debug_info())
}

/// Where the client keeps what it fetched: as its man page says.
fn cache() -> Option<PathBuf> {
    memory::set("DEBUGINFOD_CACHE_PATH").or_else(|| Some(memory::caches()?.join("debuginfod_client")))
}

/// Reads a pipe to its end beside the work, so that a talkative client never waits for us; what is too much is dropped.
fn reader(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let (mut kept, Some(mut pipe)) = (Vec::new(), pipe) else { return Vec::new() };
        let _ = pipe.by_ref().take(1 << 16).read_to_end(&mut kept);
        let _ = std::io::copy(&mut pipe, &mut std::io::sink());
        kept
    })
}

/// Waits for `child`, and ends it when the time is over.
fn ends_within(child: &mut Child, limit: Duration) -> bool {
    let start = Instant::now();
    while start.elapsed() < limit {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(PULSE),
            Ok(Some(_)) => return true,
            Err(_) => break,
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}
