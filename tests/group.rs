//! Grouping: one hang in its three Linux forms gives the same groups, groups merge in any order, and fingerprints depend on names alone.

mod common;

use std::collections::BTreeMap;
use std::process::Command;

use proptest::prelude::*;
use serde_json::Value;

const FORMS: [&str; 3] = ["captures/zfs-suspend/proc.tar.xz", "captures/zfs-suspend/stacks-loop.txt.xz", "captures/zfs-suspend/sysrq-t.xz"];

fn grouped(args: &[&str]) -> Value {
    let output = common::run(&[&["group", "-q", "--format", "json"], args].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    common::json(&output)
}

fn from_stdin(args: &[&str], input: &[u8]) -> Value {
    common::json(&common::run_with(&[&["group", "-q", "--format", "json"], args].concat(), input))
}

/// What merging must keep of a group: count, states, processes, how many members, and the frames' names.
fn essence(groups: &Value) -> BTreeMap<String, (u64, String, String, usize, Vec<String>)> {
    let one = |group: &Value| {
        let frames = group["frames"].as_array().unwrap().iter().map(|frame| frame["symbol"].to_string()).collect();
        let members = group["members"].as_array().unwrap().len();
        let value = (group["count"].as_u64().unwrap(), group["states"].to_string(), group["processes"].to_string(), members, frames);
        (format!("{} {}", group["kind"], group["fingerprint"]), value)
    };
    groups["groups"].as_array().unwrap().iter().map(one).collect()
}

fn counts(groups: &Value) -> BTreeMap<String, u64> {
    essence(groups).into_iter().map(|(key, value)| (key, value.0)).collect()
}

#[test]
fn tree_concatenation_and_sysrq_dump_have_the_same_groups() {
    let [tree, text, sysrq] = FORMS.map(|form| counts(&grouped(&[form])));
    // What differs between the forms is who collected them, and who slept while they were collected.
    let differing = |a: &BTreeMap<String, u64>, b: &BTreeMap<String, u64>| {
        let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        keys.into_iter().filter(|key| a.get(*key) != b.get(*key)).count()
    };
    assert_eq!((tree.len(), text.len(), sysrq.len()), (35, 34, 34));
    assert_eq!(differing(&tree, &text), 1, "the collector itself reads its own stack in the tree");
    assert_eq!(differing(&text, &sysrq), 2, "the shell waits for the collector, or writes to sysrq-trigger");
}

#[test]
fn exact_groups_are_those_counted_by_hand() {
    let groups = grouped(&["--by", "stack", FORMS[0]]);
    let table = std::fs::read_to_string(common::fixtures().join("captures/zfs-suspend/groups.tsv")).unwrap();
    let mut wanted: Vec<(u64, String)> = table
        .lines()
        .skip(1)
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            (cells[0].parse().unwrap(), cells[4].to_string())
        })
        .collect();
    let text = |frame: &Value| {
        let module = frame["module"].as_str().map(|module| format!(" [{module}]")).unwrap_or_default();
        format!(
            "{}+{:#x}/{:#x}{module}",
            frame["symbol"].as_str().unwrap(),
            frame["offset"].as_u64().unwrap(),
            frame["size"].as_u64().unwrap()
        )
    };
    let one = |group: &Value| {
        let frames: Vec<String> = group["frames"].as_array().unwrap().iter().map(text).collect();
        (group["count"].as_u64().unwrap(), frames.join(" | "))
    };
    let mut seen: Vec<(u64, String)> = groups["groups"].as_array().unwrap().iter().map(one).collect();
    seen.sort();
    wanted.sort();
    assert_eq!(seen, wanted);
    assert!(
        seen.iter().any(|(count, frames)| *count == 103 && frames.contains("txg_wait_synced_impl")),
        "the blocked writers are one group"
    );
}

#[test]
fn groups_merge_in_any_order_and_from_any_form_of_output() {
    let json = |args: &[&str]| common::run(&[args, &["-q"]].concat()).stdout;
    let whole = essence(&grouped(&[FORMS[2]]));
    for command in ["symbolicate", "group"] {
        for format in ["json", "ndjson"] {
            let first = json(&[command, "--format", format, FORMS[2]]);
            assert_eq!(essence(&from_stdin(&[], &first)), whole, "{command} {format}");
        }
    }
    let [a, b, c] = FORMS.map(|form| json(&["group", "--format", "ndjson", form]));
    let merge = |parts: &[&[u8]]| common::run_with(&["group", "-q", "--format", "ndjson"], &parts.concat()).stdout;
    let read = |text: &[u8]| essence(&from_stdin(&[], text));
    let left = read(&[merge(&[&a, &b]), c.clone()].concat());
    assert_eq!(left, read(&[a.clone(), merge(&[&b, &c])].concat()), "associative");
    assert_eq!(left, read(&[c, a, b].concat()), "commutative");
    let sum: u64 = left.values().map(|value| value.0).sum();
    assert_eq!(sum, 346 + 345 + 345);
}

#[test]
fn frames_without_names_keep_their_fingerprint_in_every_form_of_output() {
    const DARWIN: [&str; 3] = ["truth/darwin/stackshot-10.7-raw.txt", "-l", "load-maps/kextstat-10.6.txt"];
    for symbols in [&[][..], &["-S", "symbols/darwin/legacy"]] {
        let whole = counts(&grouped(&[&DARWIN, symbols].concat()));
        for (command, format) in [("symbolicate", "json"), ("symbolicate", "ndjson"), ("group", "json"), ("group", "ndjson")] {
            let text = common::run(&[&[command, "-q", "--format", format], &DARWIN[..], symbols].concat()).stdout;
            assert_eq!(counts(&from_stdin(&[], &text)), whole, "{command} {format}");
        }
    }
}

#[test]
fn filters_combine_and_can_be_turned_round() {
    let count = |args: &[&str]| -> u64 { counts(&grouped(&[&[FORMS[2]], args].concat())).values().sum() };
    let all = count(&[]);
    assert_eq!(all, 345);
    assert_eq!(count(&["--caller", "txg_wait_synced"]), 109);
    assert_eq!(count(&["--caller", "!txg_wait_synced"]), all - 109);
    assert_eq!(count(&["--module", "zfs", "--task", "^dd$"]), count(&["--in-module", "zfs", "--task", "^dd$"]));
    assert_eq!(count(&["--caller", "txg_wait_synced", "--task", "^zfs$", "--state", "D"]), 2);
    assert_eq!(count(&["--pid", "257"]), 1);
    assert_eq!(count(&["--tid", "257", "--frame", r"^zio_wait \[zfs\]$"]), 1);
    assert_eq!(count(&["--state", "D", "--state", "S"]), count(&["--state", "!I", "--state", "!R"]));
    assert_eq!(count(&["--kind", "crash"]), 0);
    assert_eq!(count(&["--min-count", "100"]), 119 + 103);
    assert_eq!(count(&["--caller", "dmu_tx_wait+0x1bd"]), count(&["--caller", "dmu_tx_wait"]));
    assert_eq!(count(&["--caller", "dmu_tx_wait+0x1be"]), 0);
}

#[test]
fn bad_filters_say_where() {
    for (args, say) in [
        (["--frame", "a(b"], "unclosed group"),
        (["--kind", "nonsense"], "expected one of thread"),
        (["--pid", "x"], "decimal number"),
        (["--caller", "f+zz"], "hexadecimal"),
        (["--by", "top:0"], "top:N"),
    ] {
        let output = common::run(&[&["group", FORMS[1]], &args[..]].concat());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(say), "{text}");
    }
}

#[test]
fn a_filtered_report_is_an_excerpt_of_whole_stacks() {
    let output = common::run(&["symbolicate", "-q", FORMS[2], "--pid", "257"]);
    let text = common::stdout(&output);
    assert!(text.lines().next().unwrap().contains("task:txg_sync"), "{text}");
    assert!(text.contains("zio_wait+") && !text.contains("path_openat"), "{text}");
}

#[test]
fn verdicts_come_with_lines_that_say_so() {
    let triage = |input: &str| grouped(&["--triage", input])["triage"].as_array().unwrap().clone();
    let names = |verdicts: &[Value]| verdicts.iter().map(|verdict| verdict["verdict"].as_str().unwrap().to_string()).collect::<Vec<_>>();
    let hang = triage(FORMS[2]);
    assert_eq!(names(&hang), ["kernel lockup", "storage below ZFS"]);
    assert!(hang[1]["evidence"][0]["text"].as_str().unwrap().contains("zio_wait [zfs]"));
    assert_eq!(names(&triage("linux-log/lockdep/input.txt")), ["deadlock suspected"]);
    assert_eq!(names(&triage("truth/linux/oops-many-serial.txt.xz")), ["kernel crash", "kernel warning"]);
    let idle = "task:a state:S stack:0 pid:1 ppid:0 flags:0x0\nCall Trace:\n schedule+0x1/0x2\n do_epoll_wait+0x1/0x2\n";
    let idle = common::json(&common::run_with(&["group", "-q", "--triage", "--format", "json"], idle.as_bytes()));
    assert_eq!(names(idle["triage"].as_array().unwrap()), ["userspace wait"]);
    for input in [
        "captures/zfs-suspend/sysrq-t.xz",
        "linux-log/null-in-timer/input.txt",
        "linux-log/lockdep/input.txt",
        "linux-log/hung-task/input.txt",
    ] {
        let text = kstack::input::open(&common::fixtures().join(input)).unwrap().data;
        let text = String::from_utf8_lossy(&text);
        let evidence = |verdict: &Value| verdict["evidence"].as_array().unwrap().clone();
        let all: Vec<Value> = triage(input).iter().flat_map(evidence).collect();
        assert!(!all.is_empty(), "{input}");
        for evidence in all {
            let line = text.lines().nth(evidence["line"].as_u64().unwrap() as usize - 1).unwrap();
            let said = evidence["text"].as_str().unwrap();
            // A heading, or who stands where: the line is that of the frame.
            let said = said
                .rsplit_once(" in ")
                .filter(|(who, _)| who.contains(" pid "))
                .map_or(said, |(_, place)| place.split(' ').next().unwrap());
            assert!(line.contains(said), "{input}: {line:?} does not say {said:?}");
        }
    }
}

/// Threads of one process are told apart.
#[test]
fn no_two_pieces_of_evidence_are_the_same() {
    let output = grouped(&["--triage", "group/darwin-panic-full/input.ips", "-S", "symbols/darwin/arm64e"]);
    let verdicts = output["triage"].as_array().unwrap();
    assert!(verdicts.iter().any(|verdict| verdict["verdict"] == "deadlock in ZFS suspected"), "{verdicts:?}");
    for verdict in verdicts {
        let mut texts: Vec<String> = verdict["evidence"].as_array().unwrap().iter().map(Value::to_string).collect();
        let all = texts.len();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), all, "{verdict}");
    }
}

/// Stacks that have a state, a process or a module in common need not run through the same functions.
#[test]
fn nothing_is_said_of_a_group_that_is_not_true_of_all() {
    let of_members = |value: &Value| -> Vec<(Vec<u64>, Value)> {
        let numbers = |group: &Value| group["members"].as_array().unwrap().iter().map(|member| member["stack"].as_u64().unwrap()).collect();
        value["groups"].as_array().unwrap().iter().map(|group| (numbers(group), group.clone())).collect()
    };
    let functions = of_members(&grouped(&[FORMS[2]]));
    let fingerprint = |stack: u64| functions.iter().find(|(members, _)| members.contains(&stack)).unwrap().1["fingerprint"].clone();
    for key in ["state", "wchan", "process", "module", "top:1"] {
        let mut mixed = 0;
        for (members, group) in of_members(&grouped(&["--by", key, FORMS[2]])) {
            let own_print = group["fingerprint"].clone();
            let own: Vec<Value> = members.iter().map(|stack| fingerprint(*stack)).collect();
            let agree = own.iter().all(|own| *own == own_print);
            if agree {
                assert!(group["example"].is_null() && !group["frames"].as_array().unwrap().is_empty(), "{key}: {group}");
                continue;
            }
            mixed += 1;
            let said = group["fingerprint"].as_str().unwrap();
            assert!(
                said.starts_with(&format!("{}:", key.split(':').next().unwrap())) && group["frames"].as_array().unwrap().is_empty(),
                "{key}: {said}"
            );
            let shown = functions.iter().filter(|(_, one)| one["frames"] == group["example"]["frames"]);
            let most = own.iter().map(|print| own.iter().filter(|other| *other == print).count()).max().unwrap() as u64;
            assert_eq!((shown.count(), group["example"]["count"].as_u64()), (1, Some(most)), "{key}: {group}");
        }
        assert!(mixed > 0, "{key}");
    }
    let text = common::stdout(&common::run(&["group", "-q", "--by", "wchan", FORMS[2]]));
    assert!(text.contains("; 345 of 345 with no wait channel\n") && text.contains("\n    for example, 119 of 345:\n"), "{text}");
    // Read again, unlike stacks are not the same.
    let lines = common::run(&["group", "-q", "--by", "state", "--format", "ndjson", FORMS[2]]).stdout;
    let again = from_stdin(&[], &lines);
    let names: BTreeMap<String, u64> =
        of_members(&again).iter().map(|(_, group)| (group["name"].to_string(), group["count"].as_u64().unwrap())).collect();
    assert_eq!(names.get("\"state D\""), Some(&245), "{names:?}");
    assert_eq!(names.values().sum::<u64>(), 345);
    assert_eq!(counts(&again).len(), names.len(), "no two have one fingerprint");
}

/// A thread that was seen in two samples is one thread.
#[test]
fn each_thread_of_a_capture_with_several_samples_counts_once() {
    const SAMPLES: &str = "captures/two-samples";
    let threads = |value: &Value| -> Vec<String> {
        let ids = |group: &Value| group["members"].as_array().unwrap().iter().map(|member| member["tid"].to_string()).collect::<Vec<_>>();
        value["groups"].as_array().unwrap().iter().flat_map(ids).collect()
    };
    let value = grouped(&[SAMPLES]);
    let mut ids = threads(&value);
    assert_eq!(ids.len() as u64, counts(&value).values().sum::<u64>());
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4, "{ids:?}");
    assert_eq!(threads(&grouped(&["--all-samples", SAMPLES])).len(), 7);
    let text = common::stdout(&common::run(&["group", "-q", "--all-samples", SAMPLES]));
    assert!(text.contains("\n5 stacks of 3 threads [D] in txg_wait_synced_impl"), "{text}");
    let top = |args: &[&str]| common::stdout(&common::run(&[&["top", "-q", "--function", "zio_wait", SAMPLES], args].concat()));
    assert!(top(&[]).contains(" occurred 1 times") && top(&["--all-samples"]).contains(" occurred 2 times"), "{}", top(&[]));
}

#[test]
fn a_module_that_is_the_kernel_itself_is_none() {
    let json = common::json(&common::run(&["symbolicate", "-q", "--format", "json", "freebsd/ddb/input.txt"]));
    let guilty = &json["reports"][0]["guilty"];
    assert!(guilty["function"].is_string() && guilty["module"].is_null(), "{guilty}");
}

/// Two tasks, each the owner of what the other waits for, as kernels since 6.15 tell it.
const CIRCLE: &str = "INFO: task a:1 blocked for more than 5 seconds.\n\
    task:a               state:D stack:0     pid:1     tgid:1     ppid:2      flags:0x00004000\nCall Trace:\n f+0x1/0x2\n\n\
    INFO: task a:1 is blocked on a mutex likely owned by task b:2.\n\
    INFO: task b:2 blocked for more than 5 seconds.\n\
    task:b               state:D stack:0     pid:2     tgid:2     ppid:2      flags:0x00004000\nCall Trace:\n g+0x1/0x2\n\n\
    INFO: task b:2 is blocked on a mutex likely owned by task a:1.\n";

#[test]
fn a_circle_of_owners_is_a_deadlock() {
    let output = common::run_with(&["group", "-q", "--triage"], CIRCLE.as_bytes());
    let text = common::stdout(&output);
    assert!(text.contains("verdict: deadlock suspected\n    a (1) → b (2) → a (1) wait for each other"), "{text}");
    for format in ["json", "ndjson"] {
        let json = common::run_with(&["symbolicate", "-q", "--format", format], CIRCLE.as_bytes()).stdout;
        let again = common::stdout(&common::run_with(&["group", "-q", "--triage"], &json));
        assert!(again.contains("a (1) → b (2) → a (1) wait for each other"), "{format}: {again}");
    }
    let whole = common::run_with(&["group", "-q", "--format", "json", "--triage"], CIRCLE.as_bytes()).stdout;
    assert!(String::from_utf8_lossy(&whole).contains("wait for each other"));
    for format in ["json", "ndjson"] {
        let json = common::run_with(&["group", "-q", "--format", format], CIRCLE.as_bytes()).stdout;
        let merged = common::run_with(&["group", "-q", "--format", format], &json).stdout;
        for text in [json, merged] {
            let again = common::stdout(&common::run_with(&["group", "-q", "--triage"], &text));
            assert!(again.contains("a (1) → b (2) → a (1) wait for each other"), "{format}: {again}");
        }
    }
    let dot = common::stdout(&common::run_with(&["group", "-q", "--dot"], CIRCLE.as_bytes()));
    assert!(dot.contains("\"a (1)\" -> \"b (2)\" [label=\"a mutex\" color=red];"), "{dot}");
}

/// What the lock checker said of each task goes through grouping and merging, in any order.
#[test]
fn locks_of_members_and_of_tasks_without_a_stack_survive_merging() {
    const LOCKS: &str = "linux-log/held-locks/input.txt";
    let dot = |text: &[u8]| {
        let mut edges: Vec<String> =
            common::stdout(&common::run_with(&["group", "-q", "--dot"], text)).lines().map(str::to_string).collect();
        edges.sort();
        edges
    };
    let whole = dot(&common::run(&["symbolicate", "-q", "--format", "json", LOCKS]).stdout);
    assert!(whole.len() > 2, "{whole:?}");
    let parts = |format: &str| {
        let locks = common::run(&["group", "-q", "--format", format, LOCKS]).stdout;
        let hung = common::run(&["group", "-q", "--format", format, "linux-log/hung-task/input.txt"]).stdout;
        let merge = |parts: &[&[u8]]| common::run_with(&["group", "-q", "--format", format], &parts.concat()).stdout;
        [locks.clone(), merge(&[&locks, &hung]), merge(&[&hung, &locks]), merge(&[&merge(&[&hung, &locks])])].map(|text| dot(&text))
    };
    for format in ["json", "ndjson"] {
        let [alone, first, last, twice] = parts(format);
        assert_eq!(alone, whole, "{format}");
        assert_eq!(first, last, "{format}: commutative");
        assert_eq!(last, twice, "{format}: read once more");
        let here = |edges: &[String]| edges.iter().map(|edge| edge.replace(&format!(" of {LOCKS}"), "")).collect::<Vec<_>>();
        let merged = here(&first);
        assert!(whole.iter().all(|edge| merged.contains(edge)), "{format}: {merged:?}");
    }
}

/// One machine's task 1 waits for its task 2, another's task 2 for its task 1: nobody waits for himself.
#[test]
fn tasks_of_two_machines_are_not_the_same() {
    let (a, b) = CIRCLE.split_at(CIRCLE.find("INFO: task b:2 blocked for").unwrap());
    let folder = std::env::temp_dir().join(format!("kstack-test-machines-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let groups: Vec<Vec<u8>> = [("a", a), ("b", b)]
        .iter()
        .map(|(name, text)| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            common::run(&["group", "-q", "--format", "ndjson", &path.display().to_string()]).stdout
        })
        .collect();
    std::fs::remove_dir_all(&folder).unwrap();
    let dot = common::stdout(&common::run_with(&["group", "-q", "--dot"], &groups.concat()));
    assert!(dot.matches(" -> ").count() == 2 && !dot.contains("red"), "{dot}");
    let text = common::stdout(&common::run_with(&["group", "-q", "--triage"], &groups.concat()));
    assert!(!text.contains("wait for each other"), "{text}");
}

#[test]
fn near_equal_groups_are_told_in_every_form() {
    let args = ["--similar", FORMS[2]];
    let value = grouped(&args);
    let groups = value["groups"].as_array().unwrap();
    let by_fingerprint = |text: &Value| groups.iter().find(|group| group["fingerprint"] == *text).unwrap();
    let mut seen = 0;
    for group in groups {
        for near in group["similar"].as_array().into_iter().flatten() {
            let other = by_fingerprint(&near["fingerprint"]);
            for (list, of) in [(&near["gone"], group), (&near["new"], other)] {
                for differing in list.as_array().unwrap() {
                    let frame = &of["frames"][differing["frame"].as_u64().unwrap() as usize];
                    let name = differing["name"].as_str().unwrap();
                    assert!(name.starts_with(frame["symbol"].as_str().unwrap().split('.').next().unwrap()), "{name} is {frame}");
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 0);
    let lines = common::stdout(&common::run(&[&["group", "-q", "--format", "ndjson"], &args[..]].concat()));
    assert_eq!(lines.matches("\"similar\":[").count(), groups.iter().filter(|group| !group["similar"].is_null()).count());
    let markdown = common::stdout(&common::run(&[&["group", "-q", "--triage", "--format", "markdown"], &args[..]].concat()));
    assert!(markdown.contains("\nSimilar:\n\n* ") && markdown.contains("**verdict: kernel lockup**"), "{markdown}");
    let refused = common::run(&["group", "--similar", "--format", "csv", FORMS[2]]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn diff_tells_stuck_from_moving() {
    let same = common::stdout(&common::run(&["diff", "-q", FORMS[1], FORMS[1]]));
    assert!(same.starts_with("stuck: "), "{same}");
    let task = |pid: u32, state: &str, frame: &str| {
        format!("task:t state:{state} stack:0 pid:{pid} ppid:0 flags:0x0\nCall Trace:\n schedule+0x1/0x2\n {frame}\n\n")
    };
    let (old, new) = (
        [
            task(1, "D", "f+0x10/0x20"),
            task(2, "D", "f+0x10/0x20"),
            task(3, "D", "f+0x10/0x20"),
            task(4, "S", "f+0x10/0x20"),
            task(5, "D", "g+0x1/0x2"),
        ],
        [
            task(1, "D", "f+0x10/0x20"),
            task(2, "D", "f+0x18/0x20"),
            task(3, "D", "g+0x10/0x20"),
            task(4, "S", "f+0x10/0x20"),
            task(6, "D", "g+0x1/0x2"),
        ],
    );
    let folder = std::env::temp_dir().join(format!("kstack-test-diff-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let paths = [("old", old), ("new", new)].map(|(name, text)| {
        let path = folder.join(name);
        std::fs::write(&path, text.concat()).unwrap();
        path.display().to_string()
    });
    let value = common::json(&common::run(&["diff", "-q", "--format", "json", &paths[0], &paths[1]]));
    std::fs::remove_dir_all(&folder).unwrap();
    let changes: BTreeMap<i64, &str> = value["threads"]
        .as_array()
        .unwrap()
        .iter()
        .map(|thread| (thread["pid"].as_i64().unwrap(), thread["change"].as_str().unwrap()))
        .collect();
    assert_eq!(changes, BTreeMap::from([(1, "stuck"), (2, "moving"), (3, "changed"), (4, "idle"), (5, "gone"), (6, "new")]));
}

/// What the README shows is what the command prints.
#[test]
fn the_example_of_the_readme_is_printed() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let example = readme.split("```\n$ kstack group --triage dmesg.txt\n").nth(1).unwrap().split("```").next().unwrap();
    let text = common::stdout(&common::run(&["group", "--triage", FORMS[2]])).replace(FORMS[2], "dmesg.txt");
    let mut rest = text.as_str();
    // Lines follow each other but where `...` stands for some.
    for part in example.split_inclusive("...\n") {
        let part = part.trim_end_matches("...\n").trim_end_matches(' ');
        let at = rest.find(part).unwrap_or_else(|| panic!("not printed: {part}"));
        assert!(at == 0 || rest.len() < text.len(), "the example begins as the output does");
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn top_counts_as_countpcs_did() {
    let text = common::stdout(&common::run(&["top", "-q", "--function", "txg_wait_synced", "--function", "zio_wait [zfs]", FORMS[2]]));
    assert_eq!(
        text,
        "txg_wait_synced occurred 109 times in log (31% of records)\nzio_wait [zfs] occurred 1 times in log (0% of records)\n"
    );
    let table = common::json(&common::run(&["top", "-q", "--format", "json", "-n", "0", FORMS[2]]));
    let row = table["functions"].as_array().unwrap().iter().find(|row| row["function"] == "txg_wait_synced_impl").unwrap();
    assert_eq!((row["stacks"].as_u64(), row["leaf"].as_u64(), row["module"].as_str()), (Some(109), Some(109), Some("zfs")));
}

#[test]
fn the_fleet_is_grouped_by_duckdb() {
    let has_duckdb = Command::new("python3").args(["-c", "import duckdb"]).output().is_ok_and(|output| output.status.success());
    if !has_duckdb {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "python3 has no duckdb, and CI needs it: .ci/run installs it");
        eprintln!("skipped: python3 has no duckdb");
        return;
    }
    let folder = std::env::temp_dir().join(format!("kstack-test-fleet-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for (host, form) in ["a", "b", "c"].iter().zip(FORMS) {
        let lines = common::run(&["group", "-q", "--format", "ndjson", form]).stdout;
        std::fs::write(folder.join(format!("{host}.ndjson")), lines).unwrap();
    }
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let query = readme.split("```sql\n").nth(1).and_then(|rest| rest.split("```").next()).expect("README has the query");
    let script = "import duckdb, sys, os; os.chdir(sys.argv[1]); print(duckdb.sql(sys.argv[2]).fetchall()[0])";
    let output = Command::new("python3").args(["-c", script, &folder.display().to_string(), query]).output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let first = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(first.contains(", 3, 357") && first.contains("path_openat"), "{first}{}", String::from_utf8_lossy(&output.stderr));
}

/// A sysrq-style dump of stacks of numbered functions, each frame at `shift` from where it would be.
fn dump(stacks: &[Vec<u8>], shift: u64, suffix: &str, module: &str) -> String {
    let frame = |f: &u8| format!(" function_{f}{suffix}+{:#x}/{:#x}{module}\n", u64::from(*f) + shift, 0x200 + shift);
    let stack = |(n, frames): (usize, &Vec<u8>)| {
        let frames: String = frames.iter().map(frame).collect();
        format!("task:t state:D stack:0 pid:{} ppid:0 flags:0x0\nCall Trace:\n schedule+0x1/0x2\n{frames} ? stale_{n}+0x1/0x2\n\n", n + 1)
    };
    stacks.iter().enumerate().map(stack).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    /// Offsets, sizes, suffixes, stale frames and the order of stacks change no fingerprint and no count; another module changes all.
    #[test]
    fn fingerprints_depend_on_names_alone(mut stacks in prop::collection::vec(prop::collection::vec(0u8..6, 1..6), 1..12), shift in 0u64..64) {
        let plain = counts(&from_stdin(&[], dump(&stacks, 0, "", " [zfs]").as_bytes()));
        prop_assert_eq!(plain.values().sum::<u64>(), stacks.len() as u64);
        stacks.reverse();
        let other = counts(&from_stdin(&[], dump(&stacks, shift, ".isra.0", " [zfs]").as_bytes()));
        prop_assert_eq!(&plain, &other);
        let elsewhere = counts(&from_stdin(&[], dump(&stacks, shift, "", " [spl]").as_bytes()));
        prop_assert!(plain.keys().all(|key| !elsewhere.contains_key(key)));
    }
}

/// Frames without a name count as their places in images, which no load map tells the next run any more; and the kernel stays the kernel
/// whatever it is called.
#[test]
fn fingerprints_of_frames_without_names_stay_the_same_from_run_to_run() {
    for name in [
        "panic-10.6.txt",
        "panic-10.13-keepsyms.txt",
        "panic-14-arm64-fault.txt",
        "spindump-26-arm64.txt",
        "showallstacks-14-arm64-lldb.txt",
    ] {
        let path = common::shared::inputs().join(name).display().to_string();
        let prints = |groups: &Value| -> Vec<String> {
            let mut prints: Vec<String> =
                groups["groups"].as_array().unwrap().iter().map(|group| group["fingerprint"].as_str().unwrap().to_string()).collect();
            prints.sort();
            prints
        };
        let group = |input: &[u8]| common::run_with(&["group", "-q", "--format", "json"], input).stdout;
        let read = |groups: &[u8]| serde_json::from_slice::<Value>(groups).unwrap();
        let groups = common::run(&["group", "-q", "--format", "json", &path]).stdout;
        let report = common::run(&["symbolicate", "-q", "--format", "json", &path]).stdout;
        let lines = common::run(&["symbolicate", "-q", "--format", "ndjson", &path]).stdout;
        let first = prints(&read(&groups));
        assert!(!first.is_empty());
        let others = [("groups", &groups), ("groups of groups", &group(&groups)), ("the report's JSON", &report), ("its NDJSON", &lines)];
        for (what, text) in others {
            assert_eq!(prints(&read(&group(text))), first, "{name}: {what}");
        }
    }
}
