//! Colour, width, and what is said on standard error; decided once, here.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::note::Note;
use crate::render::sanitize::visible_line;
use crate::render::wrap::wrapped;

/// Work that ends sooner than this shows no progress.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often a bar that is shown moves.
const TICK: Duration = Duration::from_millis(200);

/// Whether to colour what goes to standard output, or to a file when `file` is set.
pub fn colour(when: &str, file: bool) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match when {
        "always" => true,
        "never" => false,
        _ => !file && std::io::stdout().is_terminal() && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
    }
}

/// Whether the terminal is one of those that are known to show links as such. Others have to be asked for: some print rubbish.
pub fn knows_links() -> bool {
    let is = |name: &str, values: &[&str]| std::env::var(name).is_ok_and(|value| values.contains(&value.as_str()));
    let set = |name: &str| std::env::var_os(name).is_some();
    is("TERM_PROGRAM", &["iTerm.app", "WezTerm", "vscode", "ghostty", "Hyper"])
        || is("TERM", &["xterm-kitty", "foot", "alacritty", "xterm-ghostty"])
        // GNOME's terminal library knows them since 0.50.
        || std::env::var("VTE_VERSION").is_ok_and(|version| version.parse().is_ok_and(|version: u32| version >= 5000))
        || set("WT_SESSION")
        || set("KONSOLE_VERSION")
}

/// Columns of the terminal on standard output.
pub fn width() -> Option<u16> {
    terminal_size::terminal_size().map(|(width, _)| width.0)
}

/// An error, on standard error. Nothing is lost if nobody reads it.
pub fn complain(text: &str) {
    let lines: Vec<String> = text.lines().map(visible_line).collect();
    let width = terminal_size::terminal_size_of(std::io::stderr()).map(|(width, _)| width.0);
    let _ = writeln!(std::io::stderr(), "{}", wrapped(&format!("kstack: {}", lines.join("\n  ")), 4, width));
}

/// Notes on standard error: failures always, warnings unless `quiet`. Gives back whether there was a failure.
pub fn report(notes: &[Note], quiet: bool) -> bool {
    let mut said = std::collections::BTreeSet::new();
    for note in notes.iter().filter(|note| note.failure || !quiet) {
        let text = if note.failure { format!("error: {note}") } else { format!("warning: {note}") };
        if said.insert(text.clone()) {
            complain(&text);
        }
    }
    notes.iter().any(|note| note.failure)
}

/// Progress on standard error, only on a terminal and only once work has lasted a while.
pub struct Progress {
    bar: ProgressBar,
    /// Shows the bar when the time has come, unless the channel closes before.
    waiting: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Work of unknown length, called `what`.
    pub fn new(what: &'static str) -> Progress {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()).with_message(what);
        bar.set_style(ProgressStyle::default_spinner());
        let waiting = std::io::stderr().is_terminal().then(|| show_later(bar.clone()));
        Progress { bar, waiting }
    }

    /// `done` of `all` things are done.
    pub fn at(&self, done: u64, all: u64) {
        if self.bar.elapsed() < PATIENCE {
            return;
        }
        if self.bar.length().is_none() {
            let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len}");
            self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            self.bar.set_length(all);
        }
        self.bar.set_position(done);
    }
}

/// Shows `bar` after a while. A bar that ticks from the beginning on is drawn at once, and work that is done in an instant flickers.
fn show_later(bar: ProgressBar) -> (Sender<()>, JoinHandle<()>) {
    let (end, ended) = channel();
    let show = move || {
        if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.enable_steady_tick(TICK);
        }
    };
    (end, std::thread::spawn(show))
}

impl Drop for Progress {
    fn drop(&mut self) {
        // Only then: the thread must not show what is over.
        if let Some((end, thread)) = self.waiting.take() {
            drop(end);
            let _ = thread.join();
        }
        self.bar.finish_and_clear();
    }
}
