//! What a report is about: a title, and the frame to look at first. [`crate::title`] finds both.

/// The crash that a report is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Crash {
    /// One line: what happened, and where.
    pub title: String,
    /// The frame to look at first.
    pub guilty: Option<Guilty>,
    /// Line of the report, from 1, that announced the crash.
    pub line: u32,
    /// Crashes that the same report tells of later, each with a stack of its own; these have none of their own.
    pub later: Vec<Crash>,
}

/// The frame to look at first, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Guilty {
    /// Its function, without compiler suffixes.
    pub function: String,
    /// Its image or module; `None` for the kernel itself.
    pub module: Option<String>,
    /// The first source file from there outwards that is not too general to tell anything; for stalls and overflows, where the guilty
    /// function only handed the work on, from where the work was done.
    pub file: Option<String>,
    /// The function that the file is of, where it is another than the guilty one and none inlined into it.
    pub file_of: Option<String>,
    /// Why it is the one: `first frame after 11 reporting frames`.
    pub reason: String,
    /// Its stack, counted from 0; `None` where the report names the function in words alone.
    pub stack: Option<usize>,
    /// Its frame in that stack, counted from 0.
    pub frame: Option<usize>,
}

/// What the title of a crash says about the stack that it blames.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Blamed {
    /// The title.
    pub title: String,
    /// The guilty frame, counted from 0.
    pub frame: usize,
}
