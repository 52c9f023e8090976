//! The frame to look at first.

use super::kind::{Case, Seat};
use super::scene::Scene;
use super::skip::SkipList;
use crate::model::crash::Guilty;
use crate::model::stack::Role;
use crate::names::base_name;

/// The guilty frame of `case`.
pub fn find(scene: &Scene<'_, '_>, case: &Case, skip: &SkipList) -> Option<Guilty> {
    let interrupt = |function: &str| skip.class(function, "") == Some("interrupt");
    let mut seats = scene.seats(case.kind.from, interrupt);
    if case.kind.from == Seat::Trace
        && let Some((function, file)) = mentioned(&scene.message)
    {
        // Stacks of other reports stand between, and the headline's own may be lost: then what it names is all that is certain.
        seats.sort_by_key(|(stack, _)| !scene.has(*stack, &function));
        if !seats.first().is_some_and(|(stack, _)| scene.has(*stack, &function)) && skip.class(&function, case.kind.set).is_none() {
            return Some(said(&function, file));
        }
    }
    let walk = |(stack, start): (usize, usize)| Walk { scene, skip, set: case.kind.set, stack, start };
    if case.kind.from != Seat::Place {
        return seats.into_iter().find_map(|seat| walk(seat).guilty()).or_else(|| headline(scene, case, skip));
    }
    let place = place(case.captured.last()?)?;
    let starts = |(stack, _): (usize, usize)| {
        let frames = scene.report.capture.stacks[stack].frames.len();
        let start = (0..frames).find(|n| scene.function(stack, *n).as_deref() == Some(place))?;
        Some((stack, start))
    };
    seats.into_iter().find_map(starts).and_then(|seat| walk(seat).guilty()).or_else(|| Some(said(place, None)))
}

/// What the headline itself names, `… at lib/refcount.c:25 refcount_warn_saturate+0x1/0x2`, or the line that says where execution was:
/// for reports whose stack is not there.
fn headline(scene: &Scene<'_, '_>, case: &Case, skip: &SkipList) -> Option<Guilty> {
    if case.kind.from == Seat::Nowhere || case.kind.needs_stack {
        return None;
    }
    let at_pc = || scene.following().find(|line| PC.iter().any(|pc| line.trim_start().starts_with(pc)));
    let (function, file) = mentioned(&scene.message).or_else(|| mentioned(&at_pc()?))?;
    skip.class(&function, case.kind.set).is_none().then(|| said(&function, file))
}

/// How lines begin that say where execution was.
const PC: &[&str] = &["RIP: ", "EIP: ", "pc : ", "PC is at ", "epc : ", "NIP ["];

/// The first function with an offset in a line, and the first source file.
fn mentioned(line: &str) -> Option<(String, Option<String>)> {
    let words = || line.split([' ', ',']);
    let function = words().find_map(|word| word.split_once("+0x")?.0.rsplit(':').next()).filter(|name| is_name(name))?;
    let is_source = |file: &&str| [".c", ".h", ".S", ".rs"].iter().any(|end| file.ends_with(end));
    let file = words().find_map(|word| Some(word.split_once(':')?.0).filter(is_source));
    Some((base_name(function).to_string(), file.map(str::to_string)))
}

/// The function in `[<ffffffff8168b899>] rtnl_lock+0x17/0x20`.
fn place(text: &str) -> Option<&str> {
    let text = text.trim();
    let text = if text.starts_with(['[', '<']) { text.split_once(']').map_or("", |(_, name)| name.trim()) } else { text };
    let name = text.split(['+', ' ', '(']).next().filter(|name| is_name(name))?;
    Some(base_name(name))
}

/// Whether a word can be the name of a function.
fn is_name(word: &str) -> bool {
    word.starts_with(|first: char| first.is_alphabetic() || matches!(first, '_' | '.' | '<' | '$')) && !word.contains(char::is_control)
}

/// A function that the report names in words.
fn said(function: &str, file: Option<String>) -> Guilty {
    let reason = "the report names it".to_string();
    Guilty { function: function.to_string(), module: None, file, file_of: None, reason, stack: None, frame: None }
}

/// The way from one frame outwards.
struct Walk<'s, 'a, 'r> {
    scene: &'s Scene<'a, 'r>,
    skip: &'s SkipList,
    set: &'static str,
    stack: usize,
    start: usize,
}

impl Walk<'_, '_, '_> {
    fn guilty(&self) -> Option<Guilty> {
        let judge = |frames: &[_]| self.blamed(frames).or_else(|| self.innermost_of_work(frames)).or_else(|| self.first(frames));
        // What was inlined depends on the build; it counts where nothing else does.
        let (n, function, mut reason) = judge(&self.frames(self.scene.names_inlined())).or_else(|| judge(&self.frames(true)))?;
        reason.push_str(&self.nameless(n));
        let named = self.scene.report.named(self.stack, n).module.filter(|_| !self.scene.report.is_in_kernel(self.stack, n));
        let module = named.map(|module| module.into_owned());
        let (file, file_of) = self.file(n).unzip();
        Some(Guilty { function, module, file, file_of: file_of.flatten(), reason, stack: Some(self.stack), frame: Some(n) })
    }

    /// What is to be said of frames before number `n` that nobody could name: one of them may be the guilty one.
    fn nameless(&self, n: usize) -> String {
        let frames = &self.scene.report.capture.stacks[self.stack].frames;
        match (self.start..n).filter(|n| frames[*n].reliable && self.scene.function(self.stack, *n).is_none()).count() {
            0 => String::new(),
            1 => "; 1 frame before it has no name".to_string(),
            count => format!("; {count} frames before it have no name"),
        }
    }

    /// The frames whose place in the chain is certain.
    fn frames(&self, inlined: bool) -> Vec<(usize, String)> {
        let frames = &self.scene.report.capture.stacks[self.stack].frames;
        let counts = |n: &usize| frames[*n].reliable && (inlined || frames[*n].role != Role::Inline);
        (self.start..frames.len()).filter(counts).filter_map(|n| Some((n, self.scene.function(self.stack, n)?))).collect()
    }

    fn blamed(&self, frames: &[(usize, String)]) -> Option<(usize, String, String)> {
        let blamed = |(n, function): &(usize, String)| {
            let family = self.skip.blamed(function, self.set)?;
            let title = if family == function { String::new() } else { format!("; the title has {family} for all of its kind") };
            Some((*n, function.clone(), format!("many wait here for one thing{title}")))
        };
        frames.iter().find_map(blamed)
    }

    /// The last function before the ones that only hand work on.
    fn innermost_of_work(&self, frames: &[(usize, String)]) -> Option<(usize, String, String)> {
        let end = frames.iter().position(|(_, function)| self.skip.is_outermost(function, self.set))?;
        let inner = frames[..end].iter().rev().find(|(_, function)| self.skip.class(function, self.set).is_none());
        let (n, function) = inner?;
        Some((*n, function.clone(), format!("last function before {}", frames[end].1)))
    }

    fn first(&self, frames: &[(usize, String)]) -> Option<(usize, String, String)> {
        let mut passed: Vec<(&str, usize)> = Vec::new();
        for (n, function) in frames {
            let Some(class) = self.skip.class(function, self.set) else { return Some((*n, function.clone(), reason(&passed))) };
            match passed.iter_mut().find(|(own, _)| *own == class) {
                Some((_, count)) => *count += 1,
                None => passed.push((class, 1)),
            }
        }
        None
    }

    /// The first file from the guilty frame outwards that is not too general, else the frame's own, and whose it is if not the frame's.
    /// Where work was handed on, what did it is as good a witness: the way begins where the search began. Of a frame that nobody could
    /// locate, nothing is known: a file of another function would be taken for its own.
    fn file(&self, guilty: usize) -> Option<(String, Option<String>)> {
        let frames = &self.scene.report.capture.stacks[self.stack].frames;
        let file = |n: usize| self.scene.report.file(self.stack, n).map(|file| (n, file));
        let inlined = self.with_inlined(guilty);
        let own = (inlined..=guilty).find_map(file)?;
        let start = if self.skip.has_outermost(self.set) { self.start } else { inlined };
        let mut files = (start..frames.len()).filter(|n| frames[*n].reliable).filter_map(file);
        let (n, file) = files.find(|(_, file)| !self.skip.is_general(file)).unwrap_or(own);
        let other = (!(inlined..=guilty).contains(&n)).then(|| self.scene.function(self.stack, n)).flatten();
        Some((file.trim_start_matches("./").to_string(), other))
    }

    /// The first of the functions that were inlined into that of frame `n`; they stand before it.
    fn with_inlined(&self, n: usize) -> usize {
        let frames = &self.scene.report.capture.stacks[self.stack].frames;
        (self.start..n).rev().take_while(|n| frames[*n].role == Role::Inline).last().unwrap_or(n)
    }
}

/// `first frame after 2 reporting and 1 locking frames`.
fn reason(passed: &[(&str, usize)]) -> String {
    let all: usize = passed.iter().map(|(_, count)| count).sum();
    let parts: Vec<String> = passed.iter().map(|(class, count)| format!("{count} {class}")).collect();
    let frames = if all == 1 { "frame" } else { "frames" };
    match parts.split_last() {
        None => "first frame".to_string(),
        Some((only, [])) => format!("first frame after {only} {frames}"),
        Some((last, parts)) => format!("first frame after {} and {last} {frames}", parts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_named_with_and_without_addresses() {
        assert_eq!(place("[<ffffffff8168b899>] rtnl_lock+0x17/0x20"), Some("rtnl_lock"));
        assert_eq!(place(" lock_sock include/net/sock.h:1 [inline]"), Some("lock_sock"));
        assert_eq!(place("[<      none      >] f.isra.1+0x1/0x2"), Some("f"));
        assert_eq!(place("[<c0043b54>] mxs_mmc_irq+0x1/0x2 [mxs]"), Some("mxs_mmc_irq"));
        assert_eq!(place("<ffffffff81329372>] blk_queue_bio"), Some("blk_queue_bio"));
        assert_eq!(place("  "), None);
    }

    #[test]
    fn headlines_can_name_function_and_file() {
        let found = |line: &str| mentioned(line).map(|(function, file)| (function, file.unwrap_or_default()));
        let is = |function: &str, file: &str| Some((function.to_string(), file.to_string()));
        assert_eq!(found("WARNING: CPU: 0 PID: 1 at lib/x.c:25 f.isra.0+0x1/0x2"), is("f", "lib/x.c"));
        assert_eq!(found("WARNING: lib/x.c:25 at f+0x1/0x2, CPU#1: a/1"), is("f", "lib/x.c"));
        assert_eq!(
            found("RIP: 0010:[<ffffffff8181134a>]  [<ffffffff8181134a>] next_group+0x5a/0x2e0 fs/pnode.c:172"),
            is("next_group", "fs/pnode.c")
        );
        assert_eq!(found("RIP: 0010:f+0x1/0x2"), is("f", ""));
        assert_eq!(found("BUG: soft lockup - CPU#1 stuck for 22s! [a:1]"), None);
    }

    #[test]
    fn reasons_count_what_was_passed() {
        assert_eq!(reason(&[]), "first frame");
        assert_eq!(reason(&[("reporting", 11)]), "first frame after 11 reporting frames");
        assert_eq!(reason(&[("locking", 1)]), "first frame after 1 locking frame");
        assert_eq!(reason(&[("reporting", 2), ("locking", 1), ("usb", 1)]), "first frame after 2 reporting, 1 locking and 1 usb frames");
    }
}
