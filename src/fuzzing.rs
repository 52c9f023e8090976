//! Bodies of the fuzz targets, called by them and by a test over mutated fixtures. They walk everything and ignore the result.

use std::path::Path;
use std::sync::LazyLock;

use crate::model::addr::Svma;
use crate::parse;
use crate::place::{self, PlaceOptions};
use crate::render::{self, Output, Report, Style};
use crate::resolve::{self, ResolveOptions};
use crate::symbols::OPENERS;
use crate::symbols::find::Library;
use crate::title::{self, SkipList};

static SKIP: LazyLock<SkipList> = LazyLock::new(SkipList::default);

/// Reads `data` with every format, and carries it through to every output.
pub fn report(data: &[u8]) {
    let _ = parse::detect(data);
    for format in parse::FORMATS {
        let capture = format.parse(data);
        let maps = [("map".to_string(), capture.clone())];
        let layout = place::place(&capture, data, &maps, &Library::default(), PlaceOptions::default());
        let resolved = resolve::resolve(&capture, data, &layout, ResolveOptions { demangle: true });
        let report = Report { source: "input", text: data, capture: &capture, layout: &layout, resolved: &resolved, crash: None };
        let crash = title::of(&report, &SKIP);
        let report = Report { crash: crash.as_ref(), ..report };
        for output in render::OUTPUTS {
            let mut sink = Vec::new();
            let style = Style { terminal: true, ..Style::default() };
            output.write(std::slice::from_ref(&report), &layout.notes, style, &mut sink).expect("a Vec takes everything");
        }
        // Without symbols the text is what it was.
        let mut text = Vec::new();
        render::text::Text.write(&[report], &[], Style::default(), &mut text).expect("a Vec takes everything");
        assert!(format.id() == render::text::JSON || text == data, "{} lost or changed some of the input", format.id());
    }
}

/// Opens `data` as a symbol file and asks it about addresses in and around its segments.
pub fn symbol_file(data: &[u8]) {
    let bytes = crate::input::Bytes::from(data.to_vec());
    for opener in OPENERS.iter().filter(|opener| opener.sniff(data)) {
        for file in opener.open(Path::new("input"), &bytes, &mut Vec::new()) {
            let segments = file.info().segments.iter().take(8);
            let probes: Vec<Svma> = segments
                .flat_map(|segment| {
                    let step = (segment.size / 16).max(1);
                    (0..18).map(move |n| Svma(segment.svma.0.wrapping_sub(1).wrapping_add(n * step)))
                })
                .collect();
            for (probe, locations) in probes.iter().zip(file.locate(&probes)) {
                let _ = (file.table().at(*probe), locations, file.debug_function(*probe));
                let _ = file.code(Svma(probe.0.wrapping_sub(8)), *probe);
            }
            let _ = file.table().named("main");
        }
    }
}
