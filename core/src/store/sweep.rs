//! Contents that nothing names any more are removed; each tool turn leaves a transcript behind.
//!
//! The store does not know what payloads mean, so it looks for names of contents (64 hexadecimal
//! digits) in every text and in every content that is named itself. What was put after the last
//! sweep is spared: whoever put it may not have named it yet.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::failure::{Failure, Outcome};
use super::{Store, blob, connection, setting};
use crate::id::BlobId;
use crate::{Error, Result};

/// Where the last sweep left the number of the newest content.
const HORIZON: &str = "store.sweepHorizon";
/// Every text that may name a content.
pub(super) const TEXTS: &[&str] = &[
    "SELECT state FROM runs",
    "SELECT body FROM journal",
    "SELECT body FROM events",
    "SELECT payload FROM signals",
    "SELECT outcome FROM signals WHERE outcome IS NOT NULL",
    "SELECT transcript FROM checkpoints",
    "SELECT note FROM checkpoints",
    "SELECT answer FROM answers",
    "SELECT value FROM settings",
    "SELECT grounds FROM step_cache",
];
/// Digits of a content's name.
const NAME_DIGITS: usize = 64;

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Contents that were removed.
    pub removed: u64,
    /// Their size.
    pub bytes: u64,
}

struct Found {
    dead: Vec<String>,
    newest: i64,
}

impl Store {
    /// Removes contents that nothing names and that were there at the last sweep already. Meant to
    /// be called about once an hour; reads everything, beside the store's own threads.
    pub async fn sweep_blobs(&self) -> Result<Swept> {
        self.writable()?;
        let horizon = self
            .setting(HORIZON)
            .await?
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        let (path, folder) = (self.path().to_path_buf(), self.blob_folder());
        let in_folder = folder.clone();
        let found = tokio::task::spawn_blocking(move || find_dead(&path, &in_folder, horizon)).await;
        let found = found.map_err(|error| Error::internal(format!("sweeping: {error}")))?;
        let Found { dead, newest } = found.map_err(|failure| self.conclude(failure))?;
        self.write(move |transaction| {
            let mut swept = Swept::default();
            for name in dead {
                let removed = transaction
                    .prepare_cached(
                        "DELETE FROM blobs WHERE id = ?1 AND ordinal <= ?2 \
                         AND NOT EXISTS (SELECT 1 FROM checkpoints WHERE transcript = ?1) RETURNING size",
                    )?
                    .query_row(rusqlite::params![name, horizon], |row| row.get::<_, i64>(0));
                if let Some(size) = super::runs::optional(removed)? {
                    // Under the write lock: who puts the same content again looks after it got it.
                    remove_file(&blob::place(&folder, &BlobId::new(name)))?;
                    swept.removed += 1;
                    swept.bytes += size.unsigned_abs();
                }
            }
            setting::set(transaction, HORIZON, &newest.to_string())?;
            Ok(swept)
        })
        .await
    }
}

fn remove_file(path: &Path) -> Outcome<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::File(path.to_path_buf(), error))
        }
        _ => Ok(()),
    }
}

fn find_dead(path: &Path, folder: &Path, horizon: i64) -> Outcome<Found> {
    let mut connection = connection::open_beside(path)?;
    let view = connection.transaction()?;
    let live = find_live(&view, folder)?;
    let newest = view.query_row("SELECT coalesce(max(ordinal), 0) FROM blobs", [], |row| {
        row.get(0)
    })?;
    let mut statement = view.prepare("SELECT id FROM blobs WHERE ordinal <= ?1")?;
    let old = statement
        .query_map([horizon], |row| row.get::<_, String>(0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(Found {
        dead: old.into_iter().filter(|name| !live.contains(name)).collect(),
        newest,
    })
}

fn find_live(view: &Connection, folder: &Path) -> Outcome<HashSet<String>> {
    let mut waiting = Vec::new();
    for sql in TEXTS {
        let mut statement = view.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            collect_names(
                row.get_ref(0)?.as_bytes().map_err(rusqlite::Error::from)?,
                &mut waiting,
            );
        }
    }
    let mut live = HashSet::new();
    while let Some(name) = waiting.pop() {
        if live.contains(&name) {
            continue;
        }
        if let Some(bytes) = content(view, folder, &name)? {
            collect_names(&bytes, &mut waiting);
            live.insert(name);
        }
    }
    Ok(live)
}

/// A content if there is one of this name; a damaged one names nothing, and is reported when read.
pub(super) fn content(view: &Connection, folder: &Path, name: &str) -> Outcome<Option<Vec<u8>>> {
    let row = view
        .prepare_cached("SELECT bytes FROM blobs WHERE id = ?1")?
        .query_row([name], |row| row.get::<_, Option<Vec<u8>>>(0));
    Ok(match super::runs::optional(row)? {
        Some(None) => {
            let file: PathBuf = blob::place(folder, &BlobId::new(name));
            Some(fs::read(file).unwrap_or_default())
        }
        inline => inline.flatten(),
    })
}

/// Every 64 hexadecimal digits in a row, also inside a longer row of them.
pub(super) fn collect_names(bytes: &[u8], names: &mut Vec<String>) {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    for digits in bytes.split(|byte| !is_digit(byte)) {
        for name in digits.windows(NAME_DIGITS) {
            names.push(String::from_utf8_lossy(name).into_owned());
        }
    }
}
