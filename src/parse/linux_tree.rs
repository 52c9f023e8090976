//! Trees copied from a running Linux: `/proc/PID/…/stack` with `comm`, `stat` and `wchan` beside it, `/sys/module/NAME/sections`,
//! `/sys/module/NAME/notes`, `/sys/kernel/notes`. They are known by the last parts of their paths, wherever the tree begins.

use std::collections::BTreeMap;

use super::lex;
use super::linux_proc_stack::LinuxProcStack;
use super::{Format, SNIFF_BYTES};
use crate::model::addr::Avma;
use crate::model::capture::{Capture, Os};
use crate::model::image::{Basis, ImageClaim, ImageId};

/// What was found of one thread.
#[derive(Default)]
struct Task {
    stack: Vec<u8>,
    comm: Option<String>,
    state: Option<String>,
    wchan: Option<String>,
}

/// A tree while it is being read, file by file, in any order.
#[derive(Default)]
pub struct Tree {
    tasks: BTreeMap<(u64, u64), Task>,
    modules: BTreeMap<String, ImageClaim>,
    kernel: Option<ImageId>,
}

/// What a path stands for.
enum Part<'p> {
    Task(u64, u64, &'p str),
    Section(&'p str, &'p str),
    Notes(&'p str),
    KernelNotes,
}

impl Tree {
    /// Whether the file at `path` (parts separated by `/`) belongs to a tree.
    pub fn knows(path: &str) -> bool {
        part(path).is_some()
    }

    /// Takes a file that [`Tree::knows`].
    pub fn take(&mut self, path: &str, bytes: &[u8]) {
        match part(path) {
            Some(Part::Task(pid, tid, file)) => {
                let task = self.tasks.entry((pid, tid)).or_default();
                let text = lex::text(bytes.trim_ascii());
                match file {
                    "stack" => task.stack = bytes.to_vec(),
                    "comm" => task.comm = Some(text),
                    "wchan" => task.wchan = Some(text).filter(|text| !text.is_empty() && text != "0"),
                    // `PID (COMM) STATE …`; the name may hold anything, a parenthesis too.
                    _ => task.state = text.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').next().map(str::to_string)),
                }
            }
            Some(Part::Section(module, section)) => {
                let address = std::str::from_utf8(bytes.trim_ascii()).ok().and_then(|text| lex::hex(text.as_bytes()));
                if let Some(address) = address.filter(|address| *address != 0) {
                    self.module(module).sections.push((section.to_string(), Avma(address)));
                }
            }
            Some(Part::Notes(module)) => {
                if let Some(id) = build_id(bytes) {
                    self.module(module).id = Some(id);
                }
            }
            Some(Part::KernelNotes) => self.kernel = self.kernel.or(build_id(bytes)),
            None => {}
        }
    }

    fn module(&mut self, name: &str) -> &mut ImageClaim {
        let fresh = || ImageClaim { name: name.to_string(), basis: Basis::Runtime, ..ImageClaim::default() };
        self.modules.entry(name.to_string()).or_insert_with(fresh)
    }

    /// The load map in the tree, if there is one.
    pub fn map(&mut self) -> Option<Capture> {
        let kernel = self.kernel.take().map(|id| ImageClaim {
            name: "vmlinux".to_string(),
            id: Some(id),
            kernel: true,
            basis: Basis::Runtime,
            ..ImageClaim::default()
        });
        let images: Vec<ImageClaim> = kernel.into_iter().chain(std::mem::take(&mut self.modules).into_values()).collect();
        if images.is_empty() {
            return None;
        }
        Some(Capture { format: "linux-sysfs-tree", os: Some(Os::Linux), basis: Some(Basis::Runtime), images, ..Capture::default() })
    }

    /// The stacks in the tree as `tail -n +1 /proc/*/task/*/stack` prints them, and what they say; threads in the order of their numbers.
    pub fn report(&mut self) -> Option<(Vec<u8>, Capture)> {
        let tasks = std::mem::take(&mut self.tasks);
        if tasks.values().all(|task| task.stack.is_empty()) {
            return None;
        }
        let mut text = Vec::with_capacity(SNIFF_BYTES);
        for ((pid, tid), task) in &tasks {
            text.extend(format!("==> /proc/{pid}/task/{tid}/stack <==\n").into_bytes());
            text.extend(&task.stack);
            text.push(b'\n');
        }
        let mut capture = LinuxProcStack.parse(&text);
        for stack in &mut capture.stacks {
            let tid = stack.tid.as_deref().and_then(|tid| tid.parse().ok());
            let key = stack.pid.and_then(|pid| u64::try_from(pid).ok()).zip(tid);
            let Some(task) = key.and_then(|key| tasks.get(&key)) else { continue };
            stack.process.clone_from(&task.comm);
            stack.state.clone_from(&task.state);
            stack.wait_channel.clone_from(&task.wchan);
        }
        Some((text, capture))
    }
}

fn part(path: &str) -> Option<Part<'_>> {
    let mut parts = path.rsplit('/');
    let (file, parent, above, top) = (parts.next()?, parts.next()?, parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let number = |text: &str| text.parse::<u64>().ok();
    match (file, parent, above) {
        ("stack" | "comm" | "wchan" | "stat", tid, "task") => Some(Part::Task(number(top)?, number(tid)?, file)),
        ("stack" | "comm" | "wchan" | "stat", pid, _) => Some(Part::Task(number(pid)?, number(pid)?, file)),
        (".note.gnu.build-id", "notes", module) => Some(Part::Notes(module)),
        (".note.gnu.build-id", module, "notes") => Some(Part::Notes(module)),
        ("notes", "kernel", _) | ("kernel-notes", ..) => Some(Part::KernelNotes),
        (section, "sections", module) if !module.is_empty() => Some(Part::Section(module, section)),
        (section, module, "sections") => Some(Part::Section(module, section)),
        _ => None,
    }
}

/// The build id among ELF notes: words of name size, descriptor size and type 3 (`NT_GNU_BUILD_ID`), then `GNU\0` and the id.
fn build_id(notes: &[u8]) -> Option<ImageId> {
    let mut rest = notes;
    while rest.len() >= 12 {
        let word = |at: usize| u32::from_le_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]) as usize;
        let (name, size, kind) = (word(0), word(4), word(8));
        let start = 12usize.checked_add(name.checked_next_multiple_of(4)?)?;
        let end = start.checked_add(size)?;
        if kind == 3 && rest.get(12..16) == Some(b"GNU\0") {
            return ImageId::build(rest.get(start..end)?);
        }
        rest = rest.get(end.checked_next_multiple_of(4)?..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_find_their_task_and_module() {
        let mut tree = Tree::default();
        for (path, bytes) in [
            ("x/proc/7/task/9/stack", &b"[<0>] schedule+0x10/0x20\n"[..]),
            ("x/proc/7/task/9/comm", b"a) b\n"),
            ("x/proc/7/task/9/stat", b"9 (a) b) D 1 2"),
            ("x/proc/7/task/9/wchan", b"cv_wait_common"),
            ("sections/zfs/.text", b"0xffffffffc0887000\n"),
            ("sys/module/spl/sections/.text", b"0x0000000000000000\n"),
            ("notes/zfs/.note.gnu.build-id", b"\x04\0\0\0\x02\0\0\0\x03\0\0\0GNU\0\xab\xcd\0\0"),
        ] {
            assert!(Tree::knows(path), "{path}");
            tree.take(path, bytes);
        }
        let map = tree.map().unwrap();
        assert_eq!((map.images.len(), map.images[0].sections.len()), (1, 1));
        assert_eq!(map.images[0].id.unwrap().to_string(), "abcd");
        let (text, capture) = tree.report().unwrap();
        assert!(text.starts_with(b"==> /proc/7/task/9/stack <==\n"));
        let stack = &capture.stacks[0];
        assert_eq!(
            (stack.process.as_deref(), stack.state.as_deref(), stack.wait_channel.as_deref()),
            (Some("a) b"), Some("D"), Some("cv_wait_common"))
        );
        assert!(!Tree::knows("proc/7/maps") && !Tree::knows("stack") && !Tree::knows("notes.md"));
    }

    #[test]
    fn lying_notes_end_quietly() {
        assert_eq!(build_id(&[0xff; 40]), None);
        assert_eq!(build_id(b"\x04\0\0\0\xff\xff\0\0\x03\0\0\0GNU\0\xab"), None);
    }
}
