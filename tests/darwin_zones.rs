//! Zone logs of macOS: every row of the table beside the input, and the figures that `countpcs` gave on the OpenZFS on OS X page, on a
//! log of that shape made here.

mod common;

use std::fmt::Write;
use std::path::Path;

use common::shared::{by_line, chain, hex, inputs, rows};
use serde_json::Value;

const SYMBOLS: [&str; 8] = [
    "-k",
    "symbols/darwin/legacy/mach_kernel",
    "-m",
    "symbols/darwin/legacy/spl.kext",
    "-m",
    "symbols/darwin/legacy/zfs.kext",
    "-l",
    "load-maps/gdb-showallkmods-10.7.txt",
];

#[test]
fn every_row_of_the_table() {
    let input = inputs().join("zoneleak-10.7-gdb.txt").display().to_string();
    let args = [&["symbolicate", "-q", "--no-demangle", "--format", "json", &input], &SYMBOLS[..]].concat();
    let report = common::json(&common::run(&args));
    let stacks = report["reports"][0]["stacks"].as_array().unwrap();
    let frames = by_line(&report["reports"][0]);
    let rows = rows(Path::new(&format!("{input}.truth.tsv")));
    assert_eq!(frames.len(), rows.len(), "as many frames as the table has");
    let mut right = 0;
    for row in &rows {
        let frame = frames[&row["line"].parse().unwrap()];
        let offset = hex(&row["symoff"]);
        let module = frame["module"].as_str().unwrap_or_default();
        let image = module == row["image"] || row["image"] == "__kernel__" && module == "mach_kernel";
        let same = frame["address"] == *row["addr"] && frame["symbol"] == *row["symbol"] && frame["offset"] == offset;
        assert!(same && image && chain(frame) == row["chain"], "{row:?}\nbut {frame}");
        right += 1;
    }
    println!("zoneleak-10.7-gdb.txt: {right} of {} rows", rows.len());
    let counts: Vec<u64> = stacks.iter().filter(|stack| stack["aside"] == true).map(|stack| stack["count"].as_u64().unwrap()).collect();
    assert_eq!(counts, [3999, 2390], "what countpcs answered is kept");
}

/// A log of 4,000 slots, all but one in use. 3,999 records run through `zfs_kmem_alloc` and 2,390 of those through `arc_buf_alloc`:
/// `countpcs` cut what is behind the point, so that 100 % of records means that no record is without the first.
fn log() -> String {
    let mut text = "(gdb) findoldest\noldest record is at log index 0:\n".to_string();
    for index in 0..4000u64 {
        if index > 0 {
            let _ = writeln!(text, "(gdb) zstack {index}");
        }
        // Spread over the log: the records of one caller are no run.
        let spread = index * 1_717 % 4000;
        if spread == 0 {
            let _ = writeln!(text, "\n--------------- FREE   0x0 : index {index}  :  ztime 0 -------------");
            continue;
        }
        let element = 0xffff_ff80_3278_7500u64 + index * 0x100;
        let _ = writeln!(text, "\n--------------- ALLOC  {element:#x} : index {index}  :  ztime {} -------------", 21_650_505 + index * 17);
        text.push_str("0xffffff80002077c5 <zalloc_canblock+53>:\tmovq   %rax, (%rbx)\n");
        text.push_str("0xffffff800020789d <kalloc_canblock+45>:\tmovl   8(%rbx), %ecx\n");
        text.push_str("0xffffff80002078d6 <OSMalloc+22>:\ttestq  %r14, %r14\n0xffffff7f80e50458 <zfs_kmem_alloc+24>:\tmovslq %ebx, %rcx\n");
        text.push_str(match spread {
            1..=2390 => "0xffffff7f80ef6938 <arc_buf_alloc+24>:\tmovq   %rax, %r15\n",
            _ => "0xffffff7f80e5104e <taskq_create+30>:\tmovq   %rax, %r14\n",
        });
    }
    text
}

#[test]
fn the_figures_of_countpcs_come_out_again() {
    let text = log();
    let asked = [
        (vec!["--pc", "0xffffff7f80e50458"], "3999 times in log (100% of records)"),
        (vec!["--pc", "0xffffff7f80ef6938"], "2390 times in log (59% of records)"),
        (vec!["--function", "zfs_kmem_alloc"], "3999 times in log (100% of records)"),
        (vec!["--function", "arc_buf_alloc"], "2390 times in log (59% of records)"),
    ];
    for symbols in [&SYMBOLS[..], &[]] {
        for (question, answer) in &asked {
            let args: Vec<&str> = ["top", "-q"].iter().chain(question).chain(symbols).copied().collect();
            let output = common::stdout(&common::run_with(&args, text.as_bytes()));
            assert_eq!(output, format!("{} occurred {answer}\n", question[1]));
        }
    }
}

/// kstack's own JSON, read again, has the zones with all that was known of them, ranked as before; alone and beside stacks.
#[test]
fn zones_come_through_json() {
    let zones = |value: &Value| {
        let reports = value["reports"].as_array().unwrap();
        reports.iter().flat_map(|report| report["zones"].as_array().cloned().unwrap_or_default()).collect::<Vec<_>>()
    };
    for (input, stacks) in [("darwin-zprint/new.txt", false), ("darwin-zone-log/gdb/input.txt", true)] {
        let wanted = zones(&common::json(&common::run(&["symbolicate", "-q", "--format", "json", input])));
        assert!(wanted.len() > 3, "{input}");
        for (command, format) in [("symbolicate", "json"), ("symbolicate", "ndjson"), ("group", "json"), ("group", "ndjson")] {
            let document = common::run(&[command, "-q", "--format", format, input]).stdout;
            let again = common::json(&common::run_with(&["symbolicate", "-q", "--format", "json"], &document));
            assert_eq!(zones(&again), wanted, "{input} {command} {format}");
            let reports = again["reports"].as_array().unwrap();
            assert_eq!(reports.iter().any(|report| report["stacks"][0].is_object()), stacks, "{input} {command} {format}");
            // The same again, in case that a document stands twice in a file, adds nothing.
            let twice = common::json(&common::run_with(&["symbolicate", "-q", "--format", "json"], &document.repeat(2)));
            assert_eq!(zones(&twice), wanted, "{input} {command} {format} twice");
        }
    }
    let table = common::stdout(&common::run(&["group", "-q", "darwin-zprint/new.txt"]));
    let document = common::run(&["symbolicate", "-q", "--format", "json", "darwin-zprint/new.txt"]).stdout;
    assert_eq!(common::stdout(&common::run_with(&["group", "-q"], &document)), table);
    assert_eq!(common::stdout(&common::run_with(&["symbolicate", "-q"], &document)), table);
    let grown = |args: &[&str]| common::json(&common::run_with(args, &document))["zones"].clone();
    let from_json = grown(&["diff", "-q", "--format", "json", "darwin-zprint/old.txt", "-"]);
    let from_text = grown(&["diff", "-q", "--format", "json", "darwin-zprint/old.txt", "darwin-zprint/new.txt"]);
    assert!(from_json.as_array().is_some_and(|list| list.len() > 3) && from_json == from_text);
}
