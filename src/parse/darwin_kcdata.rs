//! Binary stackshots (kcdata), as `stack_snapshot_with_config` gives them and panics on macOS and iOS store them.
//!
//! A buffer of typed items (`darwin_kcdata_items`): containers for tasks and threads, in them a snapshot of the task (pid, name) or
//! thread (id, wait event, state), arrays of return addresses, load addresses with UUIDs. Type numbers and layouts are those of
//! `osfmk/kern/kcdata.h` in xnu-11417; structures only grew, so longer ones are read by their beginning. All kernel addresses have the slide
//! taken off (`osfmk/kern/kern_stackshot.c`).
//!
//! The input may also be deflated inside (`0x434f4d50`), be base64 of it, or stand behind other bytes. It has no lines: `line` of a stack
//! and of its frames is the number of the thread in the input, from 1.

use rustc_hash::{FxHashMap, FxHashSet};

use super::darwin_ips::arch_of;
use super::darwin_kcdata_items::{self as items, DELTA, Item, Items, STACKSHOT, text, u32_at, u64_at};
use super::darwin_waits::{self, Told, TurnstileInfo, WaitInfo};
use super::{Confidence, Format, Holds};
use crate::model::addr::{Arch, Avma};
use crate::model::capture::{Capture, Os};
use crate::model::image::{Basis, ImageClaim, ImageId};
use crate::model::stack::{Lookup, RawFrame, Stack};
use crate::note::Note;

/// The format.
pub struct DarwinKcdata;

impl Format for DarwinKcdata {
    fn id(&self) -> &'static str {
        "darwin-kcdata"
    }
    fn about(&self) -> &'static str {
        "binary stackshot (kcdata) of macOS and iOS, also compressed or in base64"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn is_document(&self) -> bool {
        true
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        match items::sniff(head) {
            Some(true) => Confidence::Certain,
            Some(false) => Confidence::Likely,
            None => Confidence::No,
        }
    }

    fn parse(&self, data: &[u8]) -> Capture {
        let mut notes = Vec::new();
        let mut reader = Reader::default();
        match items::open(data, &mut notes) {
            Ok(buffer) if buffer.kind == STACKSHOT || buffer.kind == DELTA => {
                let mut items = Items::new(&buffer.data, buffer.start);
                items.by_ref().for_each(|item| reader.item(&item));
                reader.finish(items.damage, buffer.kind == DELTA, &mut notes);
            }
            Ok(buffer) => notes.push(Note::failure("", format!("the kcdata is no stackshot but of type {:#x}", buffer.kind))),
            Err(text) => notes.push(Note::failure("", text)),
        }
        reader.capture(notes)
    }
}

// Containers and items, by the names of kcdata.h without `STACKSHOT_KC…` and `KCDATA_`.
const CONTAINER_BEGIN: u32 = 0x13;
const CONTAINER_END: u32 = 0x14;
const TASK: u32 = 0x903;
const THREAD: u32 = 0x904;
const LIBRARY_LOADINFO: u32 = 0x30;
const LIBRARY_LOADINFO64: u32 = 0x31;
const TASK_SNAPSHOT: u32 = 0x905;
const THREAD_SNAPSHOT: u32 = 0x906;
const SHAREDCACHE_LOADINFO: u32 = 0x908;
const THREAD_NAME: u32 = 0x909;
const KERN_STACKFRAME: u32 = 0x90a;
const KERN_STACKFRAME64: u32 = 0x90b;
const USER_STACKFRAME: u32 = 0x90c;
const USER_STACKFRAME64: u32 = 0x90d;
const OSVERSION: u32 = 0x90f;
const KERN_STACKLR: u32 = 0x913;
const KERN_STACKLR64: u32 = 0x914;
const USER_STACKLR: u32 = 0x915;
const USER_STACKLR64: u32 = 0x916;
const KERNELCACHE_LOADINFO: u32 = 0x91c;
const THREAD_WAITINFO: u32 = 0x91d;
const SYS_SHAREDCACHE_LAYOUT: u32 = 0x927;
const THREAD_TURNSTILEINFO: u32 = 0x929;
const LOADINFO64_TEXT_EXEC: u32 = 0x92e;
const THREAD_DELTA_SNAPSHOT: u32 = 0x941;
const SHAREDCACHE_INFO: u32 = 0x943;
const OS_BUILD_VERSION: u32 = 0x947;

/// Where the kernel's half of the address space begins.
const KERNEL_HALF: u64 = 0xffff_0000_0000_0000;

/// Bytes of an array's element, for arrays that do not tell their padding.
fn element_size(kind: u32) -> Option<usize> {
    Some(match kind {
        KERN_STACKLR | USER_STACKLR => 4,
        KERN_STACKLR64 | USER_STACKLR64 | KERN_STACKFRAME | USER_STACKFRAME => 8,
        KERN_STACKFRAME64 | USER_STACKFRAME64 => 16,
        LIBRARY_LOADINFO => 20,
        LIBRARY_LOADINFO64 | LOADINFO64_TEXT_EXEC => 24,
        _ => return None,
    })
}

/// `TH_…` of osfmk/kern/thread.h by bit.
const STATES: [&str; 9] =
    ["TH_WAIT", "TH_SUSP", "TH_RUN", "TH_UNINT", "TH_TERMINATE", "TH_TERMINATE2", "TH_WAIT_REPORT", "TH_IDLE", "TH_WAKING"];

/// The names of a state's bits, joined by `|`; bits without a name as one number. `None` for 0.
fn state(bits: u32) -> Option<String> {
    let mut names: Vec<String> = (0..STATES.len()).filter(|bit| bits >> bit & 1 == 1).map(|bit| STATES[bit].to_string()).collect();
    let rest = bits >> STATES.len() << STATES.len();
    names.extend((rest != 0).then(|| format!("{rest:#x}")));
    (!names.is_empty()).then(|| names.join("|"))
}

#[derive(Default)]
struct Reader {
    /// Types of the containers that are open.
    open: Vec<u32>,
    pid: Option<i64>,
    process: Option<String>,
    /// Number of the first stack of the task that is open.
    task_from: usize,
    stacks: Vec<Stack>,
    told: Vec<Told>,
    turnstiles: FxHashMap<u64, TurnstileInfo>,
    images: Vec<ImageClaim>,
    /// UUIDs of these, on the kernel's side or not: a library is in many programs, at another address in each.
    seen: FxHashSet<(ImageId, bool)>,
    kernel_version: Option<String>,
    os_build: Option<String>,
    /// Whether the kernel's own image was met.
    kernel: bool,
}

impl Reader {
    fn item(&mut self, item: &Item<'_>) {
        match (item.kind, self.open.last().copied()) {
            (CONTAINER_BEGIN, _) => self.begin(u32_at(item.data, 0).unwrap_or(0), item.flags),
            (CONTAINER_END, _) => self.end(),
            (_, Some(THREAD)) => self.of_thread(item),
            (_, Some(TASK)) => self.of_task(item),
            (_, None) => self.of_machine(item),
            _ => {}
        }
    }

    fn begin(&mut self, kind: u32, id: u64) {
        if kind == TASK {
            self.close_task();
        } else if kind == THREAD {
            let line = u32::try_from(self.stacks.len() + 1).unwrap_or(u32::MAX);
            self.stacks.push(Stack { tid: Some(id.to_string()), line, count: 1, ..Stack::default() });
        }
        self.open.push(kind);
    }

    fn end(&mut self) {
        if self.open.pop() == Some(TASK) {
            self.close_task();
        }
    }

    /// Names the owner of the task's threads.
    fn close_task(&mut self) {
        let (pid, process) = (self.pid.take(), self.process.take());
        for stack in &mut self.stacks[self.task_from..] {
            (stack.pid, stack.process) = (pid, process.clone());
        }
        self.task_from = self.stacks.len();
    }

    fn of_machine(&mut self, item: &Item<'_>) {
        match item.kind {
            OSVERSION => self.kernel_version = text(item.data),
            OS_BUILD_VERSION => self.os_build = text(item.data),
            SHAREDCACHE_LOADINFO | SYS_SHAREDCACHE_LAYOUT | SHAREDCACHE_INFO => self.shared_cache(item),
            KERNELCACHE_LOADINFO => self.collection(item),
            _ => self.array(item),
        }
    }

    fn of_task(&mut self, item: &Item<'_>) {
        match item.kind {
            TASK_SNAPSHOT => {
                self.pid = u32_at(item.data, 0x54).map(|pid| i64::from(pid as i32));
                self.process = text(item.data.get(0x58..).map_or(&[][..], |name| &name[..name.len().min(32)]));
            }
            SHAREDCACHE_LOADINFO => self.shared_cache(item),
            KERNELCACHE_LOADINFO => self.collection(item),
            // One image alone is no array.
            LIBRARY_LOADINFO64 | LOADINFO64_TEXT_EXEC => self.image(item.kind, item.data),
            THREAD_WAITINFO => self.wait(item.data),
            THREAD_TURNSTILEINFO => self.turnstile(item.data),
            _ => self.array(item),
        }
    }

    fn of_thread(&mut self, item: &Item<'_>) {
        let Some(stack) = self.stacks.last_mut() else { return };
        match item.kind {
            THREAD_SNAPSHOT => {
                stack.tid = u64_at(item.data, 0).map(|tid| tid.to_string()).or(stack.tid.take());
                let event = u64_at(item.data, 8).filter(|event| *event != 0);
                stack.wait_channel = event.map(|event| Avma(event).to_string());
                stack.state = u32_at(item.data, 0x58).and_then(state);
            }
            THREAD_DELTA_SNAPSHOT => {
                stack.tid = u64_at(item.data, 0).map(|tid| tid.to_string()).or(stack.tid.take());
                stack.state = u32_at(item.data, 0x20).and_then(state);
            }
            THREAD_NAME => stack.thread = text(item.data),
            _ => {
                if let Some((kind, elements)) = item.array(element_size) {
                    frames(stack, kind, elements);
                }
            }
        }
    }

    fn array(&mut self, item: &Item<'_>) {
        let Some((kind, elements)) = item.array(element_size) else { return };
        for element in elements {
            match kind {
                LIBRARY_LOADINFO64 | LOADINFO64_TEXT_EXEC => self.image(kind, element),
                THREAD_WAITINFO => self.wait(element),
                THREAD_TURNSTILEINFO => self.turnstile(element),
                _ => return,
            }
        }
    }

    /// `dyld_uuid_info_64`: an image of the kernel's task or of a program. The first of the kernel's is the kernel.
    fn image(&mut self, kind: u32, data: &[u8]) {
        let (Some(address), Some(id)) = (u64_at(data, 0), uuid(data, 8)) else { return };
        let user = address < KERNEL_HALF;
        if !self.seen.insert((id, user)) {
            return;
        }
        let kernel = !user && self.pid == Some(0) && !self.kernel;
        self.kernel |= kernel;
        let claim = ImageClaim { name: id.to_string(), id: Some(id), user, kernel, basis: Basis::Unslid, line: 1, ..ImageClaim::default() };
        let (load, exec) = if kind == LOADINFO64_TEXT_EXEC { (None, Some(Avma(address))) } else { (Some(Avma(address)), None) };
        self.images.push(ImageClaim { load: load.filter(|_| !user), exec, ..claim });
    }

    fn shared_cache(&mut self, item: &Item<'_>) {
        if let Some(id) = uuid(item.data, 8).filter(|id| self.seen.insert((*id, true))) {
            let name = "dyld_shared_cache".to_string();
            self.images.push(ImageClaim { name, id: Some(id), user: true, basis: Basis::Unslid, line: 1, ..ImageClaim::default() });
        }
    }

    fn collection(&mut self, item: &Item<'_>) {
        let (Some(address), Some(id)) = (u64_at(item.data, 0), uuid(item.data, 8)) else { return };
        let load = Some(Avma(address)).filter(|address| address.0 != 0);
        let (name, basis) = ("kernelcache".to_string(), Basis::Unslid);
        self.images.push(ImageClaim { name, id: Some(id), load, collection: true, basis, line: 1, ..ImageClaim::default() });
    }

    /// `stackshot_thread_waitinfo`.
    fn wait(&mut self, data: &[u8]) {
        let (Some(owner), Some(waiter), Some(context), Some(kind)) = (u64_at(data, 0), u64_at(data, 8), u64_at(data, 16), data.get(24))
        else {
            return;
        };
        self.told.extend(WaitInfo { owner, waiter, context, kind: *kind }.told(0));
    }

    /// `stackshot_thread_turnstileinfo`.
    fn turnstile(&mut self, data: &[u8]) {
        if let (Some(waiter), Some(context), Some(flags)) = (u64_at(data, 0), u64_at(data, 8), u64_at(data, 18)) {
            self.turnstiles.insert(waiter, TurnstileInfo { context, flags });
        }
    }

    fn finish(&mut self, damage: Option<String>, delta: bool, notes: &mut Vec<Note>) {
        self.close_task();
        if delta {
            let text = "is a delta stackshot: it holds only threads that ran since an earlier one, which is needed for the others and for the names of \
                 processes; its own threads are read";
            notes.push(Note::warning("", text));
        }
        if let Some(damage) = damage {
            notes.push(Note::warning("", format!("{damage}; the {} threads before it are used", self.stacks.len())));
        }
        let mut told = std::mem::take(&mut self.told);
        for told in told.iter_mut().filter(|told| told.holder.is_none()) {
            told.holder = self.turnstiles.get(&told.waiter).and_then(|turnstile| turnstile.holder());
        }
        darwin_waits::attach(&mut self.stacks, told);
    }

    fn capture(self, notes: Vec<Note>) -> Capture {
        let addresses = || self.stacks.iter().flat_map(|stack| &stack.frames).filter_map(|frame| frame.address);
        let arch = self.kernel_version.as_deref().and_then(arch_of).or_else(|| addresses().find_map(Arch::of_darwin_address));
        Capture {
            format: DarwinKcdata.id(),
            os: Some(Os::Darwin),
            arch,
            kernel_version: self.kernel_version,
            os_build: self.os_build,
            basis: Some(Basis::Unslid),
            images: self.images,
            stacks: self.stacks,
            listed: true,
            notes,
            ..Capture::default()
        }
    }
}

fn uuid(data: &[u8], at: usize) -> Option<ImageId> {
    ImageId::uuid(data.get(at..at + 16)?.try_into().ok()?)
}

/// Adds an array of return addresses, alone or each with its stack pointer, to the list that it belongs to.
fn frames<'d>(stack: &mut Stack, kind: u32, elements: impl Iterator<Item = &'d [u8]>) {
    let narrow = matches!(kind, KERN_STACKLR | USER_STACKLR | KERN_STACKFRAME | USER_STACKFRAME);
    let address = |element: &'d [u8]| if narrow { u32_at(element, 0).map(u64::from) } else { u64_at(element, 0) };
    match kind {
        KERN_STACKLR | KERN_STACKLR64 | KERN_STACKFRAME | KERN_STACKFRAME64 => {}
        USER_STACKLR | USER_STACKLR64 | USER_STACKFRAME | USER_STACKFRAME64 => {
            return stack.user_addresses.extend(elements.filter_map(address).map(Avma));
        }
        _ => return,
    }
    let list = &mut stack.frames;
    for element in elements {
        let address = address(element);
        let lookup = if list.is_empty() { Lookup::Exact } else { Lookup::Return };
        list.push(RawFrame { address: address.map(Avma), line: stack.line, lookup, reliable: address != Some(0), ..RawFrame::default() });
    }
    list.shrink_to_fit();
}
