//! Input of scripts that is packed, wrong or not enough: what can be used is, and the rest is said.

mod common;

use std::fs;

use common::folder::Folder;

/// A module unpacked from the fixtures.
fn module(name: &str) -> Vec<u8> {
    kstack::input::open(&common::fixtures().join("symbols/linux").join(name)).unwrap().data.to_vec()
}

fn names(dir: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The module without its build id: nobody's note in the place of GNU's.
fn without_id(mut bytes: Vec<u8>) -> Vec<u8> {
    let at = bytes.windows(8).position(|word| word == b"\x03\0\0\0GNU\0").expect("a build id");
    bytes[at + 4] = b'X';
    bytes
}

const TWO_LINES: &str = "kslab 28672 0 - Live 0xffffffffc0100000 (OE)\nunit 28672 0 - Live 0xffffffffc0200000 (OE)\n";

#[test]
fn elf_is_refused_for_a_report_of_macos() {
    let folder = Folder::new("elf-for-macos");
    let elf = format!("net.example.zfs={}", folder.write("zfs", module("kslab.ko.xz")));
    let (report, map) = ("truth/darwin/stackshot-10.7-raw.txt", "load-maps/kextstat-10.6.txt");
    let given = ["-k", "symbols/darwin/legacy/mach_kernel", "-m", &elf, "-l", map, "--allow-mismatch"];
    for debugger in ["lldb", "gdb"] {
        let output = common::run(&[&["script", debugger, report], &given[..]].concat());
        let (text, errors) = (common::stdout(&output), common::stderr(&output));
        assert!(errors.contains("is ELF, and the report is of macOS") && output.status.code() == Some(1), "{errors}");
        assert!(text.contains("#   net.example.zfs at ") && text.contains("is ELF"), "{text}");
        assert!(text.lines().all(|line| line.starts_with('#') || !line.contains("/zfs")), "{text}");
        assert_eq!(text.contains("\ntarget create "), debugger == "lldb", "the rest works: {text}");
    }
    // Nor does a name of it get into the report.
    let output = common::run(&[&["sym", report], &given[..]].concat());
    assert!(!common::stdout(&output).contains("kslab"), "{}", common::stdout(&output));
}

#[test]
fn mach_o_is_refused_for_a_report_of_linux() {
    let folder = Folder::new("macho-for-linux");
    let map = folder.write("modules", "zfs 28672 0 - Live 0xffffffffc0100000 (OE)\nunit 28672 0 - Live 0xffffffffc0200000 (OE)\n");
    let unit = format!("unit={}", folder.write("unit.ko", module("unit.ko")));
    let output = common::run(&["script", "gdb", "-l", &map, "-m", "zfs=symbols/darwin/legacy/zfs.kext", "-m", &unit]);
    let text = common::stdout(&output);
    assert!(common::stderr(&output).contains("is Mach-O, and the report is of Linux"), "{}", common::stderr(&output));
    assert_eq!((output.status.code(), text.matches("\nadd-symbol-file ").count()), (Some(1), 1), "{text}");
}

/// Two files for one image, with build ids and without.
#[test]
fn of_two_files_for_one_image_the_first_is_used() {
    let folder = Folder::new("two-files");
    let map = folder.write("modules", TWO_LINES);
    for (image, files) in [("kslab", ["kslab.ko.xz", "kslab-late.ko.xz"]), ("unit", ["unit.ko", "unit-zlib.ko"])] {
        let bytes = |file| if image == "unit" { without_id(module(file)) } else { module(file) };
        let paths = files.map(|file| folder.write(&format!("{image}/{}", file.trim_end_matches(".xz")), bytes(file)));
        for order in [[0, 1], [1, 0]] {
            let given = order.map(|at| format!("{image}={}", paths[at]));
            let output = common::run(&["script", "gdb", "-l", &map, "-m", &given[0], "-m", &given[1]]);
            let (text, errors) = (common::stdout(&output), common::stderr(&output));
            assert!(errors.contains(&format!("are both for {image}; the first given is used")), "{errors}");
            assert!(text.contains(&format!("\nadd-symbol-file {} ", paths[order[0]])), "{text}");
            assert!(!text.contains(&format!("\nadd-symbol-file {} ", paths[order[1]])), "{text}");
        }
    }
}

#[test]
fn an_image_without_a_file_is_a_comment_and_the_rest_works() {
    let folder = Folder::new("without-file");
    let map = folder.write("modules", TWO_LINES);
    let unit = format!("unit={}", folder.write("unit.ko", module("unit.ko")));
    for debugger in ["gdb", "crash", "drgn"] {
        let output = common::run(&["script", debugger, "-l", &map, "-m", &unit, "-S", "group"]);
        let text = common::stdout(&output);
        assert!(text.contains("\n# 1 missing: no symbol file\n#   kslab at 0xffffffffc0100000\n# looked for files in: group\n"), "{text}");
        let used = text.lines().filter(|line| !line.starts_with('#') && line.contains("/unit.ko")).count();
        assert_eq!((used, output.status.code()), (1, Some(0)), "{text}{}", common::stderr(&output));
    }
}

/// What fails leaves an old script as it was, and what works takes its place whole; nothing else is left beside it.
#[test]
fn an_old_script_is_replaced_whole_or_not_at_all() {
    let folder = Folder::new("replace");
    let (map, report) = (folder.write("modules", TWO_LINES), folder.write("stack.txt", "0xffffffffc0100010\n"));
    let old = folder.write("out/load.gdb", "old\n".repeat(10_000));
    let bad = common::run(&["script", "gdb", &report, "-l", &map, "--stack", "7", "-o", &old]);
    assert_eq!((bad.status.code(), fs::read_to_string(&old).unwrap().len()), (Some(2), 40_000));
    let good = common::run(&["script", "gdb", &report, "-l", &map, "--stack", "0", "-o", &old]);
    let text = fs::read_to_string(&old).unwrap();
    assert!(good.status.success() && text.starts_with("# Made by kstack") && !text.contains("old\n"), "{text}");
    assert_eq!(names(&folder.path("out")), ["load.gdb"]);
    // A folder of that name stays one.
    let nowhere = common::run(&["script", "gdb", "-l", &map, "-o", &folder.path("out")]);
    assert_eq!((nowhere.status.code(), names(&folder.path("out"))), (Some(1), vec!["load.gdb".to_string()]));
}

/// What a user types next: live `info line`, and `list` to copy, which would end the script at an address without a line.
#[test]
fn each_frame_has_the_commands_to_look_at_it() {
    let folder = Folder::new("frame-commands");
    let (map, report) = (folder.write("modules", TWO_LINES), folder.write("stack.txt", "0xffffffffc0100010\n0xffffffffc0200010\n"));
    let text = common::stdout(&common::run(&["script", "gdb", &report, "-l", &map, "--stack", "0"]));
    for address in ["0xffffffffc0100010", "0xffffffffc0200010"] {
        assert!(text.contains(&format!("\ninfo symbol {address}\ninfo line *{address}\n# list *{address}\n")), "{text}");
    }
}

#[test]
fn packed_modules_are_unpacked_for_the_debugger() {
    use std::io::Write;
    let folder = Folder::new("unpack");
    let list = format!("{TWO_LINES}kslab_late 28672 0 - Live 0xffffffffc0300000 (OE)\nother 28672 0 - Live 0xffffffffc0400000 (OE)\n");
    let (map, plain) = (folder.write("modules", list), module("kslab-late.ko.xz"));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let late = format!("kslab_late={}", folder.write("kslab-late.ko.gz", gzip.finish().unwrap()));
    let dir = folder.path("a b/unpacked");
    let unit = ["unit=symbols/linux/unit.ko.zst", "other=symbols/linux/unit.ko.xz"];
    let given = ["-m", "kslab=symbols/linux/kslab.ko.xz", "-m", unit[0], "-m", unit[1], "-m", &late, "--unpack", &dir];
    for _ in 0..2 {
        let path = folder.path("load.gdb");
        let output = common::run(&[&["script", "gdb", "-l", &map, "-o", &path], &given[..]].concat());
        assert_eq!((output.status.code(), common::stderr(&output)), (Some(0), String::new()));
        assert_eq!(names(&dir), ["2-unit.ko", "kslab-late.ko", "kslab.ko", "unit.ko"]);
        for (name, bytes) in [("kslab.ko", module("kslab.ko.xz")), ("unit.ko", module("unit.ko.zst")), ("kslab-late.ko", plain.clone())] {
            assert!(fs::read(format!("{dir}/{name}")).unwrap() == bytes, "{name}");
        }
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches("\nadd-symbol-file ").count(), 4, "{text}");
        if let Some(gdb) = common::peer(&["gdb"]) {
            let ask = ["-nx", "-batch", "-x", &path, "-ex", "info symbol 0xffffffffc0100010", "-ex", "info symbol 0xffffffffc0300001"];
            let output = std::process::Command::new(gdb).args(ask).output().unwrap();
            assert_eq!(common::stderr(&output), "");
            assert!(common::stdout(&output).contains("timer_bug_here + 16 in section .text"), "{}", common::stdout(&output));
        }
        // The second time the old ones are replaced.
        fs::write(format!("{dir}/unit.ko"), "old").unwrap();
    }
    for debugger in ["crash", "drgn"] {
        let output =
            common::run(&[&["script", debugger, "-l", &map], &given[..given.len() - 1], &[folder.path("plain").as_str()]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", common::stderr(&output));
    }
}

/// A damaged file is not unpacked, and a packed one is never replaced by what is in it.
#[test]
fn what_cannot_be_unpacked_is_left_out() {
    let folder = Folder::new("unpack-bad");
    let map = folder.write("modules", TWO_LINES);
    let packed = fs::read(common::fixtures().join("symbols/linux/kslab.ko.xz")).unwrap();
    let own = folder.write("kslab.ko", &packed);
    let output = common::run(&["script", "gdb", "-l", &map, "-m", &format!("kslab={own}"), "--unpack", &folder.path("")]);
    assert!(common::stderr(&output).contains("take the place of the packed file"), "{}", common::stderr(&output));
    assert!(output.status.code() == Some(1) && fs::read(&own).unwrap() == packed && !common::stdout(&output).contains("\nadd-symbol"));
    let late = format!("kslab={}", folder.write("late.ko.xz", &packed[..packed.len() - 40]));
    let output = common::run(&["script", "gdb", "-l", &map, "-m", &late, "--unpack", &folder.path("out")]);
    assert_eq!(output.status.code(), Some(1), "{}", common::stdout(&output));
    assert!(!folder.0.join("out").exists() && !common::stdout(&output).contains("\nadd-symbol"), "{}", common::stdout(&output));
    let wrong = common::run(&["script", "kextutil", "-l", &map, "--unpack", &folder.path("out")]);
    assert_eq!(wrong.status.code(), Some(2), "{}", common::stderr(&wrong));
}
