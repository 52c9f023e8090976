//! Crash logs of other people, where they are at hand: every stack of the BSDs and of macOS must be found, frame for frame.
//!
//! The corpus is not part of the repository. It is looked for in `KSTACK_SHARED`, else beside the repository.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Rows of a table with a head line, by column.
fn table(path: &Path) -> Vec<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    let row = |line: &str| head.iter().zip(line.split('\t')).map(|(name, value)| (name.to_string(), value.to_string())).collect();
    lines.map(row).collect()
}

/// The functions of each stack that the log of `id` must have.
fn wanted(frames: &[BTreeMap<String, String>], id: &str) -> Vec<Vec<String>> {
    let mut stacks: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for row in frames.iter().filter(|row| row["id"] == id) {
        stacks.entry(row["stack"].parse().unwrap()).or_default().push(row["function"].clone());
    }
    stacks.into_values().collect()
}

/// The functions of each stack that kstack finds, or the address of those that have no name; addresses that stand in words are no stack.
fn found(log: &Path) -> Vec<Vec<String>> {
    let output = common::run(&["symbolicate", "-q", "--format", "json", &log.display().to_string()]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let stacks = value["reports"].as_array().unwrap().iter().flat_map(|report| report["stacks"].as_array().unwrap());
    let name = |frame: &serde_json::Value| frame["symbol"].as_str().or(frame["address"].as_str()).unwrap_or_default().to_string();
    let stacks = stacks.filter(|stack| stack["aside"] != true);
    stacks.map(|stack| stack["frames"].as_array().unwrap().iter().map(name).collect()).collect()
}

#[test]
fn stacks_of_the_bsds_and_of_macos_are_found_frame_for_frame() {
    let shared = std::env::var_os("KSTACK_SHARED").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let folder = shared.join("corpus/crash-logs");
    if !folder.is_dir() {
        eprintln!("skipped: no crash logs in {}; set KSTACK_SHARED", folder.display());
        return;
    }
    let frames = table(&folder.join("frames.tsv"));
    let mut score: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut missed = Vec::new();
    for log in
        table(&folder.join("logs.tsv")).iter().filter(|log| log["exact"] == "yes" && (log["os"].ends_with("bsd") || log["os"] == "darwin"))
    {
        let right = found(&folder.join(&log["file"])) == wanted(&frames, &log["id"]);
        let (good, all) = score.entry(log["os"].clone()).or_default();
        (*good, *all) = (*good + usize::from(right), *all + 1);
        missed.extend((!right).then(|| log["id"].clone()));
    }
    for (system, (good, all)) in &score {
        println!("{system}: {good} of {all} logs frame for frame");
        assert!(good * 100 >= all * 95, "{system}: {missed:?}");
    }
    assert_eq!(score.len(), 4, "{score:?}");
}
