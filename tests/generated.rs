//! The committed man pages and completions are what the binary generates. `KSTACK_BLESS=1` writes them anew.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

const SHELLS: [(&str, &str); 5] =
    [("bash", "kstack.bash"), ("zsh", "_kstack"), ("fish", "kstack.fish"), ("powershell", "_kstack.ps1"), ("elvish", "kstack.elv")];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

fn same(path: &Path, generated: &[u8]) {
    if std::env::var_os("KSTACK_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, generated).unwrap();
    }
    let committed = fs::read(path).unwrap_or_default();
    assert!(committed == generated, "{} is not what kstack generates; KSTACK_BLESS=1 cargo test --test generated", path.display());
}

#[test]
fn completions() {
    for (shell, file) in SHELLS {
        same(&root().join("completions").join(file), &common::run(&["completions", shell]).stdout);
    }
}

#[test]
fn man_pages() {
    let dir = std::env::temp_dir().join(format!("kstack-man-{}", std::process::id()));
    let output = common::run(&["man", dir.to_str().unwrap()]);
    assert!(output.status.success(), "{}", common::stderr(&output));
    let names = |dir: &Path| {
        let mut names: Vec<_> = fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    for name in names(&dir) {
        same(&root().join("man").join(&name), &fs::read(dir.join(&name)).unwrap());
    }
    assert_eq!(names(&dir), names(&root().join("man")), "no page of a command that is gone");
    fs::remove_dir_all(&dir).unwrap();
}
