//! One self-contained page: what stands out, the groups, a flame graph, the images and the report itself.
//!
//! The page loads nothing: `Content-Security-Policy` forbids it, and names its one script and one style by their hashes. Whatever a
//! report or symbol file says is data: JSON in an inert block in which `<` cannot occur, which the script shows as text and never as
//! markup. The report's own text is packed ([`embed`]) and unpacked only when somebody looks at it.
//!
//! Files: `page.html` is the frame with its holes, `page.css` the style; `page.js` (data, head, search, keys, links), `groups.js`,
//! `flame.js`, `images.js` and `text.js` become one script.

pub mod data;
pub mod embed;
mod escape;
mod listed;
pub mod triage;

use std::io::{self, Write};

use sha2::{Digest, Sha256};

use self::data::Page;
use self::embed::Embedded;
use self::escape::{Inert, base64, markup};
use crate::group::Groups;
use crate::note::Note;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = concat!(
    "\"use strict\";\n",
    include_str!("page.js"),
    include_str!("groups.js"),
    include_str!("flame.js"),
    include_str!("images.js"),
    include_str!("text.js"),
    "start();\n"
);

/// Groups shown to a reader without JavaScript.
const STATIC_GROUPS: usize = 200;

/// Writes the page.
///
/// # Errors
/// When writing fails.
pub fn write(groups: &Groups<'_, '_>, notes: &[Note], out: &mut dyn Write) -> io::Result<()> {
    let texts = embed::all(groups)?;
    let page = Page::of(groups, notes, &texts);
    let mut rest = PAGE;
    while let Some((before, (hole, after))) = rest.split_once("{{").and_then(|(before, rest)| Some((before, rest.split_once("}}")?))) {
        out.write_all(before.as_bytes())?;
        fill(hole, &page, &texts, out)?;
        rest = after;
    }
    out.write_all(rest.as_bytes())
}

/// What belongs into a hole of `page.html`.
fn fill(hole: &str, page: &Page<'_>, texts: &[Embedded], out: &mut dyn Write) -> io::Result<()> {
    match hole {
        "title" => out.write_all(markup(&page.title).as_bytes()),
        "style" => out.write_all(STYLE.as_bytes()),
        "script" => out.write_all(SCRIPT.as_bytes()),
        "style-hash" => out.write_all(hash(STYLE).as_bytes()),
        "script-hash" => out.write_all(hash(SCRIPT).as_bytes()),
        "groups" => table(page, out),
        "data" => Ok(serde_json::to_writer(Inert(out), page)?),
        "texts" => texts.iter().enumerate().try_for_each(|(report, text)| packed(report, text, out)),
        _ => Ok(()),
    }
}

/// What the policy calls a script or style.
fn hash(text: &str) -> String {
    format!("'sha256-{}'", String::from_utf8_lossy(&base64(&Sha256::digest(text))))
}

/// The packed text of one report. Base64 has no character that could end the block.
fn packed(report: usize, text: &Embedded, out: &mut dyn Write) -> io::Result<()> {
    for (name, bytes) in [("text", &text.text), ("lines", &text.lines), ("notes", &text.notes)] {
        write!(out, "<script type=\"application/gzip\" id=\"{name}-{report}\">")?;
        out.write_all(&base64(bytes))?;
        out.write_all(b"</script>\n")?;
    }
    Ok(())
}

/// The groups for a reader without JavaScript.
fn table(page: &Page<'_>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "<table><tr><th>Threads<th>Kind<th>State<th>Waiting in<th>Processes<th>Fingerprint")?;
    for group in page.groups.iter().take(STATIC_GROUPS) {
        let states: Vec<&str> = group.states.list.iter().map(|(state, _)| &**state).collect();
        let processes: Vec<&str> = group.processes.list.iter().take(3).map(|(process, _)| &**process).collect();
        let name = group.name.as_deref().unwrap_or("no kernel frames");
        let cells = [group.kind, &states.join(" "), name, &processes.join(", "), group.fingerprint];
        write!(out, "<tr><td>{}", group.count)?;
        cells.iter().try_for_each(|cell| write!(out, "<td>{}", markup(cell)))?;
        writeln!(out)?;
    }
    writeln!(out, "</table>")?;
    let more = page.all_groups.saturating_sub(STATIC_GROUPS);
    if more > 0 { writeln!(out, "<p>and {more} more groups</p>") } else { Ok(()) }
}
