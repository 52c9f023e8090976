//! One report with everything found out about it, and the name that each of its frames goes by.
//!
//! What groups, judges or writes frames asks [`Report::named`]: a symbol file's answer where there is one, else what the report itself
//! prints. Nobody else decides between the two.

use std::borrow::Cow;

use crate::model::capture::{Capture, Os};
use crate::model::frame::{Answer, Trust};
use crate::model::stack::{RawFrame, Span};
use crate::parse::darwin_bases;
use crate::place::{Image, Layout};
use crate::resolve::Resolved;
use crate::title::Crash;

/// One report with everything found out about it.
#[derive(Clone, Copy)]
pub struct Report<'a> {
    /// Where it came from.
    pub source: &'a str,
    /// Its bytes.
    pub text: &'a [u8],
    /// What it says.
    pub capture: &'a Capture,
    /// Its images.
    pub layout: &'a Layout,
    /// The answers to its frames.
    pub resolved: &'a Resolved,
    /// The crash that it is about, as [`title::of`](crate::title::of) found it; `None` too where nobody asked.
    pub crash: Option<&'a Crash>,
}

/// The name that a frame goes by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named<'a> {
    /// Image or module; `None` for the Linux kernel itself, as Linux prints it, and where nothing is known.
    pub module: Option<Cow<'a, str>>,
    /// Function, with compiler suffixes; `None` where neither a symbol file nor the report names one.
    pub symbol: Option<Cow<'a, str>>,
    /// Bytes from the start of the function to the frame's address.
    pub offset: Option<u64>,
    /// Size of the function in bytes, up to the next symbol.
    pub size: Option<u64>,
    /// Whether the name is the report's own; nobody has compared it with a file.
    pub by_report: bool,
    /// How far the name is to be trusted.
    pub trust: Trust,
}

/// What kernels of different systems are called in their reports: the image that all of them have.
const KERNELS: &[&str] = &["mach_kernel", "kernel", "com.apple.kernel", "vmlinux", "unix", "genunix", "netbsd", "bsd"];

impl<'a> Report<'a> {
    /// The name of frame `n` of stack `stack`, both counted from 0.
    pub fn named(&self, stack: usize, n: usize) -> Named<'a> {
        self.name_of(&self.capture.stacks[stack].frames[n], self.resolved.answer(stack, n))
    }

    /// The name of a frame whose answer is at hand.
    pub fn name_of(&self, frame: &RawFrame, answer: &'a Answer) -> Named<'a> {
        let named = answer.named();
        let by_report = named.is_none() && !frame.symbol.is_empty();
        Named {
            module: self.image_name(answer).or_else(|| self.printed(frame, frame.module)),
            symbol: named.map(|symbol| Cow::Borrowed(&*symbol.name)).or_else(|| self.printed(frame, frame.symbol)),
            offset: if by_report { frame.offset } else { answer.offset.filter(|_| named.is_some()) },
            size: frame.size.or(named.and_then(|symbol| symbol.size)),
            by_report,
            trust: if by_report { Trust::Unverified } else { answer.trust },
        }
    }

    /// Whether a frame lies in the kernel itself, whatever its system calls it.
    pub fn is_in_kernel(&self, stack: usize, n: usize) -> bool {
        let image = self.resolved.answer(stack, n).image.map(|image| &self.layout.images[image]);
        let is_kernel =
            |name: &str| self.capture.kernel_name.as_deref() == Some(name) || KERNELS.contains(&name) || darwin_bases::is_kernel(name);
        image.is_some_and(|image| image.kernel) || self.named(stack, n).module.is_some_and(|name| is_kernel(&name))
    }

    /// Whether the frame's name is the report's own and stands there behind the underscore of Mach-O. What a symbol file names has an
    /// image; what an earlier run or a torn line left has none.
    pub fn keeps_underscore(&self, frame: &RawFrame, answer: &Answer) -> bool {
        frame.underscored && (answer.named().is_none() || answer.image.is_none())
    }

    /// The image that an answer lies in. Linux prints none for the kernel itself.
    fn image_name(&self, answer: &Answer) -> Option<Cow<'a, str>> {
        let unnamed = |image: &&Image| image.kernel && self.capture.os == Some(Os::Linux);
        let image = answer.image.map(|image| &self.layout.images[image]).filter(|image| !unnamed(image));
        image.map(|image| Cow::Borrowed(image.name.as_str()))
    }

    /// What the report prints at a span of the frame's line.
    pub fn printed(&self, frame: &RawFrame, span: Span) -> Option<Cow<'a, str>> {
        Some(span).filter(|span| !span.is_empty()).map(|span| String::from_utf8_lossy(span.of(self.text, frame.line_start)))
    }

    /// `path:line` that an earlier tool had appended to the frame, taken apart.
    pub fn printed_location(&self, frame: &RawFrame) -> Option<(&'a str, Option<u32>)> {
        let place = std::str::from_utf8(frame.location.of(self.text, frame.line_start)).ok()?;
        let place = Some(place).filter(|place| !place.is_empty() && !place.ends_with("(ambiguous)"))?;
        let (file, last) = place.rsplit_once(':')?;
        // crash writes a blank before the line.
        let number = |text: &str| text.trim_start().parse::<u32>().ok();
        // Behind the line there can be a column.
        match file.rsplit_once(':').and_then(|(file, line)| Some((file, number(line)?))) {
            Some((file, line)) if number(last).is_some() => Some((file, Some(line))),
            _ => Some((file, number(last))),
        }
    }

    /// The source file that a frame stands in, innermost inlined function first: as looked up, else as the report says.
    pub fn file(&self, stack: usize, n: usize) -> Option<&'a str> {
        let located = self.resolved.answer(stack, n).locations.first().and_then(|location| location.short_file());
        located.or_else(|| Some(self.printed_location(&self.capture.stacks[stack].frames[n])?.0))
    }
}

/// Keeps the stacks for which `keep` holds, told their number, and the answers to their frames.
pub fn retain(capture: &mut Capture, resolved: &mut Resolved, keep: impl Fn(usize) -> bool) {
    let stacks = std::mem::take(&mut capture.stacks).into_iter().zip(std::mem::take(&mut resolved.frames));
    (capture.stacks, resolved.frames) = stacks.enumerate().filter(|(n, _)| keep(*n)).map(|(_, kept)| kept).unzip();
    let mut numbers = vec![u32::MAX; resolved.answers.len()];
    let mut old: Vec<Option<Answer>> = std::mem::take(&mut resolved.answers).into_iter().map(Some).collect();
    resolved.firsts.clear();
    for (stack, frames) in resolved.frames.iter_mut().enumerate() {
        for (n, answer) in frames.iter_mut().enumerate() {
            if let Some(moved) = old[*answer as usize].take() {
                numbers[*answer as usize] = resolved.answers.len() as u32;
                resolved.answers.push(moved);
                resolved.firsts.push((stack as u32, n as u32));
            }
            *answer = numbers[*answer as usize];
        }
    }
}
