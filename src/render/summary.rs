//! What stands on standard error after the work: how many frames were resolved, and why the others were not.

use std::collections::BTreeMap;

use super::Report;
use crate::model::frame::{Trust, Unresolved};

/// Counts over the kernel frames of one report.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Kernel frames.
    pub frames: usize,
    /// Frames that a symbol file names.
    pub resolved: usize,
    /// Frames that no symbol file names, but the report itself does.
    pub by_report: usize,
    /// Frames in code that the kernel generated at run time.
    pub generated: usize,
    /// Named frames of files that could not be compared with the report.
    pub unverified: usize,
    /// Frames named from another build, because the user allowed it.
    pub other_build: usize,
    /// The rest, by image and reason.
    unnamed: BTreeMap<(String, &'static str), usize>,
}

impl Summary {
    /// Counts `report`.
    pub fn of(report: &Report<'_>) -> Summary {
        let mut summary = Summary::default();
        for (at, stack) in report.capture.stacks.iter().enumerate() {
            for (n, frame) in stack.frames.iter().enumerate().filter(|(_, frame)| !frame.is_end()) {
                let answer = report.resolved.answer(at, n);
                summary.frames += 1;
                match answer.trust {
                    Trust::Verified => summary.resolved += 1,
                    Trust::Unverified => {
                        summary.resolved += 1;
                        summary.unverified += 1;
                    }
                    Trust::Mismatched => {
                        summary.resolved += 1;
                        summary.other_build += 1;
                    }
                    Trust::Unresolved if answer.reason == Some(Unresolved::Generated) => summary.generated += 1,
                    Trust::Unresolved if !frame.symbol.is_empty() => summary.by_report += 1,
                    Trust::Unresolved => {
                        let image = answer.image.map_or(String::new(), |image| report.layout.images[image].name.clone());
                        let reason = answer.reason.map_or("no symbol", advice);
                        *summary.unnamed.entry((image, reason)).or_default() += 1;
                    }
                }
            }
        }
        summary
    }

    /// Whether every frame is named by a file that is proven to be the right one.
    pub fn is_proven(&self) -> bool {
        self.resolved == self.frames && self.unverified == 0 && self.other_build == 0
    }

    /// `resolved 212 of 214 kernel frames; 2 in com.example.foo: no symbol file given, try -m or -S`.
    pub fn text(&self) -> String {
        let mut text = format!("resolved {} of {} kernel frames", self.resolved, self.frames);
        let mut add = |count: usize, what: &str| {
            if count > 0 {
                text.push_str(&format!("; {count} {what}"));
            }
        };
        add(self.by_report, "as the report itself names them");
        add(self.generated, advice(Unresolved::Generated));
        for ((image, reason), count) in &self.unnamed {
            add(*count, &if image.is_empty() { (*reason).to_string() } else { format!("in {image}: {reason}") });
        }
        add(self.other_build, "named from a file of another build");
        add(self.unverified, "unverified: no UUID to compare");
        text
    }
}

/// Why there is no name, and what to try.
pub fn advice(reason: Unresolved) -> &'static str {
    match reason {
        Unresolved::NoImage => "at addresses that no image covers, try -k, -l or -m FILE@ADDR",
        Unresolved::NoFile => "no symbol file given, try -m or -S",
        Unresolved::OtherBuild => "the symbol file is another build and was not used",
        Unresolved::Overlap => "where two images overlap, check the load addresses",
        Unresolved::OutsideSymbols => "no symbol of the file stands at or below it",
        Unresolved::AfterSymbol => "only the nearest symbol below is known: the file is stripped, give its dSYM",
        Unresolved::Generated => "in code that the kernel generated at run time; no file has it",
        Unresolved::NoAddress => "without an address or a symbol that a file knows",
        Unresolved::OtherSize => "no symbol of the printed name and size, is the file of another build?",
        Unresolved::Ambiguous => "whose symbol may mean more than one place",
    }
}
