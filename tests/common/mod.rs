//! What all integration tests need: the binary, the fixtures, and peers that may be absent.
#![allow(dead_code)]

pub mod elf;
pub mod folder;
pub mod inputs;
pub mod prelinked;
pub mod shared;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The folder of fixtures, which tests use as working directory so that no path of a machine gets into expected output.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// The binary, in the folder of fixtures, with nothing on standard input and no settings of the user.
pub fn kstack(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kstack"));
    command.current_dir(fixtures()).args(args).stdin(Stdio::null()).env_remove("NO_COLOR").env("TERM", "dumb");
    // What the machine that runs the tests has installed must not change what they see.
    command.env("KSTACK_NO_LOCAL", "1").env("DEBUGINFOD_CACHE_PATH", "debuginfod-cache").env_remove("DEBUGINFOD_URLS");
    command
}

/// Runs it to its end.
pub fn run(args: &[&str]) -> Output {
    kstack(args).output().expect("kstack starts")
}

/// Runs it with `input` on standard input.
pub fn run_with(args: &[&str], input: &[u8]) -> Output {
    use std::io::Write;
    let mut child = kstack(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kstack starts");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("kstack ends");
    writer.join().expect("writer ends");
    output
}

/// Standard output as text.
pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Standard error as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Standard output as JSON.
pub fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", stdout(output), stderr(output)))
}

/// The first of `names` that runs. Without one the test says so and is skipped, unless `CI=true`, where it fails.
pub fn peer(names: &[&str]) -> Option<String> {
    let runs = |name: &&&str| Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    let found = names.iter().find(runs).map(|name| name.to_string());
    if found.is_none() {
        eprintln!("skipped: none of {names:?} is installed");
        assert!(std::env::var("CI").as_deref() != Ok("true"), "none of {names:?} is installed, and CI needs it");
    }
    found
}
