//! The documents that kstack's JSON consists of, as they are read: every field may be missing, and others may be added.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::kstack_code::JsonCode;
use super::kstack_locks::{JsonLock, JsonTask, JsonWait, JsonWaker};
use super::kstack_zones::JsonZone;

pub type Counts = BTreeMap<String, u64>;

/// Any of the four documents, every field of which may be missing.
#[derive(Deserialize)]
pub struct Document<'t> {
    pub schema: String,
    #[serde(default, borrow)]
    pub reports: Vec<Head<'t>>,
    #[serde(default, borrow)]
    pub groups: Vec<Group<'t>>,
    // One stack with the head of its report.
    pub source: Option<String>,
    pub os: Option<String>,
    pub arch: Option<String>,
    pub kernel_version: Option<String>,
    pub slide: Option<String>,
    pub addresses: Option<String>,
    #[serde(default)]
    pub tasks_with_locks: Vec<JsonTask>,
    #[serde(default)]
    pub zones: Vec<JsonZone>,
    #[serde(default)]
    pub images: Vec<Image>,
    // One zone.
    pub zone: Option<JsonZone>,
    #[serde(borrow)]
    pub stack: Option<JsonStack<'t>>,
    // One group.
    pub count: Option<u64>,
    pub bytes: Option<u64>,
    pub kind: Option<String>,
    pub title: Option<String>,
    pub guilty: Option<JsonGuilty>,
    pub blamed: Option<JsonBlamed>,
    #[serde(default)]
    pub states: Counts,
    #[serde(default)]
    pub wait_channels: Counts,
    #[serde(default)]
    pub processes: Counts,
    #[serde(default)]
    pub members: Vec<JsonMember>,
    #[serde(borrow)]
    pub frames: Option<Vec<JsonFrame<'t>>>,
}

#[derive(Deserialize)]
pub struct Head<'t> {
    pub source: Option<String>,
    pub os: Option<String>,
    pub arch: Option<String>,
    pub kernel_version: Option<String>,
    pub slide: Option<String>,
    pub addresses: Option<String>,
    pub title: Option<String>,
    pub guilty: Option<JsonGuilty>,
    #[serde(default)]
    pub tasks_with_locks: Vec<JsonTask>,
    #[serde(default)]
    pub zones: Vec<JsonZone>,
    #[serde(default)]
    pub images: Vec<Image>,
    #[serde(default, borrow)]
    pub stacks: Vec<JsonStack<'t>>,
}

#[derive(Deserialize)]
pub struct Group<'t> {
    pub count: Option<u64>,
    pub bytes: Option<u64>,
    pub kind: Option<String>,
    pub title: Option<String>,
    pub blamed: Option<JsonBlamed>,
    pub os: Option<String>,
    pub addresses: Option<String>,
    #[serde(default)]
    pub states: Counts,
    #[serde(default)]
    pub wait_channels: Counts,
    #[serde(default)]
    pub processes: Counts,
    #[serde(default)]
    pub members: Vec<JsonMember>,
    #[serde(default, borrow)]
    pub frames: Vec<JsonFrame<'t>>,
}

#[derive(Deserialize)]
pub struct JsonBlamed {
    pub title: String,
    pub frame: usize,
}

#[derive(Deserialize)]
pub struct JsonGuilty {
    pub function: String,
    pub module: Option<String>,
    pub file: Option<String>,
    pub file_of: Option<String>,
    pub reason: Option<String>,
    pub stack: Option<usize>,
    pub frame: Option<usize>,
}

#[derive(Deserialize)]
pub struct JsonMember {
    #[serde(default)]
    pub source: String,
    #[serde(default)]
    pub stack: u64,
    pub pid: Option<i64>,
    pub tid: Option<String>,
    pub process: Option<String>,
    pub state: Option<String>,
    pub workqueue: Option<String>,
    pub held_locks: Option<Vec<JsonLock>>,
    pub waits_for: Option<JsonWait>,
    pub count: Option<u64>,
}

#[derive(Deserialize)]
pub struct Image {
    pub name: String,
    pub version: Option<String>,
    pub uuid: Option<String>,
    pub load_address: Option<String>,
    pub size: Option<u64>,
    pub exec_address: Option<String>,
    pub exec_size: Option<u64>,
    #[serde(default)]
    pub kernel: bool,
}

#[derive(Deserialize)]
pub struct JsonStack<'t> {
    pub kind: Option<String>,
    pub title: Option<String>,
    pub pid: Option<i64>,
    pub tid: Option<String>,
    pub process: Option<String>,
    pub thread: Option<String>,
    pub cpu: Option<u32>,
    pub state: Option<String>,
    pub wait_channel: Option<String>,
    pub count: Option<u64>,
    pub line: Option<u32>,
    #[serde(default)]
    pub aside: bool,
    pub bytes: Option<u64>,
    pub blamed: Option<JsonBlamed>,
    pub workqueue: Option<String>,
    pub command_line: Option<String>,
    pub cgroup: Option<String>,
    pub held_locks: Option<Vec<JsonLock>>,
    pub waits_for: Option<JsonWait>,
    pub woken_by: Option<JsonWaker>,
    #[serde(default)]
    pub code: Vec<JsonCode>,
    #[serde(default, borrow)]
    pub frames: Vec<JsonFrame<'t>>,
    #[serde(default, borrow)]
    pub user_frames: Vec<JsonFrame<'t>>,
}

#[derive(Deserialize)]
pub struct JsonFrame<'t> {
    pub line: Option<u32>,
    pub address: Option<String>,
    // Raw, because the frame's names stay where they stand in the text.
    #[serde(borrow)]
    pub module: Option<&'t RawValue>,
    #[serde(borrow)]
    pub symbol: Option<&'t RawValue>,
    #[serde(default)]
    pub underscored: bool,
    pub offset: Option<u64>,
    pub image_offset: Option<u64>,
    pub size: Option<u64>,
    pub reliable: Option<bool>,
    #[serde(default)]
    pub exact: bool,
    pub role: Option<String>,
    pub trust: Option<String>,
    #[serde(default)]
    pub locations: Vec<JsonLocation>,
}

#[derive(Deserialize, PartialEq, Eq, Hash, Clone)]
pub struct JsonLocation {
    pub function: Option<String>,
    pub file: Option<String>,
    pub line: Option<u32>,
    pub column: Option<u32>,
    #[serde(default)]
    pub inlined: bool,
}
