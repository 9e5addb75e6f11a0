//! Which commits anything stored here names: what the workspace must keep.
//!
//! As with contents, the store does not know what payloads mean (and a newer version of this program
//! may have written some of them), so it looks for what may be an id of git.

use std::collections::BTreeSet;

use super::sweep::TEXTS;
use super::{Store, connection};
use crate::id::CommitId;
use crate::{Error, Result};

/// Digits of ids in repositories of either kind.
const ID_DIGITS: [usize; 2] = [40, 64];
/// The column that holds nothing but an id.
const FILES: &str = "SELECT files FROM checkpoints WHERE files IS NOT NULL";

impl Store {
    /// Every commit that a run, its journal, its events, its checkpoints or its signals name, and some
    /// more. Reads everything, beside the store's own threads.
    pub async fn named_commits(&self) -> Result<BTreeSet<CommitId>> {
        let path = self.path().to_path_buf();
        let read = move || {
            let mut connection = connection::open_beside(&path)?;
            let view = connection.transaction()?;
            let mut named = BTreeSet::new();
            for sql in TEXTS.iter().chain([&FILES]) {
                let mut statement = view.prepare(sql)?;
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    collect_ids(
                        row.get_ref(0)?.as_bytes().map_err(rusqlite::Error::from)?,
                        &mut named,
                    );
                }
            }
            Ok(named)
        };
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(|error| Error::internal(format!("looking for commits: {error}")))?
            .map_err(|failure| self.conclude(failure))
    }
}

fn collect_ids(bytes: &[u8], named: &mut BTreeSet<CommitId>) {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let words = bytes.split(|byte| !is_digit(byte));
    let ids = words.filter(|word| ID_DIGITS.contains(&word.len()));
    named.extend(ids.map(|id| CommitId::new(String::from_utf8_lossy(id))));
}
