//! What a stack counts for: the threads, records or objects that stand there, or their bytes.

use std::str::FromStr;

use crate::model::stack::Stack;

/// What stacks are counted by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Weight {
    /// Threads, samples, records, objects.
    #[default]
    Count,
    /// Bytes, in reports that count memory.
    Bytes,
}

impl Weight {
    /// What `stack` weighs; without bytes nothing in bytes.
    pub fn of(self, stack: &Stack) -> u64 {
        match self {
            Weight::Count => stack.count,
            Weight::Bytes => stack.bytes.unwrap_or(0),
        }
    }
}

impl FromStr for Weight {
    type Err = String;

    fn from_str(text: &str) -> Result<Weight, String> {
        match text {
            "count" => Ok(Weight::Count),
            "bytes" => Ok(Weight::Bytes),
            _ => Err("expected count or bytes".to_string()),
        }
    }
}

/// A number of bytes for people: `944 B`, `4.0 KiB`, `1.3 GiB`; tenths are cut, not rounded.
///
/// ```
/// # use kstack::group::weight::size;
/// assert_eq!([size(944), size(4096), size(1_441_792)], ["944 B", "4.0 KiB", "1.3 MiB"]);
/// assert_eq!(size(u64::MAX), "15.9 EiB");
/// ```
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let power = bytes.checked_ilog2().unwrap_or(0) / 10;
    if power == 0 {
        return format!("{bytes} B");
    }
    let tenths = (u128::from(bytes) * 10) >> (10 * power);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[power as usize - 1])
}
