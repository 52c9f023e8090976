//! The two kinds of lines that `perf script` writes: the heading of a sample and its frames.
//!
//! ```text
//! txg_sync   257/300 [002] 54.100216:     250000 cpu-clock:pppH:
//!         ffffffffc0a1b2c3 zio_wait+0x63 ([zfs])
//! swapper     0 [001] 54.2: 1000 cycles:  ffffffff8103ce3b native_safe_halt ([kernel.kallsyms])
//! ```
//! Source: the comments and tests of inferno 0.12 (`collapse/perf.rs`) and FlameGraph's `stackcollapse-perf.pl`. Names of commands can hold
//! blanks, and figures among them: the first word of digits and slashes behind the first word is taken for the ids.

/// The heading of a sample.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heading<'t> {
    /// Command, with its blanks.
    pub command: &'t str,
    /// Process id as printed, where both ids are.
    pub pid: Option<&'t str>,
    /// Thread id as printed.
    pub tid: &'t str,
    /// CPU and time as printed.
    pub place: &'t str,
    /// Event up to its first colon; `None` where the line breaks off before.
    pub event: Option<&'t str>,
    /// The event's name whole, without modifiers: `sched:sched_switch`, `cycles` of `cycles:ppp`. Empty where the line breaks off before.
    pub name: &'t str,
    /// How much the sample weighs.
    pub period: Option<u64>,
    /// The only frame, where it stands in the heading.
    pub frame: Option<&'t str>,
}

/// Reads the heading of a sample from a line without blanks at its end.
pub fn heading(line: &str) -> Option<Heading<'_>> {
    let mut start = line.find(' ')? + 1;
    let (word, end) = loop {
        let end = start + line[start..].find(' ')?;
        let word = &line[start..end];
        if !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit() || b == b'/') {
            break (word, end);
        }
        start = end + 1;
    };
    let (pid, tid) = word.rsplit_once('/').map_or((None, word), |(pid, tid)| (Some(pid), tid));
    let mut parts = line[end + 1..].splitn(3, ':');
    let place = parts.next().unwrap_or_default();
    let (mut event, mut period) = (None, None);
    if let Some(weighed) = parts.next() {
        let mut words = weighed.rsplit(' ');
        event = words.next();
        period = words.next().and_then(|word| word.parse().ok());
    }
    let frame = parts.next().map(|rest| rest[rest.find([':', ' ']).map_or(0, |at| at + 1)..].trim()).filter(|rest| !rest.is_empty());
    let name = event.map_or("", |event| whole_name(&line[event.as_ptr() as usize - line.as_ptr() as usize..]));
    Some(Heading { command: line[..start - 1].trim(), pid, tid, place, event, name, period, frame })
}

/// The event's name at the start of `text`, which a colon and a blank end, or the line.
///
/// Tracepoints are called `SYSTEM:EVENT`. Behind others stand modifiers (tools/perf/util/parse-events.l, Linux 6.12), which are not part of
/// the name.
fn whole_name(text: &str) -> &str {
    let end = text.find(": ").or_else(|| text.find(' ')).unwrap_or(text.len());
    let name = text[..end].trim_end_matches(':');
    let is_modifier = |word: &str| word.bytes().all(|b| b"ukhpPGHISDWebR".contains(&b));
    name.rsplit_once(':').filter(|(_, word)| is_modifier(word)).map_or(name, |(name, _)| name)
}

/// Reads a heading without a time, as perf writes it when other fields are asked for and as it was long ago: nothing but CPU and period may
/// stand before the event, which ends the line: `java  3257 cpu-clock:`.
pub fn untimed(line: &str) -> Option<Heading<'_>> {
    let heading = heading(line)?;
    let rest = line[heading.tid.as_ptr() as usize - line.as_ptr() as usize + heading.tid.len()..].strip_suffix(':')?;
    let mut words = rest.split(' ').filter(|word| !word.is_empty());
    let event = words.next_back()?;
    let mut period = None;
    for word in words {
        let cpu = word.strip_prefix('[').and_then(|word| word.strip_suffix(']'));
        match (cpu.unwrap_or(word).parse(), cpu, period) {
            (Ok(_), Some(_), None) => {}
            (Ok(weight), None, None) => period = Some(weight),
            _ => return None,
        }
    }
    let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':' | b'/' | b'=' | b',');
    let is_event = event.bytes().all(named) && event.bytes().any(|b| b.is_ascii_alphabetic()) && !line.starts_with([' ', '\t']);
    let place = &rest[..event.as_ptr() as usize - rest.as_ptr() as usize];
    is_event.then_some(Heading { place, event: Some(event), name: whole_name(event), period, frame: None, ..heading })
}

/// A frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'t> {
    /// Address as printed, without `0x`.
    pub address: &'t str,
    /// Symbol and offset; a blank where there is nothing.
    pub name: &'t str,
    /// What stands in parentheses at the end: `[kernel.kallsyms]`, `[zfs]`, a path.
    pub module: &'t str,
}

impl<'t> Frame<'t> {
    /// The symbol without its offset.
    pub fn function(&self) -> &'t str {
        let digits = self.name.bytes().rev().take_while(u8::is_ascii_hexdigit).count();
        self.name[..self.name.len() - digits].strip_suffix("+0x").unwrap_or(self.name)
    }
}

/// Reads a frame from a line without blanks at its end.
pub fn frame(line: &str) -> Option<Frame<'_>> {
    let (address, rest) = line.trim_start().split_once(' ')?;
    let (name, module) = rest.rsplit_once(' ')?;
    let module = module.strip_prefix('(')?.strip_suffix(')')?;
    let name = name.trim();
    Some(Frame { address, name: if name.is_empty() { " " } else { name }, module })
}

/// Whose code a frame's module is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner<'t> {
    /// The kernel itself, or what it made while it ran.
    Kernel,
    /// A kernel module of that name.
    Module(&'t str),
    /// A program, or the kernel of a guest.
    User,
}

/// Addresses from here on are the kernel's: the upper half of 64 bits, as far as any Linux uses it.
const KERNEL: u64 = 0xffff_0000_0000_0000;

/// Mappings that are named like modules and are none.
const MAPPINGS: &[&str] = &["[vdso]", "[vdso32]", "[vsyscall]", "[vvar]", "[heap]", "[stack]", "[uprobes]"];

/// Tells whose code it is from what perf prints in parentheses, and from the address where that says nothing.
pub fn owner(module: &str, address: Option<u64>) -> Owner<'_> {
    let high = address.is_some_and(|address| address >= KERNEL);
    if module.starts_with("[kernel.") || module.starts_with("[kernel]") || is_vmlinux(module) {
        return Owner::Kernel;
    }
    if let Some(name) = module.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(name, _)| name) {
        return match name {
            "unknown" if high => Owner::Kernel,
            "unknown" => Owner::User,
            _ if MAPPINGS.contains(&module) || name.starts_with("guest.") || name.starts_with("stack:") || name.starts_with("anon") => {
                Owner::User
            }
            _ => Owner::Module(name),
        };
    }
    let file = module.rsplit('/').next().unwrap_or(module);
    let packed = [".xz", ".gz", ".zst"].iter().find_map(|end| file.strip_suffix(end)).unwrap_or(file);
    match packed.strip_suffix(".ko") {
        Some(name) => Owner::Module(name),
        None if high => Owner::Kernel,
        None => Owner::User,
    }
}

/// `/usr/lib/debug/boot/vmlinux-6.1.0-13-amd64` and its like.
fn is_vmlinux(module: &str) -> bool {
    let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    module.rfind("vmlinux").is_some_and(|at| module[at..].bytes().all(named))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_with_blanks_and_figures_keep_them() {
        let seen = heading("V8 Worker 2a 24636/25607 [000] 94564.109216: 250000 cycles:uppp:").unwrap();
        assert_eq!((seen.command, seen.pid, seen.tid), ("V8 Worker 2a", Some("24636"), "25607"));
        assert_eq!((seen.event, seen.period, seen.frame), (Some("cycles"), Some(250_000), None));
        let seen = heading("false 64414 20110.539270:      34467 cycles:u:  ffffffff9aa3c8de [unknown] ([unknown])").unwrap();
        assert_eq!((seen.period, seen.frame), (Some(34467), Some("ffffffff9aa3c8de [unknown] ([unknown])")));
        assert_eq!(heading("no ids here"), None);
    }

    #[test]
    fn events_have_whole_names() {
        for (line, name) in [
            ("zpool 12 [000] 54.1: sched:sched_switch: prev_comm=a next=b:c", "sched:sched_switch"),
            ("zpool 12 [000] 54.1: probe:zio_done: (ffffffffc0a1b2c3)", "probe:zio_done"),
            ("zpool 12 [000] 54.1: 250000 cycles:ppp:", "cycles"),
            ("zpool 12 [000] 54.1: 250000 cycles:ppp:  ffffffff9aa3c8de [unknown] ([unknown])", "cycles"),
            ("zpool 12 [000] 54.1: cpu-clock:", "cpu-clock"),
        ] {
            assert_eq!(heading(line).unwrap().name, name, "{line}");
        }
    }

    #[test]
    fn headings_without_a_time_have_nothing_else() {
        let seen = untimed("java main  3257/3260 [002]     250000 cpu-clock:u:").unwrap();
        assert_eq!(
            (seen.command, seen.pid, seen.tid, seen.name, seen.period),
            ("java main", Some("3257"), "3260", "cpu-clock", Some(250_000))
        );
        assert_eq!(untimed("java  3257 probe:zio_done:").map(|seen| (seen.name, seen.period)), Some(("probe:zio_done", None)));
        for line in ["Nov 21 15:00:00 host kernel:", "Call 12 Trace of:", " java 3257 cycles:", "java 3257 cycles", "java 3257 12:"] {
            assert_eq!(untimed(line), None, "{line}");
        }
    }

    #[test]
    fn frames_have_their_owners() {
        let seen = frame("\tffffffffc0a1b2c3 zio_wait+0x63 ([zfs])").unwrap();
        assert_eq!((seen.address, seen.function(), owner(seen.module, None)), ("ffffffffc0a1b2c3", "zio_wait", Owner::Module("zfs")));
        assert_eq!(owner("/lib/modules/5.4/mlx5_core.ko.xz", None), Owner::Module("mlx5_core"));
        assert_eq!(owner("[kernel.kallsyms].init.text", None), Owner::Kernel);
        assert_eq!(owner("/usr/lib/libc-2.28.so", Some(0x7f53_3995_2bc7)), Owner::User);
        assert_eq!(owner("[guest.kernel.kallsyms]", Some(u64::MAX)), Owner::User);
        assert_eq!(owner("bpf_prog_6deef7357e7b4530", Some(0xffff_ffff_c012_3456)), Owner::Kernel);
    }
}
