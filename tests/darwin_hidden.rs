//! Kexts without their local symbols and without a list of functions: every address of their code, against the same kext with all symbols.
//! What lies in a function without a symbol must not get the name of the one before it.

mod common;

use std::collections::BTreeMap;

use common::{fixtures, json, run_with};
use kstack::model::addr::Svma;
use kstack::symbols::Symbols;
use kstack::symbols::code::{CALL_BYTES, follows_call};

/// Name and start of the function at each address, where one is told as certain. `base` is where the kext's address 0 lies.
fn named(kext: &str, place: &str, addresses: &[u64], base: u64, flags: &[&str]) -> BTreeMap<u64, (String, u64)> {
    let module = format!("symbols/darwin/{kext}@{place}");
    let input: String = addresses.iter().map(|address| format!("{address:#x}\n")).collect();
    let value = json(&run_with(&[&["lookup", "--format", "json", "-m", &module], flags].concat(), input.as_bytes()));
    let results = value["results"].as_array().unwrap();
    assert_eq!(results.len(), addresses.len());
    let name = |(address, result): (&u64, &serde_json::Value)| {
        let frame = &result["frames"][0];
        let certain = frame["trust"] != "unresolved";
        let start = address - frame["offset"].as_u64().filter(|_| certain)?;
        Some((*address, (frame["symbol"].as_str()?.to_string(), start - base)))
    };
    addresses.iter().zip(results).filter_map(name).collect()
}

/// The largest code section, and the file.
fn code(kext: &str) -> (std::ops::Range<u64>, Box<dyn Symbols>) {
    let name = kext.rsplit(['/', '.']).nth(1).unwrap();
    let path = fixtures().join(format!("symbols/darwin/{kext}/Contents/MacOS/{name}"));
    let file = kstack::symbols::open(&path, &mut Vec::new()).unwrap().remove(0);
    (file.code_parts().into_iter().max_by_key(|part| part.end - part.start).unwrap(), file)
}

/// Looks up every `step`th address of a kext's code as an exact one, and those behind calls as return addresses.
#[track_caller]
fn no_wrong_names(kext: &str, base: u64, step: u64) {
    let (text, file) = code(kext);
    let place = match file.info().segment("__TEXT_EXEC") {
        Some(segment) => format!("__TEXT_EXEC={:#x}", base + segment.svma.0),
        None => format!("{base:#x}"),
    };
    let before = |at: &u64| file.code(Svma(at - CALL_BYTES as u64), Svma(*at)).and_then(|code| follows_call(file.info().arch, code));
    let exact: Vec<u64> = text.clone().step_by(step as usize).collect();
    let returns: Vec<u64> = exact.iter().copied().filter(|at| *at >= text.start + 8 && before(at) == Some(true)).collect();
    for (kind, addresses, flags) in [("exact", exact, &[][..]), ("return", returns, &["-r"])] {
        let addresses: Vec<u64> = addresses.into_iter().map(|at| base + at).collect();
        let truth = named(kext, &place, &addresses, base, flags);
        let (folder, name) = kext.rsplit_once('/').unwrap();
        let told = named(&format!("{folder}/stripped/{name}"), &place, &addresses, base, flags);
        let wrong: Vec<_> = told.iter().filter(|(address, found)| truth.get(address) != Some(found)).collect();
        println!("{kext} {kind}: {} of {} named, {} wrong", told.len(), truth.len(), wrong.len());
        assert!(wrong.is_empty(), "{kext} {kind}: {} wrong names, the first at {:x?}", wrong.len(), wrong[0]);
        assert!(truth.len() > 20 && truth.len() * 10 > addresses.len() * 9 && told.len() * 5 > truth.len(), "{} named", told.len());
    }
}

#[test]
fn x86_kexts_without_local_symbols_get_no_wrong_name() {
    for kext in ["legacy/spl.kext", "legacy/zfs.kext", "modern/spl.kext", "modern/zfs.kext"] {
        no_wrong_names(kext, 0xffff_ff7f_8000_0000, 1);
    }
}

#[test]
fn arm64_kexts_without_local_symbols_get_no_wrong_name() {
    for kext in ["arm64e/spl.kext", "arm64e/zfs.kext"] {
        no_wrong_names(kext, 0xffff_fe00_0000_0000, 4);
    }
}
