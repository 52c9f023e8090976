//! kstack reads what is left of a hung or crashed kernel, and names every address in it.
//!
//! The path of one report:
//!
//! 1. [`input`] opens a file, directory or standard input and unpacks it.
//! 2. [`parse`] detects the format from the content and reads it into a [`model::capture::Capture`]: stacks, or images.
//! 3. [`symbols`] opens the symbol files that are at hand; [`symbols::find`] keeps them by UUID and by name.
//! 4. [`place`] brings report, load maps and files together: which file is which image, and where it lies. The result is a
//!    [`space::AddressSpace`] of half-open ranges, with the reason for whatever could not be placed.
//! 5. [`resolve`] looks every distinct address up once, in parallel, and answers with symbol, offset and source lines.
//! 6. [`title`] says what kind of crash it was and which frame to look at first.
//! 7. [`render`] writes the report again with its frames rewritten in place, or JSON; [`script`] writes what a debugger loads.
//!
//! [`capture`] collects on a running Linux machine what the others read.
//!
//! The library never prints, never exits and never reads the environment.
#![deny(missing_docs, unsafe_code)]

pub mod capture;
#[cfg(feature = "cli")]
pub mod cli;
pub mod collapse;
pub mod disassembly;
pub mod error;
pub mod fuzzing;
pub mod group;
pub mod input;
pub mod model;
pub mod names;
pub mod note;
pub mod parse;
pub mod place;
pub mod render;
pub mod report;
pub mod resolve;
pub mod script;
pub mod source;
pub mod space;
pub mod symbols;
pub mod title;
pub mod triage;

pub use error::{Error, Result};
pub use note::Note;
