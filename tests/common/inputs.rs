//! The inputs of all fixtures with their formats.

use std::fs;
use std::path::Path;

/// A fixture's input.
pub struct Input {
    /// Path below the fixtures.
    pub name: String,
    /// Id of its format.
    pub format: String,
    /// Its text, unpacked.
    pub bytes: Vec<u8>,
}

/// Folders of cases that are about something else than a format; their inputs are of formats that have folders of their own.
const NO_FORMATS: [&str; 10] = ["blocks", "captures", "flame", "group", "load-maps", "script", "source", "symbols", "truth", "report"];

/// How a load map's name begins, and its format. Archives of `/sys/module` are no text of one format.
const LOAD_MAPS: [(&str, &str); 11] = [
    ("gdb-showallkmods", "darwin-gdb-showallkmods"),
    ("kextstat", "darwin-kextstat"),
    ("kmutil", "darwin-kextstat"),
    ("lldb-showallkexts", "darwin-lldb-showallkexts"),
    ("kslab-hang-modules", "linux-proc-modules"),
    ("illumos-modinfo", "illumos-modinfo"),
    ("kldstat", "freebsd-kldstat"),
    ("modstat", "netbsd-modstat"),
    ("crash-mod", "linux-crash-mod"),
    ("kallsyms", "linux-kallsyms"),
    ("kextutil-info", "darwin-kextutil-info"),
];

/// Every text fixture with the id of its format.
pub fn inputs() -> Vec<Input> {
    let mut found = Vec::new();
    let folder = |path: &Path| {
        let mut paths: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let read = |path: &Path| kstack::input::open(path).unwrap().data.to_vec();
    for format in folder(&super::fixtures()).into_iter().filter(|path| path.is_dir() && !NO_FORMATS.contains(&name(path).as_str())) {
        for case in folder(&format).into_iter().filter(|path| path.is_dir()) {
            for input in folder(&case).into_iter().filter(|path| name(path).starts_with("input")) {
                let path = format!("{}/{}/{}", name(&format), name(&case), name(&input));
                found.push(Input { name: path, format: name(&format), bytes: read(&input) });
            }
        }
    }
    for map in folder(&super::fixtures().join("load-maps")) {
        if let Some((_, format)) = LOAD_MAPS.iter().find(|(start, _)| name(&map).starts_with(start)) {
            found.push(Input { name: name(&map), format: format.to_string(), bytes: read(&map) });
        }
    }
    found
}
