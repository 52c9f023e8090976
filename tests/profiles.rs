//! DTrace aggregations against the tables beside them: every row. The scores are printed (`cargo test --test profiles -- --nocapture`).
//! The inputs lie outside the repository; without them these tests say so and end.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The folder of `kind` among the reference data: below `KSTACK_SHARED`, else beside the repository.
fn shared(kind: &str) -> Option<PathBuf> {
    let root = std::env::var_os("KSTACK_SHARED").map(PathBuf::from);
    let folder = root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared")).join("darwin").join(kind);
    if !folder.is_dir() {
        eprintln!("skipped: {} is absent", folder.display());
        return None;
    }
    Some(folder)
}

/// `inner@file:line < outer@file:line`, as the tables have it.
fn chain(frame: &Value) -> String {
    let one = |location: &Value| {
        let file = location["file"].as_str().unwrap_or_default();
        format!("{}@{}:{}", location["function"].as_str().unwrap_or("?"), file.rsplit('/').next().unwrap(), location["line"])
    };
    frame["locations"].as_array().unwrap().iter().map(one).collect::<Vec<_>>().join(" < ")
}

/// Rows whose symbol, offset and lines are the table's, and all rows.
fn score(input: &str, map: &[&str]) -> Option<(usize, usize, Vec<String>)> {
    let (inputs, build) = (shared("inputs")?, shared("build")?);
    let path = inputs.join(input).display().to_string();
    let file = |name: &str| build.join("a/legacy").join(name).display().to_string();
    let (kernel, spl, zfs) = (file("mach_kernel"), file("spl.kext"), file("zfs.kext"));
    let mut args = vec!["symbolicate", "-q", "--no-demangle", "--format", "json", &path, "-k", &kernel, "-m", &spl, "-m", &zfs];
    args.extend(map);
    let report = common::json(&common::run(&args));
    assert_eq!(report["reports"][0]["format"], "dtrace");
    let stacks = report["reports"][0]["stacks"].as_array().unwrap();
    let frames: BTreeMap<u64, &Value> =
        stacks.iter().flat_map(|stack| stack["frames"].as_array().unwrap()).map(|frame| (frame["line"].as_u64().unwrap(), frame)).collect();
    let text = fs::read_to_string(inputs.join(format!("{input}.truth.tsv"))).unwrap();
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap().split('\t').collect();
    let rows: Vec<BTreeMap<&str, &str>> = lines.map(|line| head.iter().copied().zip(line.split('\t')).collect()).collect();
    assert_eq!(frames.len(), rows.len(), "{input}: as many frames as the table has");
    let mut wrong = Vec::new();
    for row in &rows {
        let frame = frames[&row["line"].parse().unwrap()];
        let offset = u64::from_str_radix(&row["symoff"][2..], 16).unwrap();
        let exact = frame["exact"].as_bool().unwrap_or(false) == (row["kind"] == "leaf");
        if !(exact && frame["symbol"] == *row["symbol"] && frame["offset"] == offset && chain(frame) == row["chain"]) {
            wrong.push(format!("line {}: {}+{offset:#x} {} but got {frame}", row["line"], row["symbol"], row["chain"]));
        }
    }
    println!("{input:32} {} of {} rows", rows.len() - wrong.len(), rows.len());
    Some((rows.len() - wrong.len(), rows.len(), wrong))
}

#[test]
fn every_row_of_every_table() {
    for (input, map) in [("dtrace-10.9-symbolic.stacks", &[][..]), ("dtrace-10.9-rawkext.stacks", MAP)] {
        let Some((right, all, wrong)) = score(input, map) else { return };
        assert_eq!(right, all, "{input}: first {:?}", wrong.first());
    }
}

/// Only a load map says where the kexts lie.
const MAP: &[&str] = &["-l", "load-maps/lldb-showallkexts-10.9.txt"];

/// No log of another kind is taken for a profile.
#[test]
fn logs_of_others_are_no_profiles() {
    let Some(inputs) = shared("inputs") else { return };
    let folders = [inputs.clone(), inputs.join("../real"), inputs.join("../../captures"), inputs.join("../../corpus")];
    let mut seen = 0;
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
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
