//! Detection is exact: every fixture's input is taken for the format whose folder it lies in, and for no other.

mod common;

use std::fs;

use common::inputs::{Input, inputs};
use kstack::model::stack::Role;
use kstack::parse::{self, Confidence, Format, Holds};

/// The formats of debuggers and of illumos.
const OWN: [&str; 7] = ["crash-bt", "drgn-bt", "gdb-bt", "lldb-bt", "sdb-stacks", "illumos-stacks", "illumos-modinfo"];

#[test]
fn every_fixture_is_detected_as_its_own_format() {
    let inputs = inputs();
    let mut wrong = Vec::new();
    for Input { name, format, bytes } in &inputs {
        assert!(parse::by_id(format).is_some(), "{name}: there is no format {format}");
        let found = parse::detect(bytes).map(|found| found.id());
        if found != Some(format.as_str()) {
            wrong.push(format!("{name}: {found:?}"));
        }
    }
    println!("{} of {} inputs detected as their own format", inputs.len() - wrong.len(), inputs.len());
    assert!(inputs.len() > 50, "the fixtures are there");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_format_of_debuggers_or_illumos_claims_the_input_of_another() {
    let own = |format: &&&dyn Format| OWN.contains(&format.id());
    let formats: Vec<&&dyn Format> = parse::FORMATS.iter().filter(own).collect();
    assert_eq!(formats.len(), OWN.len());
    for Input { name, format, bytes } in inputs() {
        for other in formats.iter().filter(|other| other.id() != format) {
            let pieces = bytes.chunks(parse::SNIFF_BYTES).take(64);
            let most = pieces.map(|piece| other.sniff(piece)).max().unwrap_or(Confidence::No);
            assert_eq!(most, Confidence::No, "{} claims {name}", other.id());
        }
    }
}

#[test]
fn load_maps_give_images_and_reports_give_stacks() {
    for Input { name, format, bytes } in inputs() {
        let found = parse::by_id(&format).unwrap();
        let capture = found.parse(&bytes);
        match found.holds() {
            Holds::LoadMap => assert!(!capture.images.is_empty() && capture.stacks.is_empty(), "{name}"),
            Holds::Stacks if format != "kstack-json" => {
                assert!(found.parts(&bytes).iter().any(|part| !part.capture.stacks.is_empty()), "{name}")
            }
            Holds::Stacks => {}
        }
    }
}

/// What was written with symbols is read again as the same stacks of the same frames, inlined ones apart.
#[test]
fn rewritten_reports_keep_their_stacks() {
    let shape = |capture: &kstack::model::capture::Capture| -> Vec<(u64, usize)> {
        let own = |stack: &kstack::model::stack::Stack| stack.frames.iter().filter(|frame| frame.role != Role::Inline).count();
        capture.stacks.iter().map(|stack| (stack.count, own(stack))).collect()
    };
    let mut seen = 0;
    for Input { name, format: id, bytes } in inputs().into_iter().filter(|input| OWN.contains(&input.format.as_str())) {
        let Some((folder, _)) = name.rsplit_once('/') else { continue };
        let written = fs::read_to_string(common::fixtures().join(folder).join("expected.txt")).unwrap();
        let written = written.split("\n---- standard error").next().unwrap();
        let format = parse::by_id(&id).unwrap();
        assert_eq!(parse::detect(written.as_bytes()).map(|found| found.id()), Some(format.id()), "{name}");
        assert_eq!(shape(&format.parse(&bytes)), shape(&format.parse(written.as_bytes())), "{name}");
        seen += 1;
    }
    assert!(seen > 8, "the golden cases are there");
}

/// Every format has a fuzz target of its own, which names it.
#[test]
fn every_format_has_a_fuzz_target() {
    let fuzz = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let targets = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for format in parse::FORMATS {
        let name = format.id().replace('-', "_");
        let body = fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(targets.contains(&format!("name = \"{name}\"")), "{name}");
        assert!(body.contains(&format!("\"{}\"", format.id())), "{name}: {body}");
    }
}
