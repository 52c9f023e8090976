//! The collector for machines where kstack is not installed: one POSIX shell script for every system.

/// The script as it is in the repository; it finds out by itself where it runs.
const SCRIPT: &str = include_str!("collector.sh");

/// The line that says what system it is for.
const SYSTEM: &str = "\nsystem=auto\n";
/// The line that says how often the threads are read.
const SAMPLES: &str = "\nsamples=1\n";

/// Systems that the script can be made for. `auto` leaves it to the script.
pub const SYSTEMS: [&str; 6] = ["auto", "linux", "freebsd", "netbsd", "illumos", "macos"];

/// The script for one of [`SYSTEMS`], which on Linux reads the threads `samples` times.
pub fn script(system: &str, samples: u32) -> String {
    SCRIPT.replacen(SYSTEM, &format!("\nsystem={system}\n"), 1).replacen(SAMPLES, &format!("\nsamples={}\n", samples.max(1)), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_system_has_its_branch() {
        for system in SYSTEMS {
            let script = script(system, 3);
            assert!(script.contains(&format!("\nsystem={system}\n")) && script.contains("\nsamples=3\n"));
            assert!(system == "auto" || script.contains(&format!("| {system}) {system} ;;")));
        }
    }
}
