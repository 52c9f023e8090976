//! The archive while it is written: tar inside zstd, a block at a time, nothing kept.

use std::io::{self, Write};

use ruzstd::encoding::{CompressionLevel, compress_to_vec};

/// Bytes of tar that become one zstd frame. The encoder looks back 128 KiB, so that longer frames would pack no better.
const BLOCK: usize = 1 << 20;

/// A writer that packs what it gets into zstd frames, one after the other, which together are one zstd file.
pub struct Zstd<W: Write> {
    out: W,
    block: Vec<u8>,
    written: u64,
}

impl<W: Write> Zstd<W> {
    /// Packs into `out`.
    pub fn new(out: W) -> Zstd<W> {
        Zstd { out, block: Vec::with_capacity(BLOCK), written: 0 }
    }

    fn pack(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let packed = compress_to_vec(&self.block[..], CompressionLevel::Fastest);
        self.block.clear();
        self.written += packed.len() as u64;
        self.out.write_all(&packed)
    }

    /// Writes what is left; gives back how many bytes went out.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(mut self) -> io::Result<u64> {
        self.pack()?;
        self.out.flush()?;
        Ok(self.written)
    }
}

impl<W: Write> Write for Zstd<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        if self.block.len() == BLOCK {
            self.pack()?;
        }
        Ok(taken)
    }

    /// Does nothing: a frame is written when it is full, or at the end.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Members of the archive.
pub struct Store<W: Write> {
    tar: tar::Builder<Zstd<W>>,
    /// When the capture began, in seconds since 1970: the time of every member.
    time: u64,
}

impl<W: Write> Store<W> {
    /// An empty archive.
    pub fn new(out: W, time: u64) -> Store<W> {
        Store { tar: tar::Builder::new(Zstd::new(out)), time }
    }

    /// Adds a member.
    ///
    /// # Errors
    /// When writing fails.
    pub fn add(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o600);
        header.set_mtime(self.time);
        header.set_size(bytes.len() as u64);
        self.tar.append_data(&mut header, path, bytes)
    }

    /// Ends the archive; gives back its size in bytes.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(self) -> io::Result<u64> {
        self.tar.into_inner()?.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn members_come_back() {
        let mut packed = Vec::new();
        let mut store = Store::new(&mut packed, 1_700_000_000);
        let long = vec![b'x'; 3 * BLOCK + 17];
        let deep = format!("sample-0/proc/{}/stack", "9".repeat(150));
        store.add("proc/1/stack", b"[<0>] f+0x1/0x2\n").unwrap();
        store.add(&deep, &long).unwrap();
        assert_eq!(store.finish().unwrap(), packed.len() as u64);
        let source = crate::input::unpack::unpack("c".into(), packed.into()).unwrap();
        let mut notes = Vec::new();
        let members = crate::input::archive::members("c", &source.data, &mut notes);
        assert!(notes.is_empty());
        assert_eq!((members.len(), members[0].1), (2, &b"[<0>] f+0x1/0x2\n"[..]));
        assert_eq!((members[1].0.as_str(), members[1].1.len()), (deep.as_str(), long.len()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn any_bytes_come_back(pieces in prop::collection::vec((any::<u8>(), 0usize..60_000, any::<bool>()), 0..30)) {
            let fill = |(byte, count, noise): (u8, usize, bool)| -> Vec<u8> {
                let mix = |at: usize| (at as u32).wrapping_mul(2_654_435_761).rotate_left(u32::from(byte)) as u8;
                (0..count).map(|at| if noise { mix(at) } else { byte }).collect()
            };
            let text: Vec<u8> = pieces.into_iter().flat_map(fill).collect();
            let mut packed = Vec::new();
            let mut zstd = Zstd::new(&mut packed);
            zstd.write_all(&text).unwrap();
            zstd.finish().unwrap();
            if text.is_empty() {
                prop_assert!(packed.is_empty());
            } else {
                let source = crate::input::unpack::unpack("c".into(), packed.into()).unwrap();
                prop_assert!(source.notes.is_empty() && source.data[..] == text[..]);
            }
        }
    }
}
