//! The instructions of a `Code:` line as text and as JSON.

use std::borrow::Cow;

use serde::Serialize;

use crate::model::code::{Code, Instruction};

/// What is said at the instruction that a report marks, as `scripts/decodecode` says it.
const TRAPPING: &str = "<-- trapping instruction";

/// One line for each instruction: offset in the code, bytes, instruction, and after `#` its function and source line.
pub fn lines(code: &Code) -> Vec<String> {
    // Data that no instruction was found in can be longer than any instruction.
    let lengths = code.listing.iter().map(|one| one.len).filter(|len| *len <= 15);
    let width = lengths.max().unwrap_or(1) * 3;
    let longest = code.listing.iter().filter(|one| one.len <= 15).map(|one| one.text.len()).max().unwrap_or(0).min(48);
    let mut location = None;
    let one = |one: &Instruction| {
        let star = if code.marker == Some(one.at) { '*' } else { ' ' };
        let bytes = bytes(code, one);
        let mut line = format!("{:4x}:{star} {bytes:width$} {:longest$}", one.at, one.text);
        line.extend(one.place.iter().map(|place| format!("  # {place}")));
        if one.location != location {
            line.extend(one.location.iter().map(|location| format!(" {location}")));
            location.clone_from(&one.location);
        }
        line.extend(one.differs.iter().map(|differs| format!("  ({differs})")));
        let mark = if star == '*' { format!("  {TRAPPING}") } else { String::new() };
        line.trim_end().to_string() + &mark
    };
    code.listing.iter().map(one).collect()
}

/// The bytes of an instruction in hex, or in the report's own words.
fn bytes(code: &Code, one: &Instruction) -> String {
    let bytes = code.bytes.get(one.at..one.at + one.len).unwrap_or_default();
    if one.len > 15 {
        return "..".to_string();
    }
    let word = |chunk: &[u8]| chunk.iter().rev().map(|byte| format!("{byte:02x}")).collect::<String>();
    bytes.chunks(code.unit.max(1)).map(word).collect::<Vec<_>>().join(" ")
}

/// A `Code:` line.
#[derive(Serialize)]
pub struct JsonCode<'a> {
    line: u32,
    /// Index of the frame whose instruction is marked.
    frame: Option<usize>,
    /// In the order of memory, hexadecimal without blanks.
    bytes: String,
    /// Offset of the marked instruction in the bytes.
    marker: Option<usize>,
    /// Bytes that the report prints as one number.
    unit: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    instructions: Vec<JsonInstruction<'a>>,
}

#[derive(Serialize)]
struct JsonInstruction<'a> {
    offset: usize,
    length: usize,
    text: Cow<'a, str>,
    symbol: Option<&'a str>,
    location: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    differs: Option<&'a str>,
}

impl<'a> JsonCode<'a> {
    /// The JSON form of `code`.
    pub fn of(code: &'a Code) -> JsonCode<'a> {
        JsonCode {
            line: code.line,
            frame: code.frame,
            bytes: code.bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            marker: code.marker,
            unit: code.unit,
            instructions: code.listing.iter().map(JsonInstruction::of).collect(),
        }
    }
}

impl<'a> JsonInstruction<'a> {
    fn of(one: &'a Instruction) -> JsonInstruction<'a> {
        JsonInstruction {
            offset: one.at,
            length: one.len,
            text: Cow::Borrowed(&one.text),
            symbol: one.place.as_deref(),
            location: one.location.as_deref(),
            differs: one.differs.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marked_instruction_is_pointed_at_and_a_source_line_said_once() {
        let at = |at, len, text: &str, location: &str| Instruction {
            at,
            len,
            text: text.into(),
            place: Some(format!("f+{at:#x}")),
            location: Some(location.into()),
            differs: None,
        };
        let listing = vec![at(0, 1, "nop", "a.c:1"), at(1, 2, "ud2", "a.c:1")];
        let code = Code { bytes: vec![0x90, 0x0f, 0x0b], marker: Some(1), unit: 1, listing, ..Code::default() };
        let want = ["   0:  90     nop  # f+0x0 a.c:1", "   1:* 0f 0b  ud2  # f+0x1  <-- trapping instruction"];
        assert_eq!(lines(&code), want);
    }
}
