//! Debug info fetched by build id: from a real `debuginfod` server on loopback, from the client's cache, and from servers that are slow,
//! lie, or end in the middle.

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{fixtures, json, kstack, peer, stderr, stdout};

/// Of `symbols/linux/unit.ko`.
const BUILD_ID: &str = "a0f88c6b36e2731e46159a5fc41890343d621bcf";

/// A folder of its own for a test, empty.
fn scratch(test: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("kstack-debuginfod-{test}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A report with a frame in the module, whose build id the kernel printed.
fn report(folder: &Path) -> String {
    let path = folder.join("oops.txt");
    let line = |text: &str| format!("[    1.000000] {text}\n");
    let frame = format!(" second_entry+0x9/0x11 [unit {BUILD_ID}]");
    let text: String = ["CPU: 0 PID: 7 Comm: cat Not tainted 6.1.0 #1", "Call Trace:", " <TASK>", &frame, " </TASK>"].map(line).concat();
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// Runs kstack on the report with that cache and server.
fn sym(folder: &Path, url: &str, options: &[&str]) -> Output {
    let report = report(folder);
    let mut command = kstack(&[&["sym", &report, "--format", "json"], options].concat());
    command.env("DEBUGINFOD_CACHE_PATH", folder.join("cache")).env("DEBUGINFOD_URLS", url).env("DEBUGINFOD_TIMEOUT", "5");
    command.output().unwrap()
}

fn place(output: &Output) -> Option<String> {
    let value = json(output);
    let frame = &value["reports"][0]["stacks"][0]["frames"][0];
    assert!(frame["trust"] == "verified" || frame["locations"].as_array().unwrap().is_empty(), "{frame}");
    let location = &frame["locations"][0];
    Some(format!("{}:{}", location["file"].as_str()?, location["line"]))
}

const RIGHT: &str = "/unit/src/second.c:22";

/// A user who asks for debug info learns why no server was asked.
#[test]
fn without_build_ids_there_is_nothing_to_ask_for() {
    let args = ["sym", "--format", "json", "linux-proc-stack/grep/input.txt"];
    let said = |more: &[&str]| stderr(&kstack(&[&args[..], more].concat()).env("DEBUGINFOD_URLS", "http://127.0.0.1:9").output().unwrap());
    for wished in ["--debuginfod", "--debuginfod=auto"] {
        assert!(said(&[wished]).contains("no build id to ask a server for"), "{wished}: {}", said(&[wished]));
    }
    assert!(!said(&[]).contains("build id to ask"), "{}", said(&[]));
}

#[test]
fn what_the_client_has_in_its_cache_is_used_without_asking() {
    let folder = scratch("cache");
    let entry = folder.join("cache").join(BUILD_ID);
    std::fs::create_dir_all(&entry).unwrap();
    std::fs::copy(fixtures().join("symbols/linux/unit.ko"), entry.join("debuginfo")).unwrap();
    assert_eq!(place(&sym(&folder, "", &[])).as_deref(), Some(RIGHT));
    // An empty file says that no server had it; another build in its place is refused.
    std::fs::write(entry.join("debuginfo"), b"").unwrap();
    assert_eq!(place(&sym(&folder, "", &[])), None);
    std::fs::copy(fixtures().join("symbols/linux/unit-arm.ko"), entry.join("debuginfo")).unwrap();
    let lied = sym(&folder, "", &[]);
    assert_eq!((place(&lied), lied.status.code()), (None, Some(1)));
    assert!(stderr(&lied).contains(&format!("was to be of build id {BUILD_ID}")), "{}", stderr(&lied));
}

#[test]
fn scripts_load_what_the_client_has() {
    let folder = scratch("script");
    let entry = folder.join("cache").join(BUILD_ID);
    std::fs::create_dir_all(&entry).unwrap();
    std::fs::copy(fixtures().join("symbols/linux/unit.ko"), entry.join("debuginfo")).unwrap();
    let (report, map) = (report(&folder), folder.join("modules"));
    std::fs::write(&map, "unit 16384 0 - Live 0xffffffffc0000000 (O)\n").unwrap();
    let script = |cache: &Path| {
        let mut command = kstack(&["script", "gdb", &report, "-l", &map.display().to_string()]);
        stdout(&command.env("DEBUGINFOD_CACHE_PATH", cache).output().unwrap())
    };
    let file = entry.join("debuginfo").display().to_string();
    assert!(!script(&folder.join("none")).contains(&file));
    let text = script(&folder.join("cache"));
    assert!(text.contains(&file) && text.contains("verified: UUID or build id"), "{text}");
}

#[test]
fn without_servers_asking_always_is_an_error_that_names_the_variable() {
    let folder = scratch("no-servers");
    let output = sym(&folder, "", &["--debuginfod"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("DEBUGINFOD_URLS names no server"), "{}", stderr(&output));
    assert_eq!(sym(&folder, "", &["--debuginfod=auto"]).status.code(), Some(0));
}

/// A server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A real server of the files in `folder`, with its address.
fn serve(folder: &Path) -> (Server, String) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new("debuginfod");
    command.args(["-d", ":memory:", "-p", &port.to_string(), "-F"]).arg(folder).env_remove("DEBUGINFOD_URLS");
    let server = Server(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let start = Instant::now();
    while !has_build(port) {
        assert!(start.elapsed() < Duration::from_secs(60), "the server never knew the build");
        std::thread::sleep(Duration::from_millis(100));
    }
    (server, format!("http://127.0.0.1:{port}"))
}

fn has_build(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let _ = write!(stream, "GET /buildid/{BUILD_ID}/debuginfo HTTP/1.0\r\n\r\n");
    let mut head = [0; 15];
    stream.read_exact(&mut head).is_ok() && head.ends_with(b"200 OK")
}

#[test]
fn a_real_server_gives_what_is_missing_and_only_when_asked() {
    if peer(&["debuginfod"]).is_none() || peer(&["debuginfod-find"]).is_none() {
        return;
    }
    let folder = scratch("server");
    std::fs::create_dir(folder.join("files")).unwrap();
    std::fs::copy(fixtures().join("symbols/linux/unit.ko"), folder.join("files/unit.ko")).unwrap();
    let (_server, url) = serve(&folder.join("files"));
    assert_eq!(place(&sym(&folder, &url, &[])), None, "nobody is asked without leave");
    assert_eq!(place(&sym(&folder, &url, &["--debuginfod"])).as_deref(), Some(RIGHT));
    assert!(folder.join("cache").join(BUILD_ID).join("debuginfo").is_file(), "kept for the next time");
    assert_eq!(place(&sym(&folder, &url, &["--debuginfod=auto"])).as_deref(), Some(RIGHT));
}

#[test]
fn a_stripped_module_is_completed() {
    if peer(&["debuginfod"]).is_none() || peer(&["strip"]).is_none() {
        return;
    }
    let folder = scratch("stripped");
    let stripped = folder.join("unit.ko");
    std::fs::copy(fixtures().join("symbols/linux/unit.ko"), &stripped).unwrap();
    assert!(Command::new("strip").arg("-g").arg(&stripped).status().unwrap().success());
    std::fs::create_dir(folder.join("files")).unwrap();
    std::fs::copy(fixtures().join("symbols/linux/unit.ko"), folder.join("files/unit.ko")).unwrap();
    let (_server, url) = serve(&folder.join("files"));
    let given = stripped.display().to_string();
    assert_eq!(place(&sym(&folder, &url, &["-m", &given])), None);
    assert_eq!(place(&sym(&folder, &url, &["-m", &given, "--debuginfod"])).as_deref(), Some(RIGHT));
    let cache = folder.join("cache").display().to_string();
    let lookup = kstack(&["lookup", "second_entry+0x9", "-r", "-m", &given]).env("DEBUGINFOD_CACHE_PATH", cache).output().unwrap();
    assert!(stdout(&lookup).contains("src/second.c:22"), "{}", stdout(&lookup));
}

/// Answers every request with `answer`, and then nothing more.
fn liar(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(&answer);
            if answer.is_empty() {
                open.push(stream);
            }
        }
    });
    url
}

#[test]
fn servers_that_lie_stall_or_break_off_are_said_and_nothing_of_theirs_is_used() {
    if peer(&["debuginfod-find"]).is_none() {
        return;
    }
    let file = std::fs::read(fixtures().join("symbols/linux/unit-arm.ko")).unwrap();
    let head = |size: usize| {
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n")
    };
    let folder = scratch("lie");
    let lied = sym(&folder, &liar([head(file.len()).as_bytes(), &file].concat()), &["--debuginfod"]);
    assert_eq!((place(&lied), lied.status.code()), (None, Some(1)));
    assert!(stderr(&lied).contains("was to be of build id"), "{}", stderr(&lied));
    let folder = scratch("break");
    let broken = sym(&folder, &liar([head(file.len()).as_bytes(), &file[..file.len() / 2]].concat()), &["--debuginfod"]);
    assert_eq!(place(&broken), None);
    assert!(stderr(&broken).contains("debuginfod has no debug info of build id"), "{}", stderr(&broken));
    let folder = scratch("stall");
    let start = Instant::now();
    let stalled = sym(&folder, &liar(Vec::new()), &["--debuginfod", "--debuginfod-timeout", "1"]);
    assert_eq!(place(&stalled), None);
    assert!(stderr(&stalled).contains("in 1 seconds"), "{}", stderr(&stalled));
    assert!(start.elapsed() < Duration::from_secs(20), "the limit holds");
}
