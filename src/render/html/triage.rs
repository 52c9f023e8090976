//! What the page says above everything else, when something is known: a title for each report, and verdicts.
//!
//! Here what [`crate::title`] and [`crate::triage`] find out becomes what the page shows.

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
    /// The function that the file is of, where it is not the guilty one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_of: Option<Shown>,
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
pub fn crash(report: &Report<'_>) -> Option<Crash> {
    let shown = |text: &Option<String>| text.as_deref().map(Shown::from);
    let crash = report.crash?;
    let guilty = crash.guilty.as_ref().map(|guilty| Guilty {
        function: Some(Shown::from(&*guilty.function)),
        module: shown(&guilty.module),
        file: shown(&guilty.file),
        file_of: shown(&guilty.file_of),
        reason: Some(Shown::from(&*guilty.reason)),
    });
    Some(Crash { title: Shown::from(&*crash.title), guilty })
}

/// What is wrong in the reports of `groups`.
pub fn verdicts(groups: &Groups<'_, '_>) -> Vec<Verdict> {
    let evidence =
        |source: &str, line: &crate::triage::Evidence| Evidence { source: source.into(), line: line.line, text: (&*line.text).into() };
    let one = |verdict: crate::triage::Verdict| Verdict {
        verdict: verdict.verdict.into(),
        why: (&*verdict.why).into(),
        evidence: verdict.evidence.iter().map(|line| evidence(&verdict.source, line)).collect(),
    };
    crate::triage::triage(groups).into_iter().map(one).collect()
}
