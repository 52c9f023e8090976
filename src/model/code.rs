//! Machine code that a report prints around a place where execution was.

/// The bytes of one `Code:` line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Code {
    /// Line of the report, from 1.
    pub line: u32,
    /// Byte offset of that line in the report.
    pub line_start: u64,
    /// The code in the order of memory.
    pub bytes: Vec<u8>,
    /// Offset in `bytes` of the instruction that the report marks: where execution was. `None` when none is marked.
    pub marker: Option<usize>,
    /// Bytes that the report prints as one number: 1 on x86, 4 on arm64 and arm, 2 for Thumb and RISC-V.
    pub unit: usize,
    /// Index of the stack's frame whose address is that of the marked instruction; `None` for code of user space.
    pub frame: Option<usize>,
    /// The instructions in it, where somebody asked for them.
    pub listing: Vec<Instruction>,
}

/// One instruction of a [`Code`], as [`crate::disassembly`] wrote it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Instruction {
    /// Its first byte, an offset in the code.
    pub at: usize,
    /// Its length in bytes.
    pub len: usize,
    /// In the notation of the architecture's assembler.
    pub text: String,
    /// The function that it is in and the offset there, `write_null+0x5`.
    pub place: Option<String>,
    /// `file:line`.
    pub location: Option<String>,
    /// How the symbol file's bytes differ, and why they may; `None` where they are the same, or moved as a whole.
    pub differs: Option<String>,
}
