//! One parsed input: what a single report or load map said.

use super::addr::{Arch, Avma, Slide};
use super::crash::Crash;
use super::frame::Answer;
use super::image::{Basis, ImageClaim};
use super::lock::TaskLocks;
use super::stack::{Span, Stack};
use super::zone::Zone;
use crate::note::Note;

/// The operating system a report comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Os {
    /// Mac OS X, OS X, macOS and their relatives.
    Darwin,
    /// Linux.
    Linux,
    /// FreeBSD.
    FreeBsd,
    /// NetBSD.
    NetBsd,
    /// OpenBSD.
    OpenBsd,
    /// illumos and Solaris.
    Illumos,
    /// Fuchsia and its Linux-compatible Starnix.
    Fuchsia,
    /// gVisor, whose kernel is a Go program.
    Gvisor,
}

impl Os {
    /// Every system.
    pub const ALL: [Os; 8] = [Os::Darwin, Os::Linux, Os::FreeBsd, Os::NetBsd, Os::OpenBsd, Os::Illumos, Os::Fuchsia, Os::Gvisor];

    /// The system of that JSON name.
    pub fn by_name(name: &str) -> Option<Os> {
        Os::ALL.into_iter().find(|os| os.name() == name)
    }

    /// The JSON name.
    pub fn name(self) -> &'static str {
        match self {
            Os::Darwin => "darwin",
            Os::Linux => "linux",
            Os::FreeBsd => "freebsd",
            Os::NetBsd => "netbsd",
            Os::OpenBsd => "openbsd",
            Os::Illumos => "illumos",
            Os::Fuchsia => "fuchsia",
            Os::Gvisor => "gvisor",
        }
    }
}

/// What one input said. A load map is a capture without stacks.
#[derive(Clone, Debug, Default)]
pub struct Capture {
    /// Id of the format that read it, as `kstack formats` lists it.
    pub format: &'static str,
    /// Operating system, when the format belongs to one.
    pub os: Option<Os>,
    /// Architecture, stated by the report or told by its addresses.
    pub arch: Option<Arch>,
    /// The kernel's version string as printed.
    pub kernel_version: Option<String>,
    /// The kernel slide that the report states.
    pub slide: Option<Slide>,
    /// The slides of all boots, where a log is of several that differ; `slide` is `None` then.
    pub slides: Vec<Slide>,
    /// Where the kernel was linked, before it was slid, as far as the report says so (`Kernel Offset: … from …`, kernel/panic notifier
    /// `dump_kernel_offset` of Linux 3.14 and later).
    pub linked: Option<Avma>,
    /// Whether the addresses of the frames are slid; `None` when the format does not say.
    pub basis: Option<Basis>,
    /// How the report names the kernel in its frames (`mach_kernel`).
    pub kernel_name: Option<String>,
    /// Images that the input names, in its order.
    pub images: Vec<ImageClaim>,
    /// Stacks, in the order of the report.
    pub stacks: Vec<Stack>,
    /// Zones of the kernel's allocator, in the order of the report.
    pub zones: Vec<Zone>,
    /// Lines that announce a crash or hang, in the order of the report.
    pub headlines: Vec<Headline>,
    /// The crash that an earlier run of kstack found, where its output is the report.
    pub crash: Option<Crash>,
    /// What an earlier run of kstack found out about frames, where its output is the report.
    pub known: Vec<Answer>,
    /// Locks of tasks that have no stack here, in the order of the report.
    pub tasks_with_locks: Vec<TaskLocks>,
    /// What is said below lines of the text, in the order of the report: registers and codes in words.
    pub remarks: Vec<Remark>,
    /// Whether the input's own text is not for people (JSON, binary), so that text output lists the stacks instead.
    pub listed: bool,
    /// Build of the operating system as Apple numbers it: `23C71`.
    pub os_build: Option<String>,
    /// Damage and oddities met while reading.
    pub notes: Vec<Note>,
}

/// A line that announces a crash, a hang or a complaint of the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Headline {
    /// Line of the report, from 1.
    pub line: u32,
    /// Byte offset of that line in the report.
    pub line_start: u64,
    /// The message, without stamp and without the name of who speaks (`rcu: `).
    pub text: Span,
}

/// What kstack has to say about a line that is no frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remark {
    /// Line of the report, from 1.
    pub line: u32,
    /// Byte offset of that line in the report.
    pub line_start: u64,
    /// One line, without its end.
    pub text: String,
}
