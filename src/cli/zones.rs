//! What `group`, `top` and `diff` say of zones of the kernel's allocator, which have no stacks.

use std::io::{self, Write};

use serde::Serialize;

use crate::group::zones::{self, ZoneGrowth};
use crate::render::json::{Head, SCHEMA};
use crate::render::zones::{csv, markdown, ndjson, titled};
use crate::report::Report;

/// Whether zones are all that the reports have.
pub fn alone(reports: &[Report<'_>]) -> bool {
    any(reports) && reports.iter().all(|report| report.capture.stacks.is_empty())
}

/// Whether a report has zones.
pub fn any(reports: &[Report<'_>]) -> bool {
    reports.iter().any(|report| !report.capture.zones.is_empty())
}

/// Writes the zones of each report, ranked. `width` is that of the terminal, if there is one.
///
/// # Errors
/// When writing fails.
pub fn write(reports: &[Report<'_>], format: &str, width: Option<u16>, out: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct All<'a> {
        schema: &'static str,
        reports: Vec<Head<'a>>,
    }
    if format == "json" {
        serde_json::to_writer(&mut *out, &All { schema: SCHEMA, reports: reports.iter().map(Head::of).collect() })?;
        return writeln!(out);
    }
    for report in reports.iter().filter(|report| !report.capture.zones.is_empty()) {
        match format {
            "ndjson" => ndjson(report, out)?,
            "markdown" => markdown(&zones::ranked(&report.capture.zones), out)?,
            "csv" => csv(&zones::ranked(&report.capture.zones), out)?,
            _ => titled(report, width, out)?,
        }
    }
    Ok(())
}

/// What became of the zones of both sides.
pub fn growth(old: &[Report<'_>], new: &[Report<'_>]) -> Vec<ZoneGrowth> {
    let all = |reports: &[Report<'_>]| reports.iter().flat_map(|report| &report.capture.zones).cloned().collect::<Vec<_>>();
    let (old, new) = (all(old), all(new));
    zones::growth(old.iter(), new.iter())
}
