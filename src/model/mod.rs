//! What reports, load maps and symbol files say, as plain data. Nothing here reads files or prints.

pub mod addr;
pub mod capture;
pub mod code;
pub mod crash;
pub mod frame;
pub mod frames;
pub mod group;
pub mod image;
pub mod lock;
pub mod stack;
pub mod zone;
