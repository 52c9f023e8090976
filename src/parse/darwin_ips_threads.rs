//! `processByPid` of a JSON report: processes, their threads, and the frames of those.

use memchr::memchr;
use rustc_hash::FxHashMap;

use super::darwin_ips_images::Images;
use super::darwin_waits::{self, Told};
use super::json_text::Number;
use super::json_walk::Json;
use crate::model::addr::Avma;
use crate::model::frames::Frames;
use crate::model::stack::{Lookup, RawFrame, Span, Stack};
use crate::note::Note;

/// The threads that were read.
#[derive(Default)]
pub struct Threads<'t> {
    /// One stack for each, in the order of the report.
    pub stacks: Vec<Stack>,
    /// What they are said to wait for.
    pub told: Vec<Told>,
    /// Lists of frames by their text, for the line that they all stand in: a report without line feeds has each many times over.
    alike: FxHashMap<&'t [u8], Frames>,
    alike_line: u32,
    /// How many frames name no image of the report, and the line of the first.
    beyond: (u64, u32),
    /// How many frames were not understood, and the line of the first.
    damaged: (u64, u32),
}

/// Where something is: `[imageIndex, offset]`, or a bare address.
#[derive(Clone, Copy, Default)]
struct Place {
    image: Option<u64>,
    offset: Option<u64>,
}

/// Longer than this no text of a frame that cannot be resolved is shown.
const MOST_TEXT: usize = 120;

impl<'t> Threads<'t> {
    /// Reads the object.
    pub fn read(&mut self, json: &mut Json<'t>, images: &Images) {
        json.members(|json, pid| self.process(json, pid, images));
    }

    fn process(&mut self, json: &mut Json<'t>, key: &str, images: &Images) {
        let first = self.stacks.len();
        let (mut pid, mut name) = (key.trim().parse().ok(), None);
        json.members(|json, key| match key {
            "pid" => pid = pid.or(json.number().and_then(signed)),
            "procname" => name = json.string().map(|name| name.into_owned()),
            "threadById" => json.members(|json, tid| self.thread(json, tid, images)),
            "waitInfo" | "turnstileInfo" => self.waits(json),
            _ => {}
        });
        for stack in &mut self.stacks[first..] {
            (stack.pid, stack.process) = (pid, name.clone());
        }
    }

    /// One text, or a list of them.
    fn waits(&mut self, json: &mut Json<'t>) {
        let mut one = |json: &mut Json<'_>| {
            let line = json.line().0;
            self.told.extend(json.string().and_then(|text| darwin_waits::words(&text, line)));
        };
        if json.peek() == Some(b'[') { json.items(one) } else { one(json) }
    }

    fn thread(&mut self, json: &mut Json<'t>, tid: &str, images: &Images) {
        let at = self.stacks.len();
        self.stacks.push(Stack { tid: Some(tid.to_string()), line: json.line().0, count: 1, ..Stack::default() });
        json.members(|json, key| match key {
            "state" => self.stacks[at].state = state(json),
            "name" => self.stacks[at].thread = json.string().filter(|name| !name.is_empty()).map(|name| name.into_owned()),
            "waitEvent" => {
                let event = Place::read(json).address(images).filter(|event| *event != Avma(0));
                self.stacks[at].wait_channel = event.map(|event| event.to_string());
            }
            "kernelFrames" => self.stacks[at].frames = self.frames(json, images),
            "userFrames" => {
                let line = self.stacks[at].line;
                match addresses(json, images, line) {
                    Some(addresses) => self.stacks[at].user_addresses = addresses,
                    None => self.stacks[at].user_frames = self.read_frames(json, images).into(),
                }
            }
            _ => {}
        });
    }

    /// Reads a list, unless the same was read before.
    fn frames(&mut self, json: &mut Json<'t>, images: &Images) -> Frames {
        let mark = json.mark();
        if json.breaks() {
            return self.read_frames(json, images).into();
        }
        json.skip();
        let (text, line) = (json.since(mark.at()), mark.line());
        let whole = json.stopped().is_none() && memchr(b'\n', text).is_none();
        if self.alike_line != line {
            self.alike.clear();
            self.alike_line = line;
        }
        if let Some(known) = self.alike.get(text).filter(|_| whole) {
            return known.clone();
        }
        json.back(&mark);
        let before = (self.beyond.0, self.damaged.0);
        let frames: Frames = self.read_frames(json, images).into();
        // What was wrong with frames is counted each time.
        if whole && before == (self.beyond.0, self.damaged.0) {
            self.alike.insert(text, frames.clone());
        }
        frames
    }

    fn read_frames(&mut self, json: &mut Json<'t>, images: &Images) -> Vec<RawFrame> {
        let mut frames = Vec::new();
        json.items(|json| {
            let first = frames.is_empty();
            frames.extend(self.frame(json, images, first));
        });
        frames.shrink_to_fit();
        frames
    }

    /// A frame; without an address where the report does not tell one. `None` when the text ends in it.
    fn frame(&mut self, json: &mut Json<'_>, images: &Images, first: bool) -> Option<RawFrame> {
        let ((line, line_start), start) = (json.line(), json.at());
        let place = Place::read(json);
        if json.stopped().is_some() {
            return None;
        }
        let address = place.address(images);
        let lookup = if first { Lookup::Exact } else { Lookup::Return };
        let mut frame =
            RawFrame { address, line, line_start: line_start as u64, lookup, reliable: address != Some(Avma(0)), ..RawFrame::default() };
        if address.is_none() {
            if json.at() == start {
                json.skip();
            }
            frame.text = printed(json.since(start), start - line_start);
            let known = place.offset.is_some() && place.image.is_some_and(|image| images.base(image).is_none());
            let count = if known { &mut self.beyond } else { &mut self.damaged };
            *count = (count.0 + 1, if count.0 == 0 { line } else { count.1 });
        }
        Some(frame)
    }

    /// What was wrong with them.
    pub fn notes(&self) -> Vec<Note> {
        let frames = |count| if count == 1 { "1 frame has".to_string() } else { format!("{count} frames have") };
        let mut notes = Vec::new();
        if let (count @ 1.., line) = self.beyond {
            let text = format!("{} an image index that binaryImages does not reach, first in line {line}: no address", frames(count));
            notes.push(Note::warning("", text));
        }
        if let (count @ 1.., line) = self.damaged {
            notes.push(Note::warning("", format!("{} no readable address, first in line {line}", frames(count))));
        }
        notes
    }
}

/// The addresses of a list that stands in line `line` as a whole and has one for each frame. Otherwise it stays unread.
fn addresses(json: &mut Json<'_>, images: &Images, line: u32) -> Option<Vec<Avma>> {
    let mark = json.mark();
    let (mut addresses, mut plain) = (Vec::new(), mark.line() == line && !json.breaks());
    if plain {
        json.items(|json| {
            let address = Place::read(json).address(images);
            plain &= address.is_some();
            addresses.extend(address);
        });
    }
    if !plain || json.line().0 != line || json.stopped().is_some() {
        json.back(&mark);
        return None;
    }
    addresses.shrink_to_fit();
    Some(addresses)
}

/// The frame's own text, if it is short and on one line.
fn printed(value: &[u8], from: usize) -> Span {
    let fits = value.len() <= MOST_TEXT && !value.contains(&b'\n');
    let end = u32::try_from(from + value.len()).ok().filter(|_| fits);
    end.map_or(Span::default(), |end| Span { start: from as u32, end })
}

/// `["TH_WAIT","TH_UNINT"]` as `TH_WAIT|TH_UNINT`; a single string as it is.
fn state(json: &mut Json<'_>) -> Option<String> {
    let mut state = String::new();
    let mut add = |json: &mut Json<'_>| {
        if let Some(flag) = json.string() {
            let bar = if state.is_empty() { "" } else { "|" };
            state.push_str(bar);
            state.push_str(&flag);
        }
    };
    if json.peek() == Some(b'[') {
        json.items(add)
    } else {
        add(json)
    }
    (!state.is_empty()).then_some(state)
}

fn signed(number: Number) -> Option<i64> {
    match number {
        Number::Negative(value) => Some(value),
        number => i64::try_from(number.exact()?).ok(),
    }
}

impl Place {
    /// A list, an object with `imageIndex` and `imageOffset` as crash reports have it, or a number. Anything else stays unread.
    fn read(json: &mut Json<'_>) -> Place {
        let mut place = Place::default();
        match json.peek() {
            Some(b'[') => {
                let mut numbers = [None; 2];
                let mut count = 0;
                json.items(|json| {
                    if let Some(number) = numbers.get_mut(count) {
                        *number = json.whole();
                    }
                    count += 1;
                });
                (place.image, place.offset) = if count == 1 { (None, None) } else { (numbers[0], numbers[1]) };
            }
            Some(b'{') => json.members(|json, key| match key {
                "imageIndex" => place.image = json.whole(),
                "imageOffset" | "offset" => place.offset = json.whole(),
                _ => {}
            }),
            // A number alone is an address.
            _ => return Place { image: None, offset: json.whole() },
        }
        // An image or offset that cannot be read makes the other worthless.
        if place.image.is_none() { Place::default() } else { place }
    }

    fn address(self, images: &Images) -> Option<Avma> {
        let base = match self.image {
            Some(image) => images.base(image)??,
            None => 0,
        };
        Some(Avma(base.wrapping_add(self.offset?)))
    }
}
