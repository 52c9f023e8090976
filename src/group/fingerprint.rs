//! Fingerprints: one short name for all stacks that run through the same functions, on any machine.
//!
//! Version `k1`. The text that is hashed has one line for each frame, innermost first, each ended by a line feed: the function's base
//! name ([`crate::names::base_name`]), and for frames outside of the kernel itself a blank and the module in brackets:
//!
//! ```text
//! cv_wait_common [spl]
//! txg_wait_synced_impl [zfs]
//! do_syscall_64
//! ```
//!
//! Left out are frames that the report calls unreliable (`? `), frames that the report marks as inlined, and the functions of
//! `scheduler.txt`, which some kinds of report print and others do not; and in the stack that the title of a crash blames the frames
//! before the guilty one ([`crate::title`]), because what reports a crash is another in every kernel. `-` in module names becomes `_`.
//! A frame without a name counts as its offset in its image (`+0x1f [zfs]`), else as its address: such a stack is equal only within one build or one boot.
//! The fingerprint is `k1:` and the first 32 hexadecimal digits of the text's SHA-256, so that anything with `sha256sum` makes the
//! same.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::naming::FrameName;

/// The fingerprint of a stack that counts as `names`, innermost first.
///
/// ```
/// # use kstack::group::fingerprint::fingerprint;
/// // printf 'f\n' | sha256sum
/// let f = kstack::group::naming::FrameName { module: "".into(), function: "f".into(), named: true };
/// assert_eq!(fingerprint([&f].into_iter()), "k1:092fcfbbcfca3b5be7ae1b5e58538e92");
/// ```
pub fn fingerprint<'n>(names: impl Iterator<Item = &'n FrameName>) -> String {
    let mut hash = Sha256::new();
    for name in names {
        hash.update(format!("{name}\n"));
    }
    format!("k1:{}", digits(&hash.finalize()))
}

/// The first 32 hexadecimal digits of a hash.
pub(super) fn digits(hash: &[u8]) -> String {
    hash.iter().take(16).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
