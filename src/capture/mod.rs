//! Collecting what kstack needs from a running Linux machine into one archive.
//!
//! The archive is a `.tar.zst` in the layout of `/proc` and `/sys`, so that any command reads it as it reads such a tree:
//!
//! ```text
//! proc/PID/task/TID/{stack,comm,stat,wchan}     of every thread; below sample-N/ when there are several samples
//! proc/PID/{cmdline,cgroup}                     of every process; proc/PID/task/TID/cgroup where a thread's own differs
//! proc/modules, proc/kallsyms (code only)       where the kernel and its modules lie
//! sys/module/NAME/{sections,notes}, sys/kernel/notes
//! proc/version, uname, os-release, proc/cmdline, proc/sys/kernel/tainted, config, proc/loadavg, proc/meminfo, proc/mounts
//! dmesg                                         the kernel's log as `dmesg -r` prints it
//! manifest.json                                 when and how it was made, what is not in it, and why
//! ```
//!
//! A machine in trouble decides how it is done: no process is started, memory is bounded, each read has a time limit ([`pool`]), and what
//! does not answer is left out and named.

mod config;
mod kmsg;
pub mod manifest;
pub mod pool;
mod redact;
pub mod script;
pub mod store;
mod system;
mod tasks;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use manifest::{Manifest, Sample, When};
use redact::Redactor;
use store::Store;

/// How to capture.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where `proc`, `sys` and `dev` are: `/`, or a copy for tests.
    pub root: PathBuf,
    /// How many times the threads are read; at least 1.
    pub samples: u32,
    /// What lies between the beginnings of two samples.
    pub interval: Duration,
    /// Time limit of one file.
    pub file_timeout: Duration,
    /// After this nothing more is read; the archive is ended with what is there.
    pub timeout: Duration,
    /// Whether names and command lines of processes are hashed, and what may hold names is left out.
    pub redact: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            root: PathBuf::from("/"),
            samples: 1,
            interval: Duration::from_secs(2),
            file_timeout: Duration::from_secs(1),
            timeout: Duration::from_secs(60),
            redact: false,
        }
    }
}

/// What the parts of a capture share.
struct Run<'o, W: Write> {
    options: &'o Options,
    store: Store<W>,
    manifest: Manifest,
    redactor: Option<Redactor>,
    deadline: Instant,
    threads: usize,
}

/// Whether there is something to capture.
///
/// # Errors
/// When there is no `/proc` of Linux.
pub fn check(options: &Options) -> io::Result<()> {
    if !options.root.join("proc/version").exists() {
        let text = format!(
            "{} is not there: capture reads /proc of a running Linux; for other systems see `kstack capture --print-script`",
            options.root.join("proc/version").display()
        );
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    Ok(())
}

/// Captures into `out`; gives back what went in, and the size of the archive in bytes.
///
/// # Errors
/// Where [`check`] fails, and when writing does. What cannot be read is in the manifest.
pub fn capture(options: &Options, out: impl Write) -> io::Result<(Manifest, u64)> {
    check(options)?;
    let started = SystemTime::now();
    let time = started.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut run = Run {
        options,
        store: Store::new(out, time),
        manifest: Manifest::new(started, options),
        redactor: if options.redact { Some(Redactor::new()?) } else { None },
        deadline: Instant::now() + options.timeout,
        threads: std::thread::available_parallelism().map_or(2, |count| count.get().clamp(2, 8)),
    };
    // Threads first: they change from one moment to the next, and nothing else does.
    for number in 0..options.samples.max(1) {
        if !run.sample(number)? {
            break;
        }
    }
    run.system()?;
    run.finish()
}

impl<W: Write> Run<'_, W> {
    /// Reads every thread once; gives back whether another sample can follow.
    fn sample(&mut self, number: u32) -> io::Result<bool> {
        let begin = Instant::now();
        let several = self.options.samples > 1;
        let folder = if several { format!("sample-{number}/") } else { String::new() };
        let mut sample = Sample { started: When::now(), ..Sample::default() };
        self.tasks(&folder, &mut sample)?;
        sample.seconds = begin.elapsed().as_secs_f64();
        self.manifest.samples.push(sample);
        let next = begin + self.options.interval;
        if number + 1 >= self.options.samples {
            return Ok(false);
        }
        if next >= self.deadline {
            let missing = self.options.samples - number - 1;
            self.manifest.skip(&format!("{missing} samples"), "the time of the whole capture was over");
            return Ok(false);
        }
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        Ok(true)
    }

    fn finish(mut self) -> io::Result<(Manifest, u64)> {
        self.manifest.end();
        let text = self.manifest.json()?;
        self.store.add("manifest.json", &text)?;
        let size = self.store.finish()?;
        Ok((self.manifest, size))
    }
}
