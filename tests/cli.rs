//! What users rely on: exit status, standard streams, errors that name the file and what to try.

mod common;

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::Stdio;

use common::{json, run, run_with, stderr, stdout};

const RAW: &str = "truth/darwin/stackshot-10.7-raw.txt";
const KERNEL: [&str; 2] = ["-k", "symbols/darwin/legacy/mach_kernel"];

/// A folder of its own for one test, removed before it is used again.
fn scratch(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("kstack-test-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn sym(extra: &[&str]) -> std::process::Output {
    run(&[&["sym", RAW], extra].concat())
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let mut child = common::kstack(&["sym", RAW, KERNEL[0], KERNEL[1]]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    let read = sym(&KERNEL);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), stderr(&read)), "as when all of it is read");
}

#[test]
fn standard_input_dash_and_file_give_the_same() {
    let text = fs::read(common::fixtures().join(RAW)).unwrap();
    let file = sym(&KERNEL).stdout;
    assert!(file.len() > text.len());
    assert_eq!(run_with(&["sym", KERNEL[0], KERNEL[1]], &text).stdout, file);
    assert_eq!(run_with(&["sym", "-", KERNEL[0], KERNEL[1]], &text).stdout, file);
}

#[test]
fn compressed_reports_and_symbol_files_are_read_as_they_are() {
    let dir = scratch("gzip");
    let pack = |from: &str, to: &str| {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&fs::read(common::fixtures().join(from)).unwrap()).unwrap();
        fs::write(dir.join(to), encoder.finish().unwrap()).unwrap();
    };
    pack(RAW, "log.txt");
    pack("symbols/darwin/legacy/mach_kernel.dSYM/Contents/Resources/DWARF/mach_kernel", "kernel");
    let path = |name: &str| dir.join(name).display().to_string();
    let packed = run(&["sym", &path("log.txt"), "-k", &path("kernel")]);
    assert_eq!(packed.stdout, sym(&KERNEL).stdout, "{}", stderr(&packed));
}

/// Nothing takes the place of a device, a pipe, or a link.
#[test]
fn what_is_no_file_is_written_to_as_it_is() {
    let dir = scratch("special");
    let path = |name: &str| dir.join(name).display().to_string();
    assert!(std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = path("pipe");
        move || fs::read(pipe).unwrap()
    });
    assert!(run(&["sym", RAW, "-o", &path("pipe")]).status.success());
    assert_eq!(reader.join().unwrap(), sym(&[]).stdout);
    fs::write(path("file"), "old").unwrap();
    std::os::unix::fs::symlink(path("file"), path("link")).unwrap();
    assert!(run(&["sym", RAW, "-o", &path("link")]).status.success());
    assert!(fs::symlink_metadata(path("link")).unwrap().is_symlink());
    assert_eq!(fs::read(path("file")).unwrap(), sym(&[]).stdout);
}

#[test]
fn strict_tells_resolved_from_proven() {
    assert_eq!(sym(&KERNEL).status.code(), Some(0));
    assert_eq!(run(&["sym", RAW, "--strict", KERNEL[0], KERNEL[1]]).status.code(), Some(3));
    let modern = ["modules", "-l", "load-maps/kmutil-13-x86-unslid.txt", "-S", "symbols/darwin/fat"];
    let text = stdout(&run(&modern));
    assert!(text.contains("net.example.zfs (1.3.1)") && text.contains("matched"), "{text}");
}

#[test]
fn usage_errors_are_2() {
    for args in [&["nonsense"][..], &["sym", "--format", "yaml", RAW], &["sym", "--slide", "12z", RAW], &[]] {
        assert_eq!(run(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn every_unusable_file_is_named_with_the_reason_and_the_rest_is_done() {
    let dir = scratch("bad");
    let write = |name: &str, bytes: &[u8]| {
        fs::write(dir.join(name), bytes).unwrap();
        dir.join(name).display().to_string()
    };
    let whole = fs::read(common::fixtures().join("symbols/darwin/legacy/spl.kext/Contents/MacOS/spl")).unwrap();
    let fat = fs::read(common::fixtures().join("symbols/darwin/fat/spl.kext/Contents/MacOS/spl")).unwrap();
    let mut ppc = whole.clone();
    ppc[4..8].copy_from_slice(&18u32.to_le_bytes());
    let cases = [
        (write("empty", b""), "is empty"),
        (write("text", b"hello there\n"), "no symbol file that kstack reads"),
        (write("cut", &whole[..100]), "truncated Mach-O"),
        (write("ppc", &ppc), "is for ppc"),
        (write("kernelcache.im4p", b"0\x83\x01\x02IM4P\x16\x04krnl"), "IM4P"),
        (write("fatcut", &fat[..20_000]), "truncated"),
        (dir.join("absent").display().to_string(), "No such file"),
        (dir.display().to_string(), "is a directory"),
    ];
    for (path, why) in &cases {
        let output = sym(&["-k", KERNEL[1], "-m", path]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{path}: {said}");
        assert!(said.contains(path.as_str()) && said.contains(why), "{path}: {said}");
        assert!(said.contains("resolved 821 of 1063"), "the kernel's frames are still resolved: {said}");
        assert!(output.stdout == sym(&KERNEL).stdout);
    }
}

#[test]
fn a_slice_past_the_end_of_a_fat_file_costs_only_that_slice() {
    let dir = scratch("fat");
    let fat = fs::read(common::fixtures().join("symbols/darwin/fat/spl.kext/Contents/MacOS/spl")).unwrap();
    let path = dir.join("spl").display().to_string();
    fs::write(&path, &fat[..fat.len() - 40_000]).unwrap();
    let output = run(&["lookup", "spl_cv_wait", "-m", &path]);
    assert!(stdout(&output).contains("spl_cv_wait (in spl) + 0"), "{}{}", stdout(&output), stderr(&output));
    assert!(stderr(&output).contains("truncated"), "{}", stderr(&output));
}

#[test]
fn another_build_is_not_used_unless_forced_and_then_marked() {
    let modern = "load-maps/lldb-showallkexts-12.txt";
    let base = ["-m", "symbols/darwin/legacy/zfs.kext", "-l", modern];
    let refused = sym(&base);
    let said = stderr(&refused);
    assert_eq!(refused.status.code(), Some(1));
    for part in [
        "net.example.zfs",
        "51665BB2-6394-354B-A77C-5CEF56345E68",
        "4ABD0F9A-6241-304C-BF64-0779C5CCAA54",
        "legacy/zfs.kext",
        "--allow-mismatch",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let modules = json(&run(&[&["modules", RAW, "--format", "json"], &base[..]].concat()));
    let image = modules["reports"][0]["images"].as_array().unwrap().iter().find(|image| image["name"] == "net.example.zfs").unwrap();
    assert_eq!((image["status"].as_str(), image["file_uuid"].as_str()), (Some("mismatched"), Some("4ABD0F9A-6241-304C-BF64-0779C5CCAA54")));
    let forced = run(&[&["lookup", "0xffffff7f8bd4588c", "--allow-mismatch"], &base[..]].concat());
    assert!(stdout(&forced).contains(", other build)"), "{}{}", stdout(&forced), stderr(&forced));
}

#[test]
fn kexts_at_one_address_resolve_nothing_there() {
    let both = ["-m", "symbols/darwin/legacy/spl.kext@0xffffff7f80e4f000", "-m", "symbols/darwin/legacy/zfs.kext@0xffffff7f80e4f000"];
    let output = sym(&both);
    assert!(stderr(&output).contains("net.example.spl and net.example.zfs overlap from 0xffffff7f80e4f000"), "{}", stderr(&output));
    assert!(!stdout(&output).contains("spl_cv_wait"));
}

#[test]
fn load_maps_with_damage_or_of_another_kind() {
    let dir = scratch("maps");
    let text = fs::read_to_string(common::fixtures().join("load-maps/kextstat-10.6.txt")).unwrap();
    let typo = dir.join("typo.txt").display().to_string();
    fs::write(&typo, text.replace("0xffffff7f80ef6000", "0xffffff7f80ef60O0")).unwrap();
    let files = ["-m", "symbols/darwin/legacy/spl.kext", "-m", "symbols/darwin/legacy/zfs.kext"];
    let output = sym(&[&["-l", &typo], &files[..]].concat());
    let said = stderr(&output);
    assert!(said.contains("typo.txt: line 7: a kext row whose address or size is no hexadecimal number"), "{said}");
    assert!(said.contains("net.example.zfs: symbols/darwin/legacy/zfs.kext/Contents/MacOS/zfs has no load address"), "{said}");
    assert!(stdout(&output).contains("spl_cv_wait (in net.example.spl) + 60"));
    let wrong = sym(&["-l", RAW]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(stderr(&wrong).contains("is no load map (read as darwin-stackshot-text)"), "{}", stderr(&wrong));
}

#[test]
fn text_that_nobody_knows_comes_out_as_it_went_in() {
    let noise: Vec<u8> = (0..=255u8).chain(*b"\nPID\r\n\xff\xfe").collect();
    let output = run_with(&["sym"], &noise);
    assert_eq!((output.status.code(), &output.stdout), (Some(1), &noise));
    assert!(stderr(&output).contains("<stdin>: is in no format that kstack knows"), "{}", stderr(&output));
}

#[test]
fn a_directory_of_reports_and_maps_is_read_whole() {
    let dir = scratch("folder");
    fs::create_dir(dir.join("deep")).unwrap();
    fs::copy(common::fixtures().join(RAW), dir.join("deep/stackshot.log")).unwrap();
    fs::copy(common::fixtures().join("load-maps/kextstat-10.6.txt"), dir.join("kexts.txt")).unwrap();
    fs::write(dir.join("notes.md"), "nothing\n").unwrap();
    std::os::unix::fs::symlink(&dir, dir.join("loop")).unwrap();
    let path = dir.display().to_string();
    let files = ["-k", KERNEL[1], "-m", "symbols/darwin/legacy/spl.kext", "-m", "symbols/darwin/legacy/zfs.kext"];
    let output = run(&[&["sym", &path], &files[..]].concat());
    assert!(stderr(&output).contains("resolved 1063 of 1063"), "{}", stderr(&output));
    let empty = run(&["sym", &scratch("void").display().to_string()]);
    assert_eq!(empty.status.code(), Some(1));
    assert!(stderr(&empty).contains("none of the 0 files"), "{}", stderr(&empty));
}

#[test]
fn an_output_file_appears_whole_or_not_at_all() {
    let dir = scratch("output");
    let file = dir.join("out.txt").display().to_string();
    let output = sym(&[KERNEL[0], KERNEL[1], "-o", &file]);
    assert!(output.stdout.is_empty());
    assert_eq!(fs::read(&file).unwrap(), sym(&KERNEL).stdout);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "no part is left");
    let absent = sym(&["-o", "/nowhere/at/all"]);
    assert_eq!(absent.status.code(), Some(1));
    assert!(stderr(&absent).contains("/nowhere/at/all: cannot be written"), "{}", stderr(&absent));
}

#[test]
fn ndjson_repeats_the_report_with_every_stack() {
    let all = json(&sym(&["--format", "json", KERNEL[0], KERNEL[1]]));
    let lines = stdout(&sym(&["--format", "ndjson", KERNEL[0], KERNEL[1]]));
    let report = &all["reports"][0];
    let stacks = report["stacks"].as_array().unwrap();
    assert_eq!(lines.lines().count(), stacks.len());
    for (line, stack) in lines.lines().zip(stacks) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["stack"], &line["source"], &line["slide"]), (stack, &report["source"], &report["slide"]));
        assert_eq!(line["schema"], "kstack/1");
    }
    assert_eq!((report["slide"].as_str(), report["os"].as_str(), report["arch"].as_str()), (Some("0x0"), Some("darwin"), Some("x86_64")));
    assert!(report["guilty"].is_null() && report["title"].is_null());
}

#[test]
fn a_crash_has_a_title_and_a_guilty_frame_in_every_form() {
    const OOPS: &str = "linux-log/null-in-timer/input.txt";
    let title = "BUG: unable to handle kernel NULL pointer dereference in timer_bug_here";
    let report = &json(&run(&["sym", OOPS, "--format", "json"]))["reports"][0];
    assert_eq!((report["title"].as_str(), report["guilty"]["function"].as_str()), (Some(title), Some("timer_bug_here")));
    assert_eq!((report["guilty"]["module"].as_str(), report["guilty"]["reason"].as_str()), (Some("kslab"), Some("first frame")));
    let line: serde_json::Value = serde_json::from_str(stdout(&run(&["sym", OOPS, "--format", "ndjson"])).lines().next().unwrap()).unwrap();
    assert_eq!((&line["title"], &line["guilty"]), (&report["title"], &report["guilty"]));
    let text = run(&["sym", OOPS]);
    assert_eq!(stderr(&text).lines().next(), Some(&*format!("kstack: {title}; look at timer_bug_here [kslab], first frame")));
    assert_eq!(stderr(&run(&["sym", "-q", OOPS])), "");
}

#[test]
fn a_skip_list_adds_to_the_own_one() {
    const OOPS: &str = "linux-log/null-in-timer/input.txt";
    let dir = scratch("skip-list");
    let with = |text: &str| {
        let path = dir.join("mine.txt");
        fs::write(&path, text).unwrap();
        run(&["sym", OOPS, "--format", "json", "--skip-list", &path.display().to_string()])
    };
    let guilty = json(&with("[timers]\ntimer_*\n"))["reports"][0]["guilty"].clone();
    assert_ne!(guilty["function"], "timer_bug_here");
    assert!(guilty["reason"].as_str().unwrap().contains("1 timers"), "{guilty}");
    let wrong = with("[timers]\n!nothing\n");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("mine.txt: line 2: no pattern `nothing`"), "{}", stderr(&wrong));
    let missing = run(&["sym", OOPS, "--skip-list", "/nonexistent"]);
    assert_eq!((missing.status.code(), stdout(&missing).as_str()), (Some(2), ""), "as with --plumbing");
    assert!(stderr(&missing).contains("--skip-list /nonexistent: "), "{}", stderr(&missing));
}

#[test]
fn lookup_by_address_and_by_symbol_agree() {
    let zfs = ["-m", "symbols/darwin/legacy/zfs.kext@0xffffff7f80ef6000"];
    let by = |query: &str| stdout(&run(&[&["lookup", "-r", query], &zfs[..]].concat()));
    let answer = by("0xffffff7f80efb88c");
    assert!(
        answer.starts_with(
            "zio_done (in net.example.zfs) + 140 (0xffffff7f80efb88c)\n    at zfs_impl.h:20:113 in zio_wait_for_children (inlined)\n"
        ),
        "{answer}"
    );
    for query in ["zio_done+0x8c", "zio_done+140", "zio_done+0x8c [net.example.zfs]", "zio_done+0x8c [zfs]", "ffffff7f80efb88c"] {
        assert_eq!(by(query), answer, "{query}");
    }
    assert!(by("zio_done+0x8c/0x11").contains("no `zio_done` has size 0x11: another build?"));
    assert!(by("zio_done+0x4000").contains("behind the end"));
    assert!(by("no_such_thing+1").starts_with("no_such_thing+1: ?? (no symbol `no_such_thing` in 1 symbol files)"));
    let stream = run_with(&["lookup", "-r", zfs[0], zfs[1]], b"0xffffff7f80efb88c\n\nzio_done+0x8c\n");
    assert_eq!(stdout(&stream), answer.repeat(2));
}

/// One-number placement cannot be right for arm64 kexts, whose `__TEXT_EXEC` moves on its own. Truth: llvm-symbolizer and lldb.
#[test]
fn arm64_segments_move_separately() {
    let files = [
        "-m",
        "symbols/darwin/arm64e/spl.kext",
        "-m",
        "symbols/darwin/arm64e/zfs.kext",
        "-k",
        "symbols/darwin/arm64e/kernel.release.t6000@__TEXT_EXEC=0xfffffe00127d0000",
    ];
    for map in ["load-maps/lldb-showallkexts-14-arm64.txt", "load-maps/lldb-showallkexts-15.4-arm64.txt"] {
        let output = run(&[&["lookup", "-l", map, "0xfffffe00187d7aa8", "0xfffffe00127d31b8"], &files[..]].concat());
        let text = stdout(&output);
        assert!(text.contains("vdev_open (in net.example.zfs) + 40 (0xfffffe00187d7aa8)\n    at vdev.c:27"), "{text}{}", stderr(&output));
        assert!(text.contains("machine_switch_context (in kernel.release.t6000) + 36 (0xfffffe00127d31b8)"), "{text}");
    }
    let one_number = run(&["lookup", "0xfffffe00187d7aa8", "-m", "symbols/darwin/arm64e/zfs.kext@0xfffffe0011400000"]);
    assert!(stdout(&one_number).contains("??"), "{}", stdout(&one_number));
    assert!(stderr(&one_number).contains("@__TEXT_EXEC=ADDR"), "{}", stderr(&one_number));
}

#[test]
fn idioms_and_colour() {
    let atos = stdout(&sym(&KERNEL));
    let of = |idiom: &str| stdout(&sym(&["--frames", idiom, KERNEL[0], KERNEL[1]]));
    assert_eq!(of("atos"), atos);
    assert!(of("linux").contains("    machine_switch_context+0x18/"), "{}", &of("linux")[..400]);
    assert!(of("linux").contains(" sched.c:19:14\n"));
    assert!(of("gnu").contains("    0xffffff8000202c78: machine_switch_context at sched.c:19:14\n"));
    assert!(of("full").contains("(0xffffff8000202c78, file 0xffffff8000202c78) unverified\n"));
    assert!(!atos.contains('\x1b'));
    assert!(stdout(&sym(&["--color", "always", KERNEL[0], KERNEL[1]])).contains("\x1b[1mmachine_switch_context\x1b[0m"));
}

#[test]
fn demangling_can_be_turned_off() {
    assert!(stdout(&sym(&KERNEL)).contains("IOUserClient::externalMethod(unsigned int, void*) (in mach_kernel)"));
    assert!(stdout(&sym(&["--no-demangle", KERNEL[0], KERNEL[1]])).contains("_ZN12IOUserClient14externalMethodEjPv (in mach_kernel)"));
}

#[test]
fn modules_in_every_form() {
    let args = ["modules", RAW, "-l", "load-maps/kextstat-10.6.txt", "-S", "symbols/darwin/legacy"];
    let of = |format: &str| run(&[&args[..], &["--format", format]].concat());
    let table = stdout(&of("text"));
    assert!(table.starts_with("Image ") && table.lines().count() == 10, "{table}");
    assert!(table.contains("\ncom.apple.kec.corecrypto: no symbols, 1 place searched; try: install Apple's Kernel Debug Kit"), "{table}");
    assert!(stdout(&of("markdown")).starts_with("| Image | Load address |"));
    let images = json(&of("json"))["reports"][0]["images"].clone();
    assert_eq!(images.as_array().unwrap().len(), 7);
    assert_eq!(images[0]["name"], "mach_kernel");
    assert_eq!(images[6]["load_address"], "0xffffff7f80ef6000");
    assert_eq!(stdout(&of("ndjson")).lines().count(), 7);
    assert!(stdout(&run(&[&args[..], &["-v"]].concat())).contains("net.example.zfs: address from load-maps/kextstat-10.6.txt line 7"));
    let strict = run(&["modules", "--strict", "-l", "load-maps/kmutil-13-x86-unslid.txt"]);
    assert_eq!(strict.status.code(), Some(3));
}

#[test]
fn formats_lists_what_format_in_takes() {
    let listed = stdout(&run(&["formats"]));
    for format in kstack::parse::FORMATS {
        assert!(listed.contains(format.id()));
        assert_ne!(run_with(&["sym", "--format-in", format.id()], b"").status.code(), Some(2));
    }
}

#[test]
fn formats_lists_what_every_command_writes() {
    let listed = stdout(&run(&["formats"]));
    let outputs = &listed[listed.find("Outputs of symbolicate").unwrap()..];
    for command in ["diff", "top", "flame", "modules", "lookup", "script"] {
        let line = outputs.lines().find(|line| line.trim_start().starts_with(&format!("{command} "))).unwrap_or_else(|| panic!("{listed}"));
        for id in line.trim_start()[command.len()..].split(',').map(str::trim) {
            let taken = run(&[command, "--format", id, "no/such/file", "no/such/file"]);
            assert!(!stderr(&taken).contains(&format!("invalid value '{id}'")), "{command} {id}: {}", stderr(&taken));
        }
    }
    for id in ["text", "table", "json", "ndjson", "markdown", "csv", "folded", "svg"] {
        assert!(outputs.split([' ', ',', '\n']).any(|word| word == id), "{id}: {outputs}");
    }
}

#[test]
fn links_to_sources_are_made_of_escaped_paths_alone() {
    let args = ["lookup", "-m", "symbols/linux/unit.ko", "--source-map", "/unit=symbols/linux", "--links=always", "second_entry+4"];
    let text = stdout(&run(&args));
    let path = common::fixtures().join("symbols/linux/src/second.c");
    assert!(text.contains(&format!("\x1b]8;;file://{}#22\x1b\\src/second.c:22:10\x1b]8;;\x1b\\", path.display())), "{text}");
    assert!(!stdout(&run(&args[..args.len() - 2])).contains('\x1b'));
    let value = json(&run(&[&args[..5], &["--source=0", "--format", "json", "second_entry+4"]].concat()));
    let source = &value["results"][0]["frames"][0]["locations"][0]["source"];
    assert_eq!((source["first"].as_u64(), source["lines"][0].as_str()), (Some(22), Some("\tint r = twice(x) + same_size(x);")));
    let lost = run(&["lookup", "-m", "symbols/linux/unit.ko", "--source", "--source-map", "/unit=no/such/dir", "second_entry+4"]);
    assert_eq!(lost.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&lost.stderr).contains("no/such/dir is no directory"));
}

#[test]
fn check_says_what_a_symbol_file_lacks_and_what_mends_it() {
    let oops = "linux-log/oops-caller-ids/input.txt";
    let text = stdout(&run(&["modules", "--check", "-l", "load-maps/kslab-hang-modules", "-m", "symbols/linux/unit.ko"]));
    assert!(text.contains("functions, DWARF 5 (lines, inlined calls)"), "{text}");
    let value = json(&run(&["modules", "--check", "--format", "json", oops]));
    assert_eq!(value["reports"][0]["checks"][0]["problems"][0], "no symbol file");
    assert_eq!(run(&["modules", "--check", "--format", "csv", oops]).status.code(), Some(2));
}

/// A CTF section of version 2 with that many pointer types.
fn ctf(types: u32) -> Vec<u8> {
    let mut section = vec![0xf1, 0xcf, 2, 0];
    [0, 0, 0, 0, 0, 0, 8 * types, 0].iter().for_each(|word| section.extend(u32::to_le_bytes(*word)));
    (0..types).for_each(|_| section.extend([0, 0, 0, 0, 0, 3 << 3, 1, 0]));
    section
}

#[test]
fn more_ctf_types_than_their_ids_can_number_are_said() {
    if common::peer(&["objcopy"]).is_none() {
        return;
    }
    let folder = std::env::temp_dir().join(format!("kstack-ctf-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for (types, said) in [(1000, "1000 of at most 32767 CTF types"), (32_000, "nearly full"), (40_000, "ids of version 2 end at 32767")] {
        let (section, module) = (folder.join("ctf"), folder.join("unit.ko"));
        std::fs::write(&section, ctf(types)).unwrap();
        let mut objcopy = std::process::Command::new("objcopy");
        objcopy.arg(format!("--add-section=.SUNW_ctf={}", section.display())).arg(common::fixtures().join("symbols/linux/unit.ko"));
        assert!(objcopy.arg(&module).status().unwrap().success());
        let text = stdout(&run(&["modules", "--check", "-m", &module.display().to_string(), "-l", "load-maps/kslab-hang-modules"]));
        assert!(text.contains(said), "{text}");
    }
}

/// Filters leave of the images the kernel and those that the remaining stacks run through.
#[test]
fn modules_and_scripts_take_filters() {
    const REPORT: &str = "truth/darwin/stackshot-10.7-raw.txt";
    const SYMBOLS: [&str; 4] = ["-l", "load-maps/kextstat-10.6.txt", "-S", "symbols/darwin/legacy"];
    let images = |filters: &[&str]| {
        let value = common::json(&common::run(&[&["modules", "-q", "--format", "json", REPORT], &SYMBOLS[..], filters].concat()));
        let images = value["reports"][0]["images"].as_array().unwrap().clone();
        images.iter().map(|image| image["name"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    let (all, idle) = (images(&[]), images(&["--in-module", "!zfs", "--in-module", "spl"]));
    assert!(all.len() > 3, "{all:?}");
    assert_eq!(idle, ["mach_kernel", "net.example.spl"]);
    assert_eq!(images(&["--module", "zfs", "--task", "mdworker"]), ["mach_kernel", "net.example.spl", "net.example.zfs"]);
    assert_eq!(images(&["--pid", "99999"]), ["mach_kernel"]);

    let script = |filters: &[&str]| common::run(&[&["script", "lldb", "-q", "--format", "json", REPORT], &SYMBOLS[..], filters].concat());
    let value = common::json(&script(&["--in-module", "!zfs", "--stack", "0"]));
    let names: Vec<&str> = value["script"]["images"].as_array().unwrap().iter().map(|image| image["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["mach_kernel", "net.example.spl"]);
    let left =
        common::json(&common::run(&[&["symbolicate", "-q", "--format", "json", REPORT], &SYMBOLS[..], &["--task", "mdworker"]].concat()));
    let left = left["reports"][0]["stacks"].as_array().unwrap().len();
    assert!(left > 0);
    assert!(script(&["--task", "mdworker", "--stack", &(left - 1).to_string()]).status.success());
    let beyond = script(&["--task", "mdworker", "--stack", &left.to_string()]);
    assert_eq!(beyond.status.code(), Some(2));
    assert!(common::stderr(&beyond).contains(&format!("has {left} stacks")), "{}", common::stderr(&beyond));

    for command in [&["modules"][..], &["script", "gdb"]] {
        let alone = common::run(&[command, &SYMBOLS[..], &["--pid", "1"]].concat());
        assert_eq!(alone.status.code(), Some(2));
        assert!(common::stderr(&alone).contains("filters need a report"), "{}", common::stderr(&alone));
    }
}

#[test]
fn debug_info_is_found_by_debug_link_and_only_if_it_is_of_the_build() {
    if common::peer(&["objcopy"]).is_none() {
        return;
    }
    let folder = std::env::temp_dir().join(format!("kstack-debuglink-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(folder.join(".debug")).unwrap();
    let objcopy = |args: &[&str]| {
        let done = std::process::Command::new("objcopy").current_dir(&folder).args(args).status();
        assert!(done.unwrap().success(), "{args:?}");
    };
    let module = common::fixtures().join("symbols/linux/unit.ko").display().to_string();
    // Without build ids the CRC alone decides.
    objcopy(&["-R", ".note.gnu.build-id", &module, "whole.ko"]);
    objcopy(&["--only-keep-debug", "whole.ko", "unit.ko.debug"]);
    objcopy(&["--strip-debug", "--add-gnu-debuglink=unit.ko.debug", "whole.ko", "unit.ko"]);
    let stripped = folder.join("unit.ko").display().to_string();
    let lookup = || run(&["lookup", "second_entry+0x9", "-r", "-m", &stripped]);
    assert!(stdout(&lookup()).contains("src/second.c:22"), "{}", stdout(&lookup()));
    std::fs::rename(folder.join("unit.ko.debug"), folder.join(".debug/unit.ko.debug")).unwrap();
    assert!(stdout(&lookup()).contains("src/second.c:22"));
    std::fs::OpenOptions::new()
        .append(true)
        .open(folder.join(".debug/unit.ko.debug"))
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"x"))
        .unwrap();
    let other = lookup();
    assert!(!stdout(&other).contains("second.c") && stderr(&other).contains("of another build; not used"), "{}", stderr(&other));
}
