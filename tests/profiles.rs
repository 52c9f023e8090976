//! DTrace aggregations against the tables beside them: every row. The scores are printed (`cargo test --test profiles -- --nocapture`).

mod common;

use std::path::PathBuf;

use common::shared::{by_line, chain, hex, inputs, rows, shared};

/// Rows whose symbol, offset and lines are the table's, and all rows.
fn score(input: &str, map: &[&str]) -> (usize, usize, Vec<String>) {
    let path = inputs().join(input).display().to_string();
    let symbols =
        ["-k", "symbols/darwin/legacy/mach_kernel", "-m", "symbols/darwin/legacy/spl.kext", "-m", "symbols/darwin/legacy/zfs.kext"];
    let args = [&["symbolicate", "-q", "--no-demangle", "--format", "json", &path], &symbols[..], map].concat();
    let report = common::json(&common::run(&args));
    assert_eq!(report["reports"][0]["format"], "dtrace");
    let frames = by_line(&report["reports"][0]);
    let rows = rows(&inputs().join(format!("{input}.truth.tsv")));
    assert_eq!(frames.len(), rows.len(), "{input}: as many frames as the table has");
    let mut wrong = Vec::new();
    for row in &rows {
        let frame = frames[&row["line"].parse().unwrap()];
        let offset = hex(&row["symoff"]);
        let exact = frame["exact"].as_bool().unwrap_or(false) == (row["kind"] == "leaf");
        if !(exact && frame["symbol"] == *row["symbol"] && frame["offset"] == offset && chain(frame) == row["chain"]) {
            wrong.push(format!("line {}: {}+{offset:#x} {} but got {frame}", row["line"], row["symbol"], row["chain"]));
        }
    }
    println!("{input:32} {} of {} rows", rows.len() - wrong.len(), rows.len());
    (rows.len() - wrong.len(), rows.len(), wrong)
}

#[test]
fn every_row_of_every_table() {
    for (input, map) in [("dtrace-10.9-symbolic.stacks", &[][..]), ("dtrace-10.9-rawkext.stacks", MAP)] {
        let (right, all, wrong) = score(input, map);
        assert_eq!(right, all, "{input}: first {:?}", wrong.first());
    }
}

/// Only a load map says where the kexts lie.
const MAP: &[&str] = &["-l", "load-maps/lldb-showallkexts-10.9.txt"];

/// No log of another kind is taken for a profile.
#[test]
fn logs_of_others_are_no_profiles() {
    let others = ["darwin/real", "captures", "corpus"].iter().filter_map(|folder| shared(folder));
    let folders: Vec<PathBuf> = std::iter::once(inputs().to_path_buf()).chain(others).collect();
    let mut seen = 0;
    for folder in &folders {
        for path in kstack::input::collect::files(folder, &mut Vec::new()) {
            let name = path.display().to_string();
            let Ok(source) = kstack::input::open(&path) else { continue };
            let found = kstack::parse::detect(&source.data).map_or("none", |found| found.id());
            let profile = PROFILES.contains(&found);
            seen += 1;
            if profile && !name.contains("dtrace-") {
                println!("{found} {name}");
            }
            assert!(!profile || name.contains("dtrace-"), "{name} is taken for {found}");
        }
    }
    println!("{seen} files of other kinds");
}

const PROFILES: [&str; 7] = ["perf-script", "dtrace", "bpftrace", "bcc", "systemtap", "ftrace-stack", "folded"];
