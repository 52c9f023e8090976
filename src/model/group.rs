//! Who is in a group of stacks, as far as a report that was grouped before still tells.

use std::collections::BTreeMap;

use super::lock::Annotations;

/// One stack of a group.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Member {
    /// Where the report came from.
    pub source: String,
    /// Number of the stack in that report, from 0.
    pub stack: u64,
    /// Process id.
    pub pid: Option<i64>,
    /// Thread id as printed.
    pub tid: Option<String>,
    /// Process or command name.
    pub process: Option<String>,
    /// State as printed.
    pub state: Option<String>,
    /// What the report says about its task beside the frames. Few have any.
    pub annotations: Option<Box<Annotations>>,
    /// How many threads stand there.
    pub count: u64,
}

/// What the members of a group have, counted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// By state.
    pub states: BTreeMap<String, u64>,
    /// By wait channel.
    pub wait_channels: BTreeMap<String, u64>,
    /// By process or command name.
    pub processes: BTreeMap<String, u64>,
    /// The members themselves.
    pub members: Vec<Member>,
}

impl Tally {
    /// Adds what `other` has.
    pub fn add(&mut self, other: &Tally) {
        for (mine, its) in
            [(&mut self.states, &other.states), (&mut self.wait_channels, &other.wait_channels), (&mut self.processes, &other.processes)]
        {
            for (name, count) in its {
                count_in(mine, name, *count);
            }
        }
        self.members.extend(other.members.iter().cloned());
    }
}

/// Adds `count` to the entry of `name`.
pub fn count_in(counts: &mut BTreeMap<String, u64>, name: &str, count: u64) {
    // Most names are there already: no string is made for them.
    match counts.get_mut(name) {
        Some(known) => *known = known.saturating_add(count),
        None => _ = counts.insert(name.to_string(), count),
    }
}
