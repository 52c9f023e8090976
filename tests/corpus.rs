//! Crash logs of other people, where they are at hand: every stack of the BSDs must be found, frame for frame.
//!
//! The corpus is not part of the repository. It is looked for in `KSTACK_SHARED`, else beside the repository.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::shared::{Row, rows, shared};

/// The functions of each stack that the log of `id` must have.
fn wanted(frames: &[Row], id: &str) -> Vec<Vec<String>> {
    let mut stacks: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for row in frames.iter().filter(|row| row["id"] == id) {
        stacks.entry(row["stack"].parse().unwrap()).or_default().push(row["function"].clone());
    }
    stacks.into_values().collect()
}

/// The functions of each stack that kstack finds, or the address of those that have no name.
fn found(log: &Path) -> Vec<Vec<String>> {
    let output = common::run(&["symbolicate", "-q", "--format", "json", &log.display().to_string()]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let stacks = value["reports"].as_array().unwrap().iter().flat_map(|report| report["stacks"].as_array().unwrap());
    let name = |frame: &serde_json::Value| frame["symbol"].as_str().or(frame["address"].as_str()).unwrap_or_default().to_string();
    stacks.map(|stack| stack["frames"].as_array().unwrap().iter().map(name).collect()).collect()
}

#[test]
fn stacks_of_the_bsds_are_found_frame_for_frame() {
    let Some(folder) = shared("corpus/crash-logs") else { return };
    let frames = rows(&folder.join("frames.tsv"));
    let mut score: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut missed = Vec::new();
    for log in rows(&folder.join("logs.tsv")).iter().filter(|log| log["exact"] == "yes" && log["os"].ends_with("bsd")) {
        let right = found(&folder.join(&log["file"])) == wanted(&frames, &log["id"]);
        let (good, all) = score.entry(log["os"].clone()).or_default();
        (*good, *all) = (*good + usize::from(right), *all + 1);
        missed.extend((!right).then(|| log["id"].clone()));
    }
    for (system, (good, all)) in &score {
        println!("{system}: {good} of {all} logs frame for frame");
        assert!(good * 100 >= all * 95, "{system}: {missed:?}");
    }
    assert_eq!(score.len(), 3, "{score:?}");
}
