//! Reference data and how its tables are read: the generated macOS reports, which the repository has packed, and other people's reports,
//! which lie beside it or where `KSTACK_SHARED` says.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;

/// A folder or file that is not part of the repository. Without it the test says so and is skipped.
pub fn shared(path: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let found = std::env::var_os("KSTACK_SHARED").map_or_else(beside, PathBuf::from).join(path);
    if !found.exists() {
        eprintln!("skipped: no {path} beside the repository; KSTACK_SHARED names the folder that has it");
        return None;
    }
    Some(found)
}

/// The folder of the generated macOS reports, each with its `.truth.tsv`: unpacked once for each test program.
pub fn inputs() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let packed = kstack::input::open(&super::fixtures().join("truth/darwin/inputs.tar.xz")).unwrap().data;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(concat!("generated-", env!("CARGO_CRATE_NAME")));
        let _ = fs::remove_dir_all(&folder);
        tar::Archive::new(&packed[..]).unpack(&folder).unwrap();
        folder.join("inputs")
    })
}

/// The symbols that belong to the generated reports: `build` as their tables have it, `a/modern`, or without its first part.
pub fn symbols(build: &str) -> PathBuf {
    super::fixtures().join("symbols/darwin").join(build.trim_start_matches("a/"))
}

/// A row of a table by the names of its columns.
pub type Row = BTreeMap<String, String>;

/// The rows of a table with a head line.
pub fn rows(path: &Path) -> Vec<Row> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    lines.map(|line| head.iter().map(|name| name.to_string()).zip(line.split('\t').map(str::to_string)).collect()).collect()
}

/// The number of a cell, with or without `0x`.
pub fn hex(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or_else(|_| panic!("{text} is no number"))
}

/// `inner@file:line < outer@file:line`, as the tables have it.
pub fn chain(frame: &Value) -> String {
    let one = |location: &Value| {
        let file = location["file"].as_str().unwrap_or_default();
        format!("{}@{}:{}", location["function"].as_str().unwrap_or("?"), file.rsplit('/').next().unwrap(), location["line"])
    };
    frame["locations"].as_array().unwrap().iter().map(one).collect::<Vec<_>>().join(" < ")
}

/// Every frame of a report in JSON.
pub fn frames(report: &Value) -> Vec<&Value> {
    report["stacks"].as_array().unwrap().iter().flat_map(|stack| stack["frames"].as_array().unwrap()).collect()
}

/// Every frame of a report in JSON by the line that it is printed on.
pub fn by_line(report: &Value) -> BTreeMap<u64, &Value> {
    frames(report).into_iter().map(|frame| (frame["line"].as_u64().unwrap(), frame)).collect()
}
