//! Lines of a Linux kernel log that say who a stack belongs to.
//!
//! ```text
//! CPU: 0 PID: 256 Comm: dd Tainted: P           OE      6.1.0-56-amd64 #1  Debian 6.1.192-2
//! task:txg_sync        state:D stack:0     pid:257   tgid:257   ppid:2      flags:0x00004000
//! txg_sync        D ffff881f7dff0000     0 10402      2 0x00000080          up to 5.8
//! Pid: 1109, comm: NetworkManager Not tainted 3.3.0-0.15.el7.x86_64 #1       up to 3.8
//! INFO: task dd:274 blocked for more than 5 seconds.
//! Allocated by task 274 on cpu 1 at 68.773719s:
//! ```
//! Sources: lib/dump_stack.c, kernel/sched/core.c (`sched_show_task`), kernel/hung_task.c (6.12), kernels 2.6.32 to 6.12.

use memchr::memmem;

use super::lex;

/// Who a stack belongs to, as far as the lines before it say.
#[derive(Clone, Default, Debug)]
pub struct Who {
    /// Process id.
    pub pid: Option<i64>,
    /// Thread id, where it is told apart.
    pub tid: Option<String>,
    /// Command name.
    pub comm: Option<String>,
    /// CPU number.
    pub cpu: Option<u32>,
    /// State letter.
    pub state: Option<String>,
    /// Whether another than the one who prints it was meant.
    pub other: bool,
}

/// The decimal number behind `key` and blanks.
fn number(line: &[u8], key: &[u8]) -> Option<u64> {
    let value = line[memmem::find(line, key)? + key.len()..].trim_ascii_start();
    let digits = value.iter().take_while(|b| b.is_ascii_digit()).count();
    lex::decimal(&value[..digits])
}

fn pid(line: &[u8], key: &[u8]) -> Option<i64> {
    number(line, key).and_then(|pid| i64::try_from(pid).ok())
}

/// What stands between `from` and the first of `ends`.
fn between<'t>(line: &'t [u8], from: &[u8], ends: &[&[u8]]) -> Option<&'t [u8]> {
    let rest = &line[memmem::find(line, from)? + from.len()..];
    let end = ends.iter().filter_map(|end| memmem::find(rest, end)).min().unwrap_or(rest.len());
    Some(rest[..end].trim_ascii())
}

/// What may follow a command name.
const AFTER_COMM: &[&[u8]] = &[b" Not tainted", b" Tainted:", b" Kdump:"];

/// `CPU: … PID: … Comm: …` and `Pid: …, comm: …`.
pub fn dumped(line: &[u8]) -> Option<Who> {
    // logcat takes the word for a tag, which has eight columns.
    let new = line.starts_with(b"CPU: ") || line.starts_with(b"CPU     : ");
    // PA-RISC names its CPU among the registers, too; kernels up to 2.6.30 named it alone.
    let alone = || lex::decimal(line[4..].trim_ascii()).is_some();
    let whole = !new || memmem::find(line, b"PID: ").or_else(|| memmem::find(line, b"Comm: ")).is_some() || alone();
    if !whole || !new && !line.starts_with(b"Pid: ") {
        return None;
    }
    let comm = between(line, if new { b" Comm: " } else { b", comm: " }, AFTER_COMM);
    let cpu = if new { number(line, b": ") } else { None };
    let pid = pid(line, if new { b"PID: " } else { b"Pid: " });
    Some(Who { pid, comm: comm.map(lex::text), cpu: cpu.and_then(|cpu| u32::try_from(cpu).ok()), ..Who::default() })
}

/// `Process bash (pid: 777, threadinfo=…`, `insmod(345): Oops 0`, `bash[1234]: Oops 8821862825984 [1]`: who it was on architectures that
/// say it in a line of its own (MIPS, m68k, SuperH; Alpha, SPARC; Itanium).
pub fn named(line: &[u8]) -> Option<Who> {
    let rest = line.strip_prefix(b"Process").map(|rest| rest.strip_prefix(b":").unwrap_or(rest));
    let (comm, id) = match rest.and_then(|rest| rest.strip_prefix(b" ")) {
        Some(rest) => rest.split_at(memmem::find(rest, b" (pid: ")?),
        None => {
            let oops = memmem::find(&line[..line.len().min(40)], b": Oops ")?;
            line[..oops].split_at(line[..oops].iter().rposition(|b| matches!(b, b'(' | b'['))?)
        }
    };
    let digits = id.iter().skip_while(|b| !b.is_ascii_digit()).take_while(|b| b.is_ascii_digit()).count();
    let from = id.iter().position(u8::is_ascii_digit)?;
    let pid = i64::try_from(lex::decimal(&id[from..from + digits])?).ok()?;
    (!comm.is_empty()).then(|| Who { pid: Some(pid), comm: Some(lex::text(comm)), ..Who::default() })
}

/// The heading of a task in sysrq-t, sysrq-w and hung task reports, of either age.
pub fn shown(line: &[u8]) -> Option<Who> {
    task(line).or_else(|| old_task(line))
}

fn task(line: &[u8]) -> Option<Who> {
    let rest = line.strip_prefix(b"task:")?;
    let comm = &rest[..memmem::find(rest, b" state:")?];
    let fields = &rest[comm.len()..];
    let state = &fields[7..fields.len().min(8)];
    let (id, group) = (pid(fields, b" pid:"), pid(fields, b" tgid:"));
    let tid = group.and(id).map(|id| id.to_string());
    Some(Who { pid: group.or(id), tid, comm: Some(lex::text(comm.trim_ascii_end())), state: Some(lex::text(state)), ..Who::default() })
}

/// `COMM{15} S …FREE PID PPID 0xFLAGS`: the columns are fixed up to the state, and blank-separated behind it. Up to 2.6.32 the name
/// had 13 columns.
fn old_task(line: &[u8]) -> Option<Who> {
    let column = [16, 14].into_iter().find(|at| {
        let state = line.get(*at).is_some_and(|state| b"RSDTtXZPIxWKN".contains(state));
        state && line[at - 1] == b' ' && line.get(at + 1).is_some_and(|next| matches!(next, b' ' | b'0'..=b'9'))
    })?;
    let mut words = line[column + 1..].rsplit(|b| *b == b' ').filter(|word| !word.is_empty());
    words.next().filter(|flags| flags.len() == 10 && lex::hex(flags).is_some())?;
    let parent = words.next()?;
    lex::decimal(parent)?;
    let pid = lex::decimal(words.next()?)?;
    Some(Who {
        pid: i64::try_from(pid).ok(),
        comm: Some(lex::text(line[..column].trim_ascii_end())),
        state: Some((line[column] as char).to_string()),
        ..Who::default()
    })
}

/// `INFO: task dd:274 blocked …`, `Allocated by task 274:`, `page last free pid 1 tgid 1 stack trace:`, `… age=5 cpu=0 pid=1`.
pub fn mentioned(line: &[u8]) -> Who {
    if let Some(rest) = line.strip_prefix(b"INFO: task ") {
        let name = rest.split(|b| *b == b' ').next().unwrap_or_default();
        let (comm, id) = memchr::memrchr(b':', name).map_or((name, None), |at| (&name[..at], lex::decimal(&name[at + 1..])));
        return Who { comm: Some(lex::text(comm)), pid: id.and_then(|id| i64::try_from(id).ok()), ..Who::default() };
    }
    let pids: [&[u8]; 3] = [b" by task ", b" pid ", b" pid="];
    let cpus: [&[u8]; 5] = [b"for cpu ", b" on cpu ", b" cpu=", b"- CPU#", b"sysrq: CPU"];
    let pid = pids.iter().find_map(|key| pid(line, key));
    let cpu = cpus.iter().find_map(|key| number(line, key));
    Who { pid, cpu: cpu.and_then(|cpu| u32::try_from(cpu).ok()), ..Who::default() }
}

/// `cloud-init[1234]: Cloud-init v. 23.4 running …`, `systemd[1]: …`: what programs write to the log or its console. The kernel speaks of
/// programs in this form, too (`sh[300]: segfault at 0 …`), but not in a stack.
pub fn is_programs(line: &[u8]) -> bool {
    let name = line.iter().take(32).take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'@' | b'/')).count();
    let Some(id) = line[name..].strip_prefix(b"[").filter(|_| name > 0) else { return false };
    let digits = id.iter().take(8).take_while(|b| b.is_ascii_digit()).count();
    digits > 0 && id[digits..].starts_with(b"]: ")
}

/// `write to 0xffff888100078948 of 8 bytes by task 487 on cpu 0:` and `… by interrupt on cpu 1:` of KCSAN, above the stack of each access.
pub fn accessed(line: &[u8]) -> Option<Who> {
    let access = matches!(line.first()?, b'r' | b'w') && memmem::find(line, b" to 0x").is_some() && line.ends_with(b":");
    access.then(|| Who { other: true, ..mentioned(line) }).filter(|who| who.cpu.is_some())
}

/// The kernel release that a line tells: the word behind `Linux version`, the first number behind the taint, or what sysrq-t says below the
/// tasks (`sched_debug_header` in kernel/sched/debug.c, 2.6.23 to 6.12: `Sched Debug Version: v0.11, 6.1.0-56-amd64 #1`).
pub fn release(line: &[u8]) -> Option<&[u8]> {
    let told = match line.first()? {
        b'L' => line.strip_prefix(b"Linux version ")?,
        b'S' => line.strip_prefix(b"Sched Debug Version: ")?,
        b'C' | b'P' | b'N' | b'T' => {
            let at = memmem::find(line, b"ainted: ").or_else(|| memmem::find(line, b"ot tainted "))?;
            &line[at + 7..]
        }
        _ => return None,
    };
    lex::words(told).find(|word| word[0].is_ascii_digit() && word.contains(&b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_of_every_age_have_name_id_and_state() {
        for line in [
            "task:txg_sync        state:D stack:0     pid:257   ppid:2      flags:0x00004000",
            "task:txg_sync        state:D stack:0     pid:257   tgid:257   ppid:2      flags:0x00004000",
            "txg_sync        D ffff881f7dff0000     0   257      2 0x00000080",
            "txg_sync      D 0000000000000001     0   257      2 0x00000000",
            "txg_sync        D21856   257   4763 0x80000002",
        ] {
            let who = shown(line.as_bytes()).expect(line);
            assert_eq!((who.comm.as_deref(), who.pid, who.state.as_deref()), (Some("txg_sync"), Some(257), Some("D")), "{line}");
        }
        assert!(shown(b"a line of some other kind that is long enough").is_none());
    }

    #[test]
    fn lines_of_their_own_name_the_task_and_registers_do_not() {
        for line in [
            "Process bash (pid: 777, threadinfo=(ptrval), task=(ptrval), tls=00000000)",
            "Process: bash (pid: 777, stack limit = (ptrval))",
            "bash(777): Oops 0",
            "bash[777]: Oops 8821862825984 [1]",
        ] {
            let who = named(line.as_bytes()).expect(line);
            assert_eq!((who.comm.as_deref(), who.pid), (Some("bash"), Some(777)), "{line}");
        }
        for line in [
            "Process accounting resumed",
            "Internal error: Oops: 817 [#1] SMP ARM",
            "x: Oops 1",
            "(1): Oops 1",
            "Process",
            "f(): Oops 1",
            "",
        ] {
            assert!(named(line.as_bytes()).is_none(), "{line}");
        }
        let who = dumped(b"CPU     : 5 PID: 1234 Comm: sh Not tainted 4.19.191 #1").unwrap();
        assert_eq!((who.cpu, who.pid, who.comm.as_deref()), (Some(5), Some(1234), Some("sh")));
        assert_eq!(dumped(b"CPU:    3").unwrap().cpu, Some(3));
        assert!(dumped(b"CPU:        0   CR30: 000000004f000000 CR31: ffffffffffffffff").is_none());
        assert!(is_programs(b"cloud-init[1234]: Up 12 seconds") && !is_programs(b"Oops[#1]: x") && !is_programs(b"[1]: x"));
    }

    #[test]
    fn dump_lines_tell_the_release() {
        let line = b"CPU: 0 UID: 0 PID: 256 Comm: tar x Kdump: loaded Tainted: P           OE      6.1.0-56-amd64 #1  Debian 6.1.192-2";
        let who = dumped(line).unwrap();
        assert_eq!((who.comm.as_deref(), who.pid, who.cpu), (Some("tar x"), Some(256), Some(0)));
        assert_eq!(release(line), Some(&b"6.1.0-56-amd64"[..]));
        assert_eq!(release(b"Not tainted 5.1.0-rc3 #1"), Some(&b"5.1.0-rc3"[..]));
        assert_eq!(release(b"Sched Debug Version: v0.11, 6.1.0-56-amd64 #1"), Some(&b"6.1.0-56-amd64"[..]));
        let who = mentioned(b"INFO: task dd:274 blocked for more than 5 seconds.");
        assert_eq!((who.comm.as_deref(), who.pid), (Some("dd"), Some(274)));
    }
}
