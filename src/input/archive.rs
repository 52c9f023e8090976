//! Members of a tar archive, read where they are: nothing is ever written to disk, so names like `../x` and links mean nothing.

use std::collections::HashMap;
use std::io::Cursor;

use crate::note::Note;

/// More members than this are not read: a machine with a million threads has fewer.
const MOST_MEMBERS: usize = 8 << 20;

/// Whether `data` is a tar archive: `ustar` at byte 257.
pub fn is_tar(data: &[u8]) -> bool {
    data.get(257..262) == Some(b"ustar")
}

/// Path and bytes of every regular member. Reading stops at the first damage, with a note. Of members of one name the last counts, as for
/// tar; links are not followed, and what they point at is not read.
pub fn members<'d>(name: &str, data: &'d [u8], notes: &mut Vec<Note>) -> Vec<(String, &'d [u8])> {
    let mut archive = tar::Archive::new(Cursor::new(data));
    let mut found: Vec<(String, &[u8])> = Vec::new();
    let damaged = |cause: String| Note::failure(name, format!("this tar archive is damaged: {cause}; what stood before is used"));
    let entries = match archive.entries_with_seek() {
        Ok(entries) => entries,
        Err(cause) => {
            notes.push(damaged(cause.to_string()));
            return found;
        }
    };
    for entry in entries {
        match entry.map_err(|cause| cause.to_string()).and_then(|entry| member(&entry, data)) {
            Ok(_) if found.len() >= MOST_MEMBERS => {
                notes.push(Note::failure(name, format!("more than {MOST_MEMBERS} members; the others are not read")));
                break;
            }
            Ok(member) => found.extend(member),
            Err(cause) => {
                notes.push(damaged(cause));
                break;
            }
        }
    }
    last_of_each(name, found, notes)
}

/// A regular member; `None` for what is no file.
fn member<'d>(entry: &tar::Entry<'_, Cursor<&'d [u8]>>, data: &'d [u8]) -> Result<Option<(String, &'d [u8])>, String> {
    if !entry.header().entry_type().is_file() {
        return Ok(None);
    }
    let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    let start = usize::try_from(entry.raw_file_position()).ok();
    let end = start.zip(usize::try_from(entry.size()).ok()).and_then(|(start, size)| start.checked_add(size));
    // A header may promise any size; more than the archive holds cannot come.
    match start.zip(end).and_then(|(start, end)| data.get(start..end)) {
        Some(bytes) => Ok(Some((path, bytes))),
        None => Err(format!("{path} is said to have {} bytes, and the archive ends before that", entry.size())),
    }
}

fn last_of_each<'d>(name: &str, found: Vec<(String, &'d [u8])>, notes: &mut Vec<Note>) -> Vec<(String, &'d [u8])> {
    let last: HashMap<&str, usize> = found.iter().enumerate().map(|(at, (path, _))| (path.as_str(), at)).collect();
    let twice = found.len() - last.len();
    if twice == 0 {
        return found;
    }
    notes.push(Note::warning(name, format!("{twice} members stand in this archive again further down; the last of each name is used")));
    let kept: Vec<bool> = found.iter().enumerate().map(|(at, (path, _))| last.get(path.as_str()) == Some(&at)).collect();
    found.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(member, _)| member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, bytes) in members {
            let mut header = tar::Header::new_ustar();
            // Written past `set_path`, which refuses what an attacker would not.
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn read(data: &[u8]) -> (Vec<(String, &[u8])>, Vec<Note>) {
        let mut notes = Vec::new();
        (members("a.tar", data, &mut notes), notes)
    }

    #[test]
    fn names_that_climb_are_names_and_nothing_else() {
        let data = archive(&[("../../etc/x", b"1"), ("/abs", b"22")]);
        let (found, notes) = read(&data);
        assert_eq!(found, [("../../etc/x".to_string(), &b"1"[..]), ("/abs".to_string(), b"22")]);
        assert!(notes.is_empty() && !std::path::Path::new("/abs").exists());
    }

    #[test]
    fn links_are_not_followed() {
        let mut builder = tar::Builder::new(Vec::new());
        for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Fifo] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(0);
            builder.append_link(&mut header, "proc/1/task/1/stack", "/etc/passwd").unwrap();
        }
        assert!(read(&builder.into_inner().unwrap()).0.is_empty());
    }

    #[test]
    fn a_size_beyond_the_end_keeps_what_stood_before() {
        let mut data = archive(&[("a", b"1"), ("b", b"2")]);
        let second = &mut data[1024..1536];
        second[124..135].copy_from_slice(b"77777777777");
        second[148..156].copy_from_slice(b"        ");
        let sum: u32 = second.iter().map(|b| u32::from(*b)).sum();
        second[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let (found, notes) = read(&data);
        assert_eq!(found.len(), 1);
        assert!(notes[0].failure && notes[0].text.contains("8589934591 bytes"), "{}", notes[0]);
    }

    #[test]
    fn the_last_of_one_name_counts_and_many_members_are_quick() {
        let names: Vec<String> = (0..20_000).map(|n| format!("proc/{n}/task/{n}/comm")).collect();
        let mut list: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"x\n"[..])).collect();
        list.push(("proc/1/task/1/comm", b"y\n"));
        let data = archive(&list);
        let begin = std::time::Instant::now();
        let (found, notes) = read(&data);
        assert!(begin.elapsed().as_secs() < 10);
        assert_eq!((found.len(), notes.len()), (20_000, 1));
        assert_eq!(found.last().unwrap().1, b"y\n");
    }
}
