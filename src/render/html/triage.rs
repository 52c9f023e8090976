//! What the page says above everything else, when something is known: a title for each report, and verdicts.
//!
//! Nothing finds them out yet. What does is asked in [`crash`] and [`verdicts`]; the page shows whatever they give back.

use serde::Serialize;

use super::data::Shown;
use crate::group::Groups;
use crate::report::Report;

/// What a report is called, and who is to blame.
#[derive(Clone, Debug, Serialize)]
pub struct Crash {
    /// `BUG: unable to handle page fault in zio_wait`.
    pub title: Shown,
    /// The frame that the title names.
    pub guilty: Option<Guilty>,
}

/// The frame that a report is about.
#[derive(Clone, Debug, Serialize)]
pub struct Guilty {
    /// Its function.
    pub function: Option<Shown>,
    /// Its module.
    pub module: Option<Shown>,
    /// Its file.
    pub file: Option<Shown>,
    /// Why this frame and not another.
    pub reason: Option<Shown>,
}

/// What is wrong, and what says so.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// In a word or two: `deadlock`, `I/O does not come back`.
    pub verdict: Shown,
    /// In a sentence.
    pub why: Shown,
    /// The lines that show it.
    pub evidence: Vec<Evidence>,
}

/// A line of a report.
#[derive(Clone, Debug, Serialize)]
pub struct Evidence {
    /// The report, by its source.
    pub source: Shown,
    /// The line, from 1.
    pub line: u32,
    /// What it says.
    pub text: Shown,
}

/// The title of `report`.
pub fn crash(_: &Report<'_>) -> Option<Crash> {
    None
}

/// What is wrong in the reports of `groups`.
pub fn verdicts(_: &Groups<'_, '_>) -> Vec<Verdict> {
    Vec::new()
}
