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

/// Index of the first frame that tells more than that a thread waits, or elsewhere than that something is reported; else of the first
/// of the chain.
pub fn interesting(stack: &Stack, marks: impl Fn(usize) -> Mark) -> Option<usize> {
    let chain = || stack.frames.iter().enumerate().filter(|(_, frame)| frame.reliable && frame.role != Role::Inline);
    let says_nothing = |mark: Mark| if stack.kind == StackKind::Thread { mark.plumbing } else { mark.plumbing || mark.reporting };
    let telling = chain().find(|(n, _)| !says_nothing(marks(*n)));
    telling.or_else(|| chain().next()).map(|(n, _)| n)
}

/// What stands for a report's text in a key.
pub struct Texts {
    /// The number of each state, wait channel or process name, by stack; empty when stacks are compared by frames.
    of_stack: Vec<NameId>,
}

impl Texts {
    /// Gives numbers to what `by` compares, if it compares texts.
    pub fn of(stacks: &[Stack], by: By, naming: &mut Naming) -> Texts {
        let text = |stack: &Stack| match by {
            By::WaitChannel => Some(stack.wait_channel.clone()),
            By::State => Some(stack.state.clone()),
            By::Process => Some(stack.process.clone()),
            _ => None,
        };
        let one = |stack| text(stack).map(|text| naming.text(&text.unwrap_or_default()));
        Texts { of_stack: stacks.iter().map_while(one).collect() }
    }
}

/// Writes the key of stack `at` into `key`: its kind and what `by` compares.
pub fn write(key: &mut Vec<u32>, by: By, at: usize, stack: &Stack, answers: &[u32], marks: &[Mark], texts: &Texts) {
    key.clear();
    key.push(stack.kind as u32);
    let frames = stack.frames.iter().zip(answers).map(|(frame, answer)| (frame, &marks[*answer as usize]));
    let names = || frames.clone().filter(|(frame, mark)| counts(frame, mark)).map(|(_, mark)| mark.name);
    match by {
        By::Functions => key.extend(names()),
        By::Stack => key.extend(frames.map(|(frame, mark)| mark.exact << 1 | u32::from(frame.reliable))),
        By::Modules => key.extend(names()),
        By::Top(count) => {
            let from = interesting(stack, |n| marks[answers[n] as usize]).unwrap_or(0);
            key.extend(frames.skip(from).filter(|(frame, mark)| counts(frame, mark)).map(|(_, mark)| mark.name).take(count));
        }
        By::WaitChannel | By::State | By::Process => key.extend(texts.of_stack.get(at)),
    }
}
