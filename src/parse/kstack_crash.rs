//! Crashes in kstack's own JSON: what an earlier run found a report to be about.

use super::kstack_document::{JsonBlamed, JsonGuilty};
use crate::model::crash::{Blamed, Crash, Guilty};

/// The crash of a report whose stacks follow the `before` ones that are there already.
pub fn crash(title: Option<String>, guilty: Option<JsonGuilty>, before: usize) -> Option<Crash> {
    let one = |guilty: JsonGuilty| Guilty {
        function: guilty.function,
        module: guilty.module,
        file: guilty.file,
        file_of: guilty.file_of,
        reason: guilty.reason.unwrap_or_default(),
        stack: guilty.stack.map(|stack| stack.saturating_add(before)),
        frame: guilty.frame,
    };
    Some(Crash { title: title?, guilty: guilty.map(one), line: 1, later: Vec::new() })
}

/// What the title says about a stack.
pub fn blamed(blamed: JsonBlamed) -> Box<Blamed> {
    Box::new(Blamed { title: blamed.title, frame: blamed.frame })
}
