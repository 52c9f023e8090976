//! Grouping alone: stacks of 20 frames that are parsed and resolved already. `items/s` is stacks a second.

use divan::Bencher;
use divan::counter::ItemsCount;
use kstack::group::naming::Naming;
use kstack::group::plumbing::Plumbing;
use kstack::group::{By, Groups};
use kstack::place::{self, PlaceOptions};
use kstack::report::Report;
use kstack::resolve::{self, ResolveOptions};
use kstack::symbols::find::Library;

fn main() {
    divan::main();
}

/// Stacks in the dump, and how many of them differ.
const STACKS: usize = 200_000;
const DIFFERENT: usize = 1_000;
const FRAMES: usize = 20;

fn dump() -> String {
    let mut text = String::new();
    for n in 0..STACKS {
        let kind = n * 7919 % DIFFERENT;
        text.push_str(&format!("task:t{n:<15} state:D stack:0     pid:{n} ppid:2      flags:0x00004000\nCall Trace:\n"));
        for frame in 0..FRAMES {
            let function = if frame > 12 { frame } else { kind * FRAMES + frame };
            text.push_str(&format!(" function_{function}+{:#x}/0x200 [zfs]\n", frame * 8 + 1));
        }
        text.push('\n');
    }
    text
}

#[divan::bench(args = [By::Functions, By::Stack], sample_count = 10)]
fn group(bencher: Bencher<'_, '_>, by: By) {
    let text = dump();
    let format = kstack::parse::detect(text.as_bytes()).expect("it is a log");
    let capture = format.parse(text.as_bytes());
    assert_eq!(capture.stacks.len(), STACKS);
    let layout = place::place(&capture, text.as_bytes(), &[], &Library::default(), PlaceOptions::default());
    let resolved = resolve::resolve(&capture, text.as_bytes(), &layout, ResolveOptions { demangle: true });
    let reports = [Report { source: "dump", text: text.as_bytes(), capture: &capture, layout: &layout, resolved: &resolved, crash: None }];
    let plumbing = Plumbing::default();
    bencher.counter(ItemsCount::new(STACKS)).bench(|| {
        let groups = Groups::of(&reports, Naming::of(&reports, &plumbing), by);
        assert_eq!(groups.list.len(), DIFFERENT);
        groups.list.len()
    });
}
