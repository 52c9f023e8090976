//! The idioms in which a resolved frame can be written.

use std::borrow::Cow;
use std::fmt::Write;

use super::sanitize::visible_line;
use super::{Style, link};
use crate::model::addr::Avma;
use crate::model::frame::{Answer, Location, SymbolHit, Trust};
use crate::model::stack::{RawFrame, Role};
use crate::place::Image;

/// How frames are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Idiom {
    /// `spl_cv_wait (in net.lundman.spl) + 54 (0xffffff7f80e52a76)`, locations below: symstacks.rb and atos.
    Atos,
    /// `spl_cv_wait+0x36/0x70 [net.lundman.spl] spl-condvar.c:77`: the Linux kernel, the location appended.
    Linux,
    /// `0xffffff7f80e52a76: spl_cv_wait at spl-condvar.c:77`: `addr2line -afpi`.
    Gnu,
    /// As `atos`, with the symbol's size, the link-time address and the trust.
    Full,
}

/// Every idiom with its name.
pub const IDIOMS: &[(&str, Idiom)] = &[("atos", Idiom::Atos), ("linux", Idiom::Linux), ("gnu", Idiom::Gnu), ("full", Idiom::Full)];

/// What a symbol is called when it cannot be shown to reach the address. A reader of kstack's output knows it for no name.
const AFTER: &str = "after ";

/// ANSI sequences around the parts of a frame; empty without colour.
#[derive(Clone, Copy, Default)]
pub struct Paint {
    /// Before a symbol.
    pub symbol: &'static str,
    /// Before a location.
    pub location: &'static str,
    /// After either.
    pub reset: &'static str,
    /// Whether a location is a link to its source file (OSC 8), where that is at hand.
    pub links: bool,
}

impl Paint {
    /// Bold symbols and dim locations, or nothing.
    pub fn new(colour: bool) -> Paint {
        if colour { Paint { symbol: "\x1b[1m", location: "\x1b[2m", reset: "\x1b[0m", links: false } } else { Paint::default() }
    }

    /// What `style` wishes for.
    pub fn of(style: Style) -> Paint {
        Paint { links: style.links, ..Paint::new(style.colour) }
    }

    /// Appends `FILE:LINE:COLUMN` of a location.
    fn place(self, out: &mut String, location: &Location) {
        match location.source.as_ref().filter(|_| self.links) {
            Some(source) => {
                link::open(out, source);
                write_place(out, location);
                out.push_str(link::CLOSE);
            }
            None => write_place(out, location),
        }
    }
}

/// A frame in some idiom: what replaces the frame's text, and the lines that follow it.
#[derive(Default)]
pub struct Rewritten {
    /// Replaces the printed frame.
    pub line: String,
    /// The location alone, to be appended to what the report prints; in the Linux idiom, where one is known.
    pub place: Option<String>,
    /// Lines of their own below it, without indentation.
    pub below: Vec<String>,
}

/// Writes a resolved frame; `None` when there is nothing to say that the report does not. An image that lies nowhere has only
/// link-time addresses, which are written as such.
pub fn rewrite(address: Option<Avma>, answer: &Answer, image: Option<&Image>, idiom: Idiom, paint: Paint) -> Option<Rewritten> {
    if !answer.candidates.is_empty() {
        return Some(ambiguous(answer, paint));
    }
    let symbol = answer.symbol.as_ref()?;
    let offset = answer.offset?;
    let file_address = symbol.start.0.wrapping_add(offset);
    let address = address.map_or_else(|| format!("file {file_address:#x}"), |address| address.to_string());
    let (module, kernel) = image.map_or(("?", false), |image| (image.name.as_str(), image.kernel));
    let parts = Parts { address, symbol, offset, file_address, answer, module, kernel, paint };
    Some(match idiom {
        Idiom::Atos => parts.atos(),
        Idiom::Linux => parts.linux(),
        Idiom::Gnu => parts.gnu(),
        Idiom::Full => parts.full(),
    })
}

/// What a symbol may mean that occurs more than once: appended to what the report prints, whatever the idiom.
fn ambiguous(answer: &Answer, paint: Paint) -> Rewritten {
    const SHOWN: usize = 4;
    let places: Vec<String> = answer.candidates.iter().filter_map(|locations| place(locations.last()?)).collect();
    let more = if places.len() > SHOWN { format!(" or {} more", places.len() - SHOWN) } else { String::new() };
    let list = places[..places.len().min(SHOWN)].join(" or ");
    Rewritten { place: Some(format!(" {}{list}{more} (ambiguous){}", paint.location, paint.reset)), ..Rewritten::default() }
}

struct Parts<'a> {
    address: String,
    symbol: &'a SymbolHit,
    offset: u64,
    file_address: u64,
    answer: &'a Answer,
    module: &'a str,
    kernel: bool,
    paint: Paint,
}

impl Parts<'_> {
    /// Appends the symbol. One buffer for each line: these few functions write most of what kstack prints.
    fn name(&self, out: &mut String) {
        out.push_str(self.paint.symbol);
        out.push_str(if self.symbol.contains { "" } else { AFTER });
        out.push_str(&self.seen(&self.symbol.name));
        out.push_str(self.paint.reset);
    }

    /// A name of a symbol file. Beside links of ours it must not make any of its own.
    fn seen<'t>(&self, name: &'t str) -> Cow<'t, str> {
        if self.paint.links && name.contains('\x1b') { visible_line(name).into() } else { name.into() }
    }

    /// What the name must not be read without.
    fn doubt(&self) -> &'static str {
        if self.answer.trust == Trust::Mismatched { ", other build" } else { "" }
    }

    fn atos(&self) -> Rewritten {
        let mut line = String::with_capacity(96);
        self.name(&mut line);
        let _ = write!(line, " (in {}{}) + {} ({})", self.module, self.doubt(), self.offset, self.address);
        Rewritten { line, place: None, below: self.locations_below() }
    }

    fn full(&self) -> Rewritten {
        let mut line = String::with_capacity(128);
        self.name(&mut line);
        let _ = write!(line, " (in {}) + {}", self.module, self.offset);
        if let Some(size) = self.symbol.size {
            let _ = write!(line, "/{size}");
        }
        let _ = write!(line, " ({}, file {:#x}) {}", self.address, self.file_address, self.answer.trust.name());
        Rewritten { line, place: None, below: self.locations_below() }
    }

    fn locations_below(&self) -> Vec<String> {
        self.answer.locations.iter().flat_map(|location| self.below(location).into_iter().chain(excerpt(location))).collect()
    }

    /// `at FILE:LINE:COLUMN in FUNCTION (inlined)`.
    fn below(&self, location: &Location) -> Option<String> {
        location.short_file()?;
        let mut line = String::with_capacity(96);
        line.push_str("    ");
        line.push_str(self.paint.location);
        line.push_str("at ");
        self.paint.place(&mut line, location);
        line.push_str(" in ");
        line.push_str(&self.seen(location.function.as_deref().unwrap_or("?")));
        line.push_str(if location.inlined { " (inlined)" } else { "" });
        line.push_str(self.paint.reset);
        Some(line)
    }

    fn linux(&self) -> Rewritten {
        let size = self.symbol.size.map(|size| format!("/{size:#x}")).unwrap_or_default();
        let mut line = String::with_capacity(96);
        self.name(&mut line);
        let _ = write!(line, "+{:#x}{size}", self.offset);
        if !self.kernel {
            let _ = write!(line, " [{}{}]", self.module, self.doubt());
        } else if !self.doubt().is_empty() {
            line.push_str(" [other build]");
        }
        let (inlined, owner): (Vec<&Location>, Vec<&Location>) = self.answer.locations.iter().partition(|location| location.inlined);
        let place = owner.first().and_then(|location| self.place(location)).map(|place| format!(" {place}"));
        line.push_str(place.as_deref().unwrap_or_default());
        let doubt = if self.doubt().is_empty() { "" } else { " [other build]" };
        let appended = place.map(|place| format!("{doubt}{place}"));
        let inline = |location: &&Location| {
            let function = self.seen(location.function.as_deref().unwrap_or("?"));
            Some(format!(" {function} {} [inline]", self.place(location)?))
        };
        let inlined = inlined.iter().flat_map(|location| inline(location).into_iter().chain(excerpt(location)));
        let below = owner.iter().flat_map(|location| excerpt(location)).chain(inlined).collect();
        Rewritten { line, place: appended, below }
    }

    /// A location in its colour.
    fn place(&self, location: &Location) -> Option<String> {
        location.short_file()?;
        let mut text = self.paint.location.to_string();
        self.paint.place(&mut text, location);
        Some(text + self.paint.reset)
    }

    fn gnu(&self) -> Rewritten {
        let one = |location: &Location| {
            let function = self.seen(location.function.as_deref().unwrap_or("??"));
            let place = place(location).map_or("??:0".to_string(), |_| {
                let mut text = String::new();
                self.paint.place(&mut text, location);
                text
            });
            format!("{}{function}{} at {place}", self.paint.symbol, self.paint.reset)
        };
        let first = self.answer.locations.first().map_or_else(
            || {
                let mut level = String::new();
                self.name(&mut level);
                level + " at ??:0"
            },
            one,
        );
        let line = format!("{}: {first}{}", self.address, if self.doubt().is_empty() { "" } else { " (other build)" });
        let level = |(n, location): (usize, &Location)| {
            let named = (n > 0).then(|| format!(" (inlined by) {}", one(location)));
            named.into_iter().chain(excerpt(location)).collect::<Vec<_>>()
        };
        Rewritten { line, place: None, below: self.answer.locations.iter().enumerate().flat_map(level).collect() }
    }
}

/// The lines of the source file around a location, the one that is meant marked.
pub fn excerpt(location: &Location) -> impl Iterator<Item = String> + '_ {
    let source = location.source.as_deref();
    let lines =
        source.into_iter().flat_map(|source| source.lines.iter().zip(source.first..).map(move |(text, number)| (source, text, number)));
    lines.map(|(source, text, number)| {
        let mark = if number == source.line { '>' } else { ' ' };
        format!("    {mark}{number:>6} | {text}")
    })
}

/// A frame in one line: with its places behind it, innermost first, where the idiom has them on lines of their own.
pub fn with_places(new: &Rewritten, answer: &Answer, paint: Paint) -> String {
    let one = |location: &Location| {
        let inlined =
            if location.inlined { format!(" in {} (inlined)", location.function.as_deref().unwrap_or("?")) } else { String::new() };
        Some(format!("{}{inlined}", place(location)?))
    };
    let places: Vec<String> = answer.locations.iter().filter_map(one).collect();
    let told = places.is_empty() || new.place.is_some() || new.below.len() < places.len();
    if told { new.line.clone() } else { format!("{} {}{}{}", new.line, paint.location, places.join(", "), paint.reset) }
}

/// `FILE:LINE:COLUMN`, as far as known.
pub fn place(location: &Location) -> Option<String> {
    location.short_file()?;
    let mut text = String::with_capacity(64);
    write_place(&mut text, location);
    Some(text)
}

fn write_place(out: &mut String, location: &Location) {
    out.push_str(location.short_file().unwrap_or("??"));
    for number in [location.line, location.column.filter(|_| location.line.is_some())].into_iter().flatten() {
        let _ = write!(out, ":{number}");
    }
    // The line may be of a function that was inlined here, and nothing tells which.
    out.push_str(if location.incomplete { " (inlined calls missing)" } else { "" });
}

/// Whether a frame's answer may replace what the report prints.
pub fn improves(frame: &RawFrame, answer: &Answer) -> bool {
    // What an earlier tool has located stays as that tool wrote it.
    if !frame.location.is_empty() || frame.role == Role::Inline {
        return false;
    }
    // `after SYMBOL` tells more than a bare address, and less than a name that the report got from elsewhere.
    !answer.candidates.is_empty() || answer.named().is_some() || (answer.symbol.is_some() && frame.symbol.is_empty())
}
