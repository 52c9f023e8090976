//! What the exit status means.

use std::process::ExitCode;

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Exit {
    /// Everything was done.
    Done = 0,
    /// A report or symbol file could not be used; everything else was still done.
    Unusable = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// With `--strict`: a kernel frame stayed unresolved or unverified.
    Strict = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

impl Exit {
    /// The exit of a run: what could not be used outweighs what was not proven.
    pub fn of(failed: bool, unproven: bool) -> Exit {
        match (failed, unproven) {
            (true, _) => Exit::Unusable,
            (false, true) => Exit::Strict,
            (false, false) => Exit::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_contract() {
        assert_eq!([Exit::Done, Exit::Unusable, Exit::Usage, Exit::Strict].map(|exit| exit as u8), [0, 1, 2, 3]);
        assert_eq!(Exit::of(true, true), Exit::Unusable);
        assert_eq!(Exit::of(false, true), Exit::Strict);
        assert_eq!(Exit::of(false, false), Exit::Done);
    }
}
