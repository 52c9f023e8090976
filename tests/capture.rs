//! `kstack capture` on made-up roots and on this machine, the collector under several shells, and what the other commands make of both.
#![cfg(unix)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{json, kstack, run, stderr, stdout};

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("kstack-capture-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    fn pipe(&self, name: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&path);
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const WAITING: &str = "[<0>] cv_wait_common+0xaa/0x130 [spl]\n[<0>] txg_wait_synced_impl+0xc0/0x110 [zfs]\n[<0>] kthread+0xda/0x100\n";

/// A root with one process of two threads that wait, a kernel thread, one that runs in user space, and one module.
fn root(name: &str) -> Folder {
    let root = Folder::new(name);
    root.file("proc/version", "Linux version 6.1.0-test (x@y) #1 SMP\n");
    root.file("proc/sys/kernel/osrelease", "6.1.0-test\n");
    root.file("proc/sys/kernel/hostname", "secrethost\n");
    root.file("proc/modules", "zfs 4177920 16 - Live 0xffffffffc0887000 (POE)\n");
    root.file("proc/kallsyms", "ffffffff81000000 T _text\nffffffffc0887010 t spa_sync\t[zfs]\nffffffff82000000 D jiffies\n");
    root.file("proc/cmdline", "root=/dev/secretdisk\n");
    root.file("proc/mounts", "secretpool /mnt zfs rw 0 0\n");
    root.file("boot/config-6.1.0-test", "CONFIG_KALLSYMS=y\nCONFIG_USB=y\n");
    root.file("sys/module/zfs/sections/.text", "0xffffffffc0887000\n");
    root.file("sys/module/zfs/notes/.note.gnu.build-id", b"\x04\0\0\0\x02\0\0\0\x03\0\0\0GNU\0\xab\xcd\0\0");
    root.file("sys/kernel/notes", b"\x04\0\0\0\x02\0\0\0\x03\0\0\0GNU\0\x12\x34\0\0");
    for (pid, tid, comm, state, flags, stack) in [
        (70, 70, "secretname", "D", 4194304, WAITING),
        (70, 71, "secretname", "D", 4194304, WAITING),
        (2, 2, "kthreadd", "S", 2129984, "[<0>] kthreadd+0x1/0x2\n"),
        (80, 80, "busy", "R", 4194304, ""),
    ] {
        let task = format!("proc/{pid}/task/{tid}");
        root.file(&format!("{task}/stat"), format!("{tid} ({comm}) {state} 1 1 1 0 -1 {flags} 0"));
        root.file(&format!("{task}/comm"), format!("{comm}\n"));
        root.file(&format!("{task}/stack"), stack);
        root.file(&format!("{task}/wchan"), if state == "D" { "cv_wait_common" } else { "0" });
        root.file(&format!("{task}/cgroup"), "0::/secretslice/a\n");
        root.file(&format!("proc/{pid}/cgroup"), "0::/secretslice/a\n");
        root.file(&format!("proc/{pid}/cmdline"), if pid == 70 { "/bin/secretname\0--secretflag\0" } else { "" });
    }
    root
}

fn capture(root: &Folder, out: &Folder, more: &[&str]) -> (String, std::process::Output) {
    let file = out.path("capture.tar.zst");
    let output = run(&[&["capture", "--root", &root.path(""), "-o", &file], more].concat());
    (file, output)
}

/// Every member of a capture: path and content.
fn members(file: &str) -> Vec<(String, Vec<u8>)> {
    let source = kstack::input::open(Path::new(file)).unwrap();
    let mut notes = Vec::new();
    let members = kstack::input::archive::members(file, &source.data, &mut notes);
    assert!(notes.is_empty() && source.notes.is_empty(), "{notes:?}");
    members.into_iter().map(|(path, bytes)| (path, bytes.to_vec())).collect()
}

fn manifest(file: &str) -> serde_json::Value {
    let members = members(file);
    serde_json::from_slice(&members.iter().find(|(path, _)| path == "manifest.json").unwrap().1).unwrap()
}

#[test]
fn every_command_reads_a_capture_as_it_is() {
    let (root, out) = (root("reads"), Folder::new("reads-out"));
    let (file, output) = capture(&root, &out, &[]);
    assert!(output.status.success() && output.stdout.is_empty(), "{}", stderr(&output));
    assert!(stderr(&output).contains("4 threads, 3 kernel stacks"), "{}", stderr(&output));
    let paths: Vec<String> = members(&file).into_iter().map(|(path, _)| path).collect();
    for path in ["proc/70/task/71/stack", "proc/70/cmdline", "proc/70/cgroup", "proc/kallsyms", "config", "sys/module/zfs/sections/.text"] {
        assert!(paths.iter().any(|seen| seen == path), "{path} in {paths:?}");
    }
    for path in ["proc/70/task/71/cgroup", "proc/2/task/2/wchan", "proc/2/cmdline"] {
        assert!(!paths.iter().any(|seen| seen == path), "{path} says nothing new");
    }
    let value = json(&run(&["symbolicate", "-q", "--format", "json", &file]));
    let report = &value["reports"][0];
    assert_eq!((report["kernel_version"].as_str(), report["format"].as_str()), (Some("6.1.0-test"), Some("linux-proc-stack")));
    let stack = report["stacks"].as_array().unwrap().iter().find(|stack| stack["tid"] == "71").unwrap();
    let facts: Vec<&str> = ["process", "state", "wait_channel", "command_line", "cgroup"].map(|name| stack[name].as_str().unwrap()).into();
    assert_eq!(facts, ["secretname", "D", "cv_wait_common", "/bin/secretname --secretflag", "/secretslice/a"]);
    let images = json(&run(&["modules", "-q", "--format", "json", &file]));
    let images = images["reports"][0]["images"].as_array().unwrap().clone();
    let of = |name: &str| images.iter().find(|image| image["name"] == name).unwrap();
    assert_eq!((of("vmlinux")["uuid"].as_str(), of("zfs")["uuid"].as_str()), (Some("1234"), Some("abcd")));
    assert_eq!(of("zfs")["load_address"], "0xffffffffc0887000");
    let groups = run(&["group", "-q", &file]);
    assert!(stdout(&groups).contains("2 threads [D] in txg_wait_synced_impl [zfs]"), "{}", stdout(&groups));
    // Read again, kstack's own JSON keeps what a capture tells.
    let document = run(&["symbolicate", "-q", "--format", "json", &file]).stdout;
    let again = json(&common::run_with(&["symbolicate", "-q", "--format", "json"], &document));
    assert!(again["reports"][0]["stacks"].as_array().unwrap().iter().any(|stack| stack["cgroup"] == "/secretslice/a"));
    // Unpacked it is the same.
    let tree = Folder::new("reads-tree");
    members(&file).iter().for_each(|(path, bytes)| tree.file(path, bytes));
    let unpacked = run(&["group", "-q", &tree.path("")]);
    let below = |text: String| text.split_once('\n').map(|(_, rest)| rest.to_string());
    assert_eq!(below(stdout(&unpacked)), below(stdout(&groups)));
}

#[test]
fn redacted_names_are_nowhere_and_equal_ones_stay_equal() {
    let (root, out) = (root("redact"), Folder::new("redact-out"));
    root.file("proc/version", "Linux version 6.1.0-test (secretuser@secretmachine) (gcc (Debian) 12) #1 SMP\n");
    root.file("proc/80/cgroup", "1:name=secrethierarchy:/\n0::/secretslice/b\n");
    root.file("proc/90/task/90/stat", "90 (192.0.2.77-mana) S 2 0 0 0 -1 2129984 0");
    root.file("proc/90/task/90/comm", "192.0.2.77-mana\n");
    root.file("proc/90/task/90/stack", "[<0>] nfs4_run_state_manager+0x1/0x2\n");
    let (file, output) = capture(&root, &out, &["--redact"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let members = members(&file);
    for (path, bytes) in &members {
        let text = String::from_utf8_lossy(bytes);
        assert!(!text.contains("secret") && !text.contains("192.0.2"), "{path}: {text}");
    }
    let comm = |tid: &str| members.iter().find(|(path, _)| path.ends_with(&format!("/{tid}/comm"))).unwrap().1.clone();
    assert!(comm("70") == comm("71") && comm("70") != comm("80") && comm("2") == b"kthreadd\n");
    assert!(stdout(&run(&["group", "-q", &file])).contains("2 threads [D]"));
    let version = json(&run(&["symbolicate", "-q", "--format", "json", &file]))["reports"][0]["kernel_version"].clone();
    assert_eq!(version, "6.1.0-test");
    let left_out = manifest(&file)["skipped"].to_string();
    assert!(["proc/mounts", "proc/cmdline", "dmesg"].iter().all(|name| left_out.contains(name)), "{left_out}");
}

/// The script hashes nothing and knows no interval: what it would not do is refused, and nothing is printed.
#[test]
fn the_script_takes_only_the_options_that_it_knows() {
    for option in [&["--redact"][..], &["--interval", "9"], &["--timeout", "9"], &["--file-timeout", "9"], &["--root", "/nonexistent"]] {
        let output = run(&[&["capture", "--print-script"], option].concat());
        assert!(output.status.code() == Some(2) && output.stdout.is_empty(), "{option:?}: {}", stderr(&output));
    }
    let output = run(&["capture", "--print-script", "--samples", "7"]);
    assert!(output.status.success() && stdout(&output).contains("\nsamples=7\n"));
}

#[test]
fn a_file_that_hangs_is_left_out_and_named() {
    let (root, out) = (root("hangs"), Folder::new("hangs-out"));
    for pid in 100..110 {
        root.file(&format!("proc/{pid}/task/{pid}/stat"), format!("{pid} (stuck) D 1 1 1 0 -1 0 0"));
        root.file(&format!("proc/{pid}/task/{pid}/stack"), WAITING);
        root.pipe(&format!("proc/{pid}/cmdline"));
    }
    root.pipe("sys/module/zfs/sections/.data");
    let begin = Instant::now();
    let (file, output) = capture(&root, &out, &["--file-timeout", "0.3"]);
    assert!(output.status.success() && begin.elapsed() < Duration::from_secs(30), "{}", stderr(&output));
    assert!(stderr(&output).contains("files did not answer in time"), "{}", stderr(&output));
    let manifest = manifest(&file);
    let missing = &manifest["missing"]["proc/PID/cmdline"];
    let count = |name: &str| missing[name].as_u64().unwrap();
    assert!(count("timed_out") >= 8 && count("timed_out") + count("given_up") >= 10, "{missing}");
    assert!(manifest["skipped"].to_string().contains("proc/100/cmdline"));
    assert_eq!((manifest["samples"][0]["threads"].as_u64(), manifest["samples"][0]["stacks"].as_u64()), (Some(14), Some(13)));
    let groups = run(&["group", &file]);
    assert!(stdout(&groups).contains("12 threads [D]") && stderr(&groups).contains("files did not answer in time"), "{}", stderr(&groups));
    let (_, output) = capture(&root, &out, &["--timeout", "0"]);
    assert!(stderr(&output).contains("the time was over"), "{}", stderr(&output));
}

#[test]
fn samples_can_be_compared() {
    let (root, out) = (root("samples"), Folder::new("samples-out"));
    let (file, output) = capture(&root, &out, &["--samples", "2", "--interval", "0.1"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(members(&file).iter().any(|(path, _)| path == "sample-1/proc/70/task/71/stack"));
    let diff = json(&run(&["diff", "-q", "--format", "json", &file]));
    assert!(diff.to_string().contains("stuck"), "{diff}");
    let text = stdout(&run(&["diff", "-q", &file]));
    assert!(text.contains("2 stuck"), "{text}");
    let (one, _) = capture(&root, &out, &[]);
    let output = run(&["diff", &one]);
    assert!(output.status.code() == Some(2) && stderr(&output).contains("--samples 2"), "{}", stderr(&output));
}

#[test]
fn captures_go_where_they_should_or_nowhere() {
    let (root, out) = (root("where"), Folder::new("where-out"));
    let output = run(&["capture", "-q", "--stdout", "--root", &root.path("")]);
    assert!(output.status.success() && output.stdout.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
    let output = kstack(&["capture", "--root", &root.path("")]).current_dir(&out.0).output().unwrap();
    let names: Vec<String> = fs::read_dir(&out.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.len() == 1 && names[0].starts_with("kstack-secrethost-2") && names[0].ends_with("Z.tar.zst"), "{names:?}");
    assert!(stderr(&output).contains(&names[0]));
    let nowhere = out.path("no/such/folder/c.tar.zst");
    assert_eq!(run(&["capture", "--root", &root.path(""), "-o", &nowhere]).status.code(), Some(1));
    let empty = Folder::new("where-empty");
    let (file, output) = capture(&empty, &out, &[]);
    assert!(output.status.code() == Some(1) && stderr(&output).contains("--print-script"), "{}", stderr(&output));
    assert!(!stderr(&output).contains("cannot be written"), "it is the input that is missing: {}", stderr(&output));
    assert!(!Path::new(&file).exists(), "whole or not at all");
}

#[test]
fn this_machine_can_be_captured() {
    if !Path::new("/proc/version").exists() {
        return;
    }
    let out = Folder::new("this");
    let file = out.path("c.tar.zst");
    let output = run(&["capture", "-o", &file]);
    // Without root there may be no stack, which is said.
    assert!(output.status.success() || stderr(&output).contains("sudo kstack capture"), "{}", stderr(&output));
    let manifest = manifest(&file);
    assert!(manifest["samples"][0]["threads"].as_u64().unwrap() > 0);
    let own = members(&file).iter().filter(|(path, _)| path.ends_with("/comm")).count();
    assert!(own > 0);
}

/// Runs the collector under a shell over a made-up root and has kstack read what it wrote.
fn collect(shell: &[&str], name: &str) {
    let (root, out) = (root(name), Folder::new(&format!("{name}-out")));
    root.pipe("proc/70/task/71/wchan");
    out.file("collector.sh", run(&["capture", "--print-script", "linux"]).stdout);
    let file = out.path("c.tar.gz");
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).args([&out.path("collector.sh"), &file]).stdin(Stdio::null());
    let output = command.env("KSTACK_ROOT", root.path("")).env("TMPDIR", out.path("")).output().unwrap();
    assert!(output.status.success(), "{shell:?}: {}", stderr(&output));
    assert_eq!(stdout(&output).trim(), file);
    let left: Vec<String> = fs::read_dir(&out.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(left.len(), 2, "nothing else is left: {left:?}");
    let value = json(&run(&["symbolicate", "-q", "--format", "json", &file]));
    let reports = value["reports"].as_array().unwrap();
    let report = reports.iter().find(|report| report["format"] == "linux-proc-stack").unwrap();
    let stacks = report["stacks"].as_array().unwrap();
    assert_eq!((stacks.len(), report["kernel_version"].as_str()), (3, Some("6.1.0-test")), "{shell:?}");
    let stack = stacks.iter().find(|stack| stack["tid"] == "71").unwrap();
    let facts: Vec<Option<&str>> = ["process", "state", "command_line", "cgroup"].map(|name| stack[name].as_str()).into();
    assert_eq!(facts, [Some("secretname"), Some("D"), Some("/bin/secretname --secretflag"), Some("/secretslice/a")], "{shell:?}");
    let images = json(&run(&["modules", "-q", "--format", "json", &file]));
    assert!(images.to_string().contains("\"abcd\""), "{shell:?}: {images}");
    let members = {
        let source = kstack::input::open(Path::new(&file)).unwrap();
        let members = kstack::input::archive::members(&file, &source.data, &mut Vec::new());
        let log = members.iter().find(|(path, _)| path.ends_with("collector.log")).map(|(_, bytes)| bytes.to_vec());
        String::from_utf8(log.unwrap_or_default()).unwrap()
    };
    assert!(members.contains("wchan did not answer"), "{shell:?}: the pipe is named: {members}");
}

fn shell(names: &[&str]) -> bool {
    let there = Command::new(names[0]).args(&names[1..]).args(["-c", ":"]).status().is_ok_and(|status| status.success());
    if !there {
        eprintln!("skipped: {names:?} is not installed");
        assert!(std::env::var("CI").as_deref() != Ok("true") || names[0] == "sh", "{names:?} is not installed, and CI needs it");
    }
    there
}

#[test]
fn the_collector_runs_under_dash() {
    if shell(&["dash"]) {
        collect(&["dash"], "dash");
    }
}

#[test]
fn the_collector_runs_under_busybox() {
    if shell(&["busybox", "sh"]) {
        collect(&["busybox", "sh"], "busybox");
    }
}

#[test]
fn the_collector_cleans_up_when_it_is_stopped() {
    let (root, out) = (root("stopped"), Folder::new("stopped-out"));
    root.pipe("proc/2/cmdline");
    out.file("collector.sh", run(&["capture", "--print-script"]).stdout);
    let mut command = Command::new("sh");
    command.args([out.path("collector.sh"), out.path("c.tar.gz")]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.env("KSTACK_ROOT", root.path("")).env("TMPDIR", out.path("")).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(800));
    assert!(Command::new("sh").args(["-c", &format!("kill -TERM {}", child.id())]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert_eq!(fs::read_dir(&out.0).unwrap().count(), 1, "only the script itself is left");
}

#[test]
fn symbols_that_are_installed_are_found_without_options() {
    let (root, out) = (Folder::new("installed"), Folder::new("installed-out"));
    let here = root.path("");
    let file = out.path("report.txt");
    // A release that exists nowhere, and a module of that release.
    let unit = common::fixtures().join("symbols/linux/unit.ko");
    root.file("lib/modules/6.1.0-nowhere/extra/unit.ko", fs::read(unit).unwrap());
    let report = |size: &str| {
        let head = "[    1.000001] CPU: 0 PID: 1 Comm: x Not tainted 6.1.0-nowhere #1\n[    1.000001] Call Trace:\n";
        fs::write(&file, format!("{head}[    1.000001]  first_entry+0x14/{size} [unit]\n")).unwrap();
    };
    report("0x50");
    let modules = |more: &[&str]| {
        let mut command = kstack(&[&["modules", "-q", "--format", "json", "--local-root", &here, &file], more].concat());
        let value = json(&command.env_remove("KSTACK_NO_LOCAL").output().unwrap());
        let images = value["reports"][0]["images"].as_array().unwrap().clone();
        images.iter().find(|image| image["name"] == "unit").unwrap()["file"].as_str().map(str::to_string)
    };
    assert_eq!(modules(&[]), Some(root.0.join("lib/modules/6.1.0-nowhere/extra/unit.ko").display().to_string()));
    assert_eq!(modules(&["--no-local"]), None);
    let symbolicate = || kstack(&["symbolicate", "--local-root", &here, &file]).env_remove("KSTACK_NO_LOCAL").output().unwrap();
    let output = symbolicate();
    assert!(output.status.success() && stdout(&output).contains("first.c:"), "{}{}", stdout(&output), stderr(&output));
    // The same release with other code: not used, said, and no failure, since nobody has asked for it.
    report("0x90");
    let output = symbolicate();
    assert!(output.status.success() && !stdout(&output).contains("first.c"), "{}{}", stdout(&output), stderr(&output));
    assert!(stderr(&output).contains("warning: unit: ") && stderr(&output).contains("another build"), "{}", stderr(&output));
}
