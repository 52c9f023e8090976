//! Stacks weighed by the bytes that their reports count: sums, merging, and what is said where there are none.

mod common;

use serde_json::Value;

fn json(args: &[&str]) -> Value {
    common::json(&common::run(args))
}

/// Fingerprint, count and bytes of each group.
fn groups(value: &Value) -> Vec<(String, u64, Option<u64>)> {
    let one =
        |group: &Value| (group["fingerprint"].as_str().unwrap().to_string(), group["count"].as_u64().unwrap(), group["bytes"].as_u64());
    let mut list: Vec<_> = value["groups"].as_array().unwrap().iter().map(one).collect();
    list.sort();
    list
}

#[test]
fn groups_sum_bytes_and_the_heaviest_is_first() {
    let by_bytes = json(&["group", "-q", "--format", "json", "--weight", "bytes", "kmemleak/objects/input.txt"]);
    let bytes: Vec<u64> = by_bytes["groups"].as_array().unwrap().iter().map(|group| group["bytes"].as_u64().unwrap()).collect();
    assert_eq!(bytes, [65536, 2 * 944]);
    let by_count = json(&["group", "-q", "--format", "json", "kmemleak/objects/input.txt"]);
    assert_eq!(by_count["groups"][0]["count"], 2);
    let csv = common::stdout(&common::run(&["group", "-q", "--format", "csv", "kmemleak/objects/input.txt"]));
    assert!(csv.starts_with("Count,Bytes,Kind,") && csv.contains("\n2,1888,alloc,"), "{csv}");
}

#[test]
fn top_weighs_by_bytes() {
    let top = json(&["top", "-q", "--weight", "bytes", "--format", "json", "kmemleak/objects/input.txt"]);
    assert_eq!(top["bytes"], 65536 + 2 * 944);
    let rows = top["functions"].as_array().unwrap();
    let row = rows.iter().find(|row| row["function"] == "zio_create").unwrap();
    assert_eq!((row["bytes"].as_u64(), row["leaf_bytes"].as_u64(), &row["stacks"]), (Some(1888), Some(1888), &Value::Null));
    let output = common::run(&["top", "-q", "--weight", "bytes", "--function", "arc_init", "kmemleak/objects/input.txt"]);
    assert_eq!(common::stdout(&output), "arc_init stands for 64.0 KiB (97% of bytes)\n");
}

#[test]
fn merging_groups_of_reports_adds_their_bytes_in_any_order() {
    let inputs = ["kmemleak/objects/input.txt", "page-owner/stacks/input.txt", "slub-traces/caches/input.txt"];
    let folder = common::folder::Folder::new("weights");
    let group = |inputs: &[&str], name: &str| {
        let path = folder.path(name);
        let args: Vec<&str> = ["group", "-q", "--format", "json", "-o", &path].iter().chain(inputs).copied().collect();
        assert!(common::run(&args).status.success());
        path
    };
    let (a, b, c) = (group(&inputs[..1], "a"), group(&inputs[1..2], "b"), group(&inputs[2..], "c"));
    let (ab, bc) = (group(&[&a, &b], "ab"), group(&[&b, &c], "bc"));
    let read = |path: &str| groups(&serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap());
    let (left, right, at_once) = (read(&group(&[&ab, &c], "l")), read(&group(&[&a, &bc], "r")), read(&group(&inputs, "all")));
    assert_eq!((&left, &right), (&at_once, &at_once));
    // One count of page-owner/stacks is too large for any number: it stays at the highest.
    let twice = read(&group(&[&b, &b], "bb"));
    assert!(twice.iter().any(|(_, count, bytes)| (*count, *bytes) == (u64::MAX, Some(u64::MAX))), "{twice:?}");
}

#[test]
fn without_bytes_there_is_no_weight() {
    for command in ["group", "top", "flame"] {
        let output = common::run(&[command, "--weight", "bytes", "linux-log/hung-task/input.txt"]);
        assert_eq!(output.status.code(), Some(2), "{command}");
        assert!(common::stderr(&output).contains("no stack here has bytes"), "{}", common::stderr(&output));
    }
}

#[test]
fn every_report_of_memory_is_taken_for_what_it_is() {
    let kinds = [
        ("darwin-zone-log/gdb/input.txt", "darwin-zone-log"),
        ("darwin-zone-log/lldb/input.txt", "darwin-zone-log"),
        ("darwin-zprint/old.txt", "darwin-zprint"),
        ("darwin-zprint/tool.txt", "darwin-zprint"),
        ("kmemleak/objects/input.txt", "kmemleak"),
        ("page-owner/full/input.txt", "page-owner"),
        ("page-owner/stacks/input.txt", "page-owner"),
        ("slub-traces/caches/input.txt", "slub-traces"),
        ("linux-log/hung-task/input.txt", "linux-log"),
        ("darwin-showallstacks/gdb/input.txt", "darwin-showallstacks"),
        ("load-maps/gdb-showallkmods-10.7.txt", "darwin-gdb-showallkmods"),
    ];
    for (file, kind) in kinds {
        let text = std::fs::read(common::fixtures().join(file)).unwrap();
        let found = kstack::parse::detect(&text).map(|format| format.id());
        assert_eq!(found, Some(kind), "{file}");
    }
}

#[test]
fn zones_are_in_json_and_in_diffs() {
    let zones = json(&["group", "-q", "--format", "json", "darwin-zprint/new.txt"]);
    let first = &zones["reports"][0]["zones"][0];
    assert_eq!((first["name"].as_str(), first["bytes"].as_u64()), (Some("kalloc.256"), Some(0x20aa_6000)));
    assert_eq!(first["reasons"].as_array().unwrap().len(), 5);
    assert_eq!(json(&["top", "-q", "--format", "json", "darwin-zprint/new.txt"])["reports"][0]["zones"], zones["reports"][0]["zones"]);
    let diff = json(&["diff", "-q", "--format", "json", "darwin-zprint/old.txt", "darwin-zprint/new.txt"]);
    assert_eq!(diff["answer"], "1 of 4 zones grew");
    let grown = &diff["zones"][0];
    assert_eq!((grown["bytes_old"].as_u64(), grown["bytes_new"].as_u64()), (Some(0x1055_3000), Some(0x20aa_6000)));
    let ndjson = common::stdout(&common::run(&["group", "-q", "--format", "ndjson", "darwin-zprint/new.txt"]));
    assert_eq!(ndjson.lines().filter(|line| serde_json::from_str::<Value>(line).unwrap()["zone"]["name"].is_string()).count(), 4);
    let both = common::stdout(&common::run(&["group", "-q", "darwin-zone-log/gdb/input.txt"]));
    assert!(both.contains("7 alloc") && both.contains("kalloc.256"), "stacks and zones of one session: {both}");
}
