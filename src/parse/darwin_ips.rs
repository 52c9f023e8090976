//! What macOS and iOS write as `.ips` and `.panic` since 11: a line of JSON that says what the report is, and a JSON object with the panic's
//! text, a stackshot, or both.
//!
//! ```text
//! {"bug_type":"210","timestamp":"2024-01-15 18:07:27.00 +0100","os_version":"macOS 14.2 (23C71)",…}
//! {"build":"macOS 14.2 (23C71)","kernel":"Darwin Kernel Version …","panicString":"panic(cpu 5 caller 0x…): …",
//!  "binaryImages":[["da335ed2-…",18446741874803916800,"T"],…],
//!  "processByPid":{"0":{"procname":"kernel_task","threadById":{"109":{"state":["TH_WAIT","TH_UNINT"],"waitEvent":[1,…],
//!   "kernelFrames":[[0,12728],[2,84],…]}}}}}
//! ```
//! bug_type 210 is a panic (110 in the first releases), 288 a stackshot; both are read alike, whatever the number. The object is compact or
//! indented, stands alone, or below other text. A panic and its stackshot become two reports, because the one has run-time addresses and
//! the other unslid ones. Samples: panic-full of macOS 14 and 26 (`kernelFrames` innermost first, the innermost a pc).

use memchr::memmem;

use super::darwin_ips_images::Images;
use super::darwin_ips_threads::Threads;
use super::json_text::{base64, has_key, next_object};
use super::json_walk::{Json, Mark};
use super::{Confidence, Format, Holds, Part, darwin_kcdata, darwin_waits};
use crate::model::addr::{Arch, Slide, parse_hex};
use crate::model::capture::{Capture, Os};
use crate::model::image::{Basis, ImageId};
use crate::note::Note;

/// The format.
pub struct DarwinIps;

/// The id of the format.
pub const ID: &str = "darwin-stackshot-json";
/// The id of the format that reads a panic's text.
const PANIC: &str = "darwin-panic";

/// Keys with which an object is one of these reports for certain.
const OWN_KEYS: &[&[u8]] =
    &[b"\"processByPid\"", b"\"threadById\"", b"\"kernelFrames\"", b"\"panicString\"", b"\"macOSPanicString\"", b"\"binaryImages\""];

impl Format for DarwinIps {
    fn id(&self) -> &'static str {
        ID
    }
    fn about(&self) -> &'static str {
        "JSON of .ips and .panic files, macOS 11 and later: panic-full and stackshot"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn is_document(&self) -> bool {
        true
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        if OWN_KEYS.iter().any(|key| has_key(head, key)) {
            Confidence::Certain
        } else if head.trim_ascii_start().starts_with(b"{") && has_key(head, b"\"bug_type\"") {
            Confidence::Likely
        } else {
            Confidence::No
        }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let mut parts = self.parts(text);
        let at = parts.iter().position(|part| part.capture.format == ID).unwrap_or(0);
        parts.swap_remove(at).capture
    }

    fn parts(&self, text: &[u8]) -> Vec<Part> {
        let mut parts: Vec<Part> = read(text).into_iter().flat_map(Report::parts).collect();
        if parts.is_empty() {
            parts.push(Part { capture: nothing(), ..Part::default() });
        }
        parts
    }
}

/// A capture of an input that says nothing about the kernel.
fn nothing() -> Capture {
    let text =
        "has neither the text of a panic (panicString) nor a stackshot (processByPid): a report about a program, or cut off before them";
    Capture { format: ID, os: Some(Os::Darwin), listed: true, notes: vec![Note::failure("", text)], ..Capture::default() }
}

/// One report, as far as it is read.
#[derive(Default)]
struct Report<'t> {
    kernel: Option<String>,
    build: Option<String>,
    /// `panicString` and `macOSPanicString`, decoded.
    panics: Vec<String>,
    /// Base64 of a stackshot that another chip keeps for the Mac.
    packed: Vec<String>,
    images: Images,
    threads: Threads<'t>,
    /// Whether there is a stackshot.
    stackshot: bool,
    /// Where a stackshot begins that was passed over because the images came after it.
    deferred: Option<Mark>,
    notes: Vec<Note>,
}

/// Every report of the input. Each object adds to the same report until one of them had stacks or a panic in it.
fn read(text: &[u8]) -> Vec<Report<'_>> {
    let mut json = Json::new(text, 0);
    let mut reports = Vec::new();
    let mut report = Report::default();
    while let Some(at) = next_object(text, json.at()) {
        json.go_on(at);
        report.object(&mut json);
        if report.has_something() {
            reports.push(std::mem::take(&mut report));
        }
        if let Some(stop) = json.stopped() {
            // Below damage only a line that begins a new object can be trusted to be one.
            let Some(line) = memmem::find(&text[stop.at..], b"\n{") else { break };
            json.go_on(stop.at + line + 1);
        }
    }
    if reports.is_empty() {
        report.panics.extend(loose_panic(text));
        reports.extend(report.has_something().then_some(report));
    }
    reports
}

/// The panic's text where the poster quoted its line of the object alone.
fn loose_panic(text: &[u8]) -> Option<String> {
    let keys = [&b"\"panicString\""[..], b"\"macOSPanicString\""];
    let (at, key) = keys.iter().find_map(|key| Some((memmem::find(text, key)?, key)))?;
    let value = at + key.len();
    let colon = value + text[value..].iter().position(|byte| !byte.is_ascii_whitespace()).filter(|n| text[value + n] == b':')?;
    Json::new(text, colon + 1).string().map(|text| text.into_owned())
}

impl<'t> Report<'t> {
    fn has_something(&self) -> bool {
        self.stackshot || !self.panics.is_empty() || !self.packed.is_empty()
    }

    fn object(&mut self, json: &mut Json<'t>) {
        json.members(|json, key| self.member(json, key));
        let stop = json.stopped();
        let end = json.mark();
        if let Some(mark) = self.deferred.take() {
            json.back(&mark);
            self.threads.read(json, &self.images);
            json.back(&end);
        }
        let Some(stop) = stop else { return };
        json.go_on(stop.at);
        let (line, _) = json.line();
        let text = format!(
            "the JSON is cut off or damaged at byte {} (line {line}): {} expected; what stands before is used: {} threads",
            stop.at,
            stop.wanted,
            self.threads.stacks.len()
        );
        self.notes.push(Note::warning("", text));
        json.halt(stop);
    }

    fn member(&mut self, json: &mut Json<'t>, key: &str) {
        match key {
            "kernel" => self.kernel = string(json).or(self.kernel.take()),
            "build" | "os_version" => self.build = self.build.take().or(string(json)),
            "panicString" | "macOSPanicString" => self.panics.extend(string(json).filter(|text| !text.trim().is_empty())),
            "macOSProcessedStackshotData" => self.packed.extend(string(json)),
            "binaryImages" => self.images.read(json),
            "processByPid" => {
                self.stackshot = true;
                if self.images.is_empty() {
                    self.deferred = Some(json.mark());
                    json.skip();
                } else {
                    self.threads.read(json, &self.images);
                }
            }
            _ => {}
        }
    }

    /// The panic, then the stackshot, as far as there are any.
    fn parts(mut self) -> Vec<Part> {
        let kernel_line = |name: &str| self.panics.iter().find_map(|panic| field(panic, name));
        let kernel_id = kernel_line("Kernel UUID:").and_then(ImageId::parse);
        let slide = kernel_line("Kernel slide:").and_then(parse_hex).map(Slide);
        let mut parts: Vec<Part> = std::mem::take(&mut self.panics).into_iter().map(panic).collect();
        for packed in std::mem::take(&mut self.packed) {
            parts.extend(unpack(&packed, &mut self.notes));
        }
        if self.stackshot {
            let capture = self.stackshot(kernel_id, slide);
            parts.push(Part { capture, ..Part::default() });
        } else if let Some(part) = parts.first_mut() {
            part.capture.notes.append(&mut self.notes);
        }
        parts
    }

    fn stackshot(mut self, kernel_id: Option<ImageId>, slide: Option<Slide>) -> Capture {
        self.notes.extend(self.threads.notes());
        self.notes.extend(self.images.notes());
        let mut stacks = self.threads.stacks;
        darwin_waits::attach(&mut stacks, self.threads.told);
        let mut images = self.images.claims;
        images.iter_mut().for_each(|claim| claim.kernel = kernel_id.is_some() && claim.id == kernel_id);
        let addresses = || stacks.iter().flat_map(|stack| &stack.frames).filter_map(|frame| frame.address);
        let arch = self.kernel.as_deref().and_then(arch_of).or_else(|| addresses().find_map(Arch::of_darwin_address));
        Capture {
            format: ID,
            os: Some(Os::Darwin),
            arch,
            kernel_version: self.kernel,
            os_build: self.build.as_deref().and_then(build_of),
            slide,
            basis: Some(Basis::Unslid),
            images,
            stacks,
            listed: true,
            notes: self.notes,
            ..Capture::default()
        }
    }
}

fn string(json: &mut Json<'_>) -> Option<String> {
    json.string().map(|text| text.into_owned())
}

/// What stands behind `name` in a line of a panic's text.
fn field<'p>(panic: &'p str, name: &str) -> Option<&'p str> {
    panic.lines().find_map(|line| line.trim_start().strip_prefix(name)).map(str::trim)
}

/// The architecture that a kernel version names at its end: `…/RELEASE_ARM64_T6000`.
pub fn arch_of(version: &str) -> Option<Arch> {
    let target = version.rsplit('/').next()?;
    [("ARM64", Arch::Arm64), ("X86_64", Arch::X86_64), ("I386", Arch::I386)]
        .into_iter()
        .find(|(name, _)| target.contains(name))
        .map(|(_, arch)| arch)
}

/// `23C71` of `macOS 14.2 (23C71)`.
fn build_of(version: &str) -> Option<String> {
    let build = version.rsplit_once('(')?.1.strip_suffix(')')?;
    (!build.is_empty()).then(|| build.to_string())
}

/// The panic's own text, as the format that reads such text sees it.
fn panic(text: String) -> Part {
    let text = text.into_bytes();
    let capture = super::by_id(PANIC).map_or_else(
        || {
            let note = "the text of the panic is not read by this version of kstack; it is written as it is";
            Capture { format: "unknown", os: Some(Os::Darwin), notes: vec![Note::warning("", note)], ..Capture::default() }
        },
        |format| format.parse(&text),
    );
    Part { text: Some(text), capture, ..Part::default() }
}

/// A stackshot in base64. A Mac whose other chip found none has a sentence there.
fn unpack(packed: &str, notes: &mut Vec<Note>) -> Vec<Part> {
    let (bytes, _) = base64(packed.as_bytes());
    let parts = if darwin_kcdata::DarwinKcdata.sniff(&bytes) > Confidence::No {
        darwin_kcdata::DarwinKcdata.parts(&bytes)
    } else if DarwinIps.sniff(&bytes) == Confidence::Certain {
        DarwinIps.parts(&bytes)
    } else {
        let said = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
        notes.push(Note::warning("", format!("macOSProcessedStackshotData holds no stackshot, but `{}`", said.trim())));
        Vec::new()
    };
    let own = |part: Part| Part { text: part.text.or_else(|| Some(bytes.clone())), ..part };
    parts.into_iter().map(own).collect()
}
