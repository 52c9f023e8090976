//! Reading files of a machine in trouble: by threads that may get stuck, with a time limit for each file.
//!
//! A read of `/proc/PID/cmdline` waits for a lock of that process, and waits for ever when the process hangs with it. Such a thread cannot be
//! called back; it is left behind, its file is named, and another thread goes on with what came after. Where files of one kind get stuck
//! again and again, that kind is read no more, so that the threads left behind stay few.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// After so many files of one kind that did not answer, the others of that kind are not read.
const PATIENCE: u32 = 8;

/// How often it is looked whether a thread is stuck.
const TICK: Duration = Duration::from_millis(20);

/// Jobs that are under way at a time, which bounds memory.
const AT_ONCE: usize = 128;

/// Stack of a reading thread, in bytes.
const STACK: usize = 256 << 10;

/// One file to read.
#[derive(Clone, Debug)]
pub struct Request {
    /// The file.
    pub path: PathBuf,
    /// What kind of file it is, below 32: kinds are given up one by one.
    pub kind: u8,
    /// More bytes than this are left out.
    pub limit: u64,
    /// Whether one read gives all of it, up to the limit. Files of tasks are such; asking again for their end would take a quarter of the time.
    pub once: bool,
}

/// What came of one file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Its bytes, and whether there were more than the limit.
    Bytes(Vec<u8>, bool),
    /// It is not there, or went away while it was read: its thread has ended.
    Gone,
    /// The kernel does not show it to this user.
    Denied,
    /// It did not answer within the time limit.
    Stuck,
    /// Not read, since others of its kind did not answer, or the time of the whole capture was over.
    GivenUp,
    /// Another error of the system.
    Failed(String),
}

/// Files that belong together, read one after the other by one thread.
struct Job<T> {
    about: T,
    requests: Vec<Request>,
    done: Vec<Outcome>,
}

/// What a thread is doing.
struct Slot<T> {
    job: Option<Job<T>>,
    since: Instant,
    /// Nobody waits for it any more.
    left: bool,
}

impl<T> Slot<T> {
    /// Begins a job. Its time begins with it: the thread may have waited for work for longer than any file may take.
    fn begin(&mut self, job: Job<T>) {
        self.since = Instant::now();
        self.job = Some(job);
    }
}

struct Shared<T> {
    queue: Mutex<(VecDeque<Job<T>>, bool)>,
    ready: Condvar,
    given_up: AtomicU32,
}

/// A running pool.
struct Pool<T> {
    shared: Arc<Shared<T>>,
    slots: Vec<Arc<Mutex<Slot<T>>>>,
    finished: Receiver<(T, Vec<Request>, Vec<Outcome>)>,
    send: Sender<(T, Vec<Request>, Vec<Outcome>)>,
    stuck: [u32; 32],
    limit: Duration,
}

/// Reads the files of every job and hands them to `take`, in any order of jobs. After `deadline` nothing is read any more; what is left
/// comes as [`Outcome::GivenUp`].
///
/// # Errors
/// The first error of `take`, and when no thread can be started.
pub fn read_all<T: Send + 'static>(
    jobs: impl Iterator<Item = (T, Vec<Request>)>,
    threads: usize,
    limit: Duration,
    deadline: Instant,
    mut take: impl FnMut(T, Vec<Request>, Vec<Outcome>) -> io::Result<()>,
) -> io::Result<()> {
    let mut pool = Pool::start(threads.max(1), limit)?;
    let (mut jobs, mut running, mut result) = (jobs.fuse(), 0, Ok(()));
    loop {
        let late = Instant::now() >= deadline;
        while running < AT_ONCE && result.is_ok() {
            let Some((about, requests)) = jobs.next() else { break };
            if late {
                let left = vec![Outcome::GivenUp; requests.len()];
                result = take(about, requests, left);
            } else {
                pool.push(Job { about, done: Vec::with_capacity(requests.len()), requests });
                running += 1;
            }
        }
        if running == 0 || result.is_err() {
            break;
        }
        if late {
            pool.shared.given_up.store(u32::MAX, Ordering::Relaxed);
        }
        match pool.finished.recv_timeout(TICK) {
            Ok((about, requests, outcomes)) => {
                running -= 1;
                result = take(about, requests, outcomes);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        pool.leave_stuck()?;
    }
    pool.shared.close();
    result
}

impl<T> Shared<T> {
    fn queue(&self) -> MutexGuard<'_, (VecDeque<Job<T>>, bool)> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        let mut queue = self.queue();
        queue.0.clear();
        queue.1 = true;
        self.ready.notify_all();
    }

    /// The next job; `None` when there will be none.
    fn next(&self) -> Option<Job<T>> {
        let mut queue = self.queue();
        loop {
            match queue.0.pop_front() {
                None if queue.1 => return None,
                None => queue = self.ready.wait(queue).unwrap_or_else(PoisonError::into_inner),
                job => return job,
            }
        }
    }
}

impl<T: Send + 'static> Pool<T> {
    fn start(threads: usize, limit: Duration) -> io::Result<Pool<T>> {
        let (send, finished) = channel();
        let shared = Arc::new(Shared { queue: Mutex::new((VecDeque::new(), false)), ready: Condvar::new(), given_up: AtomicU32::new(0) });
        let mut pool = Pool { shared, slots: Vec::new(), finished, send, stuck: [0; 32], limit };
        (0..threads).try_for_each(|_| pool.thread().map(|slot| pool.slots.push(slot)))?;
        Ok(pool)
    }

    fn thread(&self) -> io::Result<Arc<Mutex<Slot<T>>>> {
        let slot = Arc::new(Mutex::new(Slot { job: None, since: Instant::now(), left: false }));
        let (shared, send, own) = (self.shared.clone(), self.send.clone(), slot.clone());
        std::thread::Builder::new().name("kstack-read".to_string()).stack_size(STACK).spawn(move || work(&shared, &own, &send))?;
        Ok(slot)
    }

    fn push(&self, job: Job<T>) {
        self.shared.queue().0.push_back(job);
        self.shared.ready.notify_one();
    }

    /// Leaves threads behind whose file does not answer, and has others go on with the rest of their jobs.
    fn leave_stuck(&mut self) -> io::Result<()> {
        for at in 0..self.slots.len() {
            let Some(mut job) = left(&self.slots[at], self.limit) else { continue };
            let kind = usize::from(job.requests[job.done.len()].kind) % 32;
            job.done.push(Outcome::Stuck);
            self.stuck[kind] += 1;
            if self.stuck[kind] >= PATIENCE {
                self.shared.given_up.fetch_or(1 << kind, Ordering::Relaxed);
            }
            self.push(job);
            self.slots[at] = self.thread()?;
        }
        Ok(())
    }
}

/// The job of a thread that has been at one file for longer than `limit`; the thread is told that nobody waits.
fn left<T>(slot: &Mutex<Slot<T>>, limit: Duration) -> Option<Job<T>> {
    let mut slot = lock(slot);
    // A job whose last file has answered is only about to be handed in.
    let unfinished = slot.job.as_ref().is_some_and(|job| job.done.len() < job.requests.len());
    let stuck = unfinished && slot.since.elapsed() > limit;
    slot.left = stuck;
    if stuck { slot.job.take() } else { None }
}

fn lock<T>(slot: &Mutex<Slot<T>>) -> MutexGuard<'_, Slot<T>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work<T>(shared: &Shared<T>, slot: &Mutex<Slot<T>>, send: &Sender<(T, Vec<Request>, Vec<Outcome>)>) {
    let mut buffer = Vec::new();
    while let Some(job) = shared.next() {
        lock(slot).begin(job);
        loop {
            let mut now = lock(slot);
            let Some(job) = &now.job else { return };
            let Some(request) = job.requests.get(job.done.len()).cloned() else { break };
            now.since = Instant::now();
            drop(now);
            let given_up = shared.given_up.load(Ordering::Relaxed) >> (request.kind % 32) & 1 == 1;
            let outcome = if given_up { Outcome::GivenUp } else { read(&request, &mut buffer) };
            let mut now = lock(slot);
            if now.left {
                return;
            }
            if let Some(job) = &mut now.job {
                job.done.push(outcome);
            }
        }
        let Some(job) = lock(slot).job.take() else { return };
        if send.send((job.about, job.requests, job.done)).is_err() {
            return;
        }
    }
}

/// Linux's numbers of errors: no such process, and not permitted.
const ESRCH: i32 = 3;

fn read(request: &Request, buffer: &mut Vec<u8>) -> Outcome {
    let open = || File::open(&request.path);
    let all = if request.once {
        let room = usize::try_from(request.limit).unwrap_or(usize::MAX).saturating_add(1);
        buffer.resize(room.max(buffer.len()), 0);
        open().and_then(|mut file| file.read(&mut buffer[..room]))
    } else {
        buffer.clear();
        open().and_then(|file| file.take(request.limit + 1).read_to_end(buffer))
    };
    match all {
        Ok(count) => {
            let kept = count.min(usize::try_from(request.limit).unwrap_or(usize::MAX));
            Outcome::Bytes(buffer[..kept].to_vec(), kept < count)
        }
        Err(cause) if cause.kind() == io::ErrorKind::NotFound || cause.raw_os_error() == Some(ESRCH) => Outcome::Gone,
        Err(cause) if cause.kind() == io::ErrorKind::PermissionDenied => Outcome::Denied,
        Err(cause) => Outcome::Failed(cause.to_string()),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("kstack-pool-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn request(path: PathBuf) -> Request {
        Request { once: path.ends_with("file"), path, kind: 1, limit: 4 }
    }

    fn seen(jobs: Vec<Vec<PathBuf>>, deadline: Duration) -> Vec<(usize, Vec<Outcome>)> {
        let jobs = jobs.into_iter().map(|paths| paths.into_iter().map(request).collect()).enumerate();
        let mut seen = Vec::new();
        let until = Instant::now() + deadline;
        read_all(jobs, 2, Duration::from_millis(60), until, |n, _, outcomes| {
            seen.push((n, outcomes));
            Ok(())
        })
        .unwrap();
        seen.sort_by_key(|(n, _)| *n);
        seen
    }

    #[test]
    fn a_file_that_hangs_costs_its_own_answer_and_no_other() {
        let folder = Folder::new("hang");
        let (file, pipe) = (folder.0.join("file"), folder.0.join("pipe"));
        std::fs::write(&file, "12345").unwrap();
        // Opening a FIFO waits for a writer, as a read of /proc waits for a lock.
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let job = vec![file.clone(), pipe, folder.0.join("absent"), file];
        let all = seen(vec![job; 20], Duration::from_secs(60));
        assert_eq!(all.len(), 20);
        let cut = Outcome::Bytes(b"1234".to_vec(), true);
        let stuck = all.iter().filter(|(_, outcomes)| outcomes[1] == Outcome::Stuck).count();
        assert!((PATIENCE as usize..PATIENCE as usize + 2).contains(&stuck), "{stuck}");
        assert!(all[..4].iter().all(|(_, outcomes)| outcomes[0] == cut && outcomes.len() == 4));
        assert!(all.iter().all(|(_, outcomes)| matches!(outcomes[2], Outcome::Gone | Outcome::GivenUp)));
    }

    /// A slot that has waited for work for a minute.
    fn idle() -> Mutex<Slot<()>> {
        Mutex::new(Slot { job: None, since: Instant::now().checked_sub(Duration::from_secs(60)).unwrap(), left: false })
    }

    #[test]
    fn a_job_that_is_done_is_not_left_behind() {
        let slot = idle();
        lock(&slot).job = Some(Job { about: (), requests: vec![request("file".into())], done: vec![Outcome::Gone] });
        assert!(left(&slot, Duration::from_secs(1)).is_none() && !lock(&slot).left, "its thread hands it in");
        lock(&slot).job.as_mut().unwrap().requests.push(request("file".into()));
        assert!(left(&slot, Duration::from_secs(1)).is_some_and(|job| job.done.len() == 1) && lock(&slot).left);
    }

    #[test]
    fn waiting_for_work_is_not_being_stuck() {
        let slot = idle();
        lock(&slot).begin(Job { about: (), requests: vec![request("file".into())], done: Vec::new() });
        assert!(left(&slot, Duration::from_secs(30)).is_none());
    }

    #[test]
    fn after_the_deadline_everything_is_answered_unread() {
        let all = seen(vec![vec!["/".into(), "/".into()]; 500], Duration::ZERO);
        assert_eq!(all.len(), 500);
        assert!(all.iter().all(|(_, outcomes)| *outcomes == [Outcome::GivenUp, Outcome::GivenUp]));
    }
}
