//! Every folder `fixtures/FORMAT/CASE` is one test: `kstack symbolicate` with the arguments in `args` on `input.*` gives
//! `expected.txt` (with what it says on standard error below) and `expected.json`. A folder with `command` is another test: the words
//! in it, which name their input, give `expected.txt`, with the exit status below when it is not 0. `KSTACK_BLESS=1` writes what is expected anew.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let mut trials = Vec::new();
    for format in folders(&common::fixtures()) {
        for case in folders(&format).into_iter().filter(|case| case.join("args").is_file()) {
            let name = case.strip_prefix(common::fixtures()).unwrap().display().to_string();
            trials.push(Trial::test(name, move || check(&case)));
        }
        for case in folders(&format).into_iter().filter(|case| case.join("command").is_file()) {
            let name = case.strip_prefix(common::fixtures()).unwrap().display().to_string();
            trials.push(Trial::test(name, move || check_command(&case)));
        }
    }
    assert!(trials.len() > 5, "the fixtures are there");
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn folders(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

fn check(case: &Path) -> Result<(), Failed> {
    let relative = case.strip_prefix(common::fixtures())?;
    let input = fs::read_dir(case)?.flatten().map(|entry| entry.file_name()).find(|name| name.to_string_lossy().starts_with("input"));
    let input = relative.join(input.ok_or("no input")?).display().to_string();
    let text = fs::read_to_string(case.join("args"))?;
    let mut args: Vec<&str> = vec!["symbolicate", &input];
    args.extend(text.lines().filter(|line| !line.is_empty()));
    let output = common::run(&args);
    let status = output.status.code();
    let mut seen = output.stdout.clone();
    seen.extend(format!("\n---- standard error, exit status {} ----\n", status.ok_or("killed")?).bytes());
    seen.extend(&output.stderr);
    compare(&case.join("expected.txt"), &seen)?;
    args.extend(["--format", "json"]);
    let as_json = common::run(&args);
    // What it says besides is the same, but for the heading, which is a field of the document.
    let said = |output: &Output| -> Vec<String> {
        common::stderr(output).lines().filter(|line| line.contains("error: ") || line.contains("warning: ")).map(str::to_string).collect()
    };
    if (as_json.status.code(), said(&as_json)) != (status, said(&output)) {
        return Err(format!("as JSON it ends with {:?} and says {}", as_json.status, common::stderr(&as_json)).into());
    }
    let value: serde_json::Value = serde_json::from_slice(&as_json.stdout)?;
    compare(&case.join("expected.json"), format!("{value:#}\n").as_bytes())?;
    again(&args, &output.stdout)
}

fn check_command(case: &Path) -> Result<(), Failed> {
    let text = fs::read_to_string(case.join("command"))?;
    let output = common::run(&text.split_whitespace().collect::<Vec<_>>());
    let status = match output.status.code().ok_or("killed")? {
        0 => String::new(),
        status => format!("---- exit status {status} ----\n"),
    };
    compare(&case.join("expected.txt"), &[output.stdout, output.stderr, status.into_bytes()].concat())
}

/// kstack's own output, read again with the same symbols, comes out as it is.
fn again(args: &[&str], text: &[u8]) -> Result<(), Failed> {
    let again: Vec<&str> = [&["symbolicate", "-q"], &args[2..args.len() - 2]].concat();
    let output = common::run_with(&again, text);
    if output.stdout != text {
        return Err(format!("read again it becomes:\n{}", common::stdout(&output)).into());
    }
    Ok(())
}

fn compare(path: &Path, seen: &[u8]) -> Result<(), Failed> {
    if std::env::var_os("KSTACK_BLESS").is_some() {
        fs::write(path, seen)?;
        return Ok(());
    }
    let expected = fs::read(path).map_err(|_| format!("{} is missing; KSTACK_BLESS=1 writes it", path.display()))?;
    if expected == seen {
        return Ok(());
    }
    let (expected, seen) = (String::from_utf8_lossy(&expected), String::from_utf8_lossy(seen));
    let differing = expected.lines().zip(seen.lines()).enumerate().find(|(_, (a, b))| a != b);
    Err(format!("{}: differs at {differing:?}\n--- seen\n{seen}", path.display()).into())
}
