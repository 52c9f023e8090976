//! `kstack capture`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::exit::Exit;
use super::options::{OutputArgs, Usage};
use super::{output, term};
use crate::capture::manifest::Manifest;
use crate::capture::script::{SYSTEMS, script};
use crate::capture::{self, Options};

/// What the script knows nothing of: taking these in silence would promise what it does not do.
const NOT_IN_SCRIPT: [&str; 5] = ["redact", "interval", "timeout", "file_timeout", "root"];

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Write to FILE, which appears whole or not at all; kstack-HOST-TIME.tar.zst unless named, - for standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write to standard output: `kstack capture --stdout | ssh HOST 'cat > capture.tar.zst'` when no disk can be trusted
    #[arg(long, conflicts_with = "output")]
    stdout: bool,
    /// Read the threads this often; `kstack diff FILE` compares the first and the last sample
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    samples: u32,
    /// Seconds from the beginning of one sample to that of the next
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    interval: Duration,
    /// Read nothing more after so many seconds, and end the archive with what is there; the time that samples need is added
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    timeout: Duration,
    /// Leave out a file that does not answer for so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    file_timeout: Duration,
    /// Hash names and command lines of processes, cgroups and the host's name; leave out log, mounts and boot command line
    ///
    /// Equal names stay equal within one capture. The salt is kept nowhere. Kernel threads keep their names, as do modules and functions, unless an address of another machine is in them. Who built the kernel is hashed too.
    #[arg(long)]
    redact: bool,
    /// Print a POSIX shell script that collects the same where kstack is not installed
    #[arg(long, value_name = "SYSTEM", num_args = 0..=1, default_missing_value = "auto", value_parser = clap::builder::PossibleValuesParser::new(SYSTEMS), conflicts_with_all = NOT_IN_SCRIPT)]
    print_script: Option<String>,
    /// Read DIR/proc, DIR/sys and DIR/dev instead of those of this machine
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Say nothing on standard error but errors
    #[arg(short, long)]
    quiet: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let value: f64 = text.parse().map_err(|_| format!("`{text}` is no number of seconds"))?;
    Duration::try_from_secs_f64(value).ok().filter(|time| *time <= DAY).ok_or_else(|| format!("`{text}` is not between 0 and a day"))
}

const DAY: Duration = Duration::from_secs(86_400);

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    if let Some(system) = &args.print_script {
        let text = script(system, args.samples);
        output::write(&place(args.output.clone(), args.quiet), |out| out.write_all(text.as_bytes()))?;
        return Ok(Exit::Done);
    }
    let options = options(args);
    let path = if args.stdout { PathBuf::from("-") } else { args.output.clone().unwrap_or_else(|| name(&options)) };
    if path == Path::new("-") && std::io::stdout().is_terminal() {
        return Err(Usage("a capture is binary and standard output is a terminal: pipe it, or name a file with -o".to_string()).into());
    }
    let mut done = None;
    capture::check(&options)?;
    output::write_private(&path, |out| {
        done = Some(capture::capture(&options, out)?);
        Ok(())
    })?;
    Ok(done.map_or(Exit::Unusable, |(manifest, size)| say(args, &path, &manifest, size)))
}

fn place(output: Option<PathBuf>, quiet: bool) -> OutputArgs {
    OutputArgs { output, color: "never".to_string(), quiet }
}

fn options(args: &Args) -> Options {
    Options {
        root: args.root.clone(),
        samples: args.samples,
        interval: args.interval,
        file_timeout: args.file_timeout,
        // Waiting between samples is asked for, and is no trouble.
        timeout: args.timeout + args.interval * (args.samples - 1),
        redact: args.redact,
    }
}

/// `kstack-HOST-20261121T134005Z.tar.zst`.
fn name(options: &Options) -> PathBuf {
    let host = std::fs::read_to_string(options.root.join("proc/sys/kernel/hostname")).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let host: String = host.trim().chars().filter(|c| plain(*c)).collect();
    let host = if host.is_empty() || options.redact { "linux".to_string() } else { host };
    let time: String = capture::manifest::When::now().as_str().chars().filter(|c| !matches!(c, '-' | ':')).collect();
    PathBuf::from(format!("kstack-{host}-{time}.tar.zst"))
}

/// Says what went in. A capture without a single stack, because all are hidden, is one that could not be used.
fn say(args: &Args, path: &Path, manifest: &Manifest, size: u64) -> Exit {
    let stacks: u64 = manifest.samples.iter().map(|sample| sample.stacks).sum();
    let threads: u64 = manifest.samples.iter().map(|sample| sample.threads).sum();
    let hidden = stacks == 0 && threads > 0 && manifest.count("/stack", |missing| missing.denied) > 0;
    if !args.quiet {
        let place = if path == Path::new("-") { String::new() } else { format!("{}: ", path.display()) };
        let samples = if manifest.samples.len() > 1 { format!(" in {} samples", manifest.samples.len()) } else { String::new() };
        term::complain(&format!(
            "{place}{threads} threads{samples}, {stacks} kernel stacks, {:.1} MB, {:.1} s",
            size as f64 / 1e6,
            manifest.seconds
        ));
        if let Some(text) = manifest.shortcomings().filter(|_| !hidden) {
            term::complain(&format!("warning: {text}"));
        }
    }
    if hidden {
        term::complain(
            "error: this user may read no kernel stack; run `sudo kstack capture` (CAP_SYS_PTRACE and CAP_SYS_ADMIN are what it needs)",
        );
        return Exit::Unusable;
    }
    Exit::Done
}
