//! Stackshots in JSON (`.ips`, `.panic`) and kcdata: every row of the tables that lie beside generated ones, the frames of Apple's own
//! samples, and the forms in which such files turn up. Reference data lies in `../shared` or `KSTACK_SHARED`; where it does not, the tests
//! that need it say so. Scores are printed (`cargo test --test darwin_stackshots -- --nocapture`).

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::shared::{Row, chain, inputs, rows, shared, symbols};
use kstack::model::capture::Capture;
use kstack::parse::{self, Part};
use serde_json::Value;

/// The stackshot's report among those that the binary gives, its stacks by process and thread.
fn stacks(report: &Value) -> BTreeMap<(String, String), &Value> {
    let key = |stack: &Value| {
        let pid = stack["pid"].as_i64().map_or(String::new(), |pid| pid.to_string());
        (pid, stack["tid"].as_str().unwrap_or_default().to_string())
    };
    report["stacks"].as_array().unwrap().iter().map(|stack| (key(stack), stack)).collect()
}

/// Where each entry of `binaryImages` begins.
fn bases(path: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(path).unwrap();
    let body: Value = serde_json::from_str(text.split_once('\n').unwrap().1).unwrap();
    body["binaryImages"].as_array().unwrap().iter().map(|image| image[1].as_u64().unwrap()).collect()
}

/// Input, its table, and the build whose symbols it has.
const GENERATED: [(&str, &str, &str); 7] = [
    ("stacks-13-x86.ips", "stacks-13-x86.ips.truth.tsv", "modern"),
    ("stacks-14-arm64.ips", "stacks-14-arm64.ips.truth.tsv", "arm64e"),
    ("stacks-14-arm64-aux.ips", "stacks-14-arm64-aux.ips.truth.tsv", "arm64e"),
    ("panic-full-14-arm64.ips", "panic-full-14-arm64.ips.stackshot.truth.tsv", "arm64e"),
    ("panic-full-14-arm64-aux-pretty.panic", "panic-full-14-arm64-aux-pretty.panic.stackshot.truth.tsv", "arm64e"),
    ("stackshot-arm64.kcdata", "stackshot-arm64.kcdata.truth.tsv", "arm64e"),
    ("stackshot-x86.kcdata.gz", "stackshot-x86.kcdata.gz.truth.tsv", "modern"),
];

#[test]
fn every_row_of_the_generated_stackshots() {
    let mut failures = Vec::new();
    for (input, truth, build) in GENERATED {
        let (path, truth, build) = (inputs().join(input), inputs().join(truth), symbols(build));
        let args = ["symbolicate", "--no-demangle", "--format", "json", path.to_str().unwrap(), "-S", build.to_str().unwrap()];
        let report = common::json(&common::run(&args));
        let is_stackshot = |report: &&Value| report["format"] != "darwin-panic" && report["format"] != "unknown";
        let report = report["reports"].as_array().unwrap().iter().find(is_stackshot).unwrap();
        let (stacks, rows) = (stacks(report), rows(&truth));
        let bases = if input.contains("kcdata") { Vec::new() } else { bases(&path) };
        let (mut placed, mut named, mut wrong) = (0, 0, Vec::new());
        for row in &rows {
            let number = |name: &str| row[name].parse::<u64>().unwrap();
            let address = if let Some(address) = row.get("addr") {
                address.clone()
            } else {
                format!("{:#x}", bases[number("image_index") as usize] + number("offset"))
            };
            let stack = stacks.get(&(row["pid"].clone(), row["tid"].clone()));
            let frame = stack.map_or(&Value::Null, |stack| &stack["frames"][number("frame") as usize]);
            if frame["address"] != address || (frame["exact"] == true) != (row["kind"] == "leaf") {
                wrong.push(format!("{row:?} but got {frame}"));
                continue;
            }
            placed += 1;
            let offset = u64::from_str_radix(&row["symoff"][2..], 16).unwrap();
            let right = frame["symbol"] == row["symbol"] && frame["offset"] == offset && chain(frame) == row["chain"];
            named += usize::from(right);
            if !right && !frame["symbol"].is_null() {
                wrong.push(format!("{row:?} but got {frame}"));
            }
        }
        println!("{input:38} {placed} of {} at the right address, {named} named right, {} wrong", rows.len(), wrong.len());
        failures.extend(wrong.first().map(|first| format!("{input}: {} wrong, first {first}", wrong.len())));
        if named != rows.len() {
            failures.push(format!("{input}: {named} of {} named right", rows.len()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_frame_of_apples_samples() {
    let Some(truth) = shared("darwin/kcdata/truth.tsv") else { return };
    let mut files: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for row in rows(&truth) {
        files.entry(row["file"].clone()).or_default().push(row);
    }
    assert_eq!(files.len(), 11);
    for (file, rows) in files {
        let path = truth.with_file_name(format!("{file}.gz"));
        let report = common::json(&common::run(&["symbolicate", "--format", "json", path.to_str().unwrap()]));
        assert!(file.contains("delta") == report["warnings"].to_string().contains("delta") || file.contains("tailspin"), "{file}");
        let report = &report["reports"][0];
        assert_eq!(report["format"], "darwin-kcdata");
        let stacks = stacks(report);
        let mut right = 0;
        let (frames, images): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| !row["tid"].starts_with("image:"));
        for row in &frames {
            let stack = stacks.get(&(row["pid"].clone(), row["tid"].clone())).unwrap_or_else(|| panic!("{file}: {row:?}"));
            assert_eq!(stack["frames"][row["frame"].parse::<usize>().unwrap()]["address"], row["lr"], "{file}: {row:?}");
            assert_eq!(stack["process"].as_str().unwrap_or_default(), row["process"], "{file}: {row:?}");
            right += 1;
        }
        let count: usize = stacks.values().map(|stack| stack["frames"].as_array().unwrap().len()).sum();
        assert_eq!(count, frames.len(), "{file}: as many frames as the table has");
        for row in &images {
            assert!(claims(&path).contains(&(row["process"].clone(), row["lr"].clone())), "{file}: {row:?}");
        }
        println!("{file:42} {right} of {count} frames, {} threads, {} images", stacks.len(), images.len());
    }
}

/// UUID, as hex digits, and address of the images on the kernel's side that a packed kcdata names.
fn claims(path: &Path) -> Vec<(String, String)> {
    use std::io::Read;
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    let images = read_kcdata(&bytes).images.into_iter().filter(|image| !image.user);
    images
        .filter_map(|image| Some((image.id?.to_string().replace('-', "").to_lowercase(), image.load.or(image.exec)?.to_string())))
        .collect()
}

#[test]
fn a_real_panic_has_two_reports() {
    let Some(path) = shared("darwin/real/panic-26.6-arm64-watchdog-stackshot.ips") else { return };
    let parts = parts(&std::fs::read(path).unwrap());
    let [panic, stackshot] = &parts[..] else { panic!("{} parts", parts.len()) };
    assert!(panic.text.as_ref().unwrap().starts_with(b"panic(cpu 0 caller 0xfffffe004153cfdc): watchdog timeout"));
    if parse::by_id("darwin-panic").is_some() {
        assert_eq!(panic.capture.format, "darwin-panic");
        assert!(!panic.capture.stacks.is_empty());
    }
    let capture = &stackshot.capture;
    assert_eq!((capture.format, capture.os_build.as_deref()), ("darwin-stackshot-json", Some("25G83")));
    let kernel = capture.images.iter().find(|image| image.kernel).unwrap();
    assert_eq!(kernel.exec.unwrap().to_string(), "0xfffffe000b768000");
    let [java, launchd] = &capture.stacks[..] else { panic!("{:?}", capture.stacks) };
    assert_eq!((java.frames.len(), java.thread.as_deref()), (18, Some("Java: ForkJoinPool-1-worker-6")));
    assert_eq!((launchd.frames.len(), launchd.user_frames.len(), launchd.tid.as_deref()), (15, 1, Some("800866")));
    assert_eq!(launchd.wait_channel.as_deref(), Some("0xebec186d6aaf84d9"), "16999989551637169369 needs all 64 bits");
    let owner = launchd.annotations.as_ref().unwrap().waits_for.as_ref().unwrap().owner.as_ref().unwrap();
    assert_eq!((owner.process.as_str(), owner.pid, owner.tid.as_deref()), ("java", Some(57024), Some("798645")));
}

/// The parts of an input, read as what it is detected as.
fn parts(text: &[u8]) -> Vec<Part> {
    let format = parse::detect(text).expect("some format");
    assert_eq!(format.id(), "darwin-stackshot-json");
    format.parts(text)
}

fn stackshot(text: &str) -> Capture {
    parts(text.as_bytes()).pop().unwrap().capture
}

fn addresses(capture: &Capture) -> Vec<String> {
    let frames = capture.stacks.iter().flat_map(|stack| &stack.frames);
    frames.map(|frame| frame.address.map_or("none".to_string(), |address| address.to_string())).collect()
}

fn notes(capture: &Capture) -> String {
    capture.notes.iter().map(|note| note.text.as_str()).collect::<Vec<_>>().join("\n")
}

const UUID: &str = "da335ed2-3002-30ef-9272-4e9928ffe6d8";
#[test]
fn user_frames_are_kept_compact_or_indented() {
    let body = format!(
        r#"{{"binaryImages":[["{UUID}",4294967296,"P"]],"processByPid":{{"7":{{"threadById":{{"9":{{"userFrames":[[0,16],[0,32]]}},"10":{{"userFrames":[[0,1],[7,1]]}}}}}}}}}}"#
    );
    let value: Value = serde_json::from_str(&body).unwrap();
    for text in [body, format!("{value:#}")] {
        let path = std::env::temp_dir().join(format!("kstack-user-frames-{}.ips", std::process::id()));
        std::fs::write(&path, &text).unwrap();
        let report = common::json(&common::run(&["symbolicate", "--format", "json", path.to_str().unwrap()]));
        std::fs::remove_file(path).unwrap();
        let stacks = report["reports"][0]["stacks"].as_array().unwrap();
        let frames = |tid: &str| {
            let stack = stacks.iter().find(|stack| stack["tid"] == tid).unwrap();
            let address = |frame: &Value| frame["address"].as_str().unwrap_or("none").to_string();
            stack["user_frames"].as_array().unwrap().iter().map(address).collect::<Vec<_>>()
        };
        assert_eq!(
            (frames("9"), frames("10")),
            (vec!["0x100000010".into(), "0x100000020".into()], vec!["0x100000001".into(), "none".into()])
        );
    }
}

const THREAD: &str =
    r#""processByPid":{"7":{"procname":"p","threadById":{"9":{"state":["TH_RUN"],"kernelFrames":[[0,16],[1,32],[5,1]]}}}}"#;

#[test]
fn images_come_in_many_forms() {
    let forms = [
        format!(r#"[["{UUID}",18446741874803916800,"T"],["{UUID}",0,"A"]]"#),
        format!(r#"[["{}","18446741874803916800","T","kernel",1,[2]],["{UUID}","0x0","A"]]"#, UUID.to_uppercase()),
        format!(r#"[{{"uuid":"{}","base":"0xfffffe000702c000","source":"T"}},{{"type":"A","address":0}}]"#, UUID.replace('-', "")),
        format!(r#"[["{UUID}",18446741874803916800.0,"T"],["{UUID}",0.0,"A"]]"#),
        format!(r#"[["{UUID}",1.8446741874803917e19,"T"],["{UUID}",0e0,"A"]]"#),
        format!(r#"[["{UUID}",-2198905634816,"T"],[0,"A"]]"#),
    ];
    for images in forms {
        let capture = stackshot(&format!(r#"{{"bug_type":"288","binaryImages":{images},{THREAD}}}"#));
        assert_eq!(addresses(&capture), ["0xfffffe000702c010", "0x20", "none"], "{images}");
        let [kernel] = &capture.images[..] else { panic!("{images}: {:?}", capture.images) };
        assert_eq!(kernel.id.unwrap().to_string(), UUID.to_uppercase());
        assert_eq!(kernel.exec.unwrap().to_string(), "0xfffffe000702c000");
        assert!(
            notes(&capture).contains("1 frame has an image index that binaryImages does not reach, first in line 1"),
            "{}",
            notes(&capture)
        );
    }
}

#[test]
fn a_rounded_address_is_used_only_where_it_must_be_right() {
    let images = format!(r#"[["{UUID}",1.8446741874803917e19,"T"],["c2ff56d7-cde1-372f-984e-93a80d8c9f8a",1.8446741874803973e19,"T"]]"#);
    let capture = stackshot(&format!(r#"{{"binaryImages":{images},{THREAD}}}"#));
    assert_eq!(addresses(&capture), ["0xfffffe000702c010", "none", "none"]);
    assert!(notes(&capture).contains("image 1 of binaryImages has no exact address"), "{}", notes(&capture));
}

#[test]
fn order_and_surroundings_do_not_matter() {
    let body = format!(r#"{{"kernel":"Darwin Kernel Version 23","binaryImages":[["{UUID}",4096,"T"],["{UUID}",0,"A"]],{THREAD}}}"#);
    let turned = format!(r#"{{{THREAD},"binaryImages":[["{UUID}",4096,"T"],["{UUID}",0,"A"]],"kernel":"Darwin Kernel Version 23"}}"#);
    let value: Value = serde_json::from_str(&body).unwrap();
    let header = r#"{"bug_type":"288","os_version":"macOS 14.2 (23C71)"}"#;
    let texts = [
        body.clone(),
        turned.clone(),
        format!("{header}\n{body}\n"),
        format!("{header}\n{turned}"),
        format!("{header}\n{value:#}\n"),
        format!("Here it is {{really}}:\n\n```\n{header}\n{body}\n```\nany idea?\n"),
        format!("\u{feff}{header}\r\n{body}\r\n"),
    ];
    for text in texts {
        let capture = stackshot(&text);
        assert_eq!(addresses(&capture), ["0x1010", "0x20", "none"], "{text}");
        assert_eq!(capture.kernel_version.as_deref(), Some("Darwin Kernel Version 23"), "{text}");
        assert!(!text.contains("23C71") || capture.os_build.as_deref() == Some("23C71"));
        let stack = &capture.stacks[0];
        assert_eq!((stack.pid, stack.tid.as_deref(), stack.process.as_deref()), (Some(7), Some("9"), Some("p")));
        // The line on which the first frame's list begins.
        let line = 1 + text[..text.find("kernelFrames").unwrap()].matches('\n').count() as u32;
        assert_eq!(
            stack.frames[0].line,
            if text.contains("  \"kernelFrames") || text.contains("kernelFrames\": [\n") { line + 1 } else { line }
        );
    }
}

#[test]
fn a_cut_report_gives_what_stands_before_the_cut() {
    let whole = std::fs::read_to_string(common::fixtures().join("darwin-stackshot-json/deadlock/input.ips")).unwrap();
    let all = stackshot(&whole);
    let begin = whole.find("threadById").unwrap();
    for end in (begin + 20..whole.trim_end().len()).step_by(97) {
        let capture = stackshot(&whole[..end]);
        let complete = whole[..end].matches("\"kernelFrames\"").count();
        assert!(capture.stacks.len() >= complete && capture.stacks.len() <= complete + 1, "cut at {end}: {}", capture.stacks.len());
        for (cut, full) in capture.stacks.iter().zip(&all.stacks) {
            assert_eq!((cut.pid, &cut.tid), (full.pid, &full.tid), "cut at {end}");
            assert!(cut.frames.iter().map(|frame| frame.address).eq(full.frames.iter().take(cut.frames.len()).map(|frame| frame.address)));
        }
        assert!(notes(&capture).contains("the JSON is cut off or damaged at byte"), "cut at {end}: {}", notes(&capture));
    }
}

#[test]
fn a_panic_without_stackshot_is_one_report_of_its_own_text() {
    let report = "{\"bug_type\":\"210\"}\n{\"build\":\"macOS 14.2 (23C71)\",\"panicString\":\"panic(cpu 0 caller 0xfffffe0024af6ed4): x\\nDebugger message: panic\\n\"}\n";
    // The line alone, as posted, with line feeds made of its escapes; and cut off in the middle.
    for text in [report.to_string(), report.replace("\\n", "\n"), report[30..].to_string(), report[..report.len() - 6].to_string()] {
        let parts = parts(text.as_bytes());
        let [panic] = &parts[..] else { panic!("{text}: {} parts", parts.len()) };
        let decoded = String::from_utf8(panic.text.clone().unwrap()).unwrap();
        assert!(decoded.starts_with("panic(cpu 0 caller 0xfffffe0024af6ed4): x\nDebugger message: pan"), "{text}: {decoded}");
    }
    let program = "{\"app_name\":\"x\",\"bug_type\":\"309\"}\n{\"usedImages\":[]}\n";
    let capture = stackshot(program);
    assert!(capture.notes[0].failure && notes(&capture).contains("a report about a program"), "{:?}", capture.notes);
}

/// One item of kcdata.
fn item(kind: u32, flags: u64, data: &[u8]) -> Vec<u8> {
    let size = data.len().next_multiple_of(16);
    let mut bytes = [&kind.to_le_bytes()[..], &(size as u32).to_le_bytes(), &flags.to_le_bytes(), data].concat();
    bytes.resize(16 + size, 0);
    bytes
}

/// A stackshot of one task with two threads: one waits for a mutex of the other.
fn kcdata(magic: u32) -> Vec<u8> {
    let mut task = vec![0; 0x54];
    task.extend(352i32.to_le_bytes());
    task.extend(b"zpool\0");
    let thread = |id: u64, frames: &[u64]| {
        let mut snapshot = [id.to_le_bytes(), 0xffff_ff80_0000_1234u64.to_le_bytes()].concat();
        snapshot.resize(0x58, 0);
        snapshot.extend(9u32.to_le_bytes());
        let lr: Vec<u8> = frames.iter().flat_map(|frame| frame.to_le_bytes()).collect();
        [
            item(0x13, id, &0x904u32.to_le_bytes()),
            item(0x906, 0, &snapshot),
            item(0x20, 0x914 << 32 | frames.len() as u64, &lr),
            item(0x14, id, &[]),
        ]
        .concat()
    };
    let wait = [&12u64.to_le_bytes()[..], &11u64.to_le_bytes(), &0xabcdu64.to_le_bytes(), &[1]].concat();
    [
        item(magic, 0, &[]),
        item(0x13, 1, &0x903u32.to_le_bytes()),
        item(0x905, 0, &task),
        thread(11, &[0xffff_ff80_0020_2b94, 0xffff_ff80_0020_2c34]),
        thread(12, &[0xffff_ff80_0020_2b94]),
        item(0x27, 0x91d << 32 | 1, &wait),
        item(0x14, 1, &[]),
        item(0xf191_58ed, 0, &[]),
    ]
    .concat()
}

fn read_kcdata(bytes: &[u8]) -> Capture {
    let format = parse::detect(bytes).expect("some format");
    assert_eq!(format.id(), "darwin-kcdata");
    format.parse(bytes)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |chunk: &[u8]| {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..4).map(|n| if n <= chunk.len() { DIGITS[(bits >> (18 - 6 * n) & 63) as usize] as char } else { '=' }).collect::<String>()
    };
    let text: String = bytes.chunks(3).map(group).collect();
    text.as_bytes().chunks(76).map(|line| format!("{}\n", String::from_utf8_lossy(line))).collect()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&bytes[16..]).unwrap();
    let deflated = encoder.finish().unwrap();
    let number = |name: &str, value: usize| {
        let mut data = name.as_bytes().to_vec();
        data.resize(32, 0);
        data.extend((value as u64).to_le_bytes());
        item(3, 0x88, &data)
    };
    let head = [number("kcd_c_type", 1), number("kcd_c_totalin", bytes.len() - 16), number("kcd_c_totalout", deflated.len())].concat();
    [item(0x434f_4d50, 0, &[]), head, bytes[..16].to_vec(), deflated].concat()
}

#[test]
fn kcdata_is_read_from_all_its_wrappers() {
    let plain = kcdata(0x59a2_5807);
    let gzip = {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&plain).unwrap();
        encoder.finish().unwrap()
    };
    let wrapped = [
        plain.clone(),
        packed(&plain),
        base64(&plain).into_bytes(),
        base64(&gzip).into_bytes(),
        format!("Stackshot:\n{}\nend\n", base64(&packed(&plain))).into_bytes(),
        [&b"before"[..], &plain].concat(),
    ];
    for bytes in wrapped {
        let capture = read_kcdata(&bytes);
        let [one, two] = &capture.stacks[..] else { panic!("{capture:?}") };
        assert_eq!((one.pid, one.process.as_deref(), one.tid.as_deref()), (Some(352), Some("zpool"), Some("11")));
        assert_eq!((one.state.as_deref(), one.wait_channel.as_deref()), (Some("TH_WAIT|TH_UNINT"), Some("0xffffff8000001234")));
        assert_eq!((one.frames.len(), two.frames.len(), two.line), (2, 1, 2));
        let wait = one.annotations.as_ref().unwrap().waits_for.as_ref().unwrap();
        assert_eq!((wait.what.as_str(), wait.owner.as_ref().unwrap().tid.as_deref()), ("kernel mutex", Some("12")));
    }
    let delta = read_kcdata(&kcdata(0xde17_a59a));
    assert!(delta.stacks.len() == 2 && notes(&delta).contains("delta stackshot"), "{delta:?}");
}

#[test]
fn lengths_that_lie_are_said_with_their_place() {
    let mut bytes = kcdata(0x59a2_5807);
    let at = bytes.windows(4).rposition(|window| window == 0x904u32.to_le_bytes()).unwrap() - 16;
    bytes[at + 4..at + 8].copy_from_slice(&0xffff_fff0u32.to_le_bytes());
    let capture = read_kcdata(&bytes);
    assert_eq!((capture.stacks.len(), capture.stacks[0].process.as_deref()), (1, Some("zpool")));
    assert!(notes(&capture).contains(&format!("the item of type 0x13 at byte {at} claims 4294967280 bytes")), "{}", notes(&capture));
    let whole = kcdata(0x59a2_5807);
    for end in 16..whole.len() - 16 {
        let capture = read_kcdata(&whole[..end]);
        assert!(notes(&capture).contains("threads before it are used"), "{end}: {}", notes(&capture));
    }
    let mut lying = packed(&whole);
    let size = memchr::memmem::find(&lying, b"kcd_c_totalin").unwrap() + 32;
    lying[size] ^= 0x40;
    let capture = read_kcdata(&lying);
    assert!(notes(&capture).contains("should unpack to"), "{}", notes(&capture));
}
