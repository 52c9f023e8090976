//! Machine code in kstack's own JSON: `code` of a stack. Its instructions are written anew where they are asked for.

use serde::Deserialize;

use crate::model::code::Code;

#[derive(Deserialize)]
pub struct JsonCode {
    line: Option<u32>,
    frame: Option<usize>,
    #[serde(default)]
    bytes: String,
    marker: Option<usize>,
    unit: Option<usize>,
}

/// The code of a stack; what is no hexadecimal number of whole bytes is nothing.
pub fn code(code: JsonCode) -> Option<Code> {
    let digits: Vec<u8> = code.bytes.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    let marker = code.marker.filter(|marker| *marker < bytes.len());
    let unit = code.unit.filter(|unit| matches!(unit, 1 | 2 | 4)).unwrap_or(1);
    let whole = digits.len().is_multiple_of(2) && !bytes.is_empty();
    whole.then(|| Code { line: code.line.unwrap_or(1), bytes, marker, unit, frame: code.frame, ..Code::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_damage_is_nothing() {
        let read = |text: &str| code(serde_json::from_str(text).unwrap());
        let found = read(r#"{"line":3,"frame":0,"bytes":"0f0b","marker":1,"unit":1}"#).unwrap();
        assert_eq!((found.line, found.frame, found.bytes, found.marker, found.unit), (3, Some(0), vec![0x0f, 0x0b], Some(1), 1));
        for bad in [r#"{"bytes":"0f0"}"#, r#"{"bytes":"zz"}"#, r#"{"bytes":"é1"}"#, "{}"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(read(r#"{"bytes":"90","marker":7,"unit":9}"#).map(|code| (code.marker, code.unit)), Some((None, 1)));
    }
}
