//! Threads: what is read of each, and what of it goes into the archive.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Run;
use super::manifest::Sample;
use super::pool::{self, Outcome, Request};

/// Files of a thread. `stat` and `stack` stand together, so that state and stack are of nearly the same moment.
const OF_THREAD: [&str; 5] = ["stat", "stack", "wchan", "comm", "cgroup"];
/// Files of a process, which its threads share.
const OF_PROCESS: [&str; 2] = ["cmdline", "cgroup"];
/// More than this of one file is left out, in bytes. The kernel prints at most 64 frames in a stack.
const LIMIT: u64 = 64 << 10;

/// A thread or a process to read.
struct Subject {
    pid: u64,
    /// `None` for what belongs to the process as a whole.
    tid: Option<u64>,
    /// cgroup of the process, once it is known.
    cgroup: Arc<std::sync::OnceLock<Vec<u8>>>,
}

impl<W: Write> Run<'_, W> {
    /// Reads every thread into `folder` of the archive.
    pub(super) fn tasks(&mut self, folder: &str, sample: &mut Sample) -> io::Result<()> {
        let proc = self.options.root.join("proc");
        let own = u64::from(std::process::id());
        let mut pids = numbers(&proc)?;
        // kstack's own threads are busy reading: nobody asked for them.
        pids.retain(|pid| *pid != own || self.options.root != Path::new("/"));
        sample.processes = pids.len() as u64;
        let jobs = pids.into_iter().flat_map(|pid| subjects(&proc, pid));
        let (threads, limit, deadline) = (self.threads, self.options.file_timeout, self.deadline);
        pool::read_all(jobs, threads, limit, deadline, |subject, requests, outcomes| {
            self.task(folder, sample, &subject, &requests, outcomes)
        })
    }

    fn task(
        &mut self,
        folder: &str,
        sample: &mut Sample,
        subject: &Subject,
        requests: &[Request],
        outcomes: Vec<Outcome>,
    ) -> io::Result<()> {
        let pid = subject.pid;
        let base = match subject.tid {
            Some(tid) => format!("{folder}proc/{pid}/task/{tid}"),
            None => format!("{folder}proc/{pid}"),
        };
        if subject.tid.is_some() && is_gone(&outcomes) {
            sample.vanished += 1;
            return Ok(());
        }
        sample.threads += u64::from(subject.tid.is_some());
        let kernel = matches!(&outcomes[0], Outcome::Bytes(stat, _) if subject.tid.is_some() && is_kernel_thread(stat));
        for (request, outcome) in requests.iter().zip(outcomes) {
            let name = request.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let what = format!("proc/PID/{name}");
            let Some(bytes) = self.manifest.taken(&what, &format!("{base}/{name}"), outcome) else { continue };
            if name == "cgroup" && !is_news(subject, &bytes) || name == "wchan" && bytes == b"0" || name == "cmdline" && bytes.is_empty() {
                continue;
            }
            sample.stacks += u64::from(name == "stack" && !bytes.is_empty());
            let bytes = match &self.redactor {
                Some(redactor) => redactor.task(&name, bytes, kernel),
                None => bytes,
            };
            self.store.add(&format!("{base}/{name}"), &bytes)?;
        }
        Ok(())
    }
}

/// The process, then its threads. Listing the threads waits for nothing.
fn subjects(proc: &Path, pid: u64) -> impl Iterator<Item = (Subject, Vec<Request>)> + use<> {
    let folder = proc.join(pid.to_string());
    let cgroup = Arc::new(std::sync::OnceLock::new());
    let process = Subject { pid, tid: None, cgroup: cgroup.clone() };
    let tasks = folder.join("task");
    // A process that has ended meanwhile has no threads.
    let tids = numbers(&tasks).unwrap_or_default();
    let first = (process, requests(&folder, &OF_PROCESS, 0));
    let threads = tids.into_iter().map(move |tid| {
        let subject = Subject { pid, tid: Some(tid), cgroup: cgroup.clone() };
        // The process's own control group is that of its first thread.
        let files = if tid == pid { &OF_THREAD[..OF_THREAD.len() - 1] } else { &OF_THREAD };
        (subject, requests(&tasks.join(tid.to_string()), files, 8))
    });
    std::iter::once(first).chain(threads)
}

fn requests(folder: &Path, files: &[&str], kind: u8) -> Vec<Request> {
    let one = |(n, file): (usize, &&str)| Request { path: folder.join(file), kind: kind + n as u8, limit: LIMIT, once: true };
    files.iter().enumerate().map(one).collect()
}

/// Whether the thread ended before anything of it could be read, or in the middle.
fn is_gone(outcomes: &[Outcome]) -> bool {
    outcomes.iter().take(2).all(|outcome| *outcome == Outcome::Gone)
}

/// Whether a cgroup is worth a member: the process's own is, a thread's only where it differs.
fn is_news(subject: &Subject, bytes: &[u8]) -> bool {
    match subject.tid {
        None => {
            let _ = subject.cgroup.set(bytes.to_vec());
            true
        }
        Some(_) => subject.cgroup.get().is_none_or(|shared| shared != bytes),
    }
}

/// Whether `/proc/PID/stat` is a kernel thread's: bit 21 of its ninth field (`PF_KTHREAD`, include/linux/sched.h).
fn is_kernel_thread(stat: &[u8]) -> bool {
    let behind = memchr::memrchr(b')', stat).map_or(&[][..], |at| &stat[at + 1..]);
    let flags = behind.split(|b| *b == b' ').filter(|word| !word.is_empty()).nth(6);
    let flags = flags.and_then(|word| std::str::from_utf8(word).ok()).and_then(|word| word.parse::<u64>().ok());
    flags.is_some_and(|flags| flags & 0x20_0000 != 0)
}

/// The entries of a directory that are numbers, in order.
fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let entries = std::fs::read_dir(folder)?;
    // An error in the middle is a process that ended: what was listed so far is what there was.
    let mut found: Vec<u64> = entries.map_while(Result::ok).filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    found.sort_unstable();
    Ok(found)
}

/// Names of the entries of a directory, sorted; nothing where there is none.
pub(super) fn entries(folder: &Path) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(folder).map(|entries| entries.flatten().map(|entry| entry.path()).collect());
    let mut paths: Vec<PathBuf> = listed.unwrap_or_default();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_threads_are_told_by_their_flags() {
        assert!(is_kernel_thread(b"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0"));
        assert!(is_kernel_thread(b"7 (a) b (c)) I 2 0 0 0 -1 69238880 0 0"));
        assert!(!is_kernel_thread(b"1 (init) S 0 1 1 0 -1 4194560 38186"));
        assert!(!is_kernel_thread(b"1 (init"));
    }
}
