//! Machine code in reports: `Code:` lines against symbol files, disassembly against GNU objdump, and bases from return addresses alone.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::shared::shared;
use kstack::model::addr::{Arch, Svma};
use kstack::parse;
use kstack::symbols::{self, disassemble};
use serde_json::Value;

const KSLAB: &str = "symbols/linux/kslab.ko.xz";

fn images(args: &[&str]) -> Vec<Value> {
    let output = common::run(&[&["modules", "--format", "json", "-q"], args].concat());
    common::json(&output)["reports"][0]["images"].as_array().unwrap().clone()
}

fn evidence(image: &Value, kind: &str) -> Option<(bool, String)> {
    let found = image["evidence"].as_array()?.iter().find(|one| one["kind"] == kind)?;
    Some((found["contradicts"].as_bool().unwrap(), found["text"].as_str().unwrap().to_string()))
}

#[test]
fn code_lines_of_other_peoples_logs_are_read_and_their_marked_instructions_decode() {
    let Some(folder) = shared("corpus/crash-logs/logs") else { return };
    let (mut lines, mut codes, mut decoded, mut odd) = (0, 0, 0, Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Ok(text) = std::fs::read(&path) else { continue };
        let Some(format) = parse::detect(&text).filter(|format| format.id() == "linux-log") else { continue };
        let capture = format.parse(&text);
        lines += text.split(|b| *b == b'\n').filter(|line| line.windows(7).any(|words| words == b"Code: <" || words == b"Code: 4")).count();
        for code in capture.stacks.iter().flat_map(|stack| &stack.code) {
            codes += 1;
            let arch = capture.arch.unwrap_or(if code.unit == 1 { Arch::X86_64 } else { Arch::Arm64 });
            // A line whose end was torn off has no mark; then there is nothing to decode at.
            let Some(marker) = code.marker.filter(|_| disassemble::knows(arch)) else { continue };
            let first = disassemble::disassemble(arch, &code.bytes[marker..], 0).into_iter().next().unwrap();
            decoded += usize::from(first.valid);
            if !first.valid {
                odd.push(format!("{}:{} {arch} {}", path.file_name().unwrap().display(), code.line, first.text));
            }
        }
    }
    println!(
        "{codes} Code: lines of kernel code, {decoded} marked instructions decode, {lines} lines begin with a mark or 4; not: {odd:?}"
    );
    assert!(codes >= 100, "{codes}");
    assert!(decoded * 100 >= codes * 95, "{decoded} of {codes}: {odd:?}");
}

#[test]
fn code_of_the_captures_agrees_with_the_module_that_ran_and_not_with_others() {
    let Some(captures) = shared("captures") else { return };
    let reports = [
        "panic-null/serial.txt.xz",
        "panic-bug/serial.txt.xz",
        "oops-many/serial.txt.xz",
        "oops-many-k6.12/serial.txt.xz",
        "oops-many-caller/serial.txt.xz",
    ];
    for report in reports {
        let path = captures.join(report);
        if !path.is_file() {
            continue;
        }
        let kind = ["-k6.12", "-caller"].into_iter().find(|kind| report.contains(kind)).unwrap_or("");
        for build in ["", "-k6.12", "-caller"] {
            let module = captures.join(format!("ko/kslab{build}/kslab.ko.xz"));
            let images = images(&[path.to_str().unwrap(), "-m", module.to_str().unwrap()]);
            let image = images.iter().find(|image| image["name"] == "kslab").unwrap();
            println!("{report} kslab{build}: {} {:?}", image["status"], evidence(image, "code"));
            if build == kind {
                let (contradicts, text) = evidence(image, "code").unwrap();
                assert!(!contradicts, "{report}: {text}");
                assert_ne!(image["status"], "mismatched");
            } else {
                assert_eq!(image["status"], "mismatched", "{report} with kslab{build}");
            }
        }
    }
}

#[test]
fn bases_are_found_from_return_addresses_alone() {
    let images = images(&["truth/linux/kslab-hang-stacks-addr.txt.xz", "-m", KSLAB]);
    let kslab = images.iter().find(|image| image["name"] == "kslab").unwrap();
    // What /proc/modules of that machine said.
    assert_eq!(kslab["load_address"], "0xffffffffc047a000");
    assert!(evidence(kslab, "calls").unwrap().1.contains("all 25 return addresses"), "{kslab}");
}

#[test]
fn a_module_that_did_not_run_there_is_put_nowhere() {
    let images = images(&["truth/linux/kslab-hang-stacks-addr.txt.xz", "-m", "symbols/linux/unit.ko"]);
    assert!(images.iter().all(|image| image["load_address"].is_null()), "{images:?}");
}

/// The code of every section of a file, as objdump sees it: section, and offset, bytes and mnemonic of each instruction.
fn objdump(tool: &str, path: &Path) -> Vec<(String, u64, usize, String)> {
    let output = Command::new(tool).args(["-d", "--wide", "-w"]).arg(path).output().expect("objdump starts");
    let mut section = String::new();
    let mut found = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some(name) = line.strip_prefix("Disassembly of section ") {
            section = name.trim_end_matches(':').to_string();
        }
        let mut cells = line.split('\t');
        let (Some(at), Some(bytes), Some(text)) = (cells.next(), cells.next(), cells.next()) else { continue };
        let Ok(at) = u64::from_str_radix(at.trim().trim_end_matches(':'), 16) else { continue };
        found.push((section.clone(), at, bytes.split_whitespace().count(), text.split_whitespace().next().unwrap_or_default().to_string()));
    }
    found
}

#[test]
fn instructions_are_those_of_objdump() {
    let Some(tool) = common::peer(&["objdump"]) else { return };
    let source = kstack::input::open(&common::fixtures().join(KSLAB)).unwrap();
    let dir = std::env::temp_dir().join(format!("kstack-code-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("kslab.ko");
    std::fs::write(&path, &source.data[..]).unwrap();
    let file = symbols::open(&path, &mut Vec::new()).unwrap().remove(0);
    let (mut all, mut same) = (0, 0);
    let mut other = std::collections::BTreeSet::new();
    let theirs = objdump(&tool, &path);
    for segment in file.info().segments.iter().filter(|segment| segment.executable) {
        let bytes = file.code(segment.svma, Svma(segment.svma.0 + segment.size)).unwrap();
        let own = disassemble::disassemble(Arch::X86_64, bytes, 0);
        let theirs: Vec<_> = theirs.iter().filter(|(section, ..)| *section == segment.name).collect();
        // Each section begins with an instruction, so that both go through it in step.
        let boundaries = |at: u64| own.iter().find(|one| one.at as u64 == at);
        for (section, at, len, mnemonic) in theirs {
            let one = boundaries(*at).unwrap_or_else(|| panic!("{section}+{at:#x}: no instruction begins there"));
            assert_eq!(one.len, *len, "{section}+{at:#x} {mnemonic} {}", one.text);
            all += 1;
            let plain = |text: &str| text.trim_end_matches(['q', 'l', 'w', 'b']).to_string();
            let mine = one.text.split_whitespace().next().unwrap_or_default();
            if plain(mine) == plain(mnemonic) {
                same += 1
            } else {
                let _ = other.insert((mine.to_string(), mnemonic.clone()));
            }
        }
    }
    std::fs::remove_dir_all(&dir).unwrap();
    println!("{all} instructions with equal boundaries, {same} with equal mnemonics; others: {other:?}");
    assert!(all > 1000 && same * 100 >= all * 97, "{same} of {all}: {other:?}");
}

/// A function that is long enough, in three builds.
const SOURCE: &str = "int lab_sink(int);\nint lab_step(int *list, int count)\n{\n\tint sum = 0;\n\tfor (int i = 0; i < count; i++)\n\t\tsum += lab_sink(list[i] + VALUE) ^ (sum >> 3);\n\treturn sum * VALUE + lab_sink(sum);\n}\n";

/// Compiles [`SOURCE`] to `DIR/unit.ko`.
fn build(compiler: &str, dir: &Path, flags: &[&str]) -> PathBuf {
    std::fs::create_dir_all(dir).unwrap();
    let (source, object) = (dir.join("unit.c"), dir.join("unit.ko"));
    std::fs::write(&source, SOURCE).unwrap();
    let status = Command::new(compiler)
        .args(["-c", "-fno-pic", "-mcmodel=kernel", "-mno-red-zone"])
        .args(flags)
        .arg("-o")
        .arg(&object)
        .arg(&source)
        .status();
    assert!(status.unwrap().success());
    object
}

/// The bytes of `lab_step`, and its size.
fn function(path: &Path) -> (Vec<u8>, u64) {
    let file = symbols::open(path, &mut Vec::new()).unwrap().remove(0);
    let found = file.table().named("lab_step")[0];
    (file.code(found.start, Svma(found.start.0 + found.size)).unwrap().to_vec(), found.size)
}

#[test]
fn code_tells_builds_apart_that_nothing_else_does() {
    if cfg!(not(target_arch = "x86_64")) {
        return eprintln!("skipped: the compiler makes no x86_64 code");
    }
    let Some(compiler) = common::peer(&["gcc", "cc", "clang"]) else { return };
    let dir = std::env::temp_dir().join(format!("kstack-builds-{}", std::process::id()));
    let ran = build(&compiler, &dir.join("ran"), &["-O2", "-DVALUE=17"]);
    let constant = build(&compiler, &dir.join("constant"), &["-O2", "-DVALUE=18"]);
    let level = build(&compiler, &dir.join("level"), &["-O0", "-DVALUE=17"]);
    let (mut bytes, size) = function(&ran);
    // What the module loader writes into the first call is in no file.
    let call = bytes.iter().position(|byte| *byte == 0xe8).unwrap();
    bytes[call + 1..call + 5].copy_from_slice(&[0x12, 0x34, 0x56, 0xce]);
    let marker = call;
    let list: Vec<String> =
        bytes.iter().enumerate().map(|(at, byte)| if at == marker { format!("<{byte:02x}>") } else { format!("{byte:02x}") }).collect();
    // Another level of optimisation is told by the size alone, another constant by nothing but the code.
    for (other, by) in [(&level, "sizes"), (&constant, "code")] {
        let report = dir.join("oops.txt");
        let text = format!(
            "BUG: kernel NULL pointer dereference, address: 0\nCPU: 0 PID: 1 Comm: x Not tainted 6.6.0 #1\nRIP: 0010:lab_step+{marker:#x}/{size:#x} [unit]\nCode: {}\nCall Trace:\n a+0x1/0x2\n b+0x1/0x2\n",
            list.join(" ")
        );
        std::fs::write(&report, text).unwrap();
        let with = |module: &Path, extra: &[&str]| images(&[&[report.to_str().unwrap(), "-m", module.to_str().unwrap()], extra].concat());
        let own = with(&ran, &[]);
        let unit = own.iter().find(|image| image["name"] == "unit").unwrap();
        assert_eq!((&unit["status"], evidence(unit, "code").unwrap().0), (&Value::from("unverified"), false), "{unit}");
        assert!(evidence(unit, "code").unwrap().1.contains("relocated"), "{unit}");
        let wrong = with(other, &[]);
        let unit = wrong.iter().find(|image| image["name"] == "unit").unwrap();
        assert_eq!((&unit["status"], evidence(unit, by).unwrap().0), (&Value::from("mismatched"), true), "{unit}");
        let forced = with(other, &["--allow-mismatch"]);
        assert!(forced.iter().any(|image| image["name"] == "unit" && image["status"] == "mismatched"));
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

/// A `Code:` line of 32-bit Arm: numbers of `unit` bytes, the one at `marker` in parentheses.
fn arm_line(bytes: &[u8], unit: usize, marker: usize) -> String {
    let number = |chunk: &[u8]| chunk.iter().rev().map(|byte| format!("{byte:02x}")).collect::<String>();
    let word = |(n, chunk)| if n * unit == marker { format!("({})", number(chunk)) } else { number(chunk) };
    bytes.chunks(unit).enumerate().map(word).collect::<Vec<_>>().join(" ")
}

/// Words as Arm kernels print them, and halfwords as Thumb kernels do, are compared with the file's bytes: what the loader relocates may
/// differ, a single other constant is another build.
#[test]
fn code_of_32_bit_arm_is_compared_word_by_word_and_halfword_by_halfword() {
    let folder = common::folder::Folder::new("code-arm");
    let plain = std::fs::read(common::fixtures().join("symbols/linux/unit-arm.ko")).unwrap();
    let path = Path::new(&folder.write("arm/unit.ko", &plain)).to_path_buf();
    let file = symbols::open(&path, &mut Vec::new()).unwrap().remove(0);
    let found = file.table().named("first_entry")[0];
    let mut bytes = file.code(found.start, Svma(found.start.0 + 0x24)).unwrap().to_vec();
    // The loader wrote the distance of `bl`, its first byte that of the instruction's condition and kind.
    bytes[0x08..0x0b].copy_from_slice(&[0x12, 0x34, 0x56]);
    // The same function as Thumb code: its symbol is odd.
    let thumb = folder.write("thumb/unit.ko", with_odd_symbol(&plain, "first_entry"));
    for (unit, module) in [(4, path.display().to_string()), (2, thumb)] {
        let ask = |bytes: &[u8]| {
            let line = arm_line(bytes, unit, 0x10);
            let head = [
                "Unable to handle kernel NULL pointer dereference at virtual address 00000004",
                "Internal error: Oops: 5 [#1] SMP ARM",
                "Modules linked in: unit(O)",
                "CPU: 0 PID: 1 Comm: x Not tainted 6.1.0 #1",
                "Hardware name: Generic DT based system",
                "PC is at first_entry+0x10/0x68 [unit]",
                "pc : [<7f000048>]    lr : [<7f000024>]    psr: 60000013",
                "Backtrace: ",
                "[<7f000038>] (first_entry [unit]) from [<7f000024>] (tail_caller+0x8/0x1c [unit])",
                &format!("Code: {line} "),
            ];
            let text: String = head.iter().map(|line| format!("[    1.000000] {line}\n")).collect();
            let report = folder.write("oops.txt", text);
            let images = images(&[&report, "-m", &format!("unit={module}")]);
            let unit = images.iter().find(|image| image["name"] == "unit").unwrap().clone();
            let code = evidence(&unit, "code").unwrap_or_else(|| panic!("{unit}"));
            (unit["status"].as_str().unwrap().to_string(), code)
        };
        let (status, (contradicts, text)) = ask(&bytes);
        assert_eq!((status.as_str(), contradicts), ("unverified", false), "{unit}: {text}");
        assert!(text.starts_with("code bytes: 33 of 36 agree (3 relocated)"), "{text}");
        let mut other = bytes.clone();
        other[0x20] ^= 1;
        let (status, (contradicts, text)) = ask(&other);
        assert_eq!((status.as_str(), contradicts), ("mismatched", true), "{unit}: {text}");
    }
}

/// `file` with the value of one symbol made odd.
fn with_odd_symbol(file: &[u8], name: &str) -> Vec<u8> {
    use object::{Object, ObjectSection, ObjectSymbol};
    let parsed = object::File::parse(file).unwrap();
    let table = parsed.section_by_name(".symtab").unwrap().file_range().unwrap().0;
    let index = parsed.symbols().find(|symbol| symbol.name() == Ok(name)).unwrap().index().0;
    let mut bytes = file.to_vec();
    // `st_value` is the second of the words of a 32-bit entry.
    bytes[table as usize + index * 16 + 4] |= 1;
    bytes
}
