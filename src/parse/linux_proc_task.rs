//! What the files of one thread in `/proc` say: `comm`, `stat`, `status`, `wchan`, `cmdline` and `cgroup` (proc(5), Linux 6.12).

use super::lex;
use crate::model::stack::Stack;

/// The files that are read, beside `stack`.
pub const FILES: [&str; 6] = ["comm", "stat", "status", "wchan", "cmdline", "cgroup"];

/// What was found of one thread.
#[derive(Default)]
pub struct Task {
    /// The bytes of its `stack`.
    pub stack: Vec<u8>,
    comm: Option<String>,
    /// The name in `stat` or `status`, where there is no `comm`.
    other_name: Option<String>,
    state: Option<String>,
    wchan: Option<String>,
    shared: Shared,
}

/// What the threads of a process share, unless one has its own.
#[derive(Default)]
pub struct Shared {
    command_line: Option<String>,
    cgroup: Option<String>,
}

impl Task {
    /// Reads one of its files.
    pub fn take(&mut self, file: &str, bytes: &[u8]) {
        let text = || lex::text(bytes.trim_ascii());
        match file {
            "stack" => self.stack = bytes.to_vec(),
            "comm" => self.comm = Some(text()),
            "wchan" => self.wchan = Some(text()).filter(|text| !text.is_empty() && text != "0"),
            "stat" => {
                // `PID (COMM) STATE …`; the name may hold anything, a parenthesis too.
                let text = text();
                let (head, rest) = text.rsplit_once(") ").unwrap_or_default();
                self.state = rest.split(' ').next().filter(|state| !state.is_empty()).map(str::to_string);
                self.other_name = head.split_once('(').map(|(_, name)| name.to_string());
            }
            "status" => {
                let value = |key: &[u8]| lex::lines(bytes).find_map(|line| Some(lex::text(line.bytes.strip_prefix(key)?.trim_ascii())));
                self.other_name = value(b"Name:").or(self.other_name.take());
                self.state = value(b"State:").and_then(|state| state.split(' ').next().map(str::to_string)).or(self.state.take());
            }
            _ => self.shared.take(file, bytes),
        }
    }

    /// Says of the thread's stack what is known of the thread.
    pub fn tell(&self, stack: &mut Stack, process: Option<&Shared>) {
        let name = self.comm.as_ref().or(self.other_name.as_ref());
        for (place, known) in
            [(&mut stack.process, name), (&mut stack.state, self.state.as_ref()), (&mut stack.wait_channel, self.wchan.as_ref())]
        {
            if known.is_some() {
                *place = known.cloned();
            }
        }
        let of =
            |get: fn(&Shared) -> &Option<String>| get(&self.shared).clone().or_else(|| process.and_then(|process| get(process).clone()));
        let (command_line, cgroup) = (of(|shared| &shared.command_line), of(|shared| &shared.cgroup));
        if command_line.is_some() || cgroup.is_some() {
            let told = stack.annotations.get_or_insert_default();
            (told.command_line, told.cgroup) = (command_line, cgroup);
        }
    }
}

impl Shared {
    /// Reads `cmdline` or `cgroup`.
    pub fn take(&mut self, file: &str, bytes: &[u8]) {
        let text = if file == "cmdline" { arguments(bytes) } else { cgroup(bytes) };
        let place = if file == "cmdline" { &mut self.command_line } else { &mut self.cgroup };
        *place = Some(text).filter(|text| !text.is_empty());
    }
}

/// `/proc/PID/cmdline` has a NUL behind each argument.
fn arguments(bytes: &[u8]) -> String {
    let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
    lex::text(&bytes[..end]).replace('\0', " ")
}

/// The path in the unified hierarchy (`0::/user.slice/…`), else that of the first line: all hierarchies of a task are seldom apart.
fn cgroup(bytes: &[u8]) -> String {
    let lines = || lex::lines(bytes).map(|line| line.bytes);
    let unified = lines().find_map(|line| line.strip_prefix(b"0::")).filter(|path| *path != b"/");
    let first = || lines().find_map(|line| line.splitn(3, |b| *b == b':').nth(2));
    lex::text(unified.or_else(first).unwrap_or_default())
}
