//! Symbols that this machine has installed: taken without options, and proven where nobody says that they are meant.

mod common;

use std::path::{Path, PathBuf};
use std::process::Output;

use common::{fixtures, json, kstack, stderr, stdout};

/// A machine of its own for a test: it runs `6.1-test`, whose kernel is installed.
fn machine(test: &str) -> PathBuf {
    let root = std::env::temp_dir().join(format!("kstack-machine-{test}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&root);
    let put = |path: &str, bytes: &[u8]| {
        std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        std::fs::write(root.join(path), bytes).unwrap();
    };
    let vmlinux = std::fs::read(fixtures().join("symbols/split/gcc-4/vmlinux")).unwrap();
    put("proc/sys/kernel/osrelease", b"6.1-test\n");
    put("proc/version", b"Linux version 6.1-test (me@here) (gcc) #1 SMP\n");
    // The note as the running kernel shows it: the same bytes as in the file.
    let note = vmlinux.windows(4).position(|window| window == b"GNU\0").unwrap() - 12;
    put("sys/kernel/notes", &vmlinux[note..note + 36]);
    put("usr/lib/debug/boot/vmlinux-6.1-test", &vmlinux);
    for unit in ["one.dwo", "two.dwo"] {
        put(&format!("usr/lib/debug/boot/{unit}"), &std::fs::read(fixtures().join("symbols/split/gcc-4").join(unit)).unwrap());
    }
    put("lib/modules/6.1-test/extra/unit.ko", &std::fs::read(fixtures().join("symbols/linux/unit.ko")).unwrap());
    root
}

fn on(root: &Path, arguments: &[&str]) -> Output {
    let mut command = kstack(arguments);
    command.args(["--local-root", &root.display().to_string()]).env_remove("KSTACK_NO_LOCAL").output().unwrap()
}

#[test]
fn lookup_needs_no_option_on_the_machine_itself() {
    let root = machine("lookup");
    let found = on(&root, &["lookup", "first_step+0x4"]);
    assert!(stdout(&found).contains("item_key_of_neighbour shared.h:9:25 [inline]"), "{}{}", stdout(&found), stderr(&found));
    let trust = json(&on(&root, &["lookup", "first_step+0x4", "--format", "json"]));
    assert_eq!(trust["results"][0]["frames"][0]["trust"], "verified", "the build id of the running kernel is the file's");
    let module = on(&root, &["lookup", "second_entry+0x9 [unit]"]);
    assert!(stdout(&module).contains("second_entry+0x9/0x11 [unit] src/second.c:2"), "{}{}", stdout(&module), stderr(&module));
    // Where it runs, moved by 0x1000000.
    std::fs::write(root.join("proc/kallsyms"), "ffffffff81201000 T _stext\nffffffff81201000 T first_step\nffffffff8120102a T second_step\nffffffff81300000 D data\nffffffffc0000000 t x\t[x]\n").unwrap();
    let address = on(&root, &["lookup", "0xffffffff81201004"]);
    assert!(stdout(&address).contains("first_step+0x4/0x2a"), "{}{}", stdout(&address), stderr(&address));
    let off = on(&root, &["lookup", "first_step+0x4", "--no-local"]);
    assert!(stdout(&off).contains("in 0 symbol files"), "{}", stdout(&off));
    // Of another kernel than the one that runs, nothing is used.
    std::fs::write(root.join("sys/kernel/notes"), b"").unwrap();
    let note: Vec<u8> = [&[4u8, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0][..], b"GNU\0", &[7; 20]].concat();
    std::fs::write(root.join("sys/kernel/notes"), note).unwrap();
    let other = on(&root, &["lookup", "first_step+0x4"]);
    assert!(
        stdout(&other).contains("in 0 symbol files") && stderr(&other).contains("another build"),
        "{}{}",
        stdout(&other),
        stderr(&other)
    );
}

/// Built, loaded, built anew, installed and loaded again: the installed build answers for its frames, whichever came first.
#[test]
fn of_a_module_in_several_builds_the_installed_one_is_found() {
    let root = machine("builds");
    let (own, other) = ("a0f88c6b36e2731e46159a5fc41890343d621bcf", "1".repeat(40));
    for ids in [[own, &other], [&other, own]] {
        let frame = |id: &str| format!("[    2.000000]  first_entry+0x20/0x50 [unit {id}]\n");
        let frames = ids.map(frame).concat();
        let log = format!("[    0.000000] Linux version 6.1-test (me@here) (gcc) #1 SMP\n[    2.000000] Call Trace:\n{frames}");
        std::fs::write(root.join("log.txt"), log).unwrap();
        let report = json(&on(&root, &["symbolicate", "--format", "json", &root.join("log.txt").display().to_string()]));
        for (n, id) in ids.iter().enumerate() {
            let frame = &report["reports"][0]["stacks"][0]["frames"][n];
            assert_eq!(frame["trust"] == "verified", *id == own, "{frame} {}", report["reports"][0]["warnings"]);
        }
    }
}

/// A report without a release, with the code bytes given.
fn report(root: &Path, code: &str) -> String {
    let path = root.join("oops.txt");
    let text = format!(
        "BUG: kernel NULL pointer dereference, address: 0000000000000010\nCPU: 0 PID: 7 Comm: cat Not tainted\n\
         RIP: 0010:first_step+0x16/0x2a\nCode: {code}\nCall Trace:\n <TASK>\n second_step+0x9/0x24\n </TASK>\n"
    );
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn a_report_without_a_release_takes_the_running_kernel_only_when_it_proves_it() {
    let root = machine("guess");
    let own = "53 48 8b 17 8b 42 10 8d 58 01 0f af 5f 14 48 8b 47 08 48 89 42 08 <48> 8b 17 48 89 10 48 83 47 28 01";
    let resolved = on(&root, &["sym", &report(&root, own)]);
    assert!(stdout(&resolved).contains("one.c:8"), "{}{}", stdout(&resolved), stderr(&resolved));
    // Other code: another kernel. Without any: two sizes that agree prove nothing.
    let other = "90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 <90> 90 90 90 90 90 90 90 90 90 90";
    for code in [other, ""] {
        let report = report(&root, code);
        let refused = on(&root, &["sym", &report]);
        assert!(!stdout(&refused).contains("one.c"), "{}", stdout(&refused));
        assert!(!stderr(&refused).contains("vmlinux-6.1-test"), "nobody asked for it: {}", stderr(&refused));
        assert_eq!(refused.status.code(), Some(0), "{}", stderr(&refused));
        let why = stdout(&on(&root, &["modules", "-v", &report]));
        assert!(why.contains("vmlinux-6.1-test of this machine's kernel not used: "), "{why}");
        let table = json(&on(&root, &["modules", "--format", "json", &report]));
        assert_eq!(table["reports"][0]["images"][0]["status"], "missing", "{table}");
    }
}
