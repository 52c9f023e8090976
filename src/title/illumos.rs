//! The kinds of panics of illumos. Its message is all that it says about one, so that every message is of some kind.
//!
//! Sources: `die` in usr/src/uts/i86pc/os/trap.c and sun4/os/trap.c, `assfail` and `assfail3` in common/os/printf.c, `mutex_panic` in
//! common/os/mutex.c, `rw_panic` in common/os/rwlock.c, `deadman` in common/os/clock.c, `kmem_error` in common/os/kmem.c,
//! `vdev_deadman` and `spa_vdev_state` in common/fs/zfs (illumos-gate). Bug trackers word these titles in no one way; they follow those
//! of the other systems.

use super::kind::Seat::{Nowhere, Trace};
use super::kind::{Kind, Seat, kind};

const fn panic(when: &'static str, title: &'static str) -> Kind {
    of(when, title, Trace)
}

const fn of(when: &'static str, title: &'static str, from: Seat) -> Kind {
    kind(when, title, from, "illumos")
}

/// The kinds; the first that fits counts.
pub(super) static KINDS: &[Kind] = &[
    panic("BAD TRAP: type=* (*) rp=* due to a NULL", "BAD TRAP: {2}: NULL pointer dereference in {}"),
    panic("BAD TRAP: type=* (*) rp=* due to an illegal access", "BAD TRAP: {2}: illegal access to a user address in {}"),
    panic("BAD TRAP: type=* (*)", "BAD TRAP: {2} in {}"),
    panic("BAD TRAP: type=* rp=* due to a NULL", "BAD TRAP: type {=1}: NULL pointer dereference in {}"),
    panic("BAD TRAP: type=* rp=* due to an illegal access", "BAD TRAP: type {=1}: illegal access to a user address in {}"),
    panic("BAD TRAP: type=* ", "BAD TRAP: type {=1} in {}"),
    // What assfail3 prints of the values differs from crash to crash.
    panic("assertion failed: * (0x*), file: *, line: ", "assertion failed: {1} in {}"),
    panic("assertion failed: *, file: *, line: ", "assertion failed: {1} in {}"),
    panic("assertion failed: *", "assertion failed: {1} in {}"),
    panic("VERIFY*) failed", "VERIFY{1}) failed in {}"),
    // Locks: what is wrong, then the addresses of lock, owner and thread.
    panic("*, lp=", "{1} in {}"),
    panic("Deadlock: cycle in blocking chain", "Deadlock: cycle in blocking chain in {}"),
    panic("deadman: timed out after ", "deadman: timed out in {}"),
    panic("kernel heap corruption detected", "kernel heap corruption detected in {}"),
    // Two that ZFS panics with where its devices do not answer: no function is at fault.
    of("I/O to pool '*' appears to be hung", "I/O to pool appears to be hung", Nowhere),
    of("Pool '*' has encountered an uncorrectable I/O failure", "pool has encountered an uncorrectable I/O failure", Nowhere),
    of("forced crash dump initiated at user request", "forced crash dump initiated at user request", Nowhere),
    panic("panic[cpu*]/thread=", "panic in {}"),
    panic("*", "panic: {1}"),
];

#[cfg(test)]
mod tests {
    use super::super::{Crash, SkipList, of};
    use crate::parse::by_id;
    use crate::place::{self, PlaceOptions};
    use crate::report::Report;
    use crate::resolve::{self, ResolveOptions};
    use crate::symbols::find::Library;

    fn crash_of(text: &str) -> Option<Crash> {
        let bytes = text.as_bytes();
        let capture = by_id("illumos-stacks").unwrap().parse(bytes);
        let layout = place::place(&capture, bytes, &[], &Library::default(), PlaceOptions::default());
        let resolved = resolve::resolve(&capture, bytes, &layout, ResolveOptions { demangle: true });
        let report = Report { source: "t", text: bytes, capture: &capture, layout: &layout, resolved: &resolved, crash: None };
        of(&report, &SkipList::default())
    }

    /// Title and guilty function of a panic with that message and those frames, its message in the same line and in the next.
    fn about(message: &str, frames: &str) -> (String, String) {
        let stack: String = frames.split(' ').map(|name| format!("fffffe000f4a36b0 {name}+df ()\n")).collect();
        let both = ["", "\n"].map(|end| {
            let crash = crash_of(&format!("panic[cpu3]/thread=fffffe000f4a3c20: {end}{message}\n\nsched: \n\n{stack}\n")).unwrap();
            (crash.title, crash.guilty.map(|guilty| guilty.function).unwrap_or_default())
        });
        assert_eq!(both[0], both[1]);
        both[0].clone()
    }

    #[test]
    fn traps_are_blamed_on_what_they_interrupted() {
        let frames = "unix:die unix:trap unix:cmntrap genunix:list_remove zfs:dsl_dir_tempreserve_clear";
        let (title, guilty) = about(
            "BAD TRAP: type=e (#pf Page fault) rp=ffffff001552f980 addr=8 occurred in module \"genunix\" due to a NULL pointer dereference",
            frames,
        );
        assert_eq!(title, "BAD TRAP: #pf Page fault: NULL pointer dereference in dsl_dir_tempreserve_clear");
        assert_eq!(guilty, "dsl_dir_tempreserve_clear");
        let inlined = "unix:real_mode_stop_cpu_stage2_end unix:trap unix:_cmntrap kvm:kvm_create_vm";
        assert_eq!(
            about("BAD TRAP: type=d (#gp General protection) rp=1 addr=0", inlined).0,
            "BAD TRAP: #gp General protection in kvm_create_vm"
        );
        let sparc = "unix:die unix:trap unix:ktl0 unix:mutex_vector_enter genunix:dnlc_csupdate";
        let said = "BAD TRAP: type=31 rp=2a11514ef30 addr=18 mmu_fsr=0 occurred in module \"unix\" due to a NULL pointer dereference";
        assert_eq!(about(said, sparc).0, "BAD TRAP: type 31: NULL pointer dereference in dnlc_csupdate");
    }

    #[test]
    fn assertions_and_locks_are_blamed_on_who_made_them() {
        let said = "assertion failed: zio->io_error == 0 (0x5 == 0x0), file: ../../common/fs/zfs/zio.c, line: 3411";
        let is = ("assertion failed: zio->io_error == NUM in zio_done".to_string(), "zio_done".to_string());
        assert_eq!(about(said, "genunix:vpanic genunix:assfail3 zfs:zio_done zfs:zio_execute"), is);
        let said = "assertion failed: MUTEX_HELD(&db->db_mtx), file: ../../common/fs/zfs/dbuf.c, line: 12";
        assert_eq!(
            about(said, "genunix:vpanic genunix:assfail zfs:dbuf_write").0,
            "assertion failed: MUTEX_HELD(&db->db_mtx) in dbuf_write"
        );
        let said = "mutex_enter: bad mutex, lp=fffffe1 owner=fffffe2 thread=fffffe3";
        assert_eq!(about(said, "unix:mutex_panic unix:mutex_vector_enter zfs:zio_wait").0, "mutex_enter: bad mutex in zio_wait");
        assert_eq!(about("kernel heap corruption detected", "genunix:kmem_error genunix:kmem_free zfs:zap_free").1, "zap_free");
    }

    #[test]
    fn a_stopped_clock_is_blamed_on_what_its_interrupt_found() {
        let frames = "genunix:deadman genunix:cyclic_expire genunix:cyclic_fire unix:cbe_fire apix:apix_dispatch_by_vector \
            unix:switch_sp_and_call apix:apix_do_interrupt unix:_interrupt zfs:spa_sync";
        let said = "deadman: timed out after 50 seconds of clock inactivity";
        assert_eq!(about(said, frames), ("deadman: timed out in spa_sync".to_string(), "spa_sync".to_string()));
    }

    #[test]
    fn any_other_message_is_the_title_without_what_differs() {
        let said = "blkptr at fffffe0c3e8c8ba0 has invalid TYPE 101";
        assert_eq!(
            about(said, "genunix:vcmn_err zfs:zfs_panic_recover zfs:zfs_blkptr_verify").0,
            "panic: blkptr at ADDR has invalid TYPE NUM"
        );
        assert_eq!(
            about("I/O to pool 'tank' appears to be hung.", "genunix:vpanic zfs:vdev_deadman"),
            ("I/O to pool appears to be hung".to_string(), String::new())
        );
        let missing = "panic[cpu3]/thread=fffffe000f4a3c20: \nfffffe000f4a36b0 genunix:vpanic ()\nfffffe000f4a36b0 zfs:spa_sync+5 ()\n";
        assert_eq!(crash_of(missing).unwrap().title, "panic in spa_sync");
    }

    #[test]
    fn a_crash_dump_in_mdb_says_it_too() {
        let text = "> ::status\npanic message:\nBAD TRAP: type=e (#pf Page fault) rp=fffff addr=40 occurred in module \"ip\" due to a NULL pointer deref\n\
            erence\ndump content: kernel pages only\n> $C\nffffff00fbc31c20 udp_do_open+0x68(ffffffa0ffd847d8, 0, 0, ffffff00fbc31ccc)\n\
            ffffff00fbc31df0 socket_create+0xc2(2, 1)\n";
        let crash = crash_of(text).unwrap();
        assert_eq!(crash.title, "BAD TRAP: #pf Page fault: NULL pointer dereference in udp_do_open");
    }
}
