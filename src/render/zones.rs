//! Zones of the kernel's allocator: ranked, and what grew between two tables.

use std::io::{self, Write};

use serde::Serialize;

use super::json::SCHEMA;
use super::sanitize::visible_line;
use super::table::{Align, write_csv, write_markdown, write_table};
use crate::group::weight::size;
use crate::group::zones::{Suspect, ZoneGrowth, ranked};
use crate::report::Report;

const HEAD: [&str; 7] = ["Zone", "Bytes", "Share", "Elements", "Element size", "Flags", "Why"];

fn rows(zones: &[Suspect<'_>], bytes: impl Fn(u64) -> String) -> Vec<Vec<String>> {
    let row = |suspect: &Suspect<'_>| {
        let zone = suspect.zone;
        let share = format!("{}.{}%", suspect.share / 10, suspect.share % 10);
        let numbers = [zone.elements.to_string(), zone.element_size.to_string()];
        let texts = [visible_line(zone.flags.as_deref().unwrap_or_default()), suspect.reasons.join("; ")];
        [visible_line(&zone.name), bytes(zone.bytes), share].into_iter().chain(numbers).chain(texts).collect()
    };
    zones.iter().map(row).collect()
}

/// For people: one row for each zone, the most suspect first. `width` is that of the terminal, if there is one.
///
/// # Errors
/// When writing fails.
pub fn text(zones: &[Suspect<'_>], width: Option<u16>, out: &mut dyn Write) -> io::Result<()> {
    let right = (1..5).map(|column| (column, Align::Right));
    let columns: Vec<(usize, Align)> = right.chain([(5, Align::Wrap), (6, Align::Wrap)]).collect();
    write_table(&HEAD, &rows(zones, size), &columns, width, out)
}

/// To paste into a bug report.
///
/// # Errors
/// When writing fails.
pub fn markdown(zones: &[Suspect<'_>], out: &mut dyn Write) -> io::Result<()> {
    write_markdown(&HEAD, &rows(zones, size), out)
}

/// For spreadsheets.
///
/// # Errors
/// When writing fails.
pub fn csv(zones: &[Suspect<'_>], out: &mut dyn Write) -> io::Result<()> {
    write_csv(&HEAD, &rows(zones, |bytes| bytes.to_string()), out)
}

/// One zone in JSON.
#[derive(Serialize)]
pub struct JsonZone<'a> {
    name: &'a str,
    line: u32,
    address: Option<String>,
    /// Memory that it holds.
    bytes: u64,
    /// What it may hold; `null` without a limit.
    max_bytes: Option<u64>,
    elements: u64,
    /// Elements for which there is memory.
    capacity: Option<u64>,
    element_size: u64,
    allocs: Option<u64>,
    frees: Option<u64>,
    flags: Option<&'a str>,
    /// Of all zones of its report, in percent.
    percent: f64,
    /// Why it is suspect.
    reasons: Vec<String>,
}

impl<'a> JsonZone<'a> {
    /// The JSON form of `suspect`.
    pub fn of(suspect: Suspect<'a>) -> JsonZone<'a> {
        let zone = suspect.zone;
        JsonZone {
            name: &zone.name,
            line: zone.line,
            address: zone.address.map(|address| address.to_string()),
            bytes: zone.bytes,
            max_bytes: zone.most_bytes,
            elements: zone.elements,
            capacity: zone.capacity,
            element_size: zone.element_size,
            allocs: zone.allocs,
            frees: zone.frees,
            flags: zone.flags.as_deref(),
            percent: suspect.share as f64 / 10.0,
            reasons: suspect.reasons,
        }
    }
}

/// The zones of a report as JSON, one a line; kstack reads them as a report.
///
/// # Errors
/// When writing fails.
pub fn ndjson(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        schema: &'static str,
        source: &'a str,
        os: Option<&'static str>,
        zone: JsonZone<'a>,
    }
    let os = report.capture.os.map(|os| os.name());
    ranked(&report.capture.zones).into_iter().try_for_each(|suspect| {
        serde_json::to_writer(&mut *out, &Line { schema: SCHEMA, source: report.source, os, zone: JsonZone::of(suspect) })?;
        writeln!(out)
    })
}

/// The zones of a report for people, with a line above that says whose they are.
///
/// # Errors
/// When writing fails.
pub fn titled(report: &Report<'_>, width: Option<u16>, out: &mut dyn Write) -> io::Result<()> {
    let ranked = ranked(&report.capture.zones);
    writeln!(out, "{}: {} zones", visible_line(report.source), ranked.len())?;
    text(&ranked, width, out)
}

/// How many zones grew, in a sentence.
pub fn grown(zones: &[ZoneGrowth]) -> String {
    let grown = zones.iter().filter(|growth| growth.more_bytes() > 0).count();
    format!("{grown} of {} zones grew", zones.len())
}

/// For people: the zones that changed, what grew most first. `width` is that of the terminal, if there is one.
///
/// # Errors
/// When writing fails.
pub fn growth_text(zones: &[ZoneGrowth], width: Option<u16>, out: &mut dyn Write) -> io::Result<()> {
    let changed = |growth: &&ZoneGrowth| growth.more_bytes() != 0 || growth.more_elements() != 0;
    let sign = |more: i128| if more < 0 { "-" } else { "+" };
    let bytes = |more: i128| format!("{}{}", sign(more), size(u64::try_from(more.unsigned_abs()).unwrap_or(u64::MAX)));
    let row = |growth: &ZoneGrowth| {
        let sizes = [bytes(growth.more_bytes()), size(growth.bytes.0), size(growth.bytes.1)];
        let elements = [format!("{:+}", growth.more_elements()), growth.elements.0.to_string(), growth.elements.1.to_string()];
        sizes.into_iter().chain(elements).chain([visible_line(&growth.name)]).collect()
    };
    let rows: Vec<Vec<String>> = zones.iter().filter(changed).map(row).collect();
    writeln!(out, "{}", grown(zones))?;
    if rows.is_empty() {
        return Ok(());
    }
    let right: Vec<(usize, Align)> = (0..6).map(|column| (column, Align::Right)).collect();
    write_table(&["Size", "Before", "Now", "Elements", "Before", "Now", "Zone"], &rows, &right, width, out)
}

/// What became of a zone, in JSON.
#[derive(Serialize)]
pub struct JsonZoneGrowth<'a> {
    name: &'a str,
    bytes_old: u64,
    bytes_new: u64,
    elements_old: u64,
    elements_new: u64,
}

impl<'a> JsonZoneGrowth<'a> {
    /// The JSON form of `growth`.
    pub fn of(growth: &'a ZoneGrowth) -> JsonZoneGrowth<'a> {
        let ((bytes_old, bytes_new), (elements_old, elements_new)) = (growth.bytes, growth.elements);
        JsonZoneGrowth { name: &growth.name, bytes_old, bytes_new, elements_old, elements_new }
    }
}
