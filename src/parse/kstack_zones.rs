//! Zones in kstack's own JSON, as they are read.

use serde::Deserialize;

use crate::model::addr::{Avma, parse_hex};
use crate::model::zone::Zone;

/// A zone; shares and reasons are found out anew.
#[derive(Deserialize)]
pub struct JsonZone {
    name: String,
    line: Option<u32>,
    address: Option<String>,
    #[serde(default)]
    bytes: u64,
    max_bytes: Option<u64>,
    #[serde(default)]
    elements: u64,
    capacity: Option<u64>,
    #[serde(default)]
    element_size: u64,
    allocs: Option<u64>,
    frees: Option<u64>,
    flags: Option<String>,
}

/// The zone as its table had it.
pub fn zone(zone: JsonZone) -> Zone {
    Zone {
        name: zone.name,
        address: zone.address.as_deref().and_then(parse_hex).map(Avma),
        element_size: zone.element_size,
        elements: zone.elements,
        capacity: zone.capacity,
        bytes: zone.bytes,
        most_bytes: zone.max_bytes,
        allocs: zone.allocs,
        frees: zone.frees,
        flags: zone.flags,
        line: zone.line.unwrap_or(1),
    }
}
