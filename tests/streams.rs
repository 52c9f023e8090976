//! Where input comes from and output goes: `/proc` of the machine that runs, readers that go away, permissions of files, and terminals.
#![cfg(unix)]

mod common;

use std::fs::{self, Permissions};
use std::io::{Seek, SeekFrom};
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
        // Address space that threads reserve on a machine with many cores is not what is limited here.
        command.env("RAYON_NUM_THREADS", "2").env("MALLOC_ARENA_MAX", "1");
        let output = command.output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{folder}: {:?} {}", output.status, stderr(&output));
        let other = |line: &&str| !["no kernel stack", "Permission denied", "stack"].iter().any(|known| line.contains(known));
        let said = stderr(&output);
        assert!(!said.contains("pagemap") && said.lines().find(other).is_none(), "{folder}: {said}");
        assert!(begin.elapsed() < Duration::from_secs(60), "{folder} took {:?}", begin.elapsed());
    }
}

/// A full disk hides nothing else that went wrong.
#[test]
fn what_could_not_be_read_is_said_where_nothing_can_be_written() {
    if !Path::new("/dev/full").exists() {
        return eprintln!("skipped: no /dev/full");
    }
    let missing = "no/such/file.txt";
    for args in [
        &["symbolicate", REPORT, missing][..],
        &["symbolicate", "--format", "json", REPORT, missing],
        &["group", REPORT, missing],
        &["top", REPORT, missing],
        &["flame", REPORT, missing],
        &["report", REPORT, missing],
        &["diff", REPORT, missing],
        &["modules", REPORT, "-k", missing],
        &["lookup", "-k", missing, "0xffffffff81000000"],
        &["script", "gdb", REPORT, "-k", missing],
        &["formats"],
    ] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = kstack(args).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let said = stderr(&output);
        let named = said.contains(missing) || !args.contains(&missing);
        assert!(output.status.code() == Some(1) && named, "{args:?}: {:?} {said}", output.status);
        assert!(said.contains("standard output: cannot be written") || args[0] == "diff", "{args:?}: {said}");
    }
}

/// A file as standard input is taken from where it stands, and whoever reads behind it finds nothing left.
#[test]
fn standard_input_that_is_a_file_is_taken_from_its_position_on() {
    let stack = |n: usize| format!("main;f{n} 1\n");
    let text: String = (0..4_000).map(stack).collect();
    let folder = Folder::new("stdin-file");
    let mut file = fs::File::open(folder.write("folded", &text)).unwrap();
    let skipped: usize = (0..100).map(stack).map(|line| line.len()).sum();
    file.seek(SeekFrom::Start(skipped as u64)).unwrap();
    let output = kstack(&["flame", "-q"]).stdin(file.try_clone().unwrap()).output().unwrap();
    assert_eq!(file.stream_position().unwrap(), text.len() as u64);
    let seen = stdout(&output);
    assert_eq!(seen.lines().count(), 3_900, "{}", stderr(&output));
    assert!(!seen.contains("f99 ") && seen.contains("main;f100 1\n"));
}

/// `kstack < f 1<> f`: the output grows faster than the input is used up.
#[test]
fn standard_input_that_the_output_goes_to_is_read_before_it_is_written() {
    let text = fs::read_to_string(Path::new("fixtures").join(REPORT)).unwrap().repeat(40);
    let folder = Folder::new("stdin-output");
    let path = folder.write("report", &text);
    let args = ["symbolicate", "-q", "--format", "json", "-"];
    let apart = kstack(&args).stdin(fs::File::open(&path).unwrap()).output().unwrap();
    assert!(apart.stdout.len() > text.len() && text.len() > 64 << 10, "{} {}", apart.stdout.len(), text.len());
    let output = fs::File::options().write(true).open(&path).unwrap();
    kstack(&args).stdin(fs::File::open(&path).unwrap()).stdout(output).status().unwrap();
    assert!(fs::read(&path).unwrap() == apart.stdout, "the output differs");
}

/// What could not be read is said, and the exit status is the same, whether or not somebody reads the result.
#[test]
fn a_reader_that_goes_away_takes_no_error_with_it() {
    for args in [
        &["symbolicate"][..],
        &["symbolicate", "--format", "ndjson"],
        &["symbolicate", "--format", "json"],
        &["group", "--format", "json"],
        &["top"],
        &["report"],
        &["flame"],
    ] {
        let output = unread(&[args, &[REPORT, "no/such/file.txt"]].concat());
        assert!(output.status.code() == Some(1) && stderr(&output).contains("no/such/file.txt"), "{args:?}: {}", stderr(&output));
        let output = unread(&[args, &[REPORT]].concat());
        assert!(output.status.success() && !stderr(&output).contains("roken pipe"), "{args:?}: {}", stderr(&output));
    }
    for args in [&["formats"][..], &["man"], &["completions", "bash"], &["capture", "--print-script"]] {
        assert_eq!((unread(args).status.code(), stderr(&unread(args))), (Some(0), String::new()), "{args:?}");
    }
}

/// A root that can be captured.
fn root(name: &str) -> Folder {
    let root = Folder::new(name);
    root.write("proc/version", "Linux version 6.1.0 (a@b) (gcc) #1\n");
    root.write("proc/7/task/7/stat", "7 (name) D 1 1 1 0 -1 4194304 0");
    root.write("proc/7/task/7/stack", "[<0>] schedule+0x10/0x20\n");
    root
}

#[test]
fn a_capture_that_nobody_reads_is_an_error() {
    let root = root("streams-unread");
    let output = unread(&["capture", "--stdout", "--root", &root.path("")]);
    assert!(output.status.code() == Some(1) && stderr(&output).contains("standard output: cannot be written"), "{}", stderr(&output));
    let pipe = root.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // The reader opens the pipe, so that the capture begins, and goes away.
    let mut reader = Command::new("sh").args(["-c", ": < \"$0\"", &pipe]).spawn().unwrap();
    // More than a pipe holds, with nothing in it that repeats.
    let noise: String = (0..40_000u64).map(|n| format!("{:016x} t f{n}\n", (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    root.write("proc/kallsyms", noise);
    let output = run(&["capture", "-o", &pipe, "--root", &root.path("")]);
    reader.wait().unwrap();
    assert!(output.status.code() == Some(1) && stderr(&output).contains("cannot be written"), "{}", stderr(&output));
}

#[test]
fn captures_are_for_their_owner_and_other_files_keep_what_they_allow() {
    let (root, out) = (root("streams-modes"), Folder::new("streams-modes-out"));
    let mode = |path: &str| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let with_umask = |umask: &str, args: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_kstack")]).args(args);
        let output = command.current_dir(common::fixtures()).env("KSTACK_NO_LOCAL", "1").stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    };
    let (capture, text) = (out.path("c.tar.zst"), out.path("text"));
    let (root, to_capture) = (root.path(""), ["-q", "-o", &capture, "--root"]);
    let capture_again = || with_umask("022", &[&["capture"], &to_capture[..], &[&root]].concat());
    capture_again();
    assert_eq!(mode(&capture), 0o600);
    fs::set_permissions(&capture, Permissions::from_mode(0o644)).unwrap();
    capture_again();
    assert_eq!(mode(&capture), 0o600, "kallsyms is in it, whoever may have read what lay there before");
    with_umask("022", &["sym", "-q", "-o", &text, REPORT]);
    assert_eq!(mode(&text), 0o644);
    for kept in [0o600, 0o640, 0o666] {
        fs::set_permissions(&text, Permissions::from_mode(kept)).unwrap();
        with_umask("022", &["sym", "-q", "-o", &text, REPORT]);
        assert_eq!(mode(&text), kept);
    }
}

/// On a terminal, which `script` makes, a run that is over in an instant draws nothing.
#[test]
fn short_work_draws_no_progress() {
    let works = Command::new("script").args(["-qec", "true", "/dev/null"]).stdin(Stdio::null()).output();
    if !works.is_ok_and(|output| output.status.success()) {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "script of util-linux is not installed, and CI needs it");
        return eprintln!("skipped: script of util-linux is not installed");
    }
    let command = format!("'{}' group -q {REPORT} -o /dev/null", env!("CARGO_BIN_EXE_kstack"));
    for _ in 0..5 {
        let begin = Instant::now();
        let mut script = Command::new("script");
        script.args(["-qec", &command, "/dev/null"]).current_dir(common::fixtures()).env("KSTACK_NO_LOCAL", "1").env("TERM", "xterm");
        let output = script.stdin(Stdio::null()).output().unwrap();
        // A machine that is busy with other things may take longer, and then progress is right.
        assert!(stdout(&output).is_empty() || begin.elapsed() > Duration::from_millis(500), "{:?}", stdout(&output));
    }
}

/// Everything of the other side would be new, or grown.
#[test]
fn nothing_is_compared_with_what_cannot_be_read() {
    let out = Folder::new("streams-compare");
    let (prose, graph) = (out.write("prose.txt", "nothing of a kernel\n"), out.write("graph.svg", "old"));
    for missing in ["no/such/file.txt", prose.as_str()] {
        for args in [
            &["diff", missing, REPORT][..],
            &["diff", REPORT, missing],
            &["diff", missing],
            &["flame", REPORT, "--diff", missing],
            &["flame", missing, "--diff", REPORT],
            &["flame", REPORT, "--diff", missing, "-o", &graph],
        ] {
            let output = run(args);
            assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""), "{args:?}: {}", stderr(&output));
            assert!(stderr(&output).contains(missing) && stderr(&output).contains("nothing is compared"), "{args:?}: {}", stderr(&output));
        }
    }
    assert_eq!(fs::read_to_string(&graph).unwrap(), "old");
    assert!(run(&["diff", REPORT, REPORT]).status.success());
}
