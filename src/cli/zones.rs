//! What `group`, `top` and `diff` say of zones of the kernel's allocator, which have no stacks.

use std::io::{self, Write};

use serde::Serialize;

use crate::group::zones::{self, ZoneGrowth};
use crate::render::json::{Head, SCHEMA};
use crate::render::sanitize::visible_line;
use crate::render::zones::{JsonZone, csv, markdown, text};
use crate::report::Report;

/// Whether zones are all that the reports have.
pub fn alone(reports: &[Report<'_>]) -> bool {
    any(reports) && reports.iter().all(|report| report.capture.stacks.is_empty())
}

/// Whether a report has zones.
pub fn any(reports: &[Report<'_>]) -> bool {
    reports.iter().any(|report| !report.capture.zones.is_empty())
}

/// Writes the zones of each report, ranked.
///
/// # Errors
/// When writing fails.
pub fn write(reports: &[Report<'_>], format: &str, out: &mut dyn Write) -> io::Result<()> {
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
        let ranked = zones::ranked(&report.capture.zones);
        match format {
            "ndjson" => lines(report.source, ranked, out)?,
            "markdown" => markdown(&ranked, out)?,
            "csv" => csv(&ranked, out)?,
            _ => {
                writeln!(out, "{}: {} zones", visible_line(report.source), ranked.len())?;
                text(&ranked, out)?;
            }
        }
    }
    Ok(())
}

fn lines(source: &str, ranked: Vec<zones::Suspect<'_>>, out: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        schema: &'static str,
        source: &'a str,
        zone: JsonZone<'a>,
    }
    ranked.into_iter().try_for_each(|suspect| {
        serde_json::to_writer(&mut *out, &Line { schema: SCHEMA, source, zone: JsonZone::of(suspect) })?;
        writeln!(out)
    })
}

/// What became of the zones of both sides.
pub fn growth(old: &[Report<'_>], new: &[Report<'_>]) -> Vec<ZoneGrowth> {
    let all = |reports: &[Report<'_>]| reports.iter().flat_map(|report| &report.capture.zones).cloned().collect::<Vec<_>>();
    let (old, new) = (all(old), all(new));
    zones::growth(old.iter(), new.iter())
}
