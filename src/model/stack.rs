//! One stack as its report prints it: who it belongs to, and its frames, nothing resolved.

use super::addr::Avma;
use super::code::Code;
use super::crash::Blamed;
use super::frames::Frames;
use super::group::Tally;
use super::lock::{Annotations, Waker};

/// What a stack is. The names are those of the JSON form.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum StackKind {
    /// Where a thread of a hung or running system stands.
    #[default]
    Thread,
    /// Where a kernel complained or died: oops, warning, panic, sanitizer report.
    Crash,
    /// What a CPU was doing when somebody interrupted it to look: NMI backtrace, lockup, RCU stall.
    Irq,
    /// Where the object or page that a report is about was allocated, created, stored or last handed on.
    Alloc,
    /// Where that object or page was freed.
    Free,
    /// Where a lock was taken before, one for each link of a lockdep report.
    Lock,
    /// A sample of a profile.
    Sample,
}

impl StackKind {
    /// Every kind.
    pub const ALL: [StackKind; 7] =
        [StackKind::Thread, StackKind::Crash, StackKind::Irq, StackKind::Alloc, StackKind::Free, StackKind::Lock, StackKind::Sample];

    /// The kind of that JSON name.
    pub fn by_name(name: &str) -> Option<StackKind> {
        StackKind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The JSON name.
    pub fn name(self) -> &'static str {
        match self {
            StackKind::Thread => "thread",
            StackKind::Crash => "crash",
            StackKind::Irq => "irq",
            StackKind::Alloc => "alloc",
            StackKind::Free => "free",
            StackKind::Lock => "lock",
            StackKind::Sample => "sample",
        }
    }
}

/// One stack of a report, innermost frame first.
#[derive(Clone, Debug, Default)]
pub struct Stack {
    /// What the stack is.
    pub kind: StackKind,
    /// The heading the report gives it, if any.
    pub title: Option<String>,
    /// Process id; Darwin prints decimal and 0 for the kernel's own task.
    pub pid: Option<i64>,
    /// Thread id as printed (`0x4e2` on Darwin).
    pub tid: Option<String>,
    /// Process or command name. Not always UTF-8 in the report; such bytes become U+FFFD here and stay in the text form.
    pub process: Option<String>,
    /// Thread name.
    pub thread: Option<String>,
    /// CPU number.
    pub cpu: Option<u32>,
    /// State as printed, flags joined by `|` without blanks: `TH_WAIT|TH_UNINT`.
    pub state: Option<String>,
    /// What the thread waits on: an address as printed, or a name.
    pub wait_channel: Option<String>,
    /// How many threads the report says stand here; 1 unless the report itself counts.
    pub count: u64,
    /// Bytes that stand for the stack where the report counts memory: leaked, allocated, in use. `None` elsewhere.
    pub bytes: Option<u64>,
    /// Line of the report, from 1, where the stack's own text begins.
    pub line: u32,
    /// Kernel frames, innermost first.
    pub frames: Frames,
    /// What the title of the report's crash says about this stack, where it is the one that it blames.
    pub blamed: Option<Box<Blamed>>,
    /// Who stands here, where the report is one of groups; `count` says how many.
    pub tally: Option<Box<Tally>>,
    /// User-mode frames, innermost first; kept and never resolved against kernel images.
    pub user_frames: Frames,
    /// More of them, behind those, of a report that says no more of each than its address, all in line `line`. A large stackshot has millions.
    pub user_addresses: Vec<Avma>,
    /// Whether these are addresses that the report prints beside its stacks, in registers or in words: resolved, but no call chain, so
    /// that nothing is grouped, counted or judged by them.
    pub aside: bool,
    /// What the report says about the task beside its frames: locks, work queue. Few stacks have any.
    pub annotations: Option<Box<Annotations>>,
    /// Machine code that the report prints with the stack, in its order.
    pub code: Vec<Code>,
}

impl Stack {
    /// Who ended the sleep that this stack is of, if the report says so.
    pub fn waker(&self) -> Option<&Waker> {
        self.annotations.as_ref()?.woken_by.as_ref()
    }

    /// Whether this is the stack that woke the task of `next`, which stands directly behind it.
    pub fn woke(&self, next: &Stack) -> bool {
        self.aside && next.waker().is_some_and(|waker| waker.line == Some(self.line))
    }
}

/// Which byte of code a frame's address stands for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Lookup {
    /// A return address: the call is the instruction before, so `address - 1` is looked up.
    #[default]
    Return,
    /// The very instruction: an interrupted or sampled pc, or the innermost frame of a stackshot.
    Exact,
}

/// Where in the stack a frame comes from. The names are those of the JSON form.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Role {
    /// A link of the call chain.
    #[default]
    Call,
    /// An instruction pointer printed apart from the stack (`RIP:`, `PC is at`); it is then the first frame.
    Fault,
    /// A register dump in the middle of a stack: where an interrupt or exception came in.
    Regs,
    /// A frame that the report itself marks as inlined (`[inline]`).
    Inline,
}

impl Role {
    /// The role of that JSON name.
    pub fn by_name(name: &str) -> Option<Role> {
        [Role::Call, Role::Fault, Role::Regs, Role::Inline].into_iter().find(|role| role.name() == name)
    }

    /// The JSON name.
    pub fn name(self) -> &'static str {
        match self {
            Role::Call => "call",
            Role::Fault => "fault",
            Role::Regs => "regs",
            Role::Inline => "inline",
        }
    }
}

/// A piece of the report's bytes, relative to the start of its line, half open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// First byte, counted from the start of the line.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes that the span covers in a line starting at `line_start` of `text`.
    pub fn of(self, text: &[u8], line_start: u64) -> &[u8] {
        let at = |offset: u32| (line_start as usize).saturating_add(offset as usize);
        text.get(at(self.start)..at(self.end)).unwrap_or_default()
    }

    /// Whether the span holds nothing.
    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }
}

/// Index into [`super::capture::Capture::known`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Known(pub u32);

/// One frame as printed. Names are spans of the report, so that a dump of a million frames costs no million strings.
#[derive(Clone, Copy, Debug, Default)]
pub struct RawFrame {
    /// Address as printed; `None` where the report names only a symbol.
    pub address: Option<Avma>,
    /// Offset into the printed symbol, in bytes.
    pub offset: Option<u64>,
    /// Size of the printed symbol, the `/0x70` of `spl_cv_wait+0x36/0x70`, in bytes: the distance to the next symbol.
    pub size: Option<u64>,
    /// Byte offset in the report of the line that holds the frame.
    pub line_start: u64,
    /// Line of the report, from 1.
    pub line: u32,
    /// How many lines below the frame's are location lines of an earlier run, replaced when the frame is rewritten.
    pub notes: u32,
    /// The part of the line that a resolved frame replaces.
    pub text: Span,
    /// The printed symbol; empty where the report has none. The underscore that Mach-O puts before every C name is not part of it.
    pub symbol: Span,
    /// Whether that underscore stands before the symbol in the report.
    pub underscored: bool,
    /// The printed image or module; empty where the report has none.
    pub module: Span,
    /// The build id printed after the module, 40 hex digits; empty where the report has none.
    pub build_id: Span,
    /// The `path:line` of a frame that an earlier tool had located; empty where the report has none.
    pub location: Span,
    /// What the report calls an address that stands in a line of other words (`caller`, `pc`): such a line stays as it is, and what is
    /// found out goes below it. Empty for frames of a backtrace.
    pub label: Span,
    /// Which byte of code the address stands for.
    pub lookup: Lookup,
    /// Where in the stack the frame comes from.
    pub role: Role,
    /// Whether the report holds the frame for part of the chain; false for `? ` frames and their like.
    pub reliable: bool,
    /// What an earlier run of kstack found out about the frame, where its output is the report.
    pub known: Option<Known>,
}

impl RawFrame {
    /// Whether this is the 0 with which arm64 kernels end a chain, and no frame of it.
    pub fn is_end(&self) -> bool {
        self.address == Some(Avma(0)) && !self.reliable
    }

    /// The address that is looked up: the printed one, or for a return address the byte before.
    pub fn probe(&self) -> Option<Avma> {
        self.address.map(|address| match self.lookup {
            Lookup::Return => address.before(),
            Lookup::Exact => address,
        })
    }
}
