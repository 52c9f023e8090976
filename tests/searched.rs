//! `kstack modules` says of every image where its symbol file was looked for, in order, and why a file found there is not used.

mod common;

use std::process::Output;

use common::folder::Folder;
use common::{fixtures, json, kstack, stderr, stdout};
use serde_json::Value;

/// Of `symbols/linux/unit.ko`.
const BUILD_ID: &str = "a0f88c6b36e2731e46159a5fc41890343d621bcf";
/// Of no file.
const OTHER_ID: &str = "b1f88c6b36e2731e46159a5fc41890343d621bcf";

/// A crash of release `6.1-test` with a frame in `unit`, whose build id the kernel printed.
fn oops(folder: &Folder, id: &str) -> String {
    let line = |text: &str| format!("[    1.000000] {text}\n");
    let frame = format!(" second_entry+0x9/0x11 [unit{id}]");
    let text = ["CPU: 0 PID: 7 Comm: cat Not tainted 6.1-test #1", "Call Trace:", " <TASK>", &frame, " </TASK>"];
    folder.write("oops.txt", text.map(line).concat())
}

/// Runs it with that folder as the machine's root.
fn modules(folder: &Folder, args: &[&str]) -> Output {
    let root = folder.path("root");
    let mut command = kstack(&[&["modules", "--local-root", &root], args].concat());
    command.env("DEBUGINFOD_CACHE_PATH", folder.0.join("cache")).env_remove("KSTACK_NO_LOCAL").output().unwrap()
}

/// Kind, result and reason of each place, with the test's folder as `T`.
fn places(output: &Output, folder: &Folder, image: &str) -> Vec<(String, String, String, String)> {
    let value = json(output);
    let images = value["reports"][0]["images"].as_array().unwrap();
    let image = images.iter().find(|found| found["name"] == image).unwrap();
    let text = |value: &Value| value.as_str().unwrap().replace(&folder.0.display().to_string(), "T");
    let one = |place: &Value| (text(&place["place"]), text(&place["kind"]), text(&place["result"]), text(&place["why"]));
    image["searched"].as_array().unwrap().iter().map(one).collect()
}

fn said(places: &[(String, String, String, String)]) -> Vec<(&str, &str, &str)> {
    places.iter().map(|(place, kind, result, _)| (place.as_str(), kind.as_str(), result.as_str())).collect()
}

fn unit() -> Vec<u8> {
    std::fs::read(fixtures().join("symbols/linux/unit.ko")).unwrap()
}

#[test]
fn every_place_is_named_in_the_order_in_which_it_is_searched() {
    let folder = Folder::new("searched-order");
    let report = oops(&folder, &format!(" {OTHER_ID}"));
    folder.write("syms/unit.ko", unit());
    folder.write("root/lib/modules/6.1-test/extra/unit.ko", unit());
    folder.write("kernel-only/vmlinux", b"no symbol file");
    let syms = folder.path("syms");
    let output = modules(&folder, &[&report, "--format", "json", "-S", &syms]);
    let found = places(&output, &folder, "unit");
    let by_id = format!("T/root/usr/lib/debug/.build-id/b1/{}.debug", &OTHER_ID[2..]);
    let cache = format!("T/cache/{OTHER_ID}");
    let want = [
        ("T/syms", "folder", "refused"),
        (by_id.as_str(), "build-id", "nothing"),
        ("T/root/usr/lib/debug/lib/modules/6.1-test", "debug", "nothing"),
        ("T/root/usr/lib/debug/usr/lib/modules/6.1-test", "debug", "nothing"),
        ("T/root/lib/modules/6.1-test", "modules", "refused"),
        (cache.as_str(), "debuginfod-cache", "nothing"),
        ("debuginfod", "debuginfod", "not-searched"),
    ];
    assert_eq!(said(&found), want);
    let why = format!("1 candidate: T/syms/unit.ko: the report's build id is {OTHER_ID}, the file's is {BUILD_ID}");
    assert_eq!(found[0].3, why);
    assert_eq!(
        found[4].3,
        format!("1 candidate: T/root/lib/modules/6.1-test/extra/unit.ko: of another build: its build id is not {OTHER_ID}")
    );
    let kernel = places(&output, &folder, "vmlinux");
    assert_eq!(kernel.len(), 8, "{kernel:?}");
    assert_eq!((kernel[7].0.as_str(), kernel[7].3.as_str()), ("T/root/boot/vmlinux-6.1-test", "not there"));
    // The same as text: all of it with -v, one line without.
    let text = stdout(&modules(&folder, &[&report, "-v", "-S", &syms]));
    assert!(text.contains("/lib/modules/6.1-test (modules): refused: 1 candidate"), "{text}");
    let text = stdout(&modules(&folder, &[&report, "-S", &syms]));
    let line = format!("unit: no symbols, 6 places searched; try: -S a folder with the file of build id {OTHER_ID}, or --allow-mismatch\n");
    assert!(text.contains(&line) && !text.contains("(modules)"), "{text}");
    assert!(text.contains("vmlinux: no symbols, 8 places searched; try: "), "{text}");
}

#[test]
fn the_search_ends_where_the_file_is_found() {
    let folder = Folder::new("searched-ends");
    let report = oops(&folder, &format!(" {BUILD_ID}"));
    folder.write(&format!("root/usr/lib/debug/.build-id/a0/{}.debug", &BUILD_ID[2..]), unit());
    folder.write("root/lib/modules/6.1-test/unit.ko", unit());
    let found = places(&modules(&folder, &[&report, "--format", "json"]), &folder, "unit");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].1.as_str(), found[0].2.as_str()), ("build-id", "used"));
    // What is given or lies in a folder is not looked for on the machine.
    let file = folder.write("given/unit.ko", unit());
    let found = places(&modules(&folder, &[&report, "--format", "json", "-m", &file]), &folder, "unit");
    assert_eq!(found, [("-m T/given/unit.ko".into(), "given".into(), "used".into(), "T/given/unit.ko".into())]);
    let broken = folder.write("broken/unit.ko", b"nothing of the kind");
    let found = places(&modules(&folder, &[&report, "--format", "json", "-k", &broken]), &folder, "vmlinux");
    assert_eq!((found[0].0.as_str(), found[0].2.as_str()), ("-k T/broken/unit.ko", "refused"));
    assert!(found[0].3.starts_with("is no symbol file that kstack reads"), "{found:?}");
    let off = places(&modules(&folder, &[&report, "--format", "json", "--no-local"]), &folder, "unit");
    assert_eq!((off[0].1.as_str(), off[0].2.as_str()), ("local", "not-searched"), "{off:?}");
}

#[test]
fn each_of_several_candidates_has_its_reason() {
    let folder = Folder::new("searched-several");
    let report = oops(&folder, "");
    folder.write("syms/a/unit.ko", unit());
    folder.write("syms/b/unit.ko", unit());
    folder.write("syms/c/unit.ko", std::fs::read(fixtures().join("symbols/linux/unit-opd.ko")).unwrap());
    folder.write("syms/d/unit.ko", b"\x7fELF is all that it has of a symbol file");
    let (syms, empty) = (folder.path("syms"), folder.path("empty"));
    std::fs::create_dir(&empty).unwrap();
    let output = modules(&folder, &[&report, "--format", "json", "--no-local", "-S", &syms, "-S", &empty]);
    let found = places(&output, &folder, "unit");
    assert_eq!(said(&found)[..2], [("T/syms", "folder", "refused"), ("T/empty", "folder", "nothing")]);
    let why = &found[0].3;
    assert!(
        why.starts_with(
            "3 candidates: T/syms/a/unit.ko: one of several, and nothing tells which is meant: give the right one with -m unit=FILE; "
        ),
        "{why}"
    );
    assert_eq!(found[1].3, "no file there has its UUID or name");
    let text = stdout(&modules(&folder, &[&report, "--no-local", "-S", &syms]));
    assert!(text.contains("unit: no symbols, 1 place searched; try: `kstack modules -v`"), "{text}");
}

#[test]
fn what_a_debuglink_names_and_the_cache_has_are_places_too() {
    let folder = Folder::new("searched-link");
    let Some(objcopy) = common::peer(&["objcopy"]) else { return };
    let report = oops(&folder, "");
    let whole = folder.write("whole.ko", unit());
    let run = |args: &[&str]| assert!(std::process::Command::new(&objcopy).args(args).status().unwrap().success());
    let (debug, bare, linked) = (folder.path("unit.ko.debug"), folder.path("bare.ko"), folder.path("mods/unit.ko"));
    std::fs::create_dir(folder.path("mods")).unwrap();
    run(&["--only-keep-debug", &whole, &debug]);
    run(&["--strip-debug", "--remove-section=.note.gnu.build-id", &whole, &bare]);
    run(&[&format!("--add-gnu-debuglink={debug}"), &bare, &linked]);
    let look = || places(&modules(&folder, &[&report, "--no-local", "--format", "json", "-m", &linked]), &folder, "unit");
    let names = |found: &[(String, String, String, String)]| {
        said(found).iter().map(|(place, _, result)| format!("{place} {result}")).collect::<Vec<_>>()
    };
    assert_eq!(names(&look())[1..3], ["T/mods/unit.ko.debug nothing", "T/mods/.debug/unit.ko.debug nothing"]);
    // Of another build by its CRC.
    folder.write("mods/unit.ko.debug", std::fs::read(fixtures().join("symbols/linux/unit-zlib.ko")).unwrap());
    let found = look();
    assert_eq!(names(&found)[1], "T/mods/unit.ko.debug refused");
    assert!(found[1].3.contains("CRC says otherwise"), "{found:?}");
    std::fs::copy(&debug, folder.path("mods/unit.ko.debug")).unwrap();
    assert_eq!(names(&look())[1], "T/mods/unit.ko.debug used");
    // The cache of debuginfod's client, by build id.
    let report = oops(&folder, &format!(" {BUILD_ID}"));
    folder.write(&format!("cache/{BUILD_ID}/debuginfo"), unit());
    let found = places(&modules(&folder, &[&report, "--no-local", "--format", "json"]), &folder, "unit");
    assert_eq!(names(&found), [format!("T/cache/{BUILD_ID} used")]);
    folder.write(&format!("cache/{BUILD_ID}/debuginfo"), std::fs::read(fixtures().join("symbols/linux/unit-arm.ko")).unwrap());
    let output = modules(&folder, &[&report, "--no-local", "--format", "json"]);
    assert_eq!(names(&places(&output, &folder, "unit"))[1..2], [format!("T/cache/{BUILD_ID} refused")], "{}", stderr(&output));
}

#[test]
fn a_kit_is_a_place_and_its_kernel_of_another_chip_or_build_is_said_to_be_that() {
    let folder = Folder::new("searched-kits");
    let kernel = std::fs::read(fixtures().join("symbols/darwin/arm64e/kernel.release.t6000")).unwrap();
    for (kit, file) in
        [("KDK_14.2_23C71", "kernel.release.t6000"), ("KDK_14.2_23C64", "kernel.release.t6000"), ("KDK_14.2_23C64", "kernel.release.t8103")]
    {
        folder.write(&format!("kits/{kit}.kdk/System/Library/Kernels/{file}"), &kernel);
    }
    let text = "panic(cpu 0 caller 0xfffffe0018a54321): \"test\"\nOS version: 23C65\n\
                Kernel version: Darwin Kernel Version 23.2.0: Wed Nov 15 21:53:34 PST 2023; root:xnu-10002.61.3~2/RELEASE_ARM64_T6000\n\
                Kernel slide: 0x0000000010000000\n\
                Panicked task 0xfffffe1b2c3d4e50: 5 pages, 3 threads: pid 7: cat\n\
                Panicked thread: 0xfffffe1b2c3d4e50, backtrace: 0xfffffe6d12340000, tid: 7\n\
                \t\t  lr: 0xfffffe0018a50000  fp: 0xfffffe6d12340010\n";
    let report = folder.write("panic.txt", text);
    let kits = folder.path("kits");
    let output = modules(&folder, &[&report, "--format", "json", "-S", &kits]);
    let value = json(&output);
    let name = value["reports"][0]["images"].as_array().unwrap().iter().find(|image| image["kernel"] == true).unwrap()["name"].clone();
    let mut found = places(&output, &folder, name.as_str().unwrap());
    found.sort();
    assert_eq!(said(&found), [("T/kits/KDK_14.2_23C64.kdk", "kdk", "refused"), ("T/kits/KDK_14.2_23C71.kdk", "kdk", "refused")]);
    let other_chip = "kernel.release.t8103: the report's kernel is kernel.release.t6000, this is kernel.release.t8103";
    assert!(found[0].3.starts_with("2 candidates: ") && found[0].3.contains(other_chip), "{found:?}");
    assert!(found.iter().any(|place| place.3.contains("the report of 23C65")), "{found:?}");
}
