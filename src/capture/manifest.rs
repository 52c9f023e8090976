//! `manifest.json`: when and how a capture was made, what is not in it, and why.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::Options;
use super::pool::Outcome;

/// Name and version of the form.
pub const SCHEMA: &str = "kstack-capture/1";

/// More files than this are not named, only counted.
const MOST_NAMED: usize = 100;

/// A moment in UTC: `2026-11-21T13:40:05Z`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct When(String);

impl When {
    /// Now.
    pub fn now() -> When {
        When::of(SystemTime::now())
    }

    /// A moment of the system's clock; those before 1970 are 1970.
    pub fn of(time: SystemTime) -> When {
        let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (day, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, date) = civil(day);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        When(format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}Z"))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Year, month and day of the Gregorian calendar, `days` after 1970-01-01.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    // 400 years are always 146,097 days.
    let mut year = 1970 + days / 146_097 * 400;
    days %= 146_097;
    loop {
        let length = 365 + u64::from(is_leap(year));
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

/// Whether this process runs as root, to whom its folder in `/proc` belongs then.
fn is_root() -> bool {
    #[cfg(unix)]
    let root = std::fs::metadata("/proc/self").is_ok_and(|about| std::os::unix::fs::MetadataExt::uid(&about) == 0);
    #[cfg(not(unix))]
    let root = false;
    root
}

/// One reading of all threads.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    /// When it began.
    pub started: When,
    /// How long it took.
    pub seconds: f64,
    /// Processes that were listed.
    pub processes: u64,
    /// Threads of which something was read.
    pub threads: u64,
    /// Threads whose kernel stack was read and is not empty; that of a running thread is.
    pub stacks: u64,
    /// Threads that ended between being listed and being read, as threads do.
    pub vanished: u64,
}

/// Files of one kind that are not in the capture, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Missing {
    /// The kernel does not show them to this user.
    #[serde(default)]
    pub denied: u64,
    /// They did not answer within the time limit.
    #[serde(default)]
    pub timed_out: u64,
    /// Not read: others of their kind did not answer, or the time was over.
    #[serde(default)]
    pub given_up: u64,
    /// Another error.
    #[serde(default)]
    pub failed: u64,
    /// Longer than what is kept.
    #[serde(default)]
    pub cut: u64,
}

/// A file, or kind of file, that is not in the capture, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Skipped {
    /// Its place in the archive, or what it is.
    pub what: String,
    /// Why.
    pub why: String,
}

/// The manifest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: String,
    /// Version of kstack.
    pub kstack: String,
    /// When the capture began.
    pub started: When,
    /// When it ended.
    pub ended: When,
    /// How long it took.
    pub seconds: f64,
    /// Time limit of one file.
    pub file_timeout_seconds: f64,
    /// Time limit of the whole capture.
    pub timeout_seconds: f64,
    /// Whether names and command lines are hashed.
    pub redacted: bool,
    /// Whether root made it.
    pub root: bool,
    /// Each reading of the threads.
    pub samples: Vec<Sample>,
    /// What is not there, by kind of file.
    pub missing: BTreeMap<String, Missing>,
    /// Files that did not answer or failed, the first hundred, and what was left out on purpose.
    pub skipped: Vec<Skipped>,
    #[serde(skip)]
    begin: Option<Instant>,
}

impl Manifest {
    /// The manifest of a capture that begins now.
    pub fn new(started: SystemTime, options: &Options) -> Manifest {
        let seconds = |time: Duration| time.as_secs_f64();
        Manifest {
            schema: SCHEMA.to_string(),
            kstack: env!("CARGO_PKG_VERSION").to_string(),
            started: When::of(started),
            ended: When::default(),
            seconds: 0.0,
            file_timeout_seconds: seconds(options.file_timeout),
            timeout_seconds: seconds(options.timeout),
            redacted: options.redact,
            root: is_root(),
            samples: Vec::new(),
            missing: BTreeMap::new(),
            skipped: Vec::new(),
            begin: Some(Instant::now()),
        }
    }

    /// Says that `what` is not in the capture, and why.
    pub fn skip(&mut self, what: &str, why: &str) {
        if self.skipped.len() < MOST_NAMED {
            self.skipped.push(Skipped { what: what.to_string(), why: why.to_string() });
        }
    }

    /// The bytes of a file that was read; what was not is counted under `kind`. That a file is not there is nothing to speak of.
    pub fn taken(&mut self, kind: &str, path: &str, outcome: Outcome) -> Option<Vec<u8>> {
        match outcome {
            Outcome::Bytes(bytes, cut) => {
                if cut {
                    self.of(kind).cut += 1;
                    self.skip(path, &format!("only its first {} bytes are kept", bytes.len()));
                }
                return Some(bytes);
            }
            Outcome::Gone => {}
            Outcome::Denied => self.of(kind).denied += 1,
            Outcome::GivenUp => self.of(kind).given_up += 1,
            Outcome::Stuck => {
                self.of(kind).timed_out += 1;
                self.skip(path, &format!("did not answer within {} s", self.file_timeout_seconds));
            }
            Outcome::Failed(why) => {
                self.of(kind).failed += 1;
                self.skip(path, &why);
            }
        }
        None
    }

    fn of(&mut self, kind: &str) -> &mut Missing {
        self.missing.entry(kind.to_string()).or_default()
    }

    /// Sets the end to now.
    pub fn end(&mut self) {
        self.ended = When::now();
        self.seconds = self.begin.map_or(0.0, |begin| begin.elapsed().as_secs_f64());
    }

    /// How many files there are of which `count` says how many, over all kinds whose name ends in `kind`.
    pub fn count(&self, kind: &str, count: impl Fn(&Missing) -> u64) -> u64 {
        self.missing.iter().filter(|(name, _)| name.ends_with(kind)).map(|(_, missing)| count(missing)).sum()
    }

    /// As JSON.
    ///
    /// # Errors
    /// Never, as long as there is memory.
    pub fn json(&self) -> io::Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// What a user of the capture should know, in one sentence; `None` when nothing is missing.
    pub fn shortcomings(&self) -> Option<String> {
        let denied = self.count("/stack", |missing| missing.denied);
        let others = self.count("", |missing| missing.denied) - denied;
        let stuck = self.count("", |missing| missing.timed_out);
        let given_up = self.count("", |missing| missing.given_up);
        let failed = self.count("", |missing| missing.failed);
        let whose = if self.root { "protected even from root" } else { "not readable for this user (`sudo kstack capture`)" };
        let parts = [
            (denied, format!("kernel stacks were {whose}")),
            (others, format!("other files were {whose}")),
            (stuck, "files did not answer in time".to_string()),
            (given_up, "files were not read, since others of their kind did not answer or the time was over".to_string()),
            (failed, "files could not be read".to_string()),
        ];
        let said: Vec<String> = parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        (!said.is_empty()).then(|| said.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_calendar() {
        let at = |seconds| When::of(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).0;
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_795_268_405), "2026-11-21T13:40:05Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00Z");
        assert_eq!(at(13_569_465_600), "2400-01-01T00:00:00Z");
    }

    #[test]
    fn what_is_missing_is_counted_and_said() {
        let mut manifest = Manifest::new(SystemTime::now(), &Options::default());
        assert_eq!(manifest.taken("proc/PID/stack", "proc/1/stack", Outcome::Bytes(vec![1], false)), Some(vec![1]));
        assert_eq!(manifest.shortcomings(), None);
        for outcome in [Outcome::Denied, Outcome::Gone, Outcome::Stuck, Outcome::Failed("bad".into())] {
            assert_eq!(manifest.taken("proc/PID/stack", "proc/1/stack", outcome), None);
        }
        let said = manifest.shortcomings().unwrap();
        assert!(said.starts_with("1 kernel stacks were ") && said.contains("1 files did not answer"), "{said}");
        assert_eq!(manifest.skipped.len(), 2);
        let again: Manifest = serde_json::from_slice(&manifest.json().unwrap()).unwrap();
        assert_eq!(again.missing, manifest.missing);
    }
}
