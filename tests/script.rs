//! Scripts in the debuggers that they are written for: what gdb and lldb say at an address is what `kstack lookup` says.

mod common;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::folder::Folder;
use kstack::symbols::{self, FileInfo};
use object::{Object, ObjectSection, ObjectSymbol};

/// Function, a number that belongs to it (offset or start), and the innermost file and line.
type Named = (String, u64, Option<(String, u64)>);

fn info(path: &str) -> FileInfo {
    symbols::open(Path::new(path), &mut Vec::new()).unwrap()[0].info().clone()
}

/// Unpacked modules in `sym/`, their sections at made-up addresses in `map/sections/`, and `map/modules`, where kslab_late is still loading.
fn modules(folder: &Folder) {
    let mut list = String::new();
    let mut at = 0xffff_ffff_c010_0000_u64;
    for (file, name, state) in [("kslab.ko", "kslab", "Live"), ("kslab-late.ko", "kslab_late", "Loading"), ("unit.ko", "unit", "Live")] {
        let packed = common::fixtures().join(format!("symbols/linux/{file}.xz"));
        let path = folder.write(&format!("sym/{file}"), &kstack::input::open(&packed).unwrap().data[..]);
        let base = at;
        for segment in &info(&path).segments {
            folder.write(&format!("map/sections/{name}/{}", segment.name), format!("{at:#018x}\n"));
            at = (at + segment.size).next_multiple_of(0x100) + 0x1000;
        }
        list.push_str(&format!("{name} 28672 0 - {state} {base:#x} (OE)\n"));
    }
    folder.write("map/modules", list);
}

/// Writes a script and gives its path.
fn script(folder: &Folder, debugger: &str, args: &[&str]) -> String {
    let path = folder.path(&format!("load.{debugger}"));
    let output = common::run(&[&["script", debugger, "-o", &path], args].concat());
    assert!(output.status.success(), "{}", common::stderr(&output));
    path
}

fn run(tool: &str, args: &[&str]) -> Output {
    Command::new(tool).args(args).stdin(Stdio::null()).output().unwrap()
}

/// What kstack says: function, its offset, and the innermost file and line.
fn lookup(addresses: &[u64], args: &[&str]) -> Vec<Named> {
    let text: String = addresses.iter().map(|address| format!("{address:#x}\n")).collect();
    let output = common::run_with(&[&["lookup", "--format", "json", "--no-demangle"], args].concat(), text.as_bytes());
    let answer = |result: &serde_json::Value| {
        let frame = &result["frames"][0];
        let place = &frame["locations"][0];
        let line = place["line"].as_u64().filter(|line| *line > 0);
        let line = line.map(|line| (place["file"].as_str().unwrap_or_default().to_string(), line));
        (frame["symbol"].as_str().unwrap_or_default().to_string(), frame["offset"].as_u64().unwrap_or_default(), line)
    };
    common::json(&output)["results"].as_array().unwrap().iter().map(answer).collect()
}

/// Every section of a module that lies somewhere, as `--format json` says it: name, address, size, whether it is code.
fn placed(args: &[&str], image: &str) -> Vec<(String, u64, u64, bool)> {
    let facts = common::json(&common::run(&[&["script", "gdb", "--format", "json"], args].concat()));
    let images = facts["script"]["images"].as_array().unwrap();
    let image = images.iter().find(|one| one["name"] == image).unwrap();
    let section = |section: &serde_json::Value| {
        let address = kstack::model::addr::parse_hex(section["address"].as_str().unwrap()).unwrap();
        let (size, code) = (section["size"].as_u64().unwrap(), section["executable"].as_bool().unwrap());
        (section["name"].as_str().unwrap().to_string(), address, size, code)
    };
    image["sections"].as_array().unwrap().iter().map(section).collect()
}

/// What gdb says at each address: `SYMBOL + OFFSET in section …`, and the line.
fn ask_gdb(tool: &str, folder: &Folder, script: &str, addresses: &[u64]) -> Vec<(String, String)> {
    let mut ask = String::from("set print demangle off\nset width 0\n");
    for address in addresses {
        ask.push_str(&format!("echo <<\ninfo symbol {address:#x}\necho ||\ninfo line *{address:#x}\n"));
    }
    let ask = folder.write("ask.gdb", ask);
    let output = run(tool, &["-nx", "-batch", "-x", script, "-x", &ask]);
    assert_eq!(common::stderr(&output), "", "not one warning");
    let text = common::stdout(&output);
    let answers = text.split("<<").skip(1).map(|answer| answer.split_once("||").unwrap());
    answers.map(|(symbol, line)| (symbol.to_string(), line.to_string())).collect()
}

/// `SYMBOL + OFFSET in section …` or `SYMBOL in section …`.
fn said_by_gdb(said: &str) -> (String, u64) {
    let name = said.trim_start().split(" in section").next().unwrap();
    name.split_once(" + ").map_or((name.to_string(), 0), |(name, offset)| (name.to_string(), offset.parse().unwrap()))
}

/// `Line N of "FILE" …`, or at an address inside the line `Line N of …` too.
fn said_line(said: &str) -> Option<(String, u64)> {
    let (line, rest) = said.trim_start().strip_prefix("Line ")?.split_once(" of \"")?;
    Some((rest.split_once('"')?.0.to_string(), line.parse().ok()?))
}

/// The addresses that frames of a stack are looked up at: the last byte of every call and jump to elsewhere.
fn calls(path: &str, sections: &[(String, u64, u64, bool)]) -> Vec<u64> {
    let bytes = fs::read(path).unwrap();
    let file = object::File::parse(&bytes[..]).unwrap();
    let mut found = Vec::new();
    for (name, at, ..) in sections.iter().filter(|(.., code)| *code) {
        let relocations = file.section_by_name(name).unwrap().relocations();
        let call =
            |relocation: &object::Relocation| relocation.flags() == object::RelocationFlags::Elf { r_type: object::elf::R_X86_64_PLT32 };
        found.extend(relocations.filter(|(_, relocation)| call(relocation)).map(|(offset, _)| at + offset + 3));
    }
    found
}

/// The names of a module's symbols by their addresses.
fn named(path: &str, sections: &[(String, u64, u64, bool)], names: &mut HashMap<u64, Vec<String>>) {
    let bytes = fs::read(path).unwrap();
    let file = object::File::parse(&bytes[..]).unwrap();
    for symbol in file.symbols().filter(|symbol| symbol.kind() != object::SymbolKind::Section) {
        let Some(section) = symbol.section_index().and_then(|index| file.section_by_index(index).ok()) else { continue };
        if let Some((_, at, ..)) = sections.iter().find(|(name, ..)| Ok(name.as_str()) == section.name()) {
            names.entry(at + symbol.address()).or_default().push(symbol.name().unwrap().to_string());
        }
    }
}

#[test]
fn gdb_resolves_every_section_as_kstack_does() {
    let Some(gdb) = common::peer(&["gdb"]) else { return };
    let folder = Folder::new("gdb");
    modules(&folder);
    let (map, list, sym) = (folder.path("map"), folder.path("map/modules"), folder.path("sym"));
    let args = ["-l", map.as_str(), "-l", list.as_str(), "-S", sym.as_str()];
    let script = script(&folder, "gdb", &args);
    let (mut addresses, mut names) = (Vec::new(), HashMap::new());
    for (image, file) in [("kslab", "kslab.ko"), ("kslab_late", "kslab-late.ko"), ("unit", "unit.ko")] {
        let sections = placed(&args, image);
        named(&format!("{sym}/{file}"), &sections, &mut names);
        addresses.extend(calls(&format!("{sym}/{file}"), &sections));
    }
    let (ours, theirs) = (lookup(&addresses, &args), ask_gdb(&gdb, &folder, &script, &addresses));
    let (mut symbols, mut lines, mut differing) = (0, 0, Vec::new());
    for ((address, (symbol, offset, line)), (said, place)) in addresses.iter().zip(&ours).zip(&theirs) {
        // Padding behind a function belongs to none for gdb; the kernel, and so kstack, counts it to the function before.
        if said.trim_start().starts_with("No symbol matches") {
            continue;
        }
        symbols += 1;
        let (said_symbol, said_offset) = said_by_gdb(said);
        assert_eq!(said_offset, *offset, "{address:#x}: kstack {symbol} + {offset}, gdb {said}");
        let aliases = &names[&(address - offset)];
        assert!(aliases.contains(symbol) && aliases.contains(&said_symbol), "{address:#x}: kstack {symbol}, gdb {said}, file {aliases:?}");
        if let Some((file, line)) = line {
            lines += 1;
            // gdb prints the name as the file has it, kstack with the folder that it was compiled in.
            let same = said_line(place).is_some_and(|(said, number)| number == *line && file.ends_with(&said));
            if !same {
                differing.push((*address, file.clone(), *line, place.trim()));
            }
        }
    }
    assert!(symbols > 200 && lines > 200, "{symbols} symbols, {lines} lines of {} compared", addresses.len());
    // `info line` passes over rows of the line table that begin no statement (is_stmt is false, DWARF 5 section 6.2.2); where only those
    // name the call it says the line before. addr2line reads every row, as llvm-symbolizer and kstack do, and decides.
    assert!(differing.len() * 10 < lines, "{} of {lines} lines differ:\n{differing:?}", differing.len());
    let decided = differing
        .iter()
        .filter(|(address, file, line, _)| addr2line_says(&args, &sym, *address).is_none_or(|said| said == (base(file), *line)));
    assert_eq!(decided.count(), differing.len(), "{differing:?}");
    println!(
        "{symbols} symbols equal, {} of {lines} lines; addr2line says the other {} as kstack does",
        lines - differing.len(),
        differing.len()
    );
    data_symbol(&gdb, &folder, &script, &args);
}

fn base(file: &str) -> String {
    file.rsplit('/').next().unwrap_or_default().to_string()
}

/// Innermost file name and line at an address of one of [`modules`]; `None` where addr2line is not installed.
fn addr2line_says(args: &[&str], sym: &str, address: u64) -> Option<(String, u64)> {
    let tool = common::peer(&["addr2line"])?;
    let images = [("kslab", "kslab.ko"), ("kslab_late", "kslab-late.ko"), ("unit", "unit.ko")];
    let (file, section, at) = images
        .iter()
        .find_map(|(image, file)| {
            let (section, at, ..) = placed(args, image).into_iter().find(|(_, at, size, _)| address.wrapping_sub(*at) < *size)?;
            Some((format!("{sym}/{file}"), section, at))
        })
        .expect("every address is in a section");
    let output = run(&tool, &["-e", &file, "-j", &section, &format!("{:#x}", address - at)]);
    let text = common::stdout(&output);
    let (path, line) = text.trim().split_once(':').expect("FILE:LINE");
    Some((base(path), line.split(' ').next().unwrap_or_default().parse().unwrap_or(0)))
}

/// A variable, whose address follows from where `.data` is said to lie.
fn data_symbol(gdb: &str, folder: &Folder, script: &str, args: &[&str]) {
    let mut names = HashMap::new();
    let data: Vec<_> = placed(args, "kslab").into_iter().filter(|(name, ..)| name == ".data").collect();
    named(&folder.path("sym/kslab.ko"), &data, &mut names);
    let (address, name) = names.iter().find(|(_, names)| names.iter().any(|name| name == "lock_a")).expect("kslab has lock_a in .data");
    let said = ask_gdb(gdb, folder, script, &[*address]).remove(0).0;
    assert_eq!(said_by_gdb(&said), (name[0].clone(), 0), "{said}");
    assert!(said.contains("in section .data"), "{said}");
}

/// Frames in the sections that one address for a module gets wrong, function and line equal to the letter.
#[test]
fn gdb_knows_cold_init_and_exit_code_of_a_module() {
    let Some(gdb) = common::peer(&["gdb"]) else { return };
    let folder = Folder::new("gdb-sections");
    modules(&folder);
    let (map, list, sym) = (folder.path("map"), folder.path("map/modules"), folder.path("sym"));
    let args = ["-l", map.as_str(), "-l", list.as_str(), "-S", sym.as_str()];
    let script = script(&folder, "gdb", &args);
    for (image, file, section) in [
        ("kslab", "kslab.ko", ".text"),
        ("kslab", "kslab.ko", ".text.unlikely"),
        ("kslab", "kslab.ko", ".exit.text"),
        ("kslab_late", "kslab-late.ko", ".init.text"),
    ] {
        let sections: Vec<_> = placed(&args, image).into_iter().filter(|(name, ..)| name == section).collect();
        let probes = calls(&format!("{sym}/{file}"), &sections);
        let (ours, theirs) = (lookup(&probes, &args), ask_gdb(&gdb, &folder, &script, &probes));
        let equal = |((_, offset, line), (said, place)): (&Named, &(String, String))| {
            said_by_gdb(said).1 == *offset
                && said.contains(&format!("in section {section}"))
                && said_line(place).is_some()
                && said_line(place) == *line
        };
        let count = ours.iter().zip(&theirs).filter(|(ours, theirs)| equal((ours, theirs))).count();
        assert!(count > 0 && count * 10 >= probes.len() * 8, "{section}: {count} of {}\n{ours:?}\n{theirs:?}", probes.len());
    }
}

/// After `.init` memory is freed nothing of it is placed; of a module without a file, a packed one and a text file only a comment is left.
#[test]
fn what_gdb_cannot_use_is_a_comment() {
    let folder = Folder::new("gdb-without");
    modules(&folder);
    let (map, list) = (folder.path("map"), folder.path("map/modules"));
    let packed = "kslab=symbols/linux/kslab.ko.xz";
    let output = common::run(&["script", "gdb", "-l", &map, "-l", &list, "-m", packed]);
    let text = common::stdout(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(!text.contains("\nadd-symbol-file"), "{text}");
    assert!(text.contains("run `xz -dk ") && text.contains("# 2 missing"), "{text}");
    let unpacked = format!("kslab={}", folder.path("sym/kslab.ko"));
    let text = common::stdout(&common::run(&["script", "gdb", "-l", &map, "-l", &list, "-m", &unpacked]));
    assert!(text.contains("\n# kslab: .init.text .init.data not placed") && !text.contains("-s .init"), "{text}");
}

/// `image lookup -v -a` for each address: symbol, its start, and file and line of the line entry.
fn ask_lldb(tool: &str, script: &str) -> Vec<Named> {
    let output = run(tool, &["--no-lldbinit", "-b", "-s", script]);
    let text = common::stdout(&output);
    assert!(!text.contains("error:") && !common::stderr(&output).contains("error:"), "{text}{}", common::stderr(&output));
    let between = |text: &str, from: &str, to: &str| Some(text.split_once(from)?.1.split_once(to)?.0.to_string());
    let one = |answer: &str| {
        let symbol = answer.rsplit_once("Symbol: id =").unwrap_or_default().1;
        let start = between(symbol, "range = [", "-").and_then(|start| kstack::model::addr::parse_hex(&start)).unwrap_or_default();
        let name = between(symbol, "mangled=\"", "\"").or(between(symbol, "name=\"", "\"")).unwrap_or_default();
        let line = between(answer, "LineEntry: [", "\n").and_then(|entry| {
            let mut parts = entry.split_once("): ")?.1.split(':');
            Some((parts.next()?.to_string(), parts.next()?.trim().parse().ok()?))
        });
        (name.trim_start_matches('_').to_string(), start, line)
    };
    text.split("(lldb) image lookup").skip(1).map(one).collect()
}

/// Every frame of a stack, as lldb and as kstack see it.
fn lldb_agrees(name: &str, script_args: &[&str], lookup_args: &[&str]) {
    let Some(lldb) = common::peer(&["lldb-14", "lldb"]) else { return };
    let folder = Folder::new(name);
    let path = folder.path("load.lldb");
    let output = common::run(&[&["script", "lldb", "-o", &path], script_args].concat());
    let text = fs::read_to_string(&path).unwrap_or_else(|_| panic!("{}", common::stderr(&output)));
    let asked = text.lines().filter_map(|line| kstack::model::addr::parse_hex(line.strip_prefix("image lookup -v -a ")?));
    let addresses: Vec<u64> = asked.collect();
    assert!(addresses.len() > 5, "{text}");
    let (ours, theirs) = (lookup(&addresses, lookup_args), ask_lldb(&lldb, &path));
    assert_eq!(ours.len(), theirs.len());
    for ((address, (symbol, offset, line)), (name, start, place)) in addresses.iter().zip(&ours).zip(&theirs) {
        assert_eq!((symbol.trim_start_matches('_'), address - offset), (name.as_str(), *start), "{address:#x}");
        let same = line
            .as_ref()
            .zip(place.as_ref())
            .is_some_and(|(ours, theirs)| ours.1 == theirs.1 && (theirs.0.ends_with(&ours.0) || ours.0.ends_with(&theirs.0)));
        assert!(same, "{address:#x} {symbol}: kstack {line:?}, lldb {place:?}");
    }
}

#[test]
fn lldb_resolves_a_stack_of_x86_64_as_kstack_does() {
    let files = ["-k", "symbols/darwin/legacy/mach_kernel", "-m", "symbols/darwin/legacy/spl.kext", "-m", "symbols/darwin/legacy/zfs.kext"];
    let files = [&files[..], &["-l", "load-maps/kextstat-10.6.txt"]].concat();
    lldb_agrees("lldb-x86", &[&["truth/darwin/stackshot-10.7-raw.txt", "--stack", "0"], &files[..]].concat(), &files);
}

/// Segments that lie apart; the addresses are a return address each.
#[test]
fn lldb_resolves_a_stack_of_arm64_as_kstack_does() {
    let folder = Folder::new("lldb-arm-input");
    let exec = [
        0xffff_fe00_187d_7aa8_u64,
        0xffff_fe00_187d_7a90,
        0xffff_fe00_187d_7ac0,
        0xffff_fe00_187d_7b00,
        0xffff_fe00_127d_31b8,
        0xffff_fe00_127d_3200,
    ];
    let stack: String = exec.iter().map(|address| format!("{address:#x}\n")).collect();
    let report = folder.write("stack.txt", stack);
    let files = [
        "-k",
        "symbols/darwin/arm64e/kernel.release.t6000@__TEXT_EXEC=0xfffffe00127d0000",
        "-m",
        "symbols/darwin/arm64e/spl.kext",
        "-m",
        "symbols/darwin/arm64e/zfs.kext",
        "-l",
        "load-maps/lldb-showallkexts-14-arm64.txt",
    ];
    lldb_agrees("lldb-arm", &[&[report.as_str(), "--stack", "0"], &files[..]].concat(), &files);
}

#[test]
fn addkext_is_refused_where_segments_lie_apart() {
    let x86 = common::run(&["script", "lldb", "--xnu", "-m", "symbols/darwin/legacy/zfs.kext@0xffffff7f80ef6000"]);
    let root = common::fixtures().join("symbols/darwin/legacy/zfs.kext/Contents/MacOS/zfs");
    assert!(common::stdout(&x86).ends_with(&format!("\naddkext -F {} 0xffffff7f80ef6000\n", root.display())), "{}", common::stdout(&x86));
    let arm = common::run(&["script", "lldb", "--xnu", "-m", "symbols/darwin/arm64e/zfs.kext@0xfffffe0011400000"]);
    assert!(!common::stdout(&arm).contains("\naddkext"), "{}", common::stdout(&arm));
    assert!(common::stderr(&arm).contains("lie apart") && arm.status.code() == Some(1), "{}", common::stderr(&arm));
}

#[test]
fn apple_gdb_gets_bundles_and_dsyms() {
    let output = common::run(&["script", "gdb", "--apple", "-m", "symbols/darwin/legacy/zfs.kext@0xffffff7f80ef6000"]);
    let text = common::stdout(&output);
    let root = common::fixtures().join("symbols/darwin/legacy").display().to_string();
    assert!(text.contains(&format!("\nadd-kext {root}/zfs.kext\nadd-dsym {root}/zfs.kext.dSYM\n")), "{text}");
    let sym = common::stdout(&common::run(&["script", "gdb", "--apple", "-m", "symbols/darwin/sym/net.example.zfs.sym"]));
    assert!(sym.contains("\nset kext-symbol-file-path ") && sym.contains("/net.example.zfs.sym\n"), "{sym}");
}

/// What a module could be called to get a command run: `NAME` shows up in a path and as the module's name.
const HOSTILE: &str = "a b\"c'd\\e$f;g|h`i%j#k!touch pwned";

#[test]
fn no_name_injects_a_command() {
    let folder = Folder::new("hostile");
    let module = kstack::input::open(&common::fixtures().join("symbols/linux/kslab.ko.xz")).unwrap().data;
    let elf = folder.write(&format!("{HOSTILE}.ko"), &module[..]);
    let kext = fs::read(common::fixtures().join("symbols/darwin/legacy/stripped/zfs.kext/Contents/MacOS/zfs")).unwrap();
    let macho = folder.write(&format!("{HOSTILE}.macho"), kext);
    let linux = format!("{elf}@0xffffffffc0100000");
    let darwin = format!("{macho}@0xffffff7f80ef6000");
    if let Some(gdb) = common::peer(&["gdb"]) {
        let path = script(&folder, "gdb", &["-m", &linux]);
        let output = Command::new(gdb)
            .args(["-nx", "-batch", "-x", &path, "-ex", "info symbol 0xffffffffc0100010"])
            .current_dir(&folder.0)
            .output()
            .unwrap();
        assert_eq!(common::stderr(&output), "");
        assert!(common::stdout(&output).contains(" in section .text"), "{}", common::stdout(&output));
    }
    if let Some(lldb) = common::peer(&["lldb-14", "lldb"]) {
        let path = script(&folder, "lldb", &["-m", &darwin]);
        let output = Command::new(lldb)
            .args(["--no-lldbinit", "-b", "-s", &path, "-o", "image lookup -a 0xffffff7f80ef7010"])
            .current_dir(&folder.0)
            .output()
            .unwrap();
        assert!(common::stdout(&output).contains("loaded at 0xffffff7f80ef6000"), "{}{}", common::stdout(&output), common::stderr(&output));
        assert!(!common::stderr(&output).contains("error:"), "{}", common::stderr(&output));
    }
    assert!(!folder.0.join("pwned").exists());
}

#[test]
fn a_line_feed_in_a_path_is_refused() {
    let folder = Folder::new("feed");
    let module = kstack::input::open(&common::fixtures().join("symbols/linux/kslab.ko.xz")).unwrap().data;
    let path = folder.write("a\nshell touch pwned\n.ko", &module[..]);
    for debugger in kstack::script::DEBUGGERS.iter().map(|debugger| debugger.name()).filter(|name| *name != "kextutil") {
        let output = common::run(&["script", debugger, "-m", &format!("{path}@0xffffffffc0100000")]);
        assert_eq!(output.status.code(), Some(1), "{debugger}");
        assert!(!common::stdout(&output).contains("\nshell"), "{}", common::stdout(&output));
    }
}

/// The list in a drgn file, as Python reads it: the path is the one that was given, whatever is in it.
#[test]
fn python_reads_the_drgn_file() {
    let Some(python) = common::peer(&["python3"]) else { return };
    let folder = Folder::new("drgn");
    let module = kstack::input::open(&common::fixtures().join("symbols/linux/kslab.ko.xz")).unwrap().data;
    let elf = folder.write(&format!("{HOSTILE}.ko"), &module[..]);
    let path = script(&folder, "drgn", &["-m", &format!("{elf}@0xffffffffc0100000")]);
    assert!(run(&python, &["-m", "py_compile", &path]).status.success());
    let read = "import ast, sys\nfor node in ast.parse(open(sys.argv[1]).read()).body:\n  if isinstance(node, ast.Assign) and node.targets[0].id == 'MODULES':\n    print(ast.literal_eval(node.value)[0][2])";
    assert_eq!(common::stdout(&run(&python, &["-c", read, &path])).trim_end(), elf);
}

/// With drgn at hand, an empty program that runs the file knows every call of the modules as kstack does.
#[test]
fn drgn_resolves_every_section_as_kstack_does() {
    let Some(python) = common::peer(&["python3"]) else { return };
    if !run(&python, &["-c", "import drgn"]).status.success() {
        // No package of Debian 12 is new enough for the module API.
        assert!(std::env::var("CI").as_deref() != Ok("true"), "python3 has no drgn, and CI needs it: .ci/run installs it");
        return eprintln!("skipped: python3 has no drgn");
    }
    let folder = Folder::new("drgn-real");
    modules(&folder);
    let (map, list, sym) = (folder.path("map"), folder.path("map/modules"), folder.path("sym"));
    let args = ["-l", map.as_str(), "-l", list.as_str(), "-S", sym.as_str()];
    let path = script(&folder, "drgn", &args);
    let mut probes = Vec::new();
    for (image, file) in [("kslab", "kslab.ko"), ("kslab_late", "kslab-late.ko"), ("unit", "unit.ko")] {
        probes.extend(calls(&format!("{sym}/{file}"), &placed(&args, image)));
    }
    let ask = "import drgn, runpy, sys\nprog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))\n\
        runpy.run_path(sys.argv[1], init_globals={'prog': prog})\n\
        for a in sys.argv[2:]:\n  a = int(a); s = prog.symbol(a); f = prog.source_location(a)[0]\n  print(a - s.address, f.filename, f.line, sep='|')";
    let words: Vec<String> = probes.iter().map(u64::to_string).collect();
    let output = run(&python, &[&["-c", ask, &path], &words.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat());
    let text = common::stdout(&output);
    let theirs: Vec<&str> = text.lines().collect();
    assert_eq!(theirs.len(), probes.len(), "{}", common::stderr(&output));
    for ((address, (symbol, offset, line)), said) in probes.iter().zip(lookup(&probes, &args)).zip(theirs) {
        let (file, number) = line.unwrap_or_default();
        assert!(
            said.starts_with(&format!("{offset}|")) && said.ends_with(&format!("|{number}")),
            "{address:#x}: kstack {symbol}+{offset} {file}:{number}, drgn {said}"
        );
    }
}

#[test]
fn crash_gets_plain_words_only() {
    let folder = Folder::new("crash");
    let module = kstack::input::open(&common::fixtures().join("symbols/linux/kslab.ko.xz")).unwrap().data;
    let plain = folder.write("kslab.ko", &module[..]);
    let text = common::stdout(&common::run(&["script", "crash", "-m", &format!("{plain}@0xffffffffc0100000")]));
    assert!(text.ends_with(&format!("\nmod -s kslab {plain}\n")), "{text}");
    let elf = folder.write(&format!("{HOSTILE}.ko"), &module[..]);
    let output = common::run(&["script", "crash", "-m", &format!("{elf}@0xffffffffc0100000")]);
    assert!(
        output.status.code() == Some(1) && common::stdout(&output).lines().all(|line| line.starts_with('#')),
        "{}",
        common::stdout(&output)
    );
}

#[test]
fn kextutil_says_that_it_can_make_nothing() {
    let linux = common::run(&["script", "kextutil", "-l", "load-maps/kslab-hang-modules"]);
    assert_eq!(linux.status.code(), Some(1), "{}", common::stdout(&linux));
    assert!(common::stdout(&linux).contains("there are none here") && common::stderr(&linux).contains("there are none here"));
    assert!(!common::stdout(&linux).contains("--slide") && !common::stdout(&linux).contains("\nkextutil"), "{}", common::stdout(&linux));
    let arm64 = common::run(&["script", "kextutil", "-l", "load-maps/kmutil-14-arm64-unslid.txt", "-S", "symbols/darwin/arm64e"]);
    assert_eq!(arm64.status.code(), Some(1), "{}", common::stdout(&arm64));
    assert!(common::stderr(&arm64).contains("segments apart"), "{}", common::stderr(&arm64));
}

/// A shell runs the script with a program of that name that prints its words.
#[test]
#[cfg(unix)]
fn kextutil_gets_each_bundle_as_one_word() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("kextutil");
    let kext = fs::read(common::fixtures().join("symbols/darwin/legacy/stripped/zfs.kext/Contents/MacOS/zfs")).unwrap();
    let inner = folder.write(&format!("{HOSTILE}.kext/Contents/MacOS/zfs"), kext);
    let program = folder.write("bin/kextutil", "#!/bin/sh\nprintf '<%s>' \"$@\"\n");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = script(&folder, "kextutil", &["-m", &format!("net.example.zfs={inner}@0xffffff7f80ef6000")]);
    let output = Command::new("/bin/sh").args([&path, "out"]).env("PATH", folder.path("bin")).current_dir(&folder.0).output().unwrap();
    let wanted = format!("<-n><-s><out><-a><net.example.zfs@0xffffff7f80ef6000><{}/{HOSTILE}.kext>", folder.0.display());
    assert_eq!(common::stdout(&output), wanted, "{}", common::stderr(&output));
}

/// What a user types next: every frame of the stack looked up, and breakpoints in functions, settings as they were before.
#[test]
fn gdb_looks_up_a_stack_and_stops_in_functions() {
    let Some(gdb) = common::peer(&["gdb"]) else { return };
    let folder = Folder::new("gdb-stack");
    modules(&folder);
    let (map, list, sym) = (folder.path("map"), folder.path("map/modules"), folder.path("sym"));
    let args = ["-l", map.as_str(), "-l", list.as_str(), "-S", sym.as_str()];
    let probes = calls(&folder.path("sym/kslab.ko"), &placed(&args, "kslab"));
    let stack: String = probes[..8].iter().map(|probe| format!("{:#x}\n", probe + 1)).collect();
    let report = folder.write("stack.txt", stack);
    let path = script(&folder, "gdb", &[&[report.as_str(), "--stack", "0", "--breakpoints", "kslab_stop,take_both"], &args[..]].concat());
    let output = run(
        &gdb,
        &[
            "-nx",
            "-batch",
            "-ex",
            "set confirm on",
            "-ex",
            "set pagination on",
            "-x",
            &path,
            "-ex",
            "show confirm",
            "-ex",
            "show pagination",
        ],
    );
    let text = common::stdout(&output);
    assert!(text.matches("\nLine ").count() >= 7 && text.contains("\nBreakpoint 1 at ") && text.contains("\nBreakpoint 2 at "), "{text}");
    assert_eq!(text.matches(" is on.").count(), 2, "{text}");
    assert_eq!(common::stderr(&output), "");
}

/// A name of a load map in a comment: gdb goes on in the next line behind a backslash.
#[test]
fn a_name_in_a_comment_stays_there() {
    let folder = Folder::new("comment");
    let list = folder.write("modules", "evil\\ 28672 0 - Live 0xffffffffc0100000\nzfs 28672 0 - Live 0xffffffffc0200000\n");
    for debugger in kstack::script::DEBUGGERS.iter().map(|debugger| debugger.name()) {
        let text = common::stdout(&common::run(&["script", debugger, "-l", &list]));
        assert!(!text.lines().any(|line| line.ends_with('\\')), "{text}");
    }
}

/// Addresses hidden by kptr_restrict.
#[test]
fn without_addresses_it_says_what_to_run() {
    let folder = Folder::new("restrict");
    let list = folder.write("modules", "zfs 28672 0 - Live 0x0000000000000000\nspl 28672 0 - Live 0x0000000000000000\n");
    let output = common::run(&["script", "gdb", "-l", &list]);
    assert!(
        common::stdout(&output).contains("# no image has an address") && output.status.code() == Some(1),
        "{}",
        common::stdout(&output)
    );
    assert!(common::stderr(&output).contains("kptr_restrict"), "{}", common::stderr(&output));
}

/// A linked kernel that was moved, named on gdb's command line too; per-CPU data at 0 stays there.
#[test]
#[cfg(target_arch = "x86_64")]
fn gdb_moves_the_kernel() {
    let (Some(gdb), Some(cc)) = (common::peer(&["gdb"]), common::peer(&["gcc", "cc"])) else { return };
    let folder = Folder::new("gdb-kernel");
    let source = "int per_cpu __attribute__((section(\".data..percpu\"))) = 1;\nint value = 2;\n\
        __attribute__((section(\".init.text\"), noinline)) int start(int a) {\n  return a + value;\n}\n\
        int _start(int a) {\n  value = start(a);\n  return value + 1;\n}\n";
    let (source, kernel) = (folder.write("kernel.c", source), folder.path("vmlinux"));
    let layout = "SECTIONS { .data..percpu 0 : { *(.data..percpu) } .text 0xffffffff81000000 : { *(.text) } \
        .init.text 0xffffffff81200000 : { *(.init.text) } .data 0xffffffff81400000 : { *(.data) } }";
    let layout = folder.write("kernel.lds", layout);
    let flags = "-g -O1 -static -nostdlib -mcmodel=kernel -fno-pic -no-pie -Wl,--build-id=none -T";
    let built = run(&cc, &[&flags.split_whitespace().collect::<Vec<_>>()[..], &[&layout, "-o", &kernel, &source]].concat());
    assert!(built.status.success(), "{}", common::stderr(&built));
    let args = ["-k", kernel.as_str(), "--slide", "0x9800000"];
    let report = folder.write("stack.txt", "0xffffffff8a800003\n0xffffffff8aa00002\n");
    let path = script(&folder, "gdb", &[&[report.as_str(), "--stack", "0"], &args[..]].concat());
    let output = run(
        &gdb,
        &["-nx", "-batch", &kernel, "-x", &path, "-ex", "info symbol 0xffffffff81000003", "-ex", "print &per_cpu", "-ex", "print &value"],
    );
    let (text, errors) = (common::stdout(&output), common::stderr(&output));
    assert_eq!(errors, "");
    assert!(text.contains("_start + 3 in section .text") && text.contains("start + 2 in section .init.text"), "{text}");
    assert!(text.contains("No symbol matches 0xffffffff81000003"), "{text}");
    assert!(text.contains("(int *) 0x0 <per_cpu>") && text.contains("(int *) 0xffffffff8ac00000 <value>"), "{text}");
}
