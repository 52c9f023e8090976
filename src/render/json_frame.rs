//! Frames and source locations as JSON.

use std::borrow::Cow;

use serde::Serialize;

use super::Report;
use crate::model::addr::Avma;
use crate::model::frame::{Answer, Excerpt, Location};
use crate::model::stack::{Lookup, RawFrame, Role, Stack};
use crate::parse::kstack_json::ID as JSON;

/// An address as the JSON form has it.
pub(super) fn hex(address: Avma) -> String {
    address.to_string()
}

/// A frame.
#[derive(Serialize)]
pub struct JsonFrame<'a> {
    line: u32,
    /// What the report calls an address that stands in other words.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<Cow<'a, str>>,
    address: Option<String>,
    module: Option<Cow<'a, str>>,
    /// As the symbol file has it, without the underscore of Mach-O; where the report is the only source, as the report prints it.
    symbol: Option<Cow<'a, str>>,
    /// Whether `symbol` has that underscore in front: the report prints it so, and no symbol file knew better.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    underscored: bool,
    offset: Option<u64>,
    /// Bytes from the image's load address, of a frame without a symbol.
    #[serde(skip_serializing_if = "Option::is_none")]
    image_offset: Option<u64>,
    size: Option<u64>,
    reliable: bool,
    /// Whether the address is the very instruction, not a return address.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    exact: bool,
    role: &'static str,
    trust: &'static str,
    /// Why there is no symbol.
    reason: Option<&'static str>,
    /// The nearest symbol below an address that nothing names.
    after: Option<After<'a>>,
    locations: Vec<JsonLocation<'a>>,
    /// What an ambiguous symbol may mean, each as `locations`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    candidates: Vec<Vec<JsonLocation<'a>>>,
}

#[derive(Serialize)]
struct After<'a> {
    symbol: &'a str,
    offset: Option<u64>,
}

impl<'a> JsonFrame<'a> {
    /// The JSON form of frame `n` of stack `stack`.
    pub fn of(report: &Report<'a>, stack: usize, n: usize, frame: &RawFrame) -> JsonFrame<'a> {
        let answer = report.resolved.answer(stack, n);
        let named = report.name_of(frame, answer);
        let image = answer.image.map(|image| &report.layout.images[image]).filter(|_| named.symbol.is_none());
        // What an earlier run knew of an image that this one does not have.
        let told = frame.offset.filter(|_| named.symbol.is_none() && report.capture.format == JSON);
        let image_offset = told.or_else(|| image.and_then(|image| image.offset_of(frame.address?)));
        let underscored = named.symbol.is_some() && report.keeps_underscore(frame, answer);
        JsonFrame {
            line: frame.line,
            label: report.printed(frame, frame.label),
            address: frame.address.map(hex),
            module: named.module,
            symbol: named.symbol.map(|symbol| if underscored { Cow::Owned(format!("_{symbol}")) } else { symbol }),
            underscored,
            offset: named.offset,
            image_offset,
            size: named.size,
            reliable: frame.reliable,
            exact: frame.lookup == Lookup::Exact,
            role: frame.role.name(),
            trust: named.trust.name(),
            reason: answer.reason.map(super::summary::advice),
            after: answer
                .symbol
                .as_ref()
                .filter(|symbol| !symbol.contains)
                .map(|symbol| After { symbol: &symbol.name, offset: answer.offset }),
            locations: locations(report, frame, answer, named.by_report),
            candidates: answer.candidates.iter().map(|places| places.iter().map(JsonLocation::of).collect()).collect(),
        }
    }
}

/// Where the frame stands: as looked up, else as the report itself says.
fn locations<'a>(report: &Report<'a>, frame: &RawFrame, answer: &'a Answer, by_report: bool) -> Vec<JsonLocation<'a>> {
    if !by_report || frame.location.is_empty() {
        return answer.locations.iter().map(JsonLocation::of).collect();
    }
    let (file, line) = report.printed_location(frame).unzip();
    let function = std::str::from_utf8(frame.symbol.of(report.text, frame.line_start)).ok();
    vec![JsonLocation {
        function,
        file,
        line: line.flatten(),
        column: None,
        inlined: frame.role == Role::Inline,
        incomplete: false,
        source: None,
    }]
}

/// A source location; also what `lookup --format json` prints.
#[derive(Serialize)]
pub struct JsonLocation<'a> {
    function: Option<&'a str>,
    file: Option<&'a str>,
    line: Option<u32>,
    column: Option<u32>,
    inlined: bool,
    /// Only where it is so: see [`Location::incomplete`].
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    incomplete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<JsonSource<'a>>,
}

/// Lines of a source file around a location.
#[derive(Serialize)]
struct JsonSource<'a> {
    /// Where the file lies on the machine that ran kstack.
    path: &'a str,
    /// Number of the first of `lines`.
    first: u32,
    lines: &'a [String],
}

impl<'a> JsonLocation<'a> {
    /// The JSON form of `location`.
    pub fn of(location: &'a Location) -> JsonLocation<'a> {
        JsonLocation {
            function: location.function.as_deref(),
            file: location.file.as_deref(),
            line: location.line,
            column: location.column,
            inlined: location.inlined,
            incomplete: location.incomplete,
            source: location.source.as_deref().map(JsonSource::of),
        }
    }
}

impl<'a> JsonSource<'a> {
    fn of(excerpt: &'a Excerpt) -> JsonSource<'a> {
        JsonSource { path: &excerpt.path, first: excerpt.first, lines: &excerpt.lines }
    }
}

/// A frame of user space, which nobody has looked up.
#[derive(Serialize)]
pub struct UserFrame<'a> {
    line: u32,
    address: Option<String>,
    module: Option<Cow<'a, str>>,
    symbol: Option<Cow<'a, str>>,
    offset: Option<u64>,
}

impl<'a> UserFrame<'a> {
    /// Those of `stack`, the innermost first.
    pub fn all(report: &Report<'a>, stack: &Stack) -> Vec<UserFrame<'a>> {
        let bare = |address| UserFrame { line: stack.line, address: Some(hex(address)), module: None, symbol: None, offset: None };
        let frames = stack.user_frames.iter().map(|frame| UserFrame::of(report, frame));
        frames.chain(stack.user_addresses.iter().copied().map(bare)).collect()
    }

    fn of(report: &Report<'a>, frame: &RawFrame) -> UserFrame<'a> {
        UserFrame {
            line: frame.line,
            address: frame.address.map(hex),
            module: report.printed(frame, frame.module),
            symbol: report.printed(frame, frame.symbol),
            offset: frame.offset,
        }
    }
}
