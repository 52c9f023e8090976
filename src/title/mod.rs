//! What a report is about: the kind of crash, and the frame to look at first.
//!
//! ```text
//! WARNING in txg_sync_thread                             title
//! txg_sync_thread (zfs), module/zfs/txg.c                guilty function, module, file
//! first frame after 3 reporting frames                   why it is the one
//! ```
//! The first headline of the report that [`kind`] knows decides the title and which stack to take; [`scene`] finds that stack;
//! [`guilty`] walks it past what [`skip`] lists. The titles are worded as syzkaller words them, because bug trackers are full of those.

mod glob;
pub mod guilty;
mod illumos;
pub mod kind;
mod kind_others;
pub mod scene;
pub mod skip;
mod words;

use rustc_hash::FxHashSet;

use crate::model::capture::Headline;
use crate::model::crash::Blamed;
pub use crate::model::crash::{Crash, Guilty};
use crate::model::stack::Stack;
use crate::report::Report;
pub use skip::SkipList;

/// Headlines behind the first crash that are looked at: what a report of thousands tells of later is more of the same.
const MOST_LATER: usize = 256;

/// The first crash that `report` is about, and the later ones; `None` where nothing crashed or hung.
pub fn of(report: &Report<'_>, skip: &SkipList) -> Option<Crash> {
    let mut headlines = report.capture.headlines.iter();
    let mut first = headlines.find_map(|headline| crash(report, headline, skip))?;
    let stack = |crash: &Crash| crash.guilty.as_ref().and_then(|guilty| guilty.stack);
    let mut seen: FxHashSet<usize> = stack(&first).into_iter().collect();
    // Several headlines announce one crash: they lead to one stack.
    let later = headlines.take(MOST_LATER).filter_map(|headline| crash(report, headline, skip));
    first.later = later.filter(|crash| stack(crash).is_some_and(|stack| seen.insert(stack))).collect();
    Some(first)
}

/// The crash that one headline announces.
fn crash(report: &Report<'_>, headline: &Headline, skip: &SkipList) -> Option<Crash> {
    let scene = scene::Scene::new(report, headline);
    let case = kind::case(&scene)?;
    let guilty = guilty::find(&scene, &case, skip);
    let announced = guilty.as_ref().and_then(|guilty| guilty.stack).is_some_and(|at| scene.announces(at));
    if case.kind.needs_stack && !announced {
        return None;
    }
    // Bug trackers have one title for several functions that wait for the same; the frame keeps its own name.
    let called = guilty.as_ref().map(|guilty| skip.blamed(&guilty.function, case.kind.set).unwrap_or(&guilty.function));
    let title = case.title(called);
    Some(Crash { title, guilty, line: headline.line, later: Vec::new() })
}

/// Tells the stack that `crash` blames of it.
pub fn blame(stacks: &mut [Stack], crash: &Crash) {
    let Some(guilty) = &crash.guilty else { return };
    let stack = guilty.stack.and_then(|stack| stacks.get_mut(stack)).filter(|stack| stack.blamed.is_none());
    if let (Some(stack), Some(frame)) = (stack, guilty.frame) {
        stack.blamed = Some(Box::new(Blamed { title: crash.title.clone(), frame }));
    }
}

/// What standard error says first: the title, and where to look.
pub fn sentence(crash: &Crash) -> String {
    let Some(guilty) = &crash.guilty else { return crash.title.clone() };
    let module = guilty.module.as_deref().map_or(String::new(), |module| format!(" [{module}]"));
    let file = guilty.file.as_deref().filter(|_| guilty.file_of.is_none()).map_or(String::new(), |file| format!(" {file}"));
    let other = guilty.file.as_deref().zip(guilty.file_of.as_deref());
    let other = other.map_or(String::new(), |(file, of)| format!("; {file} is the file of {of}"));
    format!("{}; look at {}{module}{file}, {}{other}", crash.title, guilty.function, guilty.reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::{self, PlaceOptions};
    use crate::resolve::{self, ResolveOptions};
    use crate::symbols::find::Library;
    use proptest::prelude::*;

    fn crash_of(text: &str) -> Option<Crash> {
        let bytes = text.as_bytes();
        let format = crate::parse::FORMATS.iter().find(|format| format.id() == "linux-log").unwrap();
        let capture = format.parse(bytes);
        let layout = place::place(&capture, bytes, &[], &Library::default(), PlaceOptions::default());
        let resolved = resolve::resolve(&capture, bytes, &layout, ResolveOptions { demangle: true });
        let report = Report { source: "t", text: bytes, capture: &capture, layout: &layout, resolved: &resolved, crash: None };
        of(&report, &SkipList::default())
    }

    /// What `text` is about: title, guilty function, and the reason.
    fn about(text: &str) -> Option<(String, String, String)> {
        let crash = crash_of(text)?;
        let (function, reason) = crash.guilty.map(|guilty| (guilty.function, guilty.reason)).unwrap_or_default();
        Some((crash.title, function, reason))
    }

    /// `lines` with a stack of `frames` behind.
    fn with_stack(lines: &str, frames: &str) -> String {
        let frames: Vec<String> = frames.split(' ').map(|name| format!(" {name}+0x1/0x2\n")).collect();
        format!("{lines}\nCall Trace:\n{}\n", frames.concat())
    }

    fn title(lines: &str, frames: &str) -> String {
        about(&with_stack(lines, frames)).map(|(title, ..)| title).unwrap_or_default()
    }

    #[test]
    fn reporting_and_exception_frames_are_passed_over() {
        let text = with_stack(
            "BUG: KASAN: slab-use-after-free in memcpy+0x1/0x2\nRead of size 8 at addr ffff888109e0af00 by task dd/12\n",
            "dump_stack_lvl print_report kasan_report memcpy zil_commit",
        );
        let want = ("KASAN: slab-use-after-free Read in zil_commit", "zil_commit", "first frame after 3 reporting and 1 plumbing frames");
        assert_eq!(about(&text), Some((want.0.into(), want.1.into(), want.2.into())));
    }

    #[test]
    fn a_stack_without_the_function_of_the_headline_is_anothers() {
        let text = with_stack(
            "BUG: KASAN: slab-use-after-free in f+0x1/0x2\nRead of size 8 at addr ffff888109e0af00 by task dd/12\n",
            "vmalloc g h",
        );
        assert_eq!(about(&text), Some(("KASAN: slab-use-after-free Read in f".into(), "f".into(), "the report names it".into())));
    }

    #[test]
    fn every_crash_of_a_report_has_its_verdict_and_each_only_one() {
        let first = with_stack("WARNING: CPU: 0 PID: 1 at fs/x.c:1 x_close+0x1/0x2", "x_close vfs_write");
        let second =
            with_stack("BUG: kernel NULL pointer dereference, address: 0000000000000018\nRIP: 0010:y_open+0x1/0x2", "y_open vfs_open");
        let crash = crash_of(&format!("{first}{}{second}", "eth0: link up\n".repeat(60))).unwrap();
        assert_eq!(crash.title, "WARNING in x_close");
        let later: Vec<&str> = crash.later.iter().map(|crash| crash.title.as_str()).collect();
        assert_eq!(later, ["BUG: unable to handle kernel NULL pointer dereference in y_open"]);
        assert!(crash_of(&second).unwrap().later.is_empty());
    }

    #[test]
    fn where_execution_was_comes_first() {
        let oops = "BUG: kernel NULL pointer dereference, address: 0000000000000018\nRIP: 0010:write_null.cold+0x5/0x20 [kslab]";
        assert_eq!(title(oops, "chain_host vfs_write"), "BUG: unable to handle kernel NULL pointer dereference in write_null");
        let warning =
            "WARNING: CPU: 0 PID: 1 at lib/refcount.c:28 refcount_warn_saturate+0x1/0x2\nRIP: 0010:refcount_warn_saturate+0x1/0x2";
        assert_eq!(title(warning, "kobject_put sk_free"), "WARNING: refcount bug in sk_free");
    }

    /// The guilty frame has the file of its own function, or it is said whose it is.
    #[test]
    fn a_file_is_that_of_its_function() {
        let oops = "BUG: kernel NULL pointer dereference, address: 0000000000000018\nRIP: 0010:zio_wait+0x12/0x90 [zfs]";
        let of = |zio_wait: &str, next: &str| crash_of(&format!("{oops}{zio_wait}\nCall Trace:\n {next}\n vfs_write+0x1/0x2\n")).unwrap();
        let files = |crash: &Crash| crash.guilty.clone().map(|guilty| (guilty.file, guilty.file_of)).unwrap();
        let some = |text: &str| Some(text.to_string());
        let unknown = of("", "spa_sync+0x1/0x2 fs/zfs/spa.c:12 [zfs]");
        assert_eq!(files(&unknown), (None, None));
        assert!(sentence(&unknown).ends_with("; look at zio_wait [zfs], first frame"), "{}", sentence(&unknown));
        let own = of(" fs/zfs/zio.c:3", "spa_sync+0x1/0x2 fs/zfs/spa.c:12 [zfs]");
        assert_eq!(files(&own), (some("fs/zfs/zio.c"), None));
        assert!(sentence(&own).contains("; look at zio_wait [zfs] fs/zfs/zio.c, "), "{}", sentence(&own));
        let general = of(" include/linux/list.h:3", "spa_sync+0x1/0x2 fs/zfs/spa.c:12 [zfs]");
        assert_eq!(files(&general), (some("fs/zfs/spa.c"), some("spa_sync")));
        assert!(
            sentence(&general).ends_with("; look at zio_wait [zfs], first frame; fs/zfs/spa.c is the file of spa_sync"),
            "{}",
            sentence(&general)
        );
    }

    #[test]
    fn a_lock_that_closes_a_circle_is_blamed_on_who_takes_it() {
        let text = "WARNING: possible circular locking dependency detected\ndd/12 is trying to acquire lock:\n\
            ffff88 (&a){+.+.}-{3:3}, at: spa_open+0x1/0x2\n\nbut task is already holding lock:\nffff89 (&b){+.+.}-{3:3}, at: other+0x1/0x2\n\n\
            -> #0 (&a){+.+.}-{3:3}:\n lock_acquire+0x1/0x2\n other+0x1/0x2\n\nstack backtrace:\n";
        assert_eq!(title(text, "dump_stack lock_acquire spa_open dsl_dir"), "possible deadlock in spa_open");
    }

    #[test]
    fn hangs_are_blamed_on_who_waits_and_stalls_on_who_was_asked() {
        let hung = "INFO: task txg_sync:257 blocked for more than 5 seconds.\ntask:txg_sync        state:D stack:0     pid:257   ppid:2      flags:0x00004000";
        assert_eq!(title(hung, "__schedule schedule cv_wait_common zio_execute"), "INFO: task hung in zio_execute");
        assert_eq!(title(hung, "__schedule schedule __mutex_lock rtnl_lock dev_ioctl"), "INFO: task hung in rtnl_lock");
        let stall = "rcu: INFO: rcu_preempt self-detected stall on CPU";
        assert_eq!(
            title(stall, "rcu_sched_clock_irq sysvec_apic_timer_interrupt asm_sysvec_apic_timer_interrupt memset ext4_write vfs_write"),
            "INFO: rcu detected stall in ext4_write"
        );
    }

    #[test]
    fn what_slab_caches_find_is_blamed_on_who_allocated() {
        let text = "BUG kmalloc-64 (Not tainted): Poison overwritten\n--------------------------\n\n\
            INFO: Allocated in sas_host_new+0x4a/0x490 age=1688 cpu=1 pid=2004\n\t__slab_alloc+0x617/0x6c1\n\tsas_host_new+0x4a/0x490\n";
        assert_eq!(about(text).unwrap().0, "BUG: Poison overwritten in sas_host_new");
        assert_eq!(about("BUG UNIX (Not tainted): kasan: bad access detected\n"), None);
    }

    #[test]
    fn assertions_of_openzfs_keep_their_condition_and_not_its_values() {
        let text = "VERIFY3(a == b) failed (1319160994 == 3100762)\nPANIC at dbuf.c:12:dbuf_write()\nShowing stack for process 12";
        assert_eq!(title(text, "dump_stack spl_dumpstack spl_panic dbuf_write zio_done"), "VERIFY3(a == b) failed in dbuf_write");
    }

    #[test]
    fn a_torn_stack_leaves_it_to_the_headline() {
        assert_eq!(title("WARNING: CPU: 0 PID: 1 at fs/x.c:1 x_close+0x1/0x2", "dump_stack panic"), "WARNING in x_close");
        assert_eq!(about("PANIC: double fault, error_code: 0x0\nRIP: 0010:deep+0x1/0x2\n").unwrap().1, "deep");
    }

    #[test]
    fn where_nothing_crashed_there_is_no_title() {
        let boot = "WARNING: The mand mount option has been deprecated and\nINFO: lockdep is turned off.\nBUG: start networkManagement\n";
        assert_eq!(about(boot), None);
        // Not even when something else prints a stack later.
        let later = format!("{boot}{}task:dd state:D stack:0 pid:1 ppid:2 flags:0x0", "eth0: link up\n".repeat(40));
        assert_eq!(about(&with_stack(&later, "__schedule schedule")), None);
        assert_eq!(title("FAULT_INJECTION: forcing a failure.", "dump_stack should_fail"), "");
    }

    proptest! {
        #[test]
        fn any_text_has_a_title_of_one_line_or_none(pieces in prop::collection::vec(prop_oneof![
            Just("BUG: KASAN: "), Just(" in f"), Just("+0x1/0x2"), Just("\n"), Just("Call Trace:\n"), Just(" g+0x1/0x2\n"), Just("Kernel panic - not syncing: "),
            Just("VERIFY3("), Just("*: "), Just("WARNING: "), Just("INFO: task "), Just(" blocked for more than"), Just("INFO: rcu"), Just(" detected stall"),
            Just(" trying to acquire"), Just("at: "), Just("possible recursive locking"), Just("\u{e9}"), Just("\x1b"), Just("0xffff"), Just("[<"), Just("RIP: "), Just("."),
        ], 0..40)) {
            if let Some((title, ..)) = about(&pieces.concat()) {
                prop_assert!(!title.is_empty() && !title.contains(char::is_control), "{title:?}");
            }
        }
    }
}
