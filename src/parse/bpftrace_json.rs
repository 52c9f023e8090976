//! Maps of bpftrace as `-f json` writes them: an object in each line.
//!
//! ```text
//! {"type": "map", "data": {"@": {"\\n    zio_wait+1\\n    dmu_read+99\\n": 3}}}
//! {"type": "hist", "data": {"@lat": {"dd,\\n    zio_wait+1\\n": [{"min": 1024, "max": 2047, "count": 3}]}}}
//! {"type": "stats", "data": {"@s": {"\\n    zio_wait+1\\n": {"count": 5, "average": 12, "total": 60}}}}
//! ```
//! Source: `JsonOutput` in src/output.cpp (bpftrace 0.20). A key holds the lines that stand between the brackets of the other form.

use serde_json::Value;

use super::lex;

/// Whether a line of `text` is a map with a stack in one of its keys.
pub(super) fn is_map(text: &[u8]) -> bool {
    lex::lines(text).any(|line| object(line.bytes).is_some_and(|object| !written(&object).is_empty()))
}

/// The maps in the form that is no JSON, for those that have stacks in their keys; `None` where there are none.
pub(super) fn maps(text: &[u8]) -> Option<Vec<u8>> {
    let maps: String = lex::lines(text).filter_map(|line| object(line.bytes)).map(|object| written(&object)).collect();
    (!maps.is_empty()).then(|| maps.into_bytes())
}

fn object(line: &[u8]) -> Option<Value> {
    let own = line.starts_with(b"{") && memchr::memmem::find(line, b"\\n").is_some() && memchr::memmem::find(line, b"\"data\"").is_some();
    if own { serde_json::from_slice(line).ok() } else { None }
}

fn written(object: &Value) -> String {
    let typed = matches!(object["type"].as_str(), Some("map" | "hist" | "stats"));
    let data = object["data"].as_object().filter(|_| typed);
    let mut out = String::new();
    for (name, keys) in data.into_iter().flatten().filter(|(name, _)| name.starts_with('@')) {
        for (key, value) in keys.as_object().into_iter().flatten().filter(|(key, _)| key.contains("\n ")) {
            if let Some(count) = count(value) {
                out.push_str(&format!("{name}[{key}]: {count}\n"));
            }
        }
    }
    out
}

/// How often a key was seen, or what was summed up for it.
fn count(value: &Value) -> Option<u64> {
    match value {
        Value::Array(rows) => Some(rows.iter().filter_map(|row| row["count"].as_u64()).fold(0, u64::saturating_add)),
        Value::Object(stats) => stats.get("count")?.as_u64(),
        _ => value.as_u64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::bpftrace::Bpftrace;
    use crate::parse::{Confidence, Format};

    #[test]
    fn keys_of_objects_are_stacks() {
        let text = br#"{"type": "attached_probes", "data": {"probes": 1}}
{"type": "map", "data": {"@": {"\n    zio_wait+1\n    dmu_read+99\n": 3, "\n    kfree+1\n": 9}}}
{"type": "hist", "data": {"@lat": {"dd,\n    f+1\n": [{"min": 0, "max": 1, "count": 2}, {"min": 2, "max": 3, "count": 5}]}}}
{"type": "stats", "data": {"@s": {"\n    g+1\n": {"count": 5, "average": 12, "total": 60}}}}
"#;
        assert_eq!(Bpftrace.sniff(text), Confidence::Certain);
        let parts = Bpftrace.parts(text);
        let [part] = &parts[..] else { panic!("{parts:?}") };
        let mut seen: Vec<_> =
            part.capture.stacks.iter().map(|stack| (stack.count, stack.process.as_deref(), stack.frames.len())).collect();
        seen.sort();
        assert_eq!(seen, [(3, None, 2), (5, None, 1), (7, Some("dd"), 1), (9, None, 1)]);
        let converted = part.text.as_deref().unwrap();
        let named =
            |name: &[u8]| part.capture.stacks.iter().find(|stack| stack.frames[0].symbol.of(converted, stack.frames[0].line_start) == name);
        assert_eq!(named(b"zio_wait").map(|stack| stack.count), Some(3));
    }

    #[test]
    fn other_objects_are_none() {
        for text in [r#"{"type": "map", "data": {"@": {"bash": 3}}}"#, r#"{"type": "printf", "data": "a\n b"}"#, "{\"data\": \"\\n"] {
            assert_eq!((is_map(text.as_bytes()), maps(text.as_bytes())), (false, None), "{text}");
        }
    }
}
