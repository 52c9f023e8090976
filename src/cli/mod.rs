//! The command line: what users type, and the table from command to function.

mod capture;
mod debuginfod;
mod diff;
mod exit;
mod filters;
mod flame;
mod formats;
mod generate;
mod group;
mod inputs;
mod lookup;
mod machine;
mod memory;
mod modules;
mod offsets;
mod options;
mod output;
mod profiles;
mod report;
mod script;
mod session;
mod sources;
mod symbolicate;
mod term;
mod top;
mod zones;

use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};

pub use exit::Exit;

/// Symbolicates kernel stacks from hangs and panics: every address against the kernel and all its kexts and modules at once.
#[derive(Parser, Debug)]
#[command(name = "kstack", version, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Exit status: 0 done; 1 a report or symbol file could not be used (everything else was still done); \
    2 bad usage; 3 with --strict, a kernel frame stayed unresolved or unverified.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Print the report again with every kernel frame named
    ///
    /// The report comes out byte for byte, with every kernel frame rewritten in place: symbol, offset and image, and below it file, line and inlined callers when the symbol files have debug info.
    #[command(visible_alias = "sym")]
    Symbolicate(Box<symbolicate::Args>),
    /// Show the distinct stacks, most frequent first
    ///
    /// For each: how many threads stand there and which, their states and wait channels, and the frames once. Stacks are the same when they run through the same functions; --by compares them otherwise. Output of kstack in JSON is a report too, so groups of many machines merge by grouping them again.
    Group(Box<group::Args>),
    /// Compare two captures of one machine: what is stuck, what moves
    ///
    /// Threads are told apart by id and name. A thread is stuck when its stack is the same to the byte, moving when it runs through the same functions at other offsets. Groups that grew come first.
    Diff(Box<diff::Args>),
    /// Count in how many stacks each function occurs
    ///
    /// What gdb's countpcs did for one address of a zone log, for every function of every report: stacks that run through it, and stacks that wait in it.
    Top(Box<top::Args>),
    /// Write folded stacks, or draw a flame graph
    ///
    /// One line for each distinct stack, root first, with its number of threads: what flamegraph.pl, inferno-flamegraph and speedscope read. --format svg draws the graph. Unreliable frames are left out; inlined calls that debug info knows are frames, marked _[i].
    Flame(Box<flame::Args>),
    /// Write one HTML page with everything: groups, flame graph, images, the report's text
    ///
    /// The page needs no network and no other file. It shows what stands out, the groups of equal stacks to search, sort and open, a flame graph, every image with whether its symbol file is the right build, and the report's own text with each frame linked to its group.
    Report(Box<report::Args>),
    /// List every image with its load address, UUID and symbol file
    Modules(Box<modules::Args>),
    /// Resolve single addresses, or SYMBOL+OFFSET, in a whole kernel
    Lookup(Box<lookup::Args>),
    /// Write a script that loads every symbol file at its address in a debugger
    ///
    /// Input is anything that names images: a report, a load map, a capture, or only -k and -m with addresses. The script begins with what it was made from and which files are verified; an image without a usable file is left out with a comment that says why.
    Script(Box<script::Args>),
    /// Collect everything that the other commands need from this Linux machine into one file
    ///
    /// Every thread's kernel stack, name, state, wait channel, command line and cgroup; modules, sections, build ids, kallsyms, versions, the kernel's log: a .tar.zst that every command reads as it is. No process is started, and a file that does not answer is left out and named in manifest.json. Stacks and addresses need root.
    Capture(capture::Args),
    /// List the formats, symbol files and outputs that are known
    Formats,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write all pages to a directory
    Man {
        /// Directory that gets one page for each command; without it, kstack(1) goes to standard output
        dir: Option<std::path::PathBuf>,
    },
}

/// Parses the arguments of the process and runs the command.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // Half a capture is none, whoever stopped reading it.
    let must_arrive = matches!(cli.command, Command::Capture(_));
    let outcome = match cli.command {
        Command::Symbolicate(args) => symbolicate::run(&args),
        Command::Group(args) => group::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Flame(args) => flame::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Modules(args) => modules::run(&args),
        Command::Lookup(args) => lookup::run(&args),
        Command::Script(args) => script::run(&args),
        Command::Capture(args) => capture::run(&args),
        Command::Formats => formats::run().context(output::TO_STDOUT),
        Command::Completions { shell } => generate::completions(shell).context(output::TO_STDOUT),
        Command::Man { dir } => generate::man(dir.as_deref()),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) if output::is_closed_pipe(&error) && !must_arrive => Exit::Done.into(),
        Err(error) => {
            term::complain(&format!("{error:#}"));
            let usage = error.downcast_ref::<options::Usage>().is_some();
            if usage { Exit::Usage.into() } else { Exit::Unusable.into() }
        }
    }
}

/// The definition that parser, help, man pages and completions come from.
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_definition_is_consistent() {
        super::command().debug_assert();
    }
}
