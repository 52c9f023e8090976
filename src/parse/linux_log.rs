//! The log of a Linux kernel: what dmesg, a serial console, syslog or a journal kept of it.
//!
//! ```text
//! [   68.771269] INFO: task txg_sync:257 blocked for more than 5 seconds.
//! [   68.771578]       Tainted: P           OE      6.1.0-56-amd64 #1 Debian 6.1.192-2
//! [   68.771737] "echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables this message.
//! [   68.772038] task:txg_sync        state:D stack:0     pid:257   ppid:2      flags:0x00004000
//! [   68.772345] Call Trace:
//! [   68.772407]  <TASK>
//! [   68.772503]  __schedule+0x34d/0xa00
//! [   68.772612]  __cv_timedwait_common+0x12a/0x160 [spl]
//! [   68.772801]  ? cpuusage_read+0x10/0x10
//! [   68.773719]  </TASK>
//! ```
//! Sample: Debian 6.1 with OpenZFS, whose disk stopped answering. Lines are taken apart by [`super::linux_prefix`], frames read by
//! [`super::linux_frame`] and [`super::linux_pc`], headings by [`super::linux_headings`], tasks by [`super::linux_task`]; a
//! [`super::linux_context`] for each printing context puts stacks together. Here is what concerns the whole log.

use memchr::memmem;
use rustc_hash::{FxHashMap, FxHashSet};

use super::lex;
use super::linux_context::{Found, Reader};
use super::linux_frame;
use super::linux_prefix::{self, Context, Record};
use super::linux_task;
use super::{Confidence, Format, Holds};
use crate::model::addr::Slide;
use crate::model::capture::{Capture, Os};
use crate::model::image::{Basis, ImageClaim};

/// The format.
pub struct LinuxLog;

/// What every report of a kernel has in it, and hardly any other text.
const MARKERS: &[&[u8]] = &[
    b"Call Trace:",
    b"Call trace:",
    b"Kernel panic - not syncing",
    b"Linux version ",
    b"Modules linked in:",
    b"RIP: 0010:",
    b"BUG: soft lockup",
    b"BUG: KASAN",
    b"BUG: unable to handle",
    b"unreferenced object 0x",
];

impl Format for LinuxLog {
    fn id(&self) -> &'static str {
        "linux-log"
    }
    fn about(&self) -> &'static str {
        "Linux kernel log: oops, panic, hung task, lockup, lockdep, KASAN and its like, sysrq-t/w/l; dmesg, serial console, syslog, journal"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        let (mut frames, mut stamps) = (0, 0);
        for line in lex::lines(head) {
            linux_prefix::records(&line, |record| {
                stamps += usize::from(record.context != Context::Bare);
                frames += usize::from(is_frame(record));
            });
        }
        let marked = MARKERS.iter().any(|marker| memmem::find(head, marker).is_some());
        match (frames, marked, stamps) {
            (1.., true, _) | (1.., _, 1..) => Confidence::Certain,
            (1.., ..) | (_, true, _) | (_, _, 2..) => Confidence::Likely,
            _ => Confidence::No,
        }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let mut log = Log::new(text);
        for line in lex::lines(text) {
            linux_prefix::records(&line, |record| log.record(record));
        }
        log.finish()
    }
}

/// No other system prints the size of a symbol.
fn is_frame(record: &Record<'_>) -> bool {
    match linux_frame::trace(record) {
        Some(linux_frame::Trace::One(frame)) => frame.size.is_some(),
        Some(linux_frame::Trace::Pair(_, frame)) => frame.size.is_some(),
        _ => false,
    }
}

struct Log<'t> {
    text: &'t [u8],
    /// One reader for each context, in the order of their first lines.
    readers: Vec<(Context, Reader)>,
    index: FxHashMap<Context, usize>,
    /// Position of the latest line's reader.
    latest: usize,
    found: Found,
    release: Option<String>,
    slide: Option<Slide>,
    modules: FxHashSet<Vec<u8>>,
    images: Vec<ImageClaim>,
}

impl<'t> Log<'t> {
    fn new(text: &'t [u8]) -> Log<'t> {
        Log {
            text,
            readers: Vec::new(),
            index: FxHashMap::default(),
            latest: 0,
            found: Found::default(),
            release: None,
            slide: None,
            modules: FxHashSet::default(),
            images: Vec::new(),
        }
    }

    fn record(&mut self, record: &Record<'_>) {
        self.found.callers |= matches!(record.context, Context::Task(_) | Context::Cpu(_));
        let reader = self.reader(record.context);
        self.readers[reader].1.record(record, self.text, &mut self.found);
        if self.found.facts {
            self.found.facts = false;
            self.facts(record);
        }
    }

    fn reader(&mut self, context: Context) -> usize {
        if self.readers.get(self.latest).is_none_or(|(latest, _)| *latest != context) {
            let readers = &mut self.readers;
            self.latest = *self.index.entry(context).or_insert_with(|| {
                readers.push((context, Reader::new(context)));
                readers.len() - 1
            });
        }
        self.latest
    }

    /// Takes what a line outside of stacks says about the machine.
    fn facts(&mut self, record: &Record<'_>) {
        let line = record.text.trim_ascii();
        if let Some(names) = line.strip_prefix(b"Modules linked in:") {
            self.modules(names, record.line);
        } else if let Some(value) = line.strip_prefix(b"Kernel Offset: ") {
            let word = value.split(|b| *b == b' ').next().unwrap_or_default();
            self.slide = self.slide.or(lex::hex(word).or((word == b"disabled").then_some(0)).map(Slide));
        } else if self.release.is_none() {
            self.release = linux_task::release(line).map(lex::text);
        }
    }

    /// `zfs(POE) spl(OE) [last unloaded: kslab]`.
    fn modules(&mut self, names: &[u8], line: u32) {
        for word in lex::words(names).take_while(|word| !word.starts_with(b"[")) {
            let name = word.split(|b| *b == b'(').next().unwrap_or_default();
            let plain = name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
            if plain && !name.is_empty() && self.modules.insert(name.to_vec()) {
                self.images.push(ImageClaim { name: lex::text(name), basis: Basis::Runtime, line, ..ImageClaim::default() });
            }
        }
    }

    fn finish(mut self) -> Capture {
        for (_, reader) in &mut self.readers {
            reader.close(&mut self.found);
        }
        // Contexts end their stacks in another order than they began them.
        self.found.stacks.sort_by_key(|stack| stack.line);
        Capture {
            format: LinuxLog.id(),
            os: Some(Os::Linux),
            arch: self.found.arch,
            kernel_version: self.release,
            slide: self.slide,
            basis: Some(Basis::Runtime),
            images: self.images,
            stacks: self.found.stacks,
            ..Capture::default()
        }
    }
}
