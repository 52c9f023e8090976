//! Which stacks are wanted: the filters of illumos' `::stacks` (`-m`, `-c`, `-t`, `-s`), for every report.
//!
//! Values of one filter are alternatives, filters of different names must all hold, and a value that begins with `!` must not hold.

use regex::Regex;

use super::StackRef;
use super::naming::{FrameName, Mark, Naming};
use crate::model::stack::{Stack, StackKind};
use crate::names::base_name;
use crate::report::Report;

/// A value of a filter, and whether it must hold or must not.
#[derive(Clone, Debug)]
pub struct Wish<T> {
    /// What is compared.
    pub value: T,
    /// Whether a stack with it is unwanted.
    pub not: bool,
}

/// Values of one filter; none for no wish.
pub type Wishes<T> = Vec<Wish<T>>;

/// A function that a stack runs through.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Base name.
    pub name: String,
    /// Bytes from its start, when the very call is meant.
    pub offset: Option<u64>,
}

/// All filters. The default lets every stack pass.
#[derive(Clone, Default, Debug)]
pub struct Filter {
    /// A module or image that a frame lies in; a last part (`zfs` of `net.lundman.zfs`) is enough.
    pub modules: Wishes<String>,
    /// A function that the stack runs through.
    pub callers: Wishes<Caller>,
    /// An expression that matches a frame, `zio_wait [zfs]`.
    pub frames: Wishes<Regex>,
    /// An expression that matches the process or thread name.
    pub tasks: Wishes<Regex>,
    /// A process id.
    pub pids: Wishes<i64>,
    /// A thread id as printed, or in decimal.
    pub tids: Wishes<String>,
    /// A state as printed, or one of its flags.
    pub states: Wishes<String>,
    /// An expression that matches the wait channel.
    pub wait_channels: Wishes<Regex>,
    /// What the stack is.
    pub kinds: Wishes<StackKind>,
}

/// Reads `!VALUE` and `VALUE`.
///
/// # Errors
/// What `read` says about the value.
pub fn wish<T, E>(text: &str, read: impl Fn(&str) -> Result<T, E>) -> Result<Wish<T>, E> {
    let value = text.strip_prefix('!');
    Ok(Wish { value: read(value.unwrap_or(text))?, not: value.is_some() })
}

/// Reads `NAME` or `NAME+OFFSET`.
///
/// # Errors
/// When what follows the plus is no hexadecimal number.
pub fn caller(text: &str) -> Result<Caller, String> {
    let (name, offset) = match text.split_once('+') {
        Some((name, digits)) => {
            let offset = crate::model::addr::parse_hex(digits).ok_or_else(|| format!("`{digits}` is no hexadecimal offset"))?;
            (name, Some(offset))
        }
        None => (text, None),
    };
    Ok(Caller { name: base_name(name).to_string(), offset })
}

/// Whether one of the positive values holds, if there are any, and none of the negated ones. `holds` is told a value and its number.
fn passes<T>(wishes: &Wishes<T>, holds: impl Fn(usize, &T) -> bool) -> bool {
    let mut wanted = wishes.iter().all(|wish| wish.not);
    for (n, wish) in wishes.iter().enumerate() {
        match (wish.not, holds(n, &wish.value)) {
            (true, true) => return false,
            (false, true) => wanted = true,
            _ => {}
        }
    }
    wanted
}

impl Filter {
    /// Whether every stack passes.
    pub fn is_empty(&self) -> bool {
        self.of_task_is_empty() && self.modules.is_empty() && self.callers.is_empty() && self.frames.is_empty()
    }

    fn of_task_is_empty(&self) -> bool {
        self.tasks.is_empty()
            && self.pids.is_empty()
            && self.tids.is_empty()
            && self.states.is_empty()
            && self.wait_channels.is_empty()
            && self.kinds.is_empty()
    }

    /// Makes the filter ready for the frames of some reports: what a name matches is found out once.
    pub fn ready<'f>(&'f self, naming: &Naming) -> Ready<'f> {
        let each = |holds: &dyn Fn(&FrameName) -> bool| naming.names().iter().map(holds).collect();
        let modules = self.modules.iter().map(|wish| each(&|name| is_module(&name.module, &wish.value)));
        let callers = self.callers.iter().map(|wish| each(&|name| *name.function == *wish.value.name));
        let frames = self.frames.iter().map(|wish| each(&|name| wish.value.is_match(&name.to_string())));
        Ready { filter: self, modules: modules.collect(), callers: callers.collect(), frames: frames.collect() }
    }

    fn wants_task(&self, stack: &Stack) -> bool {
        let text = |text: &Option<String>, regex: &Regex| text.as_deref().is_some_and(|text| regex.is_match(text));
        passes(&self.tasks, |_, regex| text(&stack.process, regex) || text(&stack.thread, regex))
            && passes(&self.pids, |_, pid| stack.pid == Some(*pid))
            && passes(&self.tids, |_, tid| has_tid(stack, tid))
            && passes(&self.states, |_, state| has_state(stack, state))
            && passes(&self.wait_channels, |_, regex| text(&stack.wait_channel, regex))
            && passes(&self.kinds, |_, kind| stack.kind == *kind)
    }
}

fn is_module(module: &str, wanted: &str) -> bool {
    let same = |a: &str, b: &str| a.len() == b.len() && a.bytes().zip(b.bytes()).all(|(a, b)| a == b || (a == b'_' && b == b'-'));
    same(module, wanted) || module.rsplit('.').next().is_some_and(|last| same(last, wanted)) || (module.is_empty() && wanted == "kernel")
}

fn has_tid(stack: &Stack, wanted: &str) -> bool {
    let number = |text: &str| text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u64::from_str_radix(hex, 16).ok());
    // Where a report tells no thread id apart, the process id is the thread's.
    let own = stack.tid.clone().or_else(|| stack.pid.map(|pid| pid.to_string()));
    own.is_some_and(|own| own == wanted || (number(&own).is_some() && number(&own) == number(wanted)))
}

/// The whole state, or one of the flags that Darwin joins with `|`, or the letter before Linux' explanation.
fn has_state(stack: &Stack, wanted: &str) -> bool {
    let state = stack.state.as_deref().unwrap_or_default();
    state == wanted || state.split(['|', ' ']).any(|flag| flag == wanted)
}

/// A filter with the names that it holds for.
pub struct Ready<'f> {
    filter: &'f Filter,
    /// For each value, whether each name matches.
    modules: Vec<Vec<bool>>,
    callers: Vec<Vec<bool>>,
    frames: Vec<Vec<bool>>,
}

impl Ready<'_> {
    /// Whether the stack is wanted.
    pub fn wants(&self, reports: &[Report<'_>], naming: &Naming, at: StackRef) -> bool {
        let report = &reports[at.report as usize];
        let stack = &report.capture.stacks[at.stack as usize];
        let marks = naming.marks(at.report as usize);
        let answers = &report.resolved.frames[at.stack as usize];
        let reliable = || answers.iter().zip(&stack.frames).filter(|(_, frame)| frame.reliable).map(|(answer, _)| marks[*answer as usize]);
        let any = |matching: &[bool]| reliable().any(|mark| matching[mark.name as usize]);
        let at_offset = |mark: &Mark, offset: u64| naming.exact_text(mark.exact).contains(&format!("+{offset:#x} "));
        let calls = |matching: &[bool], caller: &Caller| match caller.offset {
            Some(offset) => reliable().any(|mark| matching[mark.name as usize] && at_offset(&mark, offset)),
            None => any(matching),
        };
        self.filter.wants_task(stack)
            && passes(&self.filter.modules, |n, _| any(&self.modules[n]))
            && passes(&self.filter.frames, |n, _| any(&self.frames[n]))
            && passes(&self.filter.callers, |n, caller| calls(&self.callers[n], caller))
    }
}
