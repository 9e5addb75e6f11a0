//! What our refs reach. Only the trees of our own commits: the user's history behind them is not ours
//! to read, nor is it ours to keep.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::super::vault::CommitNote;
use super::Room;
use crate::id::CommitId;
use crate::{Error, Result};

/// Objects that are asked for in one call.
const BATCH_MAX: usize = 20_000;

/// The ids of everything that these commits consist of, with those of their ancestors that are `ours`.
pub(super) async fn from(
    room: &Room,
    refs: impl IntoIterator<Item = CommitId>,
    ours: &BTreeSet<String>,
) -> Result<BTreeSet<String>> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<String> = refs
        .into_iter()
        .map(|commit| commit.as_str().to_owned())
        .collect();
    while !next.is_empty() {
        next.sort();
        next.dedup();
        next.retain(|id| reached.insert(id.clone()));
        let asked = std::mem::take(&mut next);
        for batch in asked.chunks(BATCH_MAX) {
            for (id, kind, body) in read(room, batch).await? {
                match kind.as_str() {
                    "commit" => next.extend(links_of_commit(&body, ours)),
                    "tree" => links_of_tree(&body, id.len() / 2, &mut next, &mut reached),
                    _ => {}
                }
            }
        }
    }
    Ok(reached)
}

/// The sides of sealed snapshots that agents may see.
pub(super) async fn visible_sides(room: &Room, sealed: &[CommitId]) -> Result<BTreeSet<CommitId>> {
    let ids: Vec<String> = sealed.iter().map(|commit| commit.as_str().to_owned()).collect();
    let mut visible = BTreeSet::new();
    for batch in ids.chunks(BATCH_MAX) {
        for (_, _, body) in read(room, batch).await? {
            let text = String::from_utf8_lossy(&body);
            let note = text.lines().last().unwrap_or_default();
            let note: CommitNote = serde_json::from_str(note).unwrap_or_default();
            visible.extend(note.visible);
        }
    }
    Ok(visible)
}

/// Tree and parents of a commit. A parent that is not ours is the user's.
fn links_of_commit(body: &[u8], ours: &BTreeSet<String>) -> Vec<String> {
    let text = String::from_utf8_lossy(body);
    let head = text.split("\n\n").next().unwrap_or_default();
    let links = head.lines().filter_map(|line| match line.split_once(' ')? {
        ("tree", id) => Some(id.to_owned()),
        ("parent", id) if ours.contains(id) => Some(id.to_owned()),
        _ => None,
    });
    links.collect()
}

/// Folders are to be looked into; files are reached as they are.
fn links_of_tree(body: &[u8], id_bytes: usize, next: &mut Vec<String>, reached: &mut BTreeSet<String>) {
    let mut rest = body;
    while let Some(end) = memchr::memchr(0, rest) {
        let (entry, after) = rest.split_at(end);
        let Some(id) = after.get(1..=id_bytes) else { return };
        let name = id.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        if entry.starts_with(b"40000 ") {
            next.push(name);
        } else if !entry.starts_with(b"160000 ") {
            reached.insert(name);
        }
        rest = after.get(id_bytes + 1..).unwrap_or_default();
    }
}

/// Id, kind and contents of objects; those that are not there (any more) are left out.
async fn read(room: &Room, ids: &[String]) -> Result<Vec<(String, String, Vec<u8>)>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let list: String = ids.iter().flat_map(|id| [id, "\n"]).collect();
    let printed = room
        .reading(["cat-file", "--batch"])
        .stdin(list.into_bytes())
        .bytes()
        .await?;
    let torn = || Error::internal("git cat-file answered something unexpected");
    let mut rest = printed.as_slice();
    let mut found = Vec::new();
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let (head, body) = rest.split_at(end);
        let head = String::from_utf8_lossy(head).into_owned();
        let mut words = head.split(' ');
        let (Some(id), Some(kind)) = (words.next(), words.next()) else {
            return Err(torn());
        };
        if let Some(size) = words.next() {
            let size: usize = size.parse().map_err(|_| torn())?;
            let content = body.get(1..=size).ok_or_else(torn)?.to_vec();
            found.push((id.to_owned(), kind.to_owned(), content));
            rest = body.get(size + 2..).ok_or_else(torn)?;
        } else {
            rest = body.get(1..).unwrap_or_default();
        }
    }
    Ok(found)
}
