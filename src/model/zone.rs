//! Zones of a kernel's allocator, as tables of them say: who holds how much memory.

use super::addr::Avma;

/// One zone: elements of one size, allocated from pages of its own.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Zone {
    /// Name as printed.
    pub name: String,
    /// Address of the zone itself.
    pub address: Option<Avma>,
    /// Size of an element in bytes.
    pub element_size: u64,
    /// Elements in use.
    pub elements: u64,
    /// Elements for which there is memory, in use or free.
    pub capacity: Option<u64>,
    /// Memory that the zone holds, in bytes.
    pub bytes: u64,
    /// What it may hold, in bytes; `None` where the table says that there is no limit, or nothing.
    pub most_bytes: Option<u64>,
    /// How many elements were allocated since boot.
    pub allocs: Option<u64>,
    /// How many of them were freed.
    pub frees: Option<u64>,
    /// Letters as printed: `C` collectable, `X` expandable, `H` exhaustible, `$` not encrypted. `None` where the table has none.
    pub flags: Option<String>,
    /// Line of the report, from 1.
    pub line: u32,
}
