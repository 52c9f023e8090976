//! kstack's own JSON and NDJSON as a report: what one run found out is where the next begins.
//!
//! ```text
//! {"schema":"kstack/1","reports":[{"source":"dmesg.txt",…,"images":[…],"stacks":[…]}],"warnings":[]}    symbolicate --format json
//! {"schema":"kstack/1","source":"dmesg.txt",…,"images":[…],"stack":{…},"warnings":[]}                    symbolicate --format ndjson
//! {"schema":"kstack/1","reports":[…],"groups":[…],"warnings":[]}                                         group --format json
//! {"schema":"kstack/1","fingerprint":"k1:…","count":3,…,"frames":[…]}                                    group --format ndjson
//! {"schema":"kstack/1","source":"zprint.txt","os":"darwin","zone":{…}}                                    zones, of either ndjson
//! ```
//! Lines of different runs may follow each other, and blanks may stand between tokens (`jq`). Stacks of one source become one report;
//! groups become stacks that count. A line that is damaged is passed over and said.

use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::value::RawValue;

use super::kstack_code;
use super::kstack_crash::{blamed, crash};
use super::kstack_document::{Counts, Document, Group, Head, Image, JsonFrame, JsonLocation, JsonMember, JsonStack};
use super::kstack_locks::{annotations, task};
use super::kstack_zones::{JsonZone, zone};
use super::{Confidence, Format, Holds, Part, lex};
use crate::model::addr::{Arch, Avma, Slide, Svma, parse_hex};
use crate::model::capture::{Capture, Os};
use crate::model::frame::{Answer, Location, SymbolHit, Trust};
use crate::model::group::{Member, Tally};
use crate::model::image::{Basis, ImageClaim, ImageId};
use crate::model::stack::{Known, Lookup, RawFrame, Role, Span, Stack, StackKind};
use crate::model::zone::Zone;
use crate::note::Note;

/// The format.
pub struct KstackJson;

/// The id of the format.
pub const ID: &str = "kstack-json";

/// The version that is read.
const SCHEMA: &str = "kstack/1";
/// What every document begins with, blanks aside.
const BEGIN: &[u8] = b"{\"schema\":\"kstack/";

impl Format for KstackJson {
    fn id(&self) -> &'static str {
        ID
    }
    fn about(&self) -> &'static str {
        "kstack's own JSON and NDJSON, of symbolicate and of group"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn is_document(&self) -> bool {
        true
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        let start: Vec<u8> = head.iter().filter(|b| !b.is_ascii_whitespace()).take(BEGIN.len()).copied().collect();
        if start == BEGIN { Confidence::Certain } else { Confidence::No }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        self.parts(text).into_iter().next().map(|part| part.capture).unwrap_or_default()
    }

    fn parts(&self, text: &[u8]) -> Vec<Part> {
        let mut reader = Reader { text, ..Reader::default() };
        let mut at = 0;
        while at < text.len() {
            let mut documents = serde_json::Deserializer::from_slice(&text[at..]).into_iter::<Document<'_>>();
            match documents.next() {
                None => break,
                Some(Ok(document)) => {
                    at += documents.byte_offset();
                    reader.document(document);
                }
                Some(Err(error)) => {
                    reader.damaged(at, &error);
                    at = memchr::memchr(b'\n', &text[at..]).map_or(text.len(), |n| at + n + 1);
                }
            }
        }
        reader.finish()
    }
}

/// More than these are not said: the rest of such an input is like its beginning.
const MOST_NOTES: usize = 20;

/// What makes an answer: symbol, offset, size, trust, locations.
type Fact = (String, Option<u64>, Option<u64>, String, Vec<JsonLocation>);

/// Source, system, and what is said of the addresses.
type Key = (Option<String>, Option<String>, Option<String>);

#[derive(Default)]
struct Reader<'t> {
    text: &'t [u8],
    parts: Vec<Part>,
    /// The part of each source and system.
    index: FxHashMap<Key, usize>,
    /// For each part, the answers that are there already.
    facts: Vec<FxHashMap<Fact, Known>>,
    /// For each part, the zones that are there already: older versions repeat them with every stack.
    zones: Vec<FxHashSet<Zone>>,
    notes: Vec<Note>,
}

impl<'t> Reader<'t> {
    fn document(&mut self, mut document: Document<'t>) {
        if document.schema != SCHEMA {
            let text = format!("is {}, which this version does not know; only what kstack/1 has is read", document.schema);
            self.note(text);
        }
        for mut head in document.reports {
            head.addresses = head.addresses.or_else(|| slid(head.slide.as_deref()));
            self.zones([&head.source, &head.os, &head.addresses], std::mem::take(&mut head.zones));
            // Of groups the reports have but heads.
            if document.groups.is_empty() || !head.stacks.is_empty() {
                self.report(head);
            }
        }
        self.zones([&document.source, &document.os, &document.addresses], document.zone.into_iter().chain(document.zones).collect());
        if !document.tasks_with_locks.is_empty() && document.stack.is_none() {
            let first = document.groups.first().map(|group| (group.os.clone(), group.addresses.clone()));
            let (os, addresses) = first.unwrap_or_else(|| (document.os.clone(), document.addresses.clone()));
            let part = self.part(None, os, addresses);
            self.parts[part].capture.tasks_with_locks.extend(std::mem::take(&mut document.tasks_with_locks).into_iter().map(task));
        }
        for group in document.groups {
            self.group(group);
        }
        if let Some(stack) = document.stack {
            let Document { source, os, arch, kernel_version, slide, addresses, title, guilty, tasks_with_locks, images, .. } = document;
            self.report(Head {
                source,
                os,
                arch,
                kernel_version,
                slide,
                addresses,
                title,
                guilty,
                tasks_with_locks,
                zones: Vec::new(),
                images,
                stacks: vec![stack],
            });
        } else if let Some(frames) = document.frames {
            let Document { count, bytes, kind, title, blamed, os, addresses, states, wait_channels, processes, members, .. } = document;
            self.group(Group { count, bytes, kind, title, blamed, os, addresses, states, wait_channels, processes, members, frames });
        }
    }

    fn damaged(&mut self, at: usize, error: &serde_json::Error) {
        if self.notes.len() < MOST_NOTES {
            let line = lex::line_number(self.text, at) + error.line().saturating_sub(1);
            self.note(format!("line {line}: no JSON document of kstack ({error}); passed over, what follows is read"));
        }
    }

    fn note(&mut self, text: String) {
        if self.notes.len() < MOST_NOTES {
            self.notes.push(Note::warning("", text));
        }
    }

    fn finish(mut self) -> Vec<Part> {
        if self.parts.is_empty() {
            self.part(None, None, None);
        }
        self.parts[0].capture.notes = self.notes;
        // They were written by rank.
        self.parts.iter_mut().for_each(|part| part.capture.zones.sort_by_key(|zone| zone.line));
        self.parts
    }

    /// The part for a source, its system, and what is said of its addresses.
    fn part(&mut self, source: Option<String>, os: Option<String>, addresses: Option<String>) -> usize {
        let (parts, facts, zones) = (&mut self.parts, &mut self.facts, &mut self.zones);
        *self.index.entry((source, os, addresses)).or_insert_with_key(|(source, os, addresses)| {
            let os = os.as_deref().and_then(Os::by_name);
            let basis = addresses.as_deref().and_then(Basis::by_name);
            let capture = Capture { format: KstackJson.id(), os, basis, listed: true, ..Capture::default() };
            parts.push(Part { source: source.clone(), capture, ..Part::default() });
            facts.push(FxHashMap::default());
            zones.push(FxHashSet::default());
            parts.len() - 1
        })
    }

    /// Takes the zones of a report, each once.
    fn zones(&mut self, [source, os, addresses]: [&Option<String>; 3], list: Vec<JsonZone>) {
        if list.is_empty() {
            return;
        }
        let part = self.part(source.clone(), os.clone(), addresses.clone());
        for zone in list.into_iter().map(zone) {
            if self.zones[part].insert(zone.clone()) {
                self.parts[part].capture.zones.push(zone);
            }
        }
    }

    fn report(&mut self, head: Head<'t>) {
        let slide = head.slide.as_deref().and_then(parse_hex);
        let part = self.part(head.source, head.os, head.addresses.or_else(|| slid(head.slide.as_deref())));
        let capture = &mut self.parts[part].capture;
        capture.slide = capture.slide.or(slide.map(Slide).filter(|_| capture.basis == Some(Basis::Runtime)));
        capture.arch = capture.arch.or(head.arch.as_deref().and_then(Arch::by_name));
        capture.kernel_version = capture.kernel_version.take().or(head.kernel_version);
        capture.crash = capture.crash.take().or(crash(head.title, head.guilty, capture.stacks.len()));
        capture.tasks_with_locks.extend(head.tasks_with_locks.into_iter().map(task));
        for image in head.images {
            if !capture.images.iter().any(|known| known.name == image.name) {
                let basis = capture.basis.unwrap_or(Basis::Runtime);
                capture.images.push(ImageClaim { basis, ..claim(image) });
            }
        }
        for stack in head.stacks {
            let stack = self.stack(part, stack);
            self.parts[part].capture.stacks.push(stack);
        }
    }

    fn stack(&mut self, part: usize, stack: JsonStack<'t>) -> Stack {
        let told = annotations(stack.held_locks, stack.waits_for, [stack.workqueue, stack.command_line, stack.cgroup]);
        let told = match stack.woken_by {
            Some(waker) => waker.woke(told),
            None => told,
        };
        Stack {
            kind: stack.kind.as_deref().and_then(StackKind::by_name).unwrap_or_default(),
            title: stack.title,
            pid: stack.pid,
            tid: stack.tid,
            process: stack.process,
            thread: stack.thread,
            cpu: stack.cpu,
            state: stack.state,
            wait_channel: stack.wait_channel,
            count: stack.count.unwrap_or(1),
            line: stack.line.unwrap_or(1),
            aside: stack.aside,
            bytes: stack.bytes,
            blamed: stack.blamed.map(blamed),
            code: stack.code.into_iter().filter_map(kstack_code::code).collect(),
            annotations: told,
            frames: stack.frames.into_iter().map(|frame| self.frame(part, frame)).collect(),
            user_frames: stack.user_frames.into_iter().map(|frame| self.frame(part, frame)).collect(),
            ..Stack::default()
        }
    }

    /// A group is a stack that many threads share. What its members have in common stays known of it.
    fn group(&mut self, group: Group<'t>) {
        let part = self.part(None, group.os, group.addresses);
        let one = |member: JsonMember| Member {
            source: member.source,
            stack: member.stack,
            pid: member.pid,
            tid: member.tid,
            process: member.process,
            state: member.state,
            annotations: annotations(member.held_locks, member.waits_for, [member.workqueue, None, None]),
            count: member.count.unwrap_or(1),
        };
        let members = group.members.into_iter().map(one).collect();
        let tally = Tally { states: group.states, wait_channels: group.wait_channels, processes: group.processes, members };
        let only = |counts: &Counts| if counts.len() == 1 { counts.keys().next().cloned() } else { None };
        let stack = Stack {
            kind: group.kind.as_deref().and_then(StackKind::by_name).unwrap_or_default(),
            title: group.title,
            blamed: group.blamed.map(blamed),
            state: only(&tally.states),
            wait_channel: only(&tally.wait_channels),
            process: only(&tally.processes),
            count: group.count.unwrap_or(1),
            bytes: group.bytes,
            line: 1,
            frames: group.frames.into_iter().map(|frame| self.frame(part, frame)).collect(),
            tally: Some(Box::new(tally)),
            ..Stack::default()
        };
        self.parts[part].capture.stacks.push(stack);
    }

    fn frame(&mut self, part: usize, frame: JsonFrame<'t>) -> RawFrame {
        let (text, module) = (self.span(frame.symbol), self.span(frame.module));
        let underscored = frame.underscored && text.of(self.text, 0).starts_with(b"_");
        let symbol = Span { start: text.start + u32::from(underscored), ..text };
        RawFrame {
            address: frame.address.as_deref().and_then(parse_hex).map(Avma),
            offset: frame.offset.or(frame.image_offset),
            size: frame.size,
            line: frame.line.unwrap_or(1),
            text,
            symbol,
            underscored,
            module,
            role: frame.role.as_deref().and_then(Role::by_name).unwrap_or_default(),
            lookup: if frame.exact { Lookup::Exact } else { Lookup::Return },
            reliable: frame.reliable.unwrap_or(true),
            known: self.known(part, frame),
            ..RawFrame::default()
        }
    }

    /// Where a string stands in the text, without its quotes. Escapes in it, which no name of a compiler has, stay as they are.
    fn span(&self, raw: Option<&'t RawValue>) -> Span {
        let Some(raw) = raw.map(RawValue::get).filter(|raw| raw.len() > 2 && raw.starts_with('"')) else { return Span::default() };
        let start = raw.as_ptr() as usize - self.text.as_ptr() as usize;
        let end = u32::try_from(start + raw.len() - 1);
        end.map_or(Span::default(), |end| Span { start: start as u32 + 1, end })
    }

    /// What the earlier run found out about a frame, each fact once.
    fn known(&mut self, part: usize, frame: JsonFrame<'t>) -> Option<Known> {
        let mut symbol = frame.symbol.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok())?;
        if frame.underscored && symbol.starts_with('_') {
            symbol.remove(0);
        }
        let trust = frame.trust.unwrap_or_default();
        let fact = (symbol, frame.offset, frame.size, trust, frame.locations);
        if let Some(known) = self.facts[part].get(&fact) {
            return Some(*known);
        }
        let answers = &mut self.parts[part].capture.known;
        let known = Known(u32::try_from(answers.len()).ok()?);
        answers.push(answer(&fact));
        self.facts[part].insert(fact, known);
        Some(known)
    }
}

/// The crash of a report. Where its stack is, the stacks themselves tell.
fn answer((symbol, offset, size, trust, locations): &Fact) -> Answer {
    let location = |location: &JsonLocation| Location {
        function: location.function.as_deref().map(Into::into),
        file: location.file.as_deref().map(Into::into),
        file_prefix: 0,
        line: location.line,
        column: location.column,
        inlined: location.inlined,
        ..Location::default()
    };
    Answer {
        image: None,
        symbol: Some(SymbolHit { name: symbol.as_str().into(), start: Svma(0), size: *size, contains: true }),
        offset: *offset,
        locations: locations.iter().map(location).collect(),
        trust: Trust::by_name(trust).filter(|trust| *trust != Trust::Unresolved).unwrap_or(Trust::Unverified),
        reason: None,
        candidates: Vec::new(),
    }
}

/// What a slide says of the addresses: one that is no zero is stated of run-time addresses alone.
fn slid(slide: Option<&str>) -> Option<String> {
    slide.and_then(parse_hex).filter(|slide| *slide != 0).map(|_| Basis::Runtime.name().to_string())
}

fn claim(image: Image) -> ImageClaim {
    let address = |text: &Option<String>| text.as_deref().and_then(parse_hex).map(Avma);
    let id = image.uuid.as_deref().and_then(|id| ImageId::parse(id).or_else(|| ImageId::parse_build(id.as_bytes())));
    ImageClaim {
        name: image.name,
        version: image.version,
        id,
        load: address(&image.load_address),
        size: image.size,
        exec: address(&image.exec_address),
        exec_size: image.exec_size,
        kernel: image.kernel,
        line: 1,
        ..ImageClaim::default()
    }
}
