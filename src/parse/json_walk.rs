//! JSON read from front to back without building it: what wants a value asks for it, everything else is stepped over.
//!
//! Apple's reports are read this way because they are large (a system-wide stackshot has 80 MB), because their numbers need all 64 bits,
//! because it matters where in the text a value stands, and because whatever stands before a cut is still worth reading: a string, list or
//! object that ends too soon gives what it has. Line feeds and tabs inside strings, which posters make of `\n`, are taken as they are.

use std::borrow::Cow;
use std::cell::Cell;

use memchr::{memchr_iter, memchr2, memrchr};

use super::json_text::{Number, unescape};

/// A place in a JSON text.
pub struct Json<'t> {
    text: &'t [u8],
    at: usize,
    stop: Option<Stop>,
    /// Up to where lines are counted, how many there were, and where the latest begins.
    lines: Cell<(usize, u32, usize)>,
}

/// A place in a text, and its line.
pub struct Mark {
    at: usize,
    lines: (usize, u32, usize),
}

impl Mark {
    /// Byte offset in the text.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Number of the line, from 1.
    pub fn line(&self) -> u32 {
        self.lines.1
    }
}

/// Where reading came to an end before the value did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stop {
    /// Byte offset in the text.
    pub at: usize,
    /// What should have stood there.
    pub wanted: &'static str,
}

impl<'t> Json<'t> {
    /// At byte `at` of `text`.
    pub fn new(text: &'t [u8], at: usize) -> Json<'t> {
        Json { text, at, stop: None, lines: Cell::new((0, 1, 0)) }
    }

    /// Goes on at byte `at`, which is not before the latest, whatever stopped reading before.
    pub fn go_on(&mut self, at: usize) {
        (self.at, self.stop) = (at.max(self.at), None);
    }

    /// This place, to come back to.
    pub fn mark(&self) -> Mark {
        self.line();
        Mark { at: self.at, lines: self.lines.get() }
    }

    /// Goes back to a place.
    pub fn back(&mut self, mark: &Mark) {
        (self.at, self.stop) = (mark.at, None);
        self.lines.set(mark.lines);
    }

    /// Where the next unread byte is.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Where reading stopped too soon, if it did.
    pub fn stopped(&self) -> Option<Stop> {
        self.stop
    }

    /// Whether a line ends behind the next byte, as in indented lists.
    pub fn breaks(&self) -> bool {
        matches!(self.text.get(self.at + 1), Some(b'\n' | b'\r'))
    }

    /// The bytes from `start` to the next unread one.
    pub fn since(&self, start: usize) -> &'t [u8] {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Number of the line, from 1, that holds the next unread byte, and the offset at which that line begins.
    pub fn line(&self) -> (u32, usize) {
        let (counted, mut line, mut start) = self.lines.get();
        if counted < self.at {
            let new = &self.text[counted..self.at];
            line = line.saturating_add(u32::try_from(memchr_iter(b'\n', new).count()).unwrap_or(u32::MAX));
            start = memrchr(b'\n', new).map_or(start, |at| counted + at + 1);
            self.lines.set((self.at, line, start));
        }
        (line, start)
    }

    /// The next byte that is no blank. `None` at the end, and once reading has stopped.
    pub fn peek(&mut self) -> Option<u8> {
        if self.stop.is_some() {
            return None;
        }
        while let Some(byte) = self.text.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Stops reading for good, as damage found before asks for.
    pub fn halt(&mut self, stop: Stop) {
        self.stop = Some(stop);
    }

    fn fail(&mut self, wanted: &'static str) {
        self.stop = self.stop.or(Some(Stop { at: self.at, wanted }));
    }

    /// Calls `each` with every key of an object, positioned at its value; a value that it leaves alone is stepped over. What is no object
    /// is stepped over as well.
    pub fn members(&mut self, mut each: impl FnMut(&mut Json<'t>, &str)) {
        if self.peek() != Some(b'{') {
            return self.skip();
        }
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'}') => return self.at += 1,
                Some(b',') => self.at += 1,
                Some(b'"') => {
                    let key = self.string().unwrap_or_default();
                    if self.peek() != Some(b':') {
                        return self.fail("`:`");
                    }
                    self.at += 1;
                    self.value(|json| each(json, &key));
                }
                _ => return self.fail("a key or `}`"),
            }
        }
    }

    /// Calls `each` for every element of a list; one that it leaves alone is stepped over, and so is what is no list.
    pub fn items(&mut self, mut each: impl FnMut(&mut Json<'t>)) {
        if self.peek() != Some(b'[') {
            return self.skip();
        }
        self.at += 1;
        loop {
            match self.peek() {
                Some(b']') => return self.at += 1,
                Some(b',') => self.at += 1,
                Some(b'}' | b':') | None => return self.fail("a value or `]`"),
                Some(_) => self.value(&mut each),
            }
        }
    }

    fn value(&mut self, each: impl FnOnce(&mut Json<'t>)) {
        if self.peek().is_none() {
            return self.fail("a value");
        }
        let before = self.at;
        each(self);
        if self.at == before {
            self.skip();
        }
    }

    /// Steps over one value of any kind and depth.
    pub fn skip(&mut self) {
        match self.peek() {
            Some(b'{' | b'[') => self.skip_nested(),
            Some(b'"') => drop(self.raw_string()),
            Some(_) => drop(self.word()),
            None => self.fail("a value"),
        }
    }

    fn skip_nested(&mut self) {
        let mut depth = 0usize;
        loop {
            let Some(byte) = self.text.get(self.at) else { return self.fail("`}` or `]`") };
            match byte {
                b'"' => {
                    self.raw_string();
                    if self.stop.is_some() {
                        return;
                    }
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }

    /// The bytes between the quotes, escapes as they are, and whether there are any. Without a closing quote: all there is.
    fn raw_string(&mut self) -> (&'t [u8], bool) {
        let start = self.at + 1;
        let mut from = start;
        let mut escapes = false;
        loop {
            match memchr2(b'"', b'\\', self.text.get(from..).unwrap_or_default()).map(|n| from + n) {
                Some(end) if self.text[end] == b'"' => {
                    self.at = end + 1;
                    return (&self.text[start..end], escapes);
                }
                Some(escape) => (from, escapes) = (escape + 2, true),
                None => {
                    self.at = self.text.len();
                    self.fail("`\"`");
                    return (self.text.get(start..).unwrap_or_default(), escapes);
                }
            }
        }
    }

    /// A string, its escapes undone; bytes that are no UTF-8 become U+FFFD. `None` for other values, which stay unread.
    pub fn string(&mut self) -> Option<Cow<'t, str>> {
        if self.peek() != Some(b'"') {
            return None;
        }
        let (raw, escapes) = self.raw_string();
        let text = String::from_utf8_lossy(raw);
        Some(if escapes { Cow::Owned(unescape(&text)) } else { text })
    }

    /// The number at this place, also where it stands in quotes. `None` for other values, which stay unread.
    pub fn number(&mut self) -> Option<Number> {
        match self.peek()? {
            b'"' => {
                let before = (self.at, self.stop);
                let number = self.string().and_then(|text| Number::parse(&text));
                if number.is_none() {
                    (self.at, self.stop) = before;
                }
                number
            }
            b'0'..=b'9' | b'-' => {
                let before = self.at;
                let number = std::str::from_utf8(self.word()).ok().and_then(Number::parse);
                // A number at the very end of a cut text may have lost digits.
                if self.at == self.text.len() {
                    self.fail("the rest of a number");
                    return None;
                }
                if number.is_none() {
                    self.at = before;
                }
                number
            }
            _ => None,
        }
    }

    /// An exact integer.
    pub fn whole(&mut self) -> Option<u64> {
        self.number().and_then(Number::exact)
    }

    /// What stands up to the next punctuation: a number, `true`, `null`, or something that is no JSON.
    fn word(&mut self) -> &'t [u8] {
        let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b':' | b'{' | b'[' | b'"' | b' ' | b'\n' | b'\r' | b'\t');
        let rest = &self.text[self.at..];
        let end = rest.iter().position(ends).unwrap_or(rest.len());
        if end == 0 {
            self.fail("a value");
        }
        self.at += end;
        &rest[..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The value as serde_json's, so that the two can be compared.
    fn value(json: &mut Json<'_>) -> serde_json::Value {
        match json.peek() {
            Some(b'{') => {
                let mut map = serde_json::Map::new();
                json.members(|json, key| drop(map.insert(key.to_string(), value(json))));
                map.into()
            }
            Some(b'[') => {
                let mut list = Vec::new();
                json.items(|json| list.push(value(json)));
                list.into()
            }
            Some(b'"') => json.string().unwrap().into(),
            Some(b'0'..=b'9' | b'-') => match json.number() {
                Some(Number::Whole(n)) => n.into(),
                Some(Number::Negative(n)) => n.into(),
                Some(Number::Rounded(n)) => n.into(),
                None => serde_json::Value::Null,
            },
            _ => {
                json.skip();
                serde_json::Value::Null
            }
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<u64>().prop_map(Into::into),
            (i64::MIN..0).prop_map(Into::into),
            ".{0,8}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                prop::collection::btree_map(".{0,4}", inner, 0..5)
                    .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn reads_what_serde_json_writes(written in any_json(), pretty: bool) {
            let mut text = if pretty { serde_json::to_string_pretty(&written).unwrap() } else { serde_json::to_string(&written).unwrap() };
            text.push('\n');
            let mut json = Json::new(text.as_bytes(), 0);
            prop_assert_eq!(value(&mut json), written.clone());
            prop_assert_eq!(json.stopped(), None);
            let mut json = Json::new(text.as_bytes(), 0);
            json.skip();
            prop_assert_eq!((json.at(), json.stopped()), (text.len() - 1, None));
            // Cut anywhere, it ends and says where.
            for end in 0..text.len() - 1 {
                let mut json = Json::new(&text.as_bytes()[..end], 0);
                value(&mut json);
                prop_assert!(json.at() <= end);
            }
        }

        #[test]
        fn any_bytes_come_to_an_end(bytes in prop::collection::vec(prop_oneof![Just(b'{'), Just(b'['), Just(b'"'), Just(b','), Just(b':'), Just(b'1'), any::<u8>()], 0..60)) {
            let mut json = Json::new(&bytes, 0);
            json.members(|json, _| json.items(|json| _ = json.number()));
            let _ = (value(&mut Json::new(&bytes, 0)), json.line());
        }
    }

    #[test]
    fn lines_are_those_of_the_text_and_cut_values_give_what_they_have() {
        let mut json = Json::new(b"{\"a\":\n [1,\n2], \"b\": \"tw", 0);
        let mut seen = Vec::new();
        json.members(|json, key| match key {
            "a" => json.items(|json| {
                seen.push(format!("{:?} {:?}", json.line(), json.whole()));
            }),
            _ => seen.push(json.string().unwrap().into_owned()),
        });
        assert_eq!(seen, ["(2, 6) Some(1)", "(3, 11) Some(2)", "tw"]);
        assert_eq!(json.stopped(), Some(Stop { at: 23, wanted: "`\"`" }));
    }
}
