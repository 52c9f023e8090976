//! Colour, width, and what is said on standard error; decided once, here.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::note::Note;
use crate::render::sanitize::visible_line;

/// Work that ends sooner than this shows no progress.
const PATIENCE: Duration = Duration::from_millis(500);

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
    let _ = writeln!(std::io::stderr(), "kstack: {}", lines.join("\n  "));
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
pub struct Progress(ProgressBar);

impl Progress {
    /// Work of unknown length, called `what`.
    pub fn new(what: &'static str) -> Progress {
        if !std::io::stderr().is_terminal() {
            return Progress(ProgressBar::hidden());
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_message(what);
        // The first tick, and with it the first drawing, comes after the interval.
        bar.enable_steady_tick(PATIENCE);
        Progress(bar)
    }

    /// `done` of `all` things are done.
    pub fn at(&self, done: u64, all: u64) {
        if self.0.elapsed() < PATIENCE {
            return;
        }
        if self.0.length().is_none() {
            let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len}");
            self.0.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            self.0.set_length(all);
        }
        self.0.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
