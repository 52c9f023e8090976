//! Where input comes from and output goes: `/proc` of the machine that runs, readers that go away, permissions of files, and terminals.
#![cfg(unix)]

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::folder::Folder;
use common::{kstack, run, stderr, stdout};

const REPORT: &str = "linux-log/null-in-timer/input.txt";

/// Runs it with a standard output that nobody reads.
fn unread(args: &[&str]) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    kstack(args).stdout(writer).stderr(Stdio::piped()).output().unwrap()
}

/// `pagemap` alone has 256 GB, and `kmsg` has no end. Without privilege the stacks cannot be read, which is all that may be said.
#[test]
fn a_process_of_proc_is_read_without_what_has_no_end() {
    let own = format!("/proc/{}", std::process::id());
    if !Path::new(&own).join("pagemap").exists() {
        return eprintln!("skipped: no /proc of Linux");
    }
    let thread = format!("{own}/task/{}", std::process::id());
    for folder in [own.as_str(), &thread, "/proc/self"] {
        let begin = Instant::now();
        let limited = "ulimit -v 2000000; exec timeout 60 \"$0\" group -- \"$1\"";
        let mut command = Command::new("sh");
        command.args(["-c", limited, env!("CARGO_BIN_EXE_kstack"), folder]).env("KSTACK_NO_LOCAL", "1").stdin(Stdio::null());
        let output = command.output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{folder}: {:?} {}", output.status, stderr(&output));
        let other = |line: &&str| !["no kernel stack", "Permission denied", "stack"].iter().any(|known| line.contains(known));
        let said = stderr(&output);
        assert!(!said.contains("pagemap") && said.lines().find(other).is_none(), "{folder}: {said}");
        assert!(begin.elapsed() < Duration::from_secs(60), "{folder} took {:?}", begin.elapsed());
    }
}
