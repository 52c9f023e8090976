//! Parses arguments, runs the command, turns the outcome into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    kstack::cli::main()
}
