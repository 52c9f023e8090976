//! The kinds of crashes: how a headline says so, how the title words it, and which stack has the guilty frame.
//!
//! Sources of the headlines: kernel/panic.c, kernel/hung_task.c, kernel/watchdog.c, kernel/rcu/tree_stall.h, kernel/locking/lockdep.c,
//! kernel/sched/core.c, kernel/workqueue.c, lib/ubsan.c, lib/debugobjects.c, lib/refcount.c, lib/smp_processor_id.c, mm/kasan, mm/kmsan,
//! kernel/kcsan, mm/kfence, mm/kmemleak.c, mm/page_alloc.c, mm/memory.c, arch/*/kernel/traps.c, arch/*/mm/fault.c (6.12, and what older
//! kernels printed in their place), module/os/linux/spl/spl-err.c of OpenZFS.

use super::scene::Scene;
use super::words::{LONGEST, cut, general};
use super::{glob, illumos, kind_others};
use crate::model::capture::Os;

/// The sets of crashes that a section of the skip list can be for.
pub const SETS: &[&str] = &[
    "hang",
    "stall",
    "stack-end",
    "leak",
    "free",
    "kmalloc",
    "rcu",
    "odebug",
    "refcount",
    "kobject",
    "proc",
    "usercopy",
    "lockdep",
    "non-static",
    "preempt",
    "ubsan",
    "usb",
    "bad-page",
    "overflow",
    "panic",
    "go",
    "zircon",
    "illumos",
];

/// Where the guilty frame stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seat {
    /// In the stack that the headline announces; where execution was, if the report says so, is its first frame.
    Trace,
    /// In what was interrupted on the CPU that makes no progress.
    Interrupted,
    /// In the stack of the task that hangs.
    Task,
    /// In the stack of an allocation.
    Allocation,
    /// In the first stack in which the lock that matters was taken.
    Lock,
    /// At a function that the report names in words, the last text that `when` or `then` captured.
    Place,
    /// Nowhere: the title says all.
    Nowhere,
}

/// One kind of crash.
#[derive(Debug)]
pub struct Kind {
    /// The headline, as `glob::captures` takes it.
    pub when: &'static str,
    /// Lines that must follow, one after another, taken like the headline.
    pub then: &'static [&'static str],
    /// The title: `{1}` is what the first `*` stood for, `{=1}` the same with its numbers, `{/1}` the last part
    /// of it as a path, `{.1}` the name of a program that it begins with, `{}` the guilty function, `{/}` that without the path of its package. Behind ` | ` stands what it is called where
    /// no function is guilty.
    pub title: &'static str,
    /// Where the guilty frame stands.
    pub from: Seat,
    /// The set that sections of the skip list are for.
    pub set: &'static str,
    /// Whether the words alone prove nothing.
    pub needs_stack: bool,
}

use Seat::{Allocation, Interrupted, Lock, Nowhere, Place, Task, Trace};

pub(super) const fn kind(when: &'static str, title: &'static str, from: Seat, set: &'static str) -> Kind {
    Kind { when, then: &[], title, from, set, needs_stack: false }
}

/// A kind that only later lines tell apart, or that they name the place of.
pub(super) const fn later(when: &'static str, then: &'static [&'static str], title: &'static str, from: Seat, set: &'static str) -> Kind {
    Kind { then, ..kind(when, title, from, set) }
}

/// A headline that user space could have printed, too.
const fn vague(when: &'static str, title: &'static str, from: Seat) -> Kind {
    Kind { needs_stack: true, ..kind(when, title, from, "") }
}

/// The line of lockdep that says where the lock is taken.
const AT: &str = "*at: *";
const PAGING: &str = "BUG: unable to handle kernel paging request in {}";
const NULL: &str = "BUG: unable to handle kernel NULL pointer dereference in {}";

/// The kinds; the first that fits counts.
static KINDS: &[Kind] = &[
    // Sanitizers.
    kind("BUG: KASAN: double-free or invalid-free in ", "KASAN: invalid-free in {}", Trace, "free"),
    kind("BUG: KASAN: double-free in ", "KASAN: double-free in {}", Trace, "free"),
    kind("BUG: KASAN: invalid-free in ", "KASAN: invalid-free in {}", Trace, "free"),
    later("BUG: KASAN: * in *", &["* of size "], "KASAN: {1} {3} in {}", Trace, ""),
    later("BUG: KASAN: * in *", &["* at addr "], "KASAN: {1} {3} in {}", Trace, ""),
    later("BUG: KASAN: * on address", &["* of size "], "KASAN: {1} {2}", Nowhere, ""),
    kind("BUG: KASAN: * in ", "KASAN: {1} in {}", Trace, ""),
    kind("BUG: KMSAN: kernel-usb-infoleak in ", "KMSAN: kernel-usb-infoleak in {}", Trace, "usb"),
    kind("BUG: KMSAN: * in ", "KMSAN: {1} in {}", Trace, ""),
    kind("BUG: KCSAN: * in *", "KCSAN: {1} in {2}", Place, ""),
    kind("BUG: KFENCE: * in ", "KFENCE: {1} in {}", Trace, "free"),
    kind("BUG: KFENCE: memory corruption", "KFENCE: memory corruption in {}", Trace, "free"),
    kind("UBSAN: Undefined behaviour in ", "UBSAN: undefined-behaviour in {}", Trace, "ubsan"),
    kind("UBSAN: * in ", "UBSAN: {1} in {}", Trace, "ubsan"),
    kind("BUG: memory leak", "memory leak in {}", Allocation, "leak"),
    kind("unreferenced object 0x", "memory leak in {}", Allocation, "leak"),
    kind("unreferenced object (*) 0x", "memory leak in {}", Allocation, "leak"),
    // Locks.
    later("*: possible circular locking dependency", &["* trying to acquire", AT], "possible deadlock in {}", Place, "lockdep"),
    later("*: possible recursive locking", &["* trying to acquire", AT], "possible deadlock in {}", Place, "lockdep"),
    later("*: possible irq lock inversion", &["*just changed the state of lock", AT], "possible deadlock in {}", Place, "lockdep"),
    kind("*IRQ-safe -> ", "possible deadlock in {}", Lock, "lockdep"),
    later("*: inconsistent lock state", &["* takes:", AT], "inconsistent lock state in {}", Place, "lockdep"),
    later("*: bad unlock balance detected", &["* trying to release lock", "*+0x"], "{1}: bad unlock balance in {}", Place, "lockdep"),
    later("*: held lock freed!", &[AT], "{1}: held lock freed in {}", Place, "lockdep"),
    later("*: * still has locks held!", &[AT], "{1}: still has locks held in {}", Place, "lockdep"),
    later("*: lock held when returning to user space", &[AT], "{1}: lock held when returning to user space in {}", Place, "lockdep"),
    kind("*: Nested lock was not taken", "{1}: nested lock was not taken in {}", Trace, "lockdep"),
    kind("*: suspicious RCU usage", "{1}: suspicious RCU usage in {}", Trace, "rcu"),
    kind("*: Invalid wait context", "{1}: Invalid wait context in {}", Trace, "lockdep"),
    kind("INFO: trying to register non-static key", "INFO: trying to register non-static key in {}", Trace, "non-static"),
    kind("BUG: MAX_* too low!", "BUG: MAX_{1} too low!", Nowhere, ""),
    kind("BUG: spinlock * on CPU", "BUG: spinlock {1} in {}", Trace, ""),
    kind("BUG: rwlock * on CPU", "BUG: rwlock {1} in {}", Trace, ""),
    later("BUG: workqueue leaked lock", &["*last function: *"], "BUG: workqueue leaked lock or atomic in {}", Place, ""),
    // What makes no progress.
    kind("INFO: task * blocked for more than", "INFO: task hung in {}", Task, "hang"),
    kind("INFO: task * blocked in I/O wait for more than", "INFO: task hung in {}", Task, "hang"),
    later("INFO: task ", &["* blocked for more than"], "INFO: task hung in {}", Task, "hang"),
    kind("INFO: task * can't die", "INFO: task can't die in {}", Task, "hang"),
    kind("INFO: rcu*detected*stall", "INFO: rcu detected stall in {}", Interrupted, "stall"),
    kind("BUG: soft lockup", "BUG: soft lockup in {}", Trace, "stall"),
    kind("Watchdog detected hard LOCKUP", "BUG: hard lockup in {}", Trace, "stall"),
    kind("BUG: workqueue lockup", "BUG: workqueue lockup", Nowhere, ""),
    // Contexts.
    kind("BUG: using * in preemptible", "BUG: using {1} in preemptible code in {}", Trace, "preempt"),
    kind("BUG: sleeping function called from invalid context", "BUG: sleeping function called from invalid context in {}", Trace, ""),
    kind("BUG: scheduling while atomic", "BUG: scheduling while atomic in {}", Trace, "hang"),
    // Memory.
    kind("BUG: Bad page state", "BUG: Bad page state in {}", Allocation, "bad-page"),
    kind("BUG: Bad page map", "BUG: Bad page map", Nowhere, ""),
    kind("BUG: Bad rss-counter state", "BUG: Bad rss-counter state", Nowhere, ""),
    kind("BUG: non-zero * on freeing mm", "BUG: non-zero {1} on freeing mm", Nowhere, ""),
    kind("BUG: Dentry * still in use *[unmount of *]", "BUG: Dentry still in use [unmount of {3}]", Nowhere, ""),
    kind("BUG: Dentry * still in use", "BUG: Dentry still in use", Nowhere, ""),
    kind("BUG: *stack guard page was hit", "BUG: stack guard page was hit in {}", Trace, "overflow"),
    kind("kernel stack overflow", "kernel stack overflow in {}", Trace, "overflow"),
    // Slab caches; the line below tells them from what user space says.
    later("BUG * (*): *", &["-----"], "BUG: {3} in {}", Allocation, "leak"),
    later("BUG *: *", &["-----"], "BUG: {2} in {}", Allocation, "leak"),
    vague("BUG * (*): *", "BUG: {3}", Trace),
    // Faults.
    kind("BUG: unable to handle kernel NULL pointer dereference", NULL, Trace, ""),
    kind("BUG: kernel NULL pointer dereference", NULL, Trace, ""),
    kind("BUG: Kernel NULL pointer dereference", NULL, Trace, ""),
    kind("Unable to handle kernel NULL pointer dereference", NULL, Trace, ""),
    kind("BUG: unable to handle kernel paging request", PAGING, Trace, ""),
    kind("BUG: unable to handle page fault for address", PAGING, Trace, ""),
    kind("BUG: Unable to handle kernel data access", PAGING, Trace, ""),
    kind("Unable to handle kernel paging request", PAGING, Trace, ""),
    kind("Unable to handle kernel access to user memory", "BUG: unable to handle kernel access to user memory in {}", Trace, ""),
    kind("BUG: unable to handle *", "BUG: unable to handle {1} in {}", Trace, ""),
    kind("Unable to handle kernel *", "BUG: unable to handle kernel {1} in {}", Trace, ""),
    kind("general protection fault", "general protection fault in {}", Trace, ""),
    kind("stack segment", "stack segment fault in {}", Trace, ""),
    kind("divide error:", "divide error in {}", Trace, ""),
    kind("divide_error:", "divide error in {}", Trace, ""),
    kind("invalid opcode:", "invalid opcode in {}", Trace, ""),
    kind("int3:", "int3 in {}", Trace, ""),
    kind("PANIC: double fault", "PANIC: double fault in {}", Trace, ""),
    kind("double fault:", "PANIC: double fault in {}", Trace, ""),
    kind("illegal operation:", "illegal operation in {}", Trace, ""),
    kind("Internal error: ", "Internal error in {}", Trace, ""),
    kind("Unhandled fault: ", "Unhandled fault in {}", Trace, ""),
    kind("Unhandled fault at 0x", "Unhandled fault in {}", Trace, ""),
    kind("Alignment trap: ", "Alignment trap in {}", Trace, ""),
    kind("Oops: Kernel access of bad area", PAGING, Trace, ""),
    // MIPS, PA-RISC.
    kind("Kernel bug detected", "kernel BUG in {}", Trace, ""),
    kind("Kernel Fault: Code=", "Kernel Fault in {}", Trace, ""),
    kind("Unhandled kernel unaligned access", "Unhandled kernel unaligned access in {}", Trace, ""),
    kind("Reserved instruction in kernel code", "Reserved instruction in {}", Trace, ""),
    kind("Break instruction in kernel code", "Break instruction in {}", Trace, ""),
    kind("Oops", "Oops in {}", Trace, ""),
    // What the kernel found wrong itself.
    kind("kernel BUG at mm/usercopy.c", "BUG: bad usercopy in {}", Trace, "usercopy"),
    kind("kernel BUG at lib/list_debug.c", "BUG: corrupted list in {}", Trace, ""),
    kind("kernel BUG at ", "kernel BUG in {}", Trace, ""),
    kind("Kernel BUG at ", "kernel BUG in {}", Trace, ""),
    kind("WARNING: *lib/debugobjects.c:", "WARNING: ODEBUG bug in {}", Trace, "odebug"),
    kind("WARNING: *mm/usercopy.c:", "WARNING: bad usercopy in {}", Trace, "usercopy"),
    kind("WARNING: *lib/kobject.c:", "WARNING: kobject bug in {}", Trace, "kobject"),
    kind("WARNING: *fs/proc/generic.c:* proc_register", "WARNING: proc registration bug in {}", Trace, "proc"),
    kind("WARNING: *lib/refcount.c:", "WARNING: refcount bug in {}", Trace, "refcount"),
    kind("WARNING: *kernel/locking/lockdep.c:", "WARNING: locking bug in {}", Trace, "lockdep"),
    kind("WARNING: *mm/vmalloc.c:*vmalloc", "WARNING: zero-size vmalloc in {}", Trace, "kmalloc"),
    kind("WARNING: *mm/*.c:*malloc", "WARNING: kmalloc bug in {}", Trace, "kmalloc"),
    kind("WARNING: * usb_submit_urb", "WARNING in {}/usb_submit_urb", Trace, "usb"),
    kind("WARNING: CPU: * at *", "WARNING in {}", Trace, ""),
    kind("WARNING: at *", "WARNING in {}", Trace, ""),
    kind("WARNING: *:* at ", "WARNING in {}", Trace, ""),
    kind("WARNING: kernel stack frame pointer ", "WARNING: kernel stack regs has bad value", Nowhere, ""),
    kind("WARNING: kernel stack regs ", "WARNING: kernel stack regs has bad value", Nowhere, ""),
    later("panicked at ", &["*"], "{1} in {}", Trace, ""),
    kind("VERIFY3*) failed", "VERIFY3{1}) failed in {}", Trace, ""),
    kind("VERIFY0*) failed", "VERIFY0{1}) failed in {}", Trace, ""),
    kind("VERIFY*) failed", "VERIFY{1}) failed in {}", Trace, ""),
    kind("SPLError: ", "SPL PANIC in {}", Trace, ""),
    kind("unregister_netdevice: waiting for * to become free", "unregister_netdevice: waiting for DEV to become free", Nowhere, ""),
    // macOS: osfmk/kern/debug.c, osfmk/i386/trap.c, osfmk/arm64/sleh.c (xnu-1228 to xnu-12377).
    kind("Debugger: Unexpected kernel trap number: *, ", "debugger: Unexpected kernel trap number: {=1}", Trace, "panic"),
    kind("panic(cpu *): assertion failed: *, file", "panic: assertion failed: {2}", Trace, "panic"),
    kind("panic(cpu *): Kernel trap at *, type = *, registers", "panic: Kernel trap type {3}", Trace, "panic"),
    kind("panic(cpu *): Kernel trap at *, type *, registers", "panic: Kernel trap type {3}", Trace, "panic"),
    kind("panic(cpu *): *. at pc 0x", "panic: {2} in {}", Trace, "panic"),
    kind("panic(cpu *): * at pc 0x", "panic: {2} in {}", Trace, "panic"),
    kind("panic(cpu *): * at 0x*, type", "panic: {2} in {}", Trace, "panic"),
    kind("panic(cpu *): * at 0x*, registers", "panic: {2} in {}", Trace, "panic"),
    kind(
        "panic(cpu *): \"in6p_route_copyout: wrong or corrupted route:",
        "panic: in6p_route_copyout: wrong or corrupted route",
        Trace,
        "panic",
    ),
    kind("panic(cpu *): \"zalloc:* (* elements) *\"", "panic: zalloc: {2} {4}", Trace, "panic"),
    kind("panic(cpu *): \"*\\n\"@", "panic: {2}", Trace, "panic"),
    kind("panic(cpu *): \"*\\n\" @", "panic: {2}", Trace, "panic"),
    kind("panic(cpu *): \"*\"@", "panic: {2}", Trace, "panic"),
    kind("panic(cpu *): \"*\" @", "panic: {2}", Trace, "panic"),
    kind("panic(cpu *): \"*\"", "panic: {2}", Trace, "panic"),
    kind("panic(cpu *): \"*", "panic: {2}", Trace, "panic"),
    kind("panic(cpu *): *", "panic: {2}", Trace, "panic"),
    // FreeBSD: sys/amd64/amd64/trap.c, sys/kern/kern_mutex.c, sys/kern/subr_asan.c, sys/kern/subr_witness.c. Kernels without a debugger
    // number their frames, and bug trackers word the titles of those differently.
    later("Fatal trap *", &["#0 0x"], "Fatal trap {1} in {}", Trace, ""),
    kind("Fatal trap * while in ", "Fatal trap {1} in {}", Trace, ""),
    kind("Fatal double fault", "Fatal double fault in {}", Trace, ""),
    kind("panic: ASan: Invalid access, *-byte * at ", "panic: ASan: Invalid access, NUM-byte {2} in {}", Trace, ""),
    kind("panic: *() of destroyed * @ */sys/*:", "panic: {1}() of destroyed {2} at sys/{4}:LINE", Trace, ""),
    kind("panic: ffs_write: type 0x", "panic: ffs_write: type ADDR X (Y,Z)", Trace, ""),
    kind("panic: No chunks on the queues for sid", "panic: sctp: no chunks on the queues", Trace, ""),
    kind("panic: pfi_dynaddr_setup: dyn is ", "panic: pfi_dynaddr_setup: non-NULL dyn", Trace, ""),
    // NetBSD: sys/arch/amd64/amd64/trap.c, sys/kern/kern_assert.c, sys/kern/subr_lockdebug.c, common/lib/libc/misc/ubsan.c.
    later("fatal * in supervisor mode", &["Stopped in * netbsd:*+0x"], "{1} in {3}", Trace, ""),
    kind("fatal * in supervisor mode", "{1} in {}", Trace, ""),
    kind("panic: lock error: ", "lock error in {}", Trace, ""),
    later("panic: kernel diagnostic assertion \"*\" failed", &["*: Begin traceback"], "assert failed: {1}", Trace, ""),
    kind("UBSan: Undefined Behavior in ", "UBSan: Undefined behavior", Nowhere, ""),
    kind("ASan: Unauthorized Access In *: Addr * [* *, *, *]", "ASan: Unauthorized Access in {}", Trace, ""),
    kind("MSan: Uninitialized ", "MSan: Uninitialized Memory in {}", Trace, ""),
    // OpenBSD: sys/uvm/uvm_fault.c, sys/kern/subr_pool.c, sys/kern/kern_malloc.c, sys/kern/subr_witness.c, sys/kern/kern_event.c.
    kind("uvm_fault(", "uvm_fault: {}", Trace, ""),
    kind("kernel: page fault trap, code=", "uvm_fault: {}", Trace, ""),
    kind("kernel: protection fault trap, code=", "protection_fault: {}", Trace, ""),
    kind("kernel: double fault trap, code=", "double fault: {}", Trace, ""),
    kind("panic: Caught invalid memory access at ", "KASAN: invalid memory access in {}", Trace, ""),
    kind("panic: kernel diagnostic assertion \"*\" failed: file \"*\", line", "assert \"{1}\" failed in {/2}", Trace, ""),
    kind("panic: attempt to execute user address ", "panic: attempt to execute user address", Trace, ""),
    kind("panic: pool_do_put: *: double pool_put", "pool: double put: {1}", Trace, ""),
    kind("panic: pool_*: * cpu free list modified", "pool: cpu free list modified: {2}", Trace, ""),
    kind("panic: pool_*: * free list modified", "pool: free list modified: {2}", Trace, ""),
    kind("panic: Data modified on freelist: * previous type * (", "malloc: free list modified: {2}", Trace, ""),
    kind("panic: *: kq=* kn=* knote *", "kqueue: knote {4}", Trace, ""),
    kind("panic: timeout_add: to_ticks (", "panic: timeout_add: to_ticks < NUM", Trace, ""),
    later("witness: lock order reversal:", &["lock order data w* missing"], "witness: reversal: lock order data missing", Trace, ""),
    later("witness: lock order reversal:", &["1st * * (", "2nd * * ("], "witness: reversal: {2} {4}", Trace, ""),
    later("lock order reversal:", &["1st * * (", "2nd * * ("], "witness: reversal: {2} {4}", Trace, ""),
    kind("witness: thread * exiting with the following locks held", "witness: thread exiting with locks held", Trace, ""),
    later("witness: userret: returning with", &["#*sys_*+0x"], "witness: userret: {2}", Trace, ""),
    kind("witness: *", "witness: {1}", Trace, ""),
    kind("panic: *", "panic: {1}", Trace, ""),
    // Panics, where nothing better came before.
    kind("Kernel panic - not syncing: stack-protector: *: *", "kernel panic: stack is corrupted in {}", Place, ""),
    kind("Kernel panic - not syncing: corrupted stack end", "kernel panic: corrupted stack end in {}", Trace, "stack-end"),
    kind("Kernel panic - not syncing: kernel stack overflow", "kernel stack overflow in {}", Trace, "overflow"),
    kind("Kernel panic - not syncing: Attempted to kill init!", "kernel panic: Attempted to kill init!", Trace, ""),
    kind("Kernel panic - not syncing: *", "kernel panic: {1}", Trace, ""),
    vague("BUG: *", "BUG: {1}", Trace),
    vague("WARNING: *", "WARNING: {1}", Trace),
];

/// A kind, and what its patterns captured in one report.
#[derive(Clone, Debug)]
pub struct Case {
    /// The kind.
    pub kind: &'static Kind,
    /// What the `*` stood for, in their order.
    pub captured: Vec<String>,
}

/// What the headline of `scene` announces.
pub fn case(scene: &Scene<'_, '_>) -> Option<Case> {
    let message = plain(&scene.message);
    let capture = scene.report.capture;
    let of_system = || (capture.os == Some(Os::Illumos)).then_some(illumos::KINDS);
    kind_others::of(capture.format).or_else(of_system).unwrap_or(KINDS).iter().find_map(|kind| {
        let mut captured: Vec<String> = glob::captures(kind.when, message)?.into_iter().map(str::to_string).collect();
        let mut lines = scene.details();
        for line in kind.then {
            captured.extend(
                lines.find_map(|text| Some(glob::captures(line, text.trim())?.into_iter().map(str::to_string).collect::<Vec<_>>()))?,
            );
        }
        Some(Case { kind, captured })
    })
}

/// The headline without what only says how bad it is: `Oops: ` before a trap's name, the brackets of old lockdep reports.
fn plain(message: &str) -> &str {
    let message = message.strip_prefix("[ ").map_or(message, |message| message.strip_suffix(" ]").unwrap_or(message));
    message.strip_prefix("Oops: ").filter(|trap| trap.starts_with(|first: char| first.is_ascii_lowercase())).unwrap_or(message)
}

impl Case {
    /// The title, with the guilty function if there is one.
    pub fn title(&self, function: Option<&str>) -> String {
        let own = kind_others::is_own(self.kind.set);
        let whole = own || self.kind.set == "panic";
        let longest = if whole { 4 * LONGEST } else { LONGEST };
        let (with, without) = self.kind.title.split_once(" | ").unwrap_or((self.kind.title, self.kind.title));
        let mut title = function.map_or(without, |_| with).to_string();
        for (n, text) in self.captured.iter().enumerate() {
            let text = if own { &kind_others::plain(text) } else { text };
            let file = text.rsplit('/').next().unwrap_or_default();
            title = title.replace(&format!("{{{}}}", n + 1), &general(text, longest)).replace(&format!("{{={}}}", n + 1), text.trim());
            title = title.replace(&format!("{{/{}}}", n + 1), &general(file, longest));
            title = title.replace(&format!("{{.{}}}", n + 1), kind_others::program(text));
        }
        let title = match function {
            Some(function) => title.replace("{/}", function.rsplit('/').next().unwrap_or_default()).replace("{}", function),
            None => title.split(" in {").next().unwrap_or_default().split(": {").next().unwrap_or_default().to_string(),
        };
        let title = if own { kind_others::squeezed(&title) } else { title.replace(char::is_control, " ") };
        // Bug trackers cut the titles of these systems as a whole.
        if whole { cut(&title, LONGEST).trim_end().to_string() } else { title }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_name_sets_that_exist() {
        for kind in KINDS.iter().chain(kind_others::GO).chain(kind_others::FUCHSIA).chain(kind_others::LLDB).chain(illumos::KINDS) {
            assert!(kind.set.is_empty() || SETS.contains(&kind.set), "{}", kind.set);
            let stars = kind.when.matches('*').count() + kind.then.iter().map(|line| line.matches('*').count()).sum::<usize>();
            assert!((stars + 1..9).all(|n| !kind.title.contains(&format!("{{{n}}}"))), "{}", kind.title);
            assert!(kind.from != Nowhere || !kind.title.contains("{}"), "{}", kind.title);
        }
    }
}
