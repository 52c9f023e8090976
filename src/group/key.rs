//! What makes two stacks the same.

use std::str::FromStr;

use super::naming::{Mark, NameId, Naming};
use crate::model::stack::{RawFrame, Role, Stack, StackKind};

/// What stacks are compared by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum By {
    /// Everything that a stack's frames print: offsets, suffixes and unreliable frames too.
    Stack,
    /// The functions that the stack's fingerprint is made of.
    #[default]
    Functions,
    /// The modules that the stack runs through, innermost first, each as often as it is entered.
    Modules,
    /// The innermost functions, this many, from the interesting frame on.
    Top(usize),
    /// The wait channel.
    WaitChannel,
    /// The state.
    State,
    /// The process or command name.
    Process,
}

impl FromStr for By {
    type Err = String;
    fn from_str(text: &str) -> Result<By, String> {
        Ok(match text {
            "stack" => By::Stack,
            "functions" => By::Functions,
            "module" => By::Modules,
            "wchan" => By::WaitChannel,
            "state" => By::State,
            "process" => By::Process,
            _ => {
                let count = text.strip_prefix("top:").and_then(|count| count.parse().ok()).filter(|count| *count > 0);
                By::Top(count.ok_or("expected stack, functions, module, top:N, wchan, state or process")?)
            }
        })
    }
}

/// Whether a frame counts when functions are compared: part of the chain, and printed as a frame of its own by every report.
pub fn counts(frame: &RawFrame, mark: &Mark) -> bool {
    frame.reliable && frame.role != Role::Inline && !mark.scheduler
}

/// The frames that the functions of a stack are taken from, with their numbers: all that count, in the stack that a crash's title blames
/// those from the guilty one on. What reports a crash is another in every version of a kernel.
pub fn chain<'s>(stack: &'s Stack, marks: impl Fn(usize) -> Mark + 's) -> impl Iterator<Item = (usize, Mark)> + 's {
    let from = stack.blamed.as_ref().map_or(0, |blamed| blamed.frame);
    let marked = stack.frames.iter().enumerate().skip(from).map(move |(n, frame)| (n, frame, marks(n)));
    marked.filter(|(_, frame, mark)| counts(frame, mark)).map(|(n, _, mark)| (n, mark))
}

/// Index of the first frame that tells more than that a thread waits, or elsewhere than that something is reported or allocated; else of
/// the first of the chain.
pub fn interesting(stack: &Stack, marks: impl Fn(usize) -> Mark) -> Option<usize> {
    if let Some(blamed) = stack.blamed.as_ref().filter(|blamed| blamed.frame < stack.frames.len()) {
        return Some(blamed.frame);
    }
    let chain = || stack.frames.iter().enumerate().filter(|(_, frame)| frame.reliable && frame.role != Role::Inline);
    let says_nothing = |mark: Mark| match stack.kind {
        StackKind::Thread => mark.plumbing,
        StackKind::Alloc | StackKind::Free => mark.plumbing || mark.reporting || mark.allocator,
        _ => mark.plumbing || mark.reporting,
    };
    let telling = chain().find(|(n, _)| !says_nothing(marks(*n)));
    telling.or_else(|| chain().next()).map(|(n, _)| n)
}

/// What stands for a report's text in a key.
pub struct Texts {
    /// For each stack the number of its state, wait channel or process name; where frames are compared, of the title of its crash, or
    /// of its own if it has no frames.
    of_stack: Vec<Option<NameId>>,
}

impl Texts {
    /// Gives numbers to what `by` compares beside frames.
    pub fn of(stacks: &[Stack], by: By, naming: &mut Naming) -> Texts {
        let mut one = |stack: &Stack| match by {
            By::WaitChannel => Some(naming.text(stack.wait_channel.as_deref().unwrap_or_default())),
            By::State => Some(naming.text(stack.state.as_deref().unwrap_or_default())),
            By::Process => Some(naming.text(stack.process.as_deref().unwrap_or_default())),
            _ if stack.blamed.is_some() => stack.blamed.as_ref().map(|blamed| naming.text(&blamed.title)),
            // Two reports without a frame are not the same because both have nothing.
            _ if stack.frames.iter().any(|frame| frame.reliable) => None,
            _ => stack.title.as_deref().map(|title| naming.text(title)),
        };
        Texts { of_stack: stacks.iter().map(&mut one).collect() }
    }
}

/// Writes the key of stack `at` into `key`: its kind and what `by` compares.
pub fn write(key: &mut Vec<u32>, by: By, at: usize, stack: &Stack, answers: &[u32], marks: &[Mark], texts: &Texts) {
    key.clear();
    key.push(stack.kind as u32);
    let frames = stack.frames.iter().zip(answers).map(|(frame, answer)| (frame, &marks[*answer as usize]));
    let names = || chain(stack, |n| marks[answers[n] as usize]).map(|(_, mark)| mark.name);
    match by {
        By::Functions => key.extend(names()),
        By::Stack => key.extend(frames.map(|(frame, mark)| mark.exact << 1 | u32::from(frame.reliable))),
        By::Modules => key.extend(names()),
        By::Top(count) => {
            let from = interesting(stack, |n| marks[answers[n] as usize]).unwrap_or(0);
            key.extend(frames.skip(from).filter(|(frame, mark)| counts(frame, mark)).map(|(_, mark)| mark.name).take(count));
        }
        By::WaitChannel | By::State | By::Process => {}
    }
    key.extend(texts.of_stack[at]);
}
