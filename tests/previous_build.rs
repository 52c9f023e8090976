//! The build before the one that ran, without build ids: each kind of evidence refuses it alone, and what no evidence speaks against is
//! called unverified, never matched. The builds are made from the module in the repository, by changing what another build would have
//! changed and nothing else.

mod common;

use std::process::Command;

use common::folder::Folder;
use object::{Object, ObjectSection, ObjectSymbol};
use serde_json::Value;

/// `unit.ko`, whose note has no build id any more.
fn blanked() -> Vec<u8> {
    let mut bytes = std::fs::read(common::fixtures().join("symbols/linux/unit.ko")).unwrap();
    let (start, size) = range(&bytes, ".note.gnu.build-id");
    bytes[start..start + size].fill(0);
    bytes
}

/// Where a section's bytes are in the file.
fn range(bytes: &[u8], section: &str) -> (usize, usize) {
    let file = object::File::parse(bytes).unwrap();
    let (start, size) = file.section_by_name(section).unwrap().file_range().unwrap();
    (start as usize, size as usize)
}

/// Where the entry of a symbol is in the file: `st_value` is 8 bytes from there, `st_size` 16.
fn entry(bytes: &[u8], name: &str) -> usize {
    let table = range(bytes, ".symtab").0;
    let file = object::File::parse(bytes).unwrap();
    table + 24 * file.symbols().find(|symbol| symbol.name() == Ok(name)).unwrap().index().0
}

/// The bytes of `first_entry`, as a `Code:` line with the one at `marker` in angle brackets.
fn code_line(bytes: &[u8], marker: usize) -> String {
    let start = range(bytes, ".text").0 + 0x70;
    let byte = |(at, byte): (usize, &u8)| if at == marker { format!("<{byte:02x}>") } else { format!("{byte:02x}") };
    bytes[start..start + 0x30].iter().enumerate().map(byte).collect::<Vec<_>>().join(" ")
}

/// Runs `modules` and `symbolicate` and gives the module's status, the kinds of evidence that contradict it, and how many of its frames
/// took something from the file.
fn judged(args: &[&str], image: &str) -> (String, Vec<String>, usize) {
    let modules = common::json(&common::run(&[&["modules", "-q", "--format", "json"], args].concat()));
    let images = modules["reports"][0]["images"].as_array().unwrap();
    let found = images.iter().find(|found| found["name"] == image).unwrap();
    let evidence = found["evidence"].as_array().cloned().unwrap_or_default();
    let against = evidence.iter().filter(|one| one["contradicts"] == true).map(|one| one["kind"].as_str().unwrap().to_string());
    let report = common::json(&common::run(&[&["symbolicate", "-q", "--format", "json"], args].concat()));
    let stacks = report["reports"][0]["stacks"].as_array().unwrap();
    let frames: Vec<&Value> = stacks.iter().flat_map(|stack| stack["frames"].as_array().unwrap()).collect();
    assert!(frames.iter().all(|frame| frame["trust"] != "verified"), "{frames:?}");
    let accepted = frames.iter().filter(|frame| !frame["locations"].as_array().unwrap().is_empty()).count();
    (found["status"].as_str().unwrap().to_string(), against.collect(), accepted)
}

fn log(lines: &[&str]) -> String {
    let head = ["BUG: kernel NULL pointer dereference, address: 0000000000000004", "CPU: 0 PID: 7 Comm: cat Not tainted 6.1.0-56-amd64 #1"];
    head.iter().chain(lines).map(|line| format!("[    1.000000] {line}\n")).collect()
}

const REFUSED: &str = "mismatched";
const ACCEPTED: &str = "unverified";

#[test]
fn sizes_alone_refuse_it() {
    let folder = Folder::new("previous-sizes");
    let report = folder
        .write("oops.txt", log(&["Call Trace:", " <TASK>", " first_entry+0x14/0x50 [unit]", " tail_caller+0x5/0x20 [unit]", " </TASK>"]));
    let ran = blanked();
    let mut before = ran.clone();
    // The function was longer: the kernel prints the distance to the next symbol, which lay further behind.
    before[entry(&ran, "first_entry") + 16] += 0x10;
    before[entry(&ran, "twice") + 8] += 0x10;
    let own = folder.write("ran/unit.ko", &ran);
    let old = folder.write("before/unit.ko", &before);
    assert_eq!(judged(&[&report, "-m", &own], "unit"), (ACCEPTED.into(), vec![], 2));
    assert_eq!(judged(&[&report, "-m", &old], "unit"), (REFUSED.into(), vec!["sizes".into()], 0));
}

#[test]
fn code_bytes_alone_refuse_it_and_bytes_elsewhere_leave_it_unproven() {
    let folder = Folder::new("previous-code");
    let ran = blanked();
    let code = format!("Code: {}", code_line(&ran, 0x14));
    let lines =
        ["RIP: 0010:first_entry+0x14/0x50 [unit]", code.as_str(), "Call Trace:", " <TASK>", " tail_caller+0x5/0x20 [unit]", " </TASK>"];
    let report = folder.write("oops.txt", log(&lines));
    let text = range(&ran, ".text").0;
    let with = |name: &str, at: usize| {
        let mut before = ran.clone();
        before[at] ^= 0x04;
        folder.write(name, before)
    };
    // Near the fault, at no place that is relocated: the two bytes of `xor`, `push` or `mov` of registers.
    let own = folder.write("ran/unit.ko", &ran);
    assert_eq!(judged(&[&report, "-m", &own], "unit"), (ACCEPTED.into(), vec![], 2));
    let old = with("before/unit.ko", text + 0x70 + 0x14);
    assert_eq!(judged(&[&report, "-m", &old], "unit"), (REFUSED.into(), vec!["code".into()], 0));
    // Where the report says nothing about it, nobody can tell: its frames are answered, and nothing is called proven.
    let elsewhere = with("elsewhere/unit.ko", range(&ran, ".exit.text").0 + 2);
    assert_eq!(judged(&[&report, "-m", &elsewhere], "unit"), (ACCEPTED.into(), vec![], 2));
    let shown = common::run(&["symbolicate", &report, "-m", &elsewhere]);
    assert!(common::stderr(&shown).contains("unverified"), "{}", common::stderr(&shown));
}

#[test]
fn pairs_alone_refuse_it_with_and_without_a_load_map() {
    let folder = Folder::new("previous-pairs");
    // crash's `bt -s` prints no sizes, which would be evidence of another kind. `.text` lies at ffffffffc0100000.
    let frames = ["first_entry+20 at ffffffffc0100084", "tail_caller+5 at ffffffffc0100055", "second_entry+5 at ffffffffc0100125"];
    let frame = |(n, frame): (usize, &&str)| format!(" #{n} [ffffb5e0c0d1fd9{n}] {frame} [unit]\n");
    let head = "PID: 133      TASK: ffff9c4e8285c240  CPU: 1    COMMAND: \"cat\"\n";
    let report = folder.write("bt.txt", format!("{head}{}", frames.iter().enumerate().map(frame).collect::<String>()));
    folder.write("map/sys/module/unit/sections/.text", "0xffffffffc0100000\n");
    let map = folder.path("map");
    let ran = blanked();
    let mut before = ran.clone();
    for name in ["first_entry", "second_entry"] {
        before[entry(&ran, name) + 8] += 8;
    }
    let own = folder.write("ran/unit.ko", &ran);
    let old = folder.write("before/unit.ko", &before);
    for more in [&["-l", map.as_str()][..], &[]] {
        let ask = |module: &str| judged(&[&[report.as_str(), "-m", module], more].concat(), "unit");
        assert_eq!(ask(&own), (ACCEPTED.into(), vec![], 3), "{more:?}");
        assert_eq!(ask(&old), (REFUSED.into(), vec!["pairs".into()], 0), "{more:?}");
    }
    // Two boots in one log: the same build at two places, whole pages apart.
    let text = std::fs::read_to_string(&report).unwrap();
    let two = folder.write("two.txt", format!("{text}{}", text.replace("c010", "c02f")));
    assert_eq!(judged(&[&two, "-m", &own], "unit").0, ACCEPTED);
}

#[test]
fn the_release_alone_refuses_it() {
    let folder = Folder::new("previous-release");
    let report = folder.write("oops.txt", log(&["Call Trace:", " <TASK>", " kslab_dup_b+0xa/0x20 [kslab]", " </TASK>"]));
    let ran = kstack::input::open(&common::fixtures().join("symbols/linux/kslab.ko.xz")).unwrap().data[..].to_vec();
    let with = |name: &str, release: &str| {
        let mut bytes = ran.clone();
        let (start, size) = range(&bytes, ".modinfo");
        let at = start + bytes[start..start + size].windows(9).position(|window| window == b"vermagic=").unwrap() + 9;
        assert_eq!(&bytes[at..at + 14], b"6.1.0-56-amd64");
        bytes[at..at + 14].copy_from_slice(release.as_bytes());
        let (start, size) = range(&bytes, ".note.gnu.build-id");
        bytes[start..start + size].fill(0);
        folder.write(name, bytes)
    };
    let own = with("ran/kslab.ko", "6.1.0-56-amd64");
    assert_eq!(judged(&[&report, "-m", &own], "kslab"), (ACCEPTED.into(), vec![], 1));
    let other = with("other/kslab.ko", "5.9.0-56-amd64");
    assert_eq!(judged(&[&report, "-m", &other], "kslab"), (REFUSED.into(), vec!["release".into()], 0));
    // A module may serve several releases of a series (modversions): said, and unproven.
    let series = with("series/kslab.ko", "6.1.0-55-amd64");
    assert_eq!(judged(&[&report, "-m", &series], "kslab"), (ACCEPTED.into(), vec!["release".into()], 1));
    assert!(common::stderr(&common::run(&["symbolicate", &report, "-m", &series])).contains("may be another build"));
}

/// A kernel of one function, `vfs_lab`, that says `banner` when it boots, and its size as the kernel prints it; `None` without a compiler.
fn kernel(folder: &Folder, name: &str, banner: &str, more: &[String]) -> Option<(String, u64)> {
    let source = format!(
        "const char linux_banner[] = \"{banner}\\n\";\n__attribute__((section(\".init.text\"))) void start_kernel(void) {{}}\n\
         int vfs_lab(int *list) {{ return list[1] * 3; }}\n",
    );
    linked(folder, name, &source, more)
}

/// A kernel of that source, which has a function `vfs_lab`, and the function's size.
fn linked(folder: &Folder, name: &str, source: &str, more: &[String]) -> Option<(String, u64)> {
    let compiler = common::peer(&["gcc", "cc", "clang"]).filter(|_| cfg!(target_arch = "x86_64"))?;
    let (source, kernel) = (folder.write(&format!("{name}/k.c"), source), folder.path(&format!("{name}/vmlinux")));
    let flags = ["-O1", "-g", "-ffreestanding", "-fno-pic", "-no-pie", "-mcmodel=kernel", "-nostdlib", "-static", "-Wl,--build-id=none"];
    let link = ["-Wl,-Ttext=0xffffffff81000000", "-Wl,-e,start_kernel", "-o", &kernel, &source];
    assert!(Command::new(&compiler).args(flags).args(link).args(more).status().unwrap().success());
    let bytes = std::fs::read(&kernel).unwrap();
    let file = object::File::parse(&bytes[..]).unwrap();
    let size = file.symbols().find(|symbol| symbol.name() == Ok("vfs_lab")).unwrap().size();
    Some((kernel, size))
}

fn banner(version: &str) -> String {
    format!("Linux version 6.1.0-56-amd64 (x@y) (gcc 12) #1 SMP PREEMPT_DYNAMIC Debian {version}")
}

/// A log that begins with `first` and has a frame in `vfs_lab`.
fn boot(first: &str, size: u64) -> String {
    format!("[    0.000000] {first}\n{}", log(&["Call Trace:", " <TASK>", &format!(" vfs_lab+0x1/{size:#x}"), " </TASK>"]))
}

#[test]
fn the_boot_banner_alone_refuses_a_kernel() {
    let folder = Folder::new("previous-banner");
    let build = |version: &str| kernel(&folder, version, &banner(version), &[]);
    let (Some((own, size)), Some((old, _))) = (build("6.1.192-2"), build("6.1.187-1")) else { return };
    let report = folder.write("dmesg.txt", boot(&banner("6.1.192-2"), size));
    let judge = |kernel: &str| {
        let (status, against, accepted) = judged(&[&report, "-k", kernel], "vmlinux");
        (status, against, accepted > 0)
    };
    assert_eq!(judge(&own), (ACCEPTED.into(), vec![], true));
    assert_eq!(judge(&old), (REFUSED.into(), vec!["release".into()], false));
}

#[test]
fn the_number_of_the_build_alone_refuses_a_kernel() {
    let folder = Folder::new("previous-number");
    let build = |number: u32| kernel(&folder, &number.to_string(), &banner("x").replace("#1", &format!("#{number}")), &[]);
    let (Some((own, size)), Some((later, _))) = (build(1), build(2)) else { return };
    // The log has no banner; the heading of its trace says `6.1.0-56-amd64 #1`.
    let report = folder.write("dmesg.txt", boot("rcu: Hierarchical RCU implementation.", size));
    let judge = |kernel: &str| {
        let (status, against, accepted) = judged(&[&report, "-k", kernel], "vmlinux");
        (status, against, accepted > 0)
    };
    assert_eq!(judge(&own), (ACCEPTED.into(), vec![], true));
    assert_eq!(judge(&later), (REFUSED.into(), vec!["release".into()], false));
}

#[test]
fn sizes_that_the_boot_prints_alone_refuse_a_kernel() {
    let folder = Folder::new("previous-boot-sizes");
    // The ends of the linker's parts, as in Debian's 6.1.0-56, and with a smaller `.rodata`, as in its -54.
    let bounds = |rodata: u64| {
        let parts = [
            ("_stext", "_etext", 14_687_538),
            ("_sdata", "_edata", 2_394_496),
            ("__start_rodata", "__end_rodata", rodata),
            ("__init_begin", "__init_end", 2_438_140),
            ("_sinittext", "_einittext", 453_636),
            ("__bss_start", "__bss_stop", 17_760_256),
        ];
        let start = |at: usize| 0xffff_ffff_8200_0000 + 0x200_0000 * at as u64;
        parts.into_iter().enumerate().flat_map(move |(at, (from, to, size))| [(from, start(at)), (to, start(at) + size)])
    };
    let build = |name: &str, rodata: u64| {
        // The linker's own script would define `_edata` and `__bss_start` itself.
        let symbols: String = bounds(rodata).map(|(name, at)| format!("{name} = {at:#x};\n")).collect();
        let sections = ".text : { *(.text*) } .init.text : { *(.init.text) } .rodata : { *(.rodata*) }";
        let script = folder.write(&format!("{name}.lds"), format!("{symbols}SECTIONS {{ . = 0xffffffff81000000; {sections} }}\n"));
        kernel(&folder, name, "no banner", &[format!("-Wl,-T,{script}")])
    };
    let (Some((own, size)), Some((old, _))) = (build("own", 9_351_168), build("old", 9_342_976)) else { return };
    let said =
        "Memory: 260860K/2096596K available (14343K kernel code, 2338K rwdata, 9132K rodata, 2824K init, 17344K bss, 708364K reserved)";
    let report = folder.write("dmesg.txt", boot(said, size));
    let judge = |kernel: &str| {
        let (status, against, accepted) = judged(&[&report, "-k", kernel], "vmlinux");
        (status, against, accepted > 0)
    };
    assert_eq!(judge(&own), (ACCEPTED.into(), vec![], true));
    assert_eq!(judge(&old), (REFUSED.into(), vec!["sizes".into()], false));
    // A System.map has the same symbols and no build id at all.
    let map = |name: &str, rodata: u64| {
        let rows = [("startup_64", 0xffff_ffff_8100_0000), ("vfs_lab", 0xffff_ffff_8100_0010), ("vfs_end", 0xffff_ffff_8100_0010 + size)];
        let text: String = rows.into_iter().chain(bounds(rodata)).map(|(name, at)| format!("{at:016x} T {name}\n")).collect();
        folder.write(name, text)
    };
    for (name, rodata, status) in [("System.map-own", 9_351_168, ACCEPTED), ("System.map-old", 9_342_976, REFUSED)] {
        assert_eq!(judged(&[&report, "-k", &map(name, rodata)], "vmlinux").0, status, "{name}");
    }
}

#[test]
fn source_lines_of_bugs_alone_refuse_a_kernel_and_a_module() {
    let folder = Folder::new("previous-lines");
    // As arch/x86/include/asm/bug.h has it from 5.18 on, before, and with the format since 6.18.
    let forms = [".long 1b - .; .long 8b - .", ".long 1b - 2b; .long 8b - 2b", ".long 1b - .; .long 0; .long 8b - ."];
    for (n, form) in forms.iter().enumerate() {
        let build = |line: u32| {
            let table = format!(".pushsection __bug_table,\\\"aw\\\"; 2: {form}; .word {line}; .word 0; .popsection");
            let name = ".pushsection .rodata.lab,\\\"a\\\"; .byte 0; 8: .string \\\"fs/lab.c\\\"; .popsection";
            let source = format!(
                "__attribute__((section(\".init.text\"))) void start_kernel(void) {{}}\n\
                 int vfs_lab(int *list) {{ asm volatile(\"1: ud2; {name}; {table}\"); return list[1] * 3; }}\n"
            );
            linked(&folder, &format!("{n}-{line}"), &source, &[])
        };
        let (Some((own, size)), Some((old, _))) = (build(305), build(304)) else { return };
        let (rip, frame) = (format!("RIP: 0010:vfs_lab+0x0/{size:#x}"), format!(" vfs_lab+0x2/{size:#x}"));
        let lines = ["kernel BUG at fs/lab.c:305!", &rip, "Call Trace:", " <TASK>", &frame, " </TASK>"];
        let report = folder.write("bug.txt", log(&lines));
        let judge = |kernel: &str| {
            let (status, against, accepted) = judged(&[&report, "-k", kernel], "vmlinux");
            (status, against, accepted > 0)
        };
        assert_eq!(judge(&own), (ACCEPTED.into(), vec![], true), "{form}");
        assert_eq!(judge(&old), (REFUSED.into(), vec!["lines".into()], false), "{form}");
    }
    // In a module the relocations name the places: some entries of `kslab`'s table are of line 12.
    let ran = kstack::input::open(&common::fixtures().join("symbols/linux/kslab.ko.xz")).unwrap().data[..].to_vec();
    let table = range(&ran, "__bug_table").0;
    let lines: Vec<usize> = (0..4).map(|n| table + 12 * n + 8).filter(|at| ran[*at..*at + 2] == [12, 0]).collect();
    assert!(!lines.is_empty());
    let with = |name: &str, line: u8| {
        let mut bytes = ran.clone();
        lines.iter().for_each(|at| bytes[*at] = line);
        let (start, size) = range(&bytes, ".note.gnu.build-id");
        bytes[start..start + size].fill(0);
        folder.write(name, bytes)
    };
    let said = [
        "kernel BUG at /usr/src/kslab-1.0/chain.c:12!",
        "RIP: 0010:chain_host.constprop.0+0x32/0x110 [kslab]",
        "Call Trace:",
        " <TASK>",
        " ksys_read+0x5f/0xe0",
        " </TASK>",
    ];
    let report = folder.write("panic.txt", log(&said));
    for (module, status, kinds) in [(with("ran/kslab.ko", 12), ACCEPTED, 0), (with("old/kslab.ko", 13), REFUSED, 1)] {
        let (found, against, _) = judged(&[&report, "-m", &module], "kslab");
        assert_eq!((found.as_str(), against.len(), against.contains(&"lines".to_string())), (status, kinds, kinds == 1));
    }
}
