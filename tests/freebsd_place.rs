//! FreeBSD's frames print address, function and offset, and no module: what they prove about where modules lie, and what contradicts.

mod common;

use serde_json::Value;

const FILES: [&str; 4] = ["-k", "symbols/bsd/kernel", "-m", "symbols/bsd/kslab.ko"];
const MAP: [&str; 2] = ["-l", "load-maps/kldstat-14.txt"];

/// The report with `change` made in it, resolved: the module's image, and of each frame the source file, else why there is none.
fn resolved(change: (&str, &str), more: &[&str]) -> (Value, Vec<String>) {
    let text = std::fs::read_to_string(common::fixtures().join("freebsd/numbered/input.txt")).unwrap();
    let changed = text.replace(change.0, change.1);
    assert_eq!(changed == text, change == SAME, "the change is one");
    let args = [&["symbolicate", "-q", "--format", "json"], &FILES[..], more].concat();
    let report = common::json(&common::run_with(&args, changed.as_bytes()))["reports"][0].clone();
    let image = report["images"].as_array().unwrap().iter().find(|image| image["name"] == "kslab").unwrap().clone();
    let said = |frame: &Value| frame["locations"][0]["file"].as_str().or(frame["reason"].as_str()).unwrap_or_default().to_string();
    (image, report["stacks"][0]["frames"].as_array().unwrap().iter().map(said).collect())
}

const SAME: (&str, &str) = ("", "");
/// The first frame in the module, moved against the second.
const MOVED: (&str, &str) = ("0xffffffff82632029 at", "0xffffffff8263202f at");
const PLACES: [&str; 4] = ["./kernel.c", "./kslab.c", "./kslab.c", "./kernel.c"];

#[test]
fn frames_place_a_module_without_a_load_map() {
    let (image, places) = resolved(SAME, &[]);
    assert_eq!((&image["load_address"], &image["placed_by"]), (&"0xffffffff82631000".into(), &"symbols whose address is printed".into()));
    assert_eq!(places, PLACES);
    // Where kldstat has it.
    let (listed, places) = resolved(SAME, &MAP);
    assert_eq!((&listed["load_address"], places), (&image["load_address"], PLACES.map(str::to_string).to_vec()));
    assert_eq!((&listed["pairs_agree"], &listed["pairs"]), (&2.into(), &2.into()));
}

#[test]
fn one_frame_proves_nothing() {
    let (image, places) = resolved((" at kslab_wait+0x9", " at other_wait+0x9"), &[]);
    assert_eq!((&image["load_address"], places[2].starts_with("at addresses that no image covers")), (&Value::Null, true));
}

#[test]
fn frames_that_disagree_are_not_resolved() {
    let (image, places) = resolved(MOVED, &[]);
    assert_eq!((&image["load_address"], places[1].starts_with("at addresses that no image covers")), (&Value::Null, true));
    let (image, places) = resolved(MOVED, &MAP);
    assert_eq!((&image["status"], &image["pairs_agree"], &image["pairs"]), (&"mismatched".into(), &1.into(), &2.into()));
    assert_eq!(&places[1..3], ["the symbol file is another build and was not used"; 2]);
    // The whole module elsewhere than kldstat says.
    let (image, _) = resolved(("0xffffffff826320", "0xffffffff826330"), &MAP);
    assert_eq!((&image["status"], &image["pairs_agree"]), (&"mismatched".into(), &0.into()));
}
