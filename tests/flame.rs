//! `kstack flame`: the committed lines, what inferno makes of them, and names that must not break them.

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::{run, run_with, stderr, stdout};
use inferno::differential;

/// The words of `fixtures/flame/CASE/command`.
fn command(case: &str) -> String {
    fs::read_to_string(common::fixtures().join("flame").join(case).join("command")).unwrap()
}

/// `fixtures/flame/CASE`: the words in `command` give `expected.txt`, standard error behind. `KSTACK_BLESS=1` writes it anew.
#[test]
fn the_committed_lines() {
    for case in ["hung-task", "by-thread", "inlines", "diff", "perf-script", "perf-styles", "dtrace-resolved", "bpftrace"] {
        let output = run(&command(case).split_whitespace().collect::<Vec<_>>());
        assert!(output.status.success(), "{case}: {}", stderr(&output));
        let path = common::fixtures().join("flame").join(case).join("expected.txt");
        if std::env::var_os("KSTACK_BLESS").is_some() {
            fs::write(&path, [&output.stdout[..], &output.stderr].concat()).unwrap();
        }
        assert_eq!(stdout(&output) + &stderr(&output), fs::read_to_string(path).unwrap(), "{case}");
    }
}

/// What inferno's reader of folded lines makes of `old` and `new`: each stack with both counts.
fn read_by_inferno(old: &str, new: &str) -> BTreeMap<String, (u64, u64)> {
    let mut out = Vec::new();
    differential::from_readers(differential::Options::default(), old.as_bytes(), new.as_bytes(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let read = |line: &str| {
        let mut parts = line.rsplitn(3, ' ');
        let (new, old) = (parts.next().unwrap().parse().unwrap(), parts.next().unwrap().parse().unwrap());
        (parts.next().unwrap().to_string(), (old, new))
    };
    text.lines().map(read).collect()
}

const NEW: &str = "linux-log/stall/input.txt";
const OLD: &str = "linux-log/hung-task/input.txt";

#[test]
fn inferno_reads_the_same_stacks_and_makes_the_same_differences() {
    let [new, old] = [NEW, OLD].map(|input| stdout(&run(&["flame", input])));
    let read = read_by_inferno("", &new);
    assert_eq!(read.iter().map(|(stack, (_, count))| format!("{stack} {count}\n")).collect::<String>(), new);
    let differences = stdout(&run(&["flame", NEW, "--diff", OLD]));
    let theirs: String = read_by_inferno(&old, &new).iter().map(|(stack, (old, new))| format!("{stack} {old} {new}\n")).collect();
    assert_eq!(differences, theirs);
}

#[test]
fn only_keeps_the_stacks_through_a_function() {
    let all = stdout(&run(&["flame", OLD]));
    let kept = stdout(&run(&["flame", OLD, "--only", "zio_wait"]));
    let wanted: String = all.lines().filter(|line| line.contains(";zio_wait_[k];")).map(|line| format!("{line}\n")).collect();
    assert!(!kept.is_empty() && kept != all);
    assert_eq!(kept, wanted);
    assert_eq!(stdout(&run(&["flame", OLD, "--only", "zio_wait", "--only", "dmu_tx_wait"])), all);
    let none = run(&["flame", OLD, "--only", "zio_wai"]);
    assert_eq!((none.status.code(), stdout(&none)), (Some(0), String::new()));
    assert!(stderr(&none).contains("no stack runs through zio_wai"), "{}", stderr(&none));
}

#[test]
fn inlined_calls_are_frames_unless_unwanted() {
    let command = command("inlines");
    let args: Vec<&str> = command.split_whitespace().collect();
    let with = stdout(&run(&args));
    assert!(with.contains("net.example.zfs`zio_done;net.example.zfs`zio_notify_chain_[i];"), "{with}");
    // A function that is only inlined is no longer found without them.
    let without = stdout(&run(&[&args[..args.len() - 2], &["--no-inline"]].concat()));
    assert!(!without.contains("_[i]") && without.contains("net.example.zfs`zio_done;net.example.spl`spl_cv_wait;"), "{without}");
}

/// What a report marks as inlined is a frame too, unless the symbol file knows better; unreliable frames are none.
#[test]
fn what_the_report_marks_is_taken_over() {
    let log = b"[    1.000000] Call Trace:\n[    1.000000]  vfs_ioctl fs/ioctl.c:51 [inline]\n\
        [    1.000000]  __x64_sys_ioctl+0x90/0xd0 fs/ioctl.c:856\n[    1.000000]  ? stale+0x1/0x2\n[    1.000000]  do_syscall_64+0x5d/0xb0\n";
    let lines = |extra: &[&str]| stdout(&run_with(&[&["flame"], extra].concat(), log));
    assert_eq!(lines(&[]), "do_syscall_64_[k];__x64_sys_ioctl_[k];vfs_ioctl_[i] 1\n");
    assert_eq!(lines(&["--no-inline", "--frames", "plain"]), "do_syscall_64;__x64_sys_ioctl 1\n");
}

/// One stack of a task with that name, on a Linux log.
fn task(name: &str) -> Vec<u8> {
    let line = format!("[    1.000000] task:{name} state:D stack:0     pid:257   ppid:2      flags:0x00004000\n");
    [line.as_bytes(), b"[    1.000000] Call Trace:\n[    1.000000]  schedule+0x5a/0xd0\n[    1.000000]  kthread+0xda/0x100\n"].concat()
}

#[test]
fn hostile_names_break_no_line() {
    for name in ["a;b", "two words", "count 5", "\u{1b}[31mred", "\u{202e}evil", "</script>", "# comment", "ümlaut", "a\u{a0}b"] {
        let text = stdout(&run_with(&["flame", "--by-thread"], &task(name)));
        assert_eq!(text.lines().count(), 1, "{name}: {text}");
        assert!(text.ends_with(";kthread_[k];schedule_[k] 1\n"), "{name}: {text}");
        assert_eq!((text.matches(';').count(), text.matches(' ').count()), (2, 1), "{name}: {text}");
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{name}: {text}");
        let read = read_by_inferno("", &text);
        assert_eq!(read.into_iter().collect::<Vec<_>>(), [(text.trim_end().trim_end_matches(" 1").to_string(), (0, 1))]);
    }
}

/// Elements and text of the graph, as far as a reader without JavaScript sees them.
fn titles(svg: &str) -> Vec<String> {
    svg.split("<title>").skip(1).map(|rest| rest.split("</title>").next().unwrap().to_string()).collect()
}

#[test]
fn the_graph_is_drawn_and_is_the_same_every_time() {
    let svg = |extra: &[&str]| stdout(&run(&[&["flame", OLD, "--format", "svg"], extra].concat()));
    let graph = svg(&[]);
    assert_eq!(graph, svg(&[]));
    assert!(graph.starts_with("<?xml") && graph.ends_with("</svg>"), "{}", &graph[..200]);
    assert!(graph.contains(r#"total_samples="2""#));
    assert!(titles(&graph).contains(&"zio_wait (1 threads, 50.00%)".to_string()), "{:?}", titles(&graph));
    let differences = svg(&["--diff", NEW]);
    assert!(titles(&differences).iter().any(|title| title.contains("; +")), "{:?}", titles(&differences));
    let nothing = run(&["flame", OLD, "--format", "svg", "--only", "absent"]);
    assert!(nothing.status.success() && stdout(&nothing).ends_with("</svg>"), "{}", stderr(&nothing));
}

#[test]
fn names_stay_text_in_the_graph() {
    let output = run_with(&["flame", "--by-thread", "--format", "svg", "--title", "</svg><script>"], &task("</script><b>&\u{1b}"));
    let graph = stdout(&output);
    assert!(graph.contains("&lt;/script&gt;&lt;b&gt;&amp;\\x1b"), "{:?} {}", titles(&graph), stderr(&output));
    assert!(graph.contains("&lt;/svg&gt;&lt;script&gt;") && !graph.contains('\u{1b}'));
    assert_eq!((graph.matches("<script").count(), graph.matches("<b>").count()), (1, 0));
}

#[test]
fn a_file_name_says_svg() {
    let path = std::env::temp_dir().join(format!("kstack-flame-{}.svg", std::process::id()));
    let output = run(&["flame", OLD, "-o", path.to_str().unwrap()]);
    assert!(output.status.success() && output.stdout.is_empty(), "{}", stderr(&output));
    assert!(fs::read_to_string(&path).unwrap().starts_with("<?xml"));
    fs::remove_file(&path).unwrap();
}

#[test]
fn both_sides_cannot_be_standard_input() {
    let output = run_with(&["flame", "--diff", "-"], b"");
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}
