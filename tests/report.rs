//! `kstack report`: the page holds everything, loads nothing, keeps data inert, and works in a browser.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{peer, run, run_with, stderr, stdout};
use serde_json::Value;

const HUNG: &str = "linux-log/hung-task/input.txt";

fn page(input: &[u8]) -> String {
    let output = run_with(&["report"], input);
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
}

/// The page's data block.
fn data(page: &str) -> Value {
    let block = page.split("id=\"data\">").nth(1).unwrap().split("</script>").next().unwrap();
    assert!(!block.contains('<'), "nothing in the data can end it");
    serde_json::from_str(block).unwrap()
}

/// The stack of a task, on a Linux log.
fn task(name: &str, pid: usize, function: &str) -> String {
    format!(
        "[    1.000000] task:{name} state:D stack:0     pid:{pid}   ppid:2      flags:0x00004000\n[    1.000000] Call Trace:\n\
         [    1.000000]  schedule+0x5a/0xd0\n[    1.000000]  {function}+0x10/0x20 [zfs]\n[    1.000000]  kthread+0xda/0x100\n"
    )
}

const HOSTILE: [&str; 5] =
    ["</script><script>window.owned=1</script>", "<img src=x onerror=window.owned=1>", "\u{1b}]0;owned\u{7}", "\u{202e}evil", "<!--"];

fn hostile() -> String {
    let tasks = HOSTILE.iter().enumerate().map(|(n, name)| task(name, n + 1, &format!("zio_wait_{n}")));
    // The text between stacks is shown as well.
    tasks.chain(["[    2.000000] </script><img src=y onerror=window.owned=1> \u{202e}\n".to_string()]).collect()
}

#[test]
fn the_page_loads_nothing() {
    let page = stdout(&run(&["report", HUNG]));
    for foreign in ["http://", "https://", "src=", "@import", "url(", "<link", "eval(", "new Function", "innerHTML", "document.write"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(page.contains("content=\"default-src 'none'; style-src 'sha256-"));
    // One script that runs; data, text, lines and notes do not.
    assert_eq!((page.matches("<script>").count(), page.matches("<script type=\"application/").count()), (1, 4));
}

#[test]
fn groups_frames_images_and_places_are_in_it() {
    let args = fs::read_to_string(common::fixtures().join("darwin-stackshot-text/inlines-and-cpp/args")).unwrap();
    let input = ["report", "darwin-stackshot-text/inlines-and-cpp/input.txt"];
    let data = data(&stdout(&run(&input.into_iter().chain(args.lines()).collect::<Vec<_>>())));
    assert_eq!((data["threads"].as_u64(), data["blocked"].as_u64(), data["all_groups"].as_u64()), (Some(3), Some(3), Some(3)));
    let frames = data["frames"].as_array().unwrap();
    let zio_done = frames.iter().find(|frame| frame["function"] == "zio_done").unwrap();
    assert_eq!(zio_done["inlined"], serde_json::json!(["zio_wait_for_children", "zio_notify_chain"]));
    assert_eq!(zio_done["below"][2], "at zio.c:7:46 in zio_done");
    assert!(data["reports"][0]["images"].as_array().unwrap().iter().any(|image| image["name"] == "net.example.zfs"));
}

/// The packed text of the first report.
fn text(page: &str) -> String {
    use std::io::Read;
    let block = page.split("id=\"text-0\">").nth(1).unwrap().split("</script>").next().unwrap();
    let value = |c: u8| b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".iter().position(|own| *own == c);
    let digits: Vec<u32> = block.bytes().filter_map(value).map(|digit| digit as u32).collect();
    let bytes = digits.chunks(4).flat_map(|four| {
        let word = four.iter().fold(0, |word, digit| word << 6 | digit) << (6 * (4 - four.len()));
        word.to_be_bytes()[1..four.len()].to_vec()
    });
    let mut text = String::new();
    flate2::read::GzDecoder::new(&bytes.collect::<Vec<u8>>()[..]).read_to_string(&mut text).unwrap();
    text
}

/// JSON is not for people: the page has the stacks as text, and its links lead to lines of that.
#[test]
fn reports_in_json_are_listed() {
    let page = stdout(&run(&["report", "darwin-stackshot-json/deadlock/input.ips"]));
    let (text, data) = (text(&page), data(&page));
    let lines: Vec<&str> = text.lines().collect();
    assert!(!text.contains('{') && data["reports"][0]["own_text"] == false, "{text}");
    let (mut members, mut frames) = (0, 0);
    for group in data["groups"].as_array().unwrap() {
        for member in group["members"].as_array().unwrap() {
            let heading = lines[member[1].as_u64().unwrap() as usize - 1];
            assert!(heading.contains(member[2].as_str().unwrap()), "{member} but {heading}");
            members += 1;
        }
        for frame in group["frames"].as_array().unwrap() {
            let line = lines[frame[1].as_u64().unwrap() as usize - 1];
            let told = &data["frames"][frame[0].as_u64().unwrap() as usize];
            // A null return address ends a stack and has no line of its own.
            assert!(told["text"] == "0x0" || line.contains(told["text"].as_str().unwrap()), "{told} but {line}");
            frames += 1;
        }
    }
    assert!(members > 1 && frames > 5, "{members} {frames}");
}

#[test]
fn hostile_names_stay_data() {
    let page = page(hostile().as_bytes());
    assert!(!page.contains(['\u{1b}', '\u{202e}', '\u{7}']) && !page.contains("<img") && !page.contains("<!--"));
    assert_eq!(page.matches("<script").count(), 5);
    let data = data(&page);
    assert_eq!(data["all_groups"], 5);
    let names: Vec<&str> =
        data["groups"].as_array().unwrap().iter().map(|group| group["processes"]["list"][0][0].as_str().unwrap()).collect();
    assert!(names.iter().any(|name| name.starts_with("</script><script>")), "{names:?}");
    assert!(names.contains(&"\\u{202e}evil") && names.contains(&"\\x1b]0;owned\\x07"), "{names:?}");
    let table = page.split("<noscript>").nth(1).unwrap().split("</noscript>").next().unwrap();
    assert!(table.contains("&lt;img src=x onerror=window.owned=1&gt;"), "{table}");
}

#[test]
fn large_groups_are_cut_and_counted() {
    let log: String = (1..=3000).map(|pid| task("worker", pid, "zio_wait")).collect();
    let page = page(log.as_bytes());
    let group = &data(&page)["groups"][0];
    assert_eq!((group["count"].as_u64(), group["all_members"].as_u64()), (Some(3000), Some(3000)));
    assert_eq!(group["members"].as_array().unwrap().len(), 500);
    assert!(page.len() < 150_000, "{}", page.len());
}

#[test]
fn a_page_without_stacks_says_so() {
    for input in ["load-maps/kextstat-10.6.txt", "symbols/linux/build.sh"] {
        let output = run(&["report", input]);
        let data = data(&stdout(&output));
        assert_eq!((data["threads"].as_u64(), data["groups"].as_array().unwrap().len()), (Some(0), 0), "{input}: {}", stderr(&output));
    }
    let none = data(&stdout(&run(&["report", HUNG, "--task", "nobody"])));
    assert!(none["groups"].as_array().unwrap().is_empty() && none["warnings"][0].as_str().unwrap().contains("no stack is left"));
}

#[test]
fn reports_of_several_systems_share_a_page() {
    let page = stdout(&run(&["report", HUNG, "darwin-stackshot-text/stripped/input.txt", "linux-proc-stack/loop/input.txt"]));
    let data = data(&page);
    let systems: Vec<&str> = data["reports"].as_array().unwrap().iter().map(|report| report["os"].as_str().unwrap()).collect();
    assert_eq!(systems, ["linux", "darwin", "linux"]);
    assert_eq!(page.matches("<script type=\"application/gzip\"").count(), 9);
}

/// A folder of its own for one test.
fn scratch(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("kstack-report-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// The document that the browser makes of a page, and what it says on its console.
fn browse(browser: &str, dir: &Path, page: &str) -> (String, String) {
    let path = dir.join("page.html");
    fs::write(&path, page).unwrap();
    let profile = format!("--user-data-dir={}", dir.join("profile").display());
    let fixed = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--window-size=1200,900"];
    let output = Command::new(browser)
        .args(fixed)
        .args([&profile, "--virtual-time-budget=15000", "--dump-dom", &format!("file://{}", path.display())])
        .output()
        .unwrap();
    let console: Vec<String> = stderr(&output).lines().filter(|line| line.contains("CONSOLE")).map(str::to_string).collect();
    (stdout(&output), console.join("\n"))
}

/// The page with a test in it that its own policy would not let run.
fn with_selftest(page: &str) -> String {
    let from = page.find("script-src '").unwrap();
    let to = from + page[from..].find(';').unwrap();
    let open = format!("{}script-src 'unsafe-inline'{}", &page[..from], &page[to..]);
    open.replace("</body>", &format!("<script>{}</script></body>", include_str!("report/selftest.js")))
}

fn selftest(browser: &str, dir: &Path, page: &str) -> Value {
    let (document, console) = browse(browser, dir, &with_selftest(page));
    assert_eq!(console, "", "nothing on the console");
    let written = document.split("<pre id=\"selftest\">").nth(1).unwrap_or_else(|| panic!("no result in {} bytes", document.len()));
    let bytes = unpacked(written.split('<').next().unwrap());
    let seen: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(seen["error"], Value::Null);
    seen
}

/// Base64, read.
fn unpacked(text: &str) -> Vec<u8> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.bytes().filter(|c| *c != b'=').map(digit).collect();
    let four = |four: &[u8]| {
        let value = four.iter().enumerate().fold(0u32, |value, (n, digit)| value | u32::from(*digit) << (18 - 6 * n));
        value.to_be_bytes()[1..four.len()].to_vec()
    };
    digits.chunks(4).flat_map(four).collect()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn the_policy_lets_the_page_run() {
    let Some(browser) = peer(&["chromium", "chromium-browser", "google-chrome"]) else { return };
    let dir = scratch("policy");
    let (document, console) = browse(&browser, &dir, &stdout(&run(&["report", HUNG])));
    assert_eq!(console, "");
    assert_eq!(document.matches("<article class=\"group blocked\"").count(), 2);
    fs::remove_dir_all(dir).unwrap();
}

/// Verdicts and titles stand above everything else, with links to the lines that show them.
#[test]
fn what_is_known_to_be_wrong_comes_first() {
    let Some(browser) = peer(&["chromium", "chromium-browser", "google-chrome"]) else { return };
    let dir = scratch("verdicts");
    let evidence = r#"[{"source":"<stdin>","line":4,"text":"\u003cb>zio_wait"}]"#;
    let source = format!("\"source\":{}", data(&page(task("dd", 1, "zio_wait").as_bytes()))["reports"][0]["source"]);
    let verdict = format!(r#""verdicts":[{{"verdict":"I/O does not come back","why":"because","evidence":{evidence}}}]"#);
    let verdict = verdict.replace(r#""source":"<stdin>""#, &source);
    let page = page(task("dd", 1, "zio_wait").as_bytes());
    let start = page.find("\"verdicts\":[").unwrap();
    let end = start + page[start..].find("],\"reports\":").unwrap() + 1;
    let (document, console) = browse(&browser, &dir, &format!("{}{verdict}{}", &page[..start], &page[end..]));
    assert_eq!(console, "");
    let shown =
        r##"<h2>I/O does not come back</h2><p>because</p><ul><li><a href="#L4">line 4</a> <code>&lt;b&gt;zio_wait</code></li></ul>"##;
    assert!(document.contains(shown), "{}", document.split("id=\"triage\"").nth(1).unwrap_or_default().get(..600).unwrap_or_default());
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_reader_searches_sorts_opens_and_follows() {
    let Some(browser) = peer(&["chromium", "chromium-browser", "google-chrome"]) else { return };
    let dir = scratch("reader");
    let log = task("txg_sync", 1, "zio_wait") + &task("dd", 2, "dmu_tx_wait") + &task("dd", 3, "dmu_tx_wait");
    let seen = selftest(&browser, &dir, &page(log.as_bytes()));
    assert_eq!(texts(&seen["all"]), ["dmu_tx_wait [zfs]", "zio_wait [zfs]"]);
    assert_eq!(seen["counts"], serde_json::json!([2, 1]));
    assert_eq!(seen["slash"], "search");
    assert_eq!(texts(&seen["found"]), ["zio_wait [zfs]"]);
    assert_eq!(seen["said"], "1 of 2 groups, 1 thread");
    assert!(texts(&seen["flame"]).contains(&"zio_wait [zfs] – 1 thread, 100.0 %"), "{seen:#}");
    assert_eq!(texts(&seen["without"]), ["dmu_tx_wait [zfs]"]);
    assert_eq!(seen["none"], serde_json::json!([0, "Nothing matches."]));
    assert_eq!(seen["cleared"], 2);
    assert_eq!(texts(&seen["sorted"]), ["dmu_tx_wait [zfs]", "zio_wait [zfs]"]);
    assert_eq!((&seen["second"], &seen["first"]), (&"g2".into(), &"g1".into()));
    assert_eq!(seen["line"], "3");
    assert!(seen["toGroup"].as_u64() > Some(5) && seen["find"] == "schedule" && seen["printed"] == 2, "{seen:#}");
    assert_eq!((&seen["injected"], seen["loads"].as_array().map(Vec::len)), (&0.into(), Some(0)));
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn hostile_names_are_inert_in_a_browser() {
    let Some(browser) = peer(&["chromium", "chromium-browser", "google-chrome"]) else { return };
    let dir = scratch("hostile");
    let seen = selftest(&browser, &dir, &(page(hostile().as_bytes())));
    assert_eq!((&seen["injected"], seen["all"].as_array().unwrap().len()), (&0.into(), 5));
    assert!(!seen.to_string().contains(['\u{202e}', '\u{1b}']));
    fs::remove_dir_all(dir).unwrap();
}

/// As many as `group` counts: a stack of a profile is many samples, and what stands beside the stacks is none.
#[test]
fn stacks_are_counted_as_everywhere() {
    for (input, stacks) in [("bcc/waking/input.txt", 56_578), ("darwin-panic/keepsyms/input.txt", 1)] {
        let text = std::fs::read(common::fixtures().join(input)).unwrap();
        let data = data(&page(&text));
        assert_eq!(data["reports"][0]["stacks"].as_u64(), Some(stacks), "{input}");
    }
}
