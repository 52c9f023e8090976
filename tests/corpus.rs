//! Crash logs of other people, where they are at hand: every stack of the BSDs and of macOS must be found, frame for frame, and the titles of other
//! systems must be those of bug trackers.
//!
//! The corpus is not part of the repository. It is looked for in `KSTACK_SHARED`, else beside the repository.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::shared::{Row, rows, shared};
use serde_json::Value;

/// The functions of each stack that the log of `id` must have.
fn wanted(frames: &[Row], id: &str) -> Vec<Vec<String>> {
    let mut stacks: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for row in frames.iter().filter(|row| row["id"] == id) {
        stacks.entry(row["stack"].parse().unwrap()).or_default().push(row["function"].clone());
    }
    stacks.into_values().collect()
}

/// What kstack makes of a log.
fn reports(log: &Path) -> Vec<Value> {
    let output = common::run(&["symbolicate", "-q", "--format", "json", &log.display().to_string()]);
    common::json(&output)["reports"].as_array().unwrap().clone()
}

/// The functions of each stack that kstack finds, or the address of those that have no name; addresses that stand in words are no stack.
fn found(log: &Path) -> Vec<Vec<String>> {
    let name = |frame: &Value| frame["symbol"].as_str().or(frame["address"].as_str()).unwrap_or_default().to_string();
    let stack = |stack: &Value| stack["frames"].as_array().unwrap().iter().map(name).collect();
    let stacks =
        |report: &Value| report["stacks"].as_array().unwrap().iter().filter(|stack| stack["aside"] != true).map(stack).collect::<Vec<_>>();
    reports(log).iter().flat_map(stacks).collect()
}

/// The title that kstack gives a log.
fn title(log: &Path) -> String {
    reports(log).iter().find_map(|report| report["title"].as_str()).unwrap_or_default().to_string()
}

/// Of the logs that are `asked` for, at least 95 of a hundred must be `right` on each of the systems.
fn score(what: &str, systems: &[&str], asked: impl Fn(&Row) -> bool, right: impl Fn(&Path, &Row) -> bool) {
    let Some(folder) = shared("corpus/crash-logs") else { return };
    let mut score: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut missed = Vec::new();
    for log in rows(&folder.join("logs.tsv")).iter().filter(|log| systems.contains(&log["os"].as_str()) && asked(log)) {
        let right = right(&folder.join(&log["file"]), log);
        let (good, all) = score.entry(log["os"].clone()).or_default();
        (*good, *all) = (*good + usize::from(right), *all + 1);
        missed.extend((!right).then(|| log["id"].clone()));
    }
    for (system, (good, all)) in &score {
        println!("{system}: {what} of {good} of {all} logs");
        assert!(good * 100 >= all * 95, "{system}: {missed:?}");
    }
    assert_eq!(score.len(), systems.len(), "{score:?}");
}

/// Logs of these systems have no list of frames to compare with.
#[test]
fn crashes_of_gvisor_and_fuchsia_have_the_titles_that_bug_trackers_have() {
    let right = |log: &Path, row: &Row| {
        let title = title(log);
        title == row["title"] || row["alt_titles"].split(" | ").any(|other| !other.is_empty() && title == other)
    };
    score("titles", &["all", "fuchsia", "gvisor", "starnix"], |_| true, right);
}

#[test]
fn stacks_of_the_bsds_and_of_macos_are_found_frame_for_frame() {
    let Some(folder) = shared("corpus/crash-logs") else { return };
    let frames = rows(&folder.join("frames.tsv"));
    let right = |log: &Path, row: &Row| found(log) == wanted(&frames, &row["id"]);
    score("frames", &["darwin", "freebsd", "netbsd", "openbsd"], |log| log["exact"] == "yes", right);
}
