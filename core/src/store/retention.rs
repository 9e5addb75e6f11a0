//! What runs take, and letting go of ended ones.

use std::collections::HashSet;
use std::path::Path;

use rusqlite::Connection;

use super::failure::Outcome;
use super::{Store, connection, runs, sweep};
use crate::clock::Timestamp;
use crate::id::{PipelineId, RepositoryId};
use crate::{Error, Result};

/// Every text of one run.
const TEXTS_OF_RUN: &[&str] = &[
    "SELECT state FROM runs WHERE id = ?1",
    "SELECT body FROM journal WHERE run = ?1",
    "SELECT body FROM events WHERE run = ?1",
    "SELECT payload FROM signals WHERE run = ?1",
    "SELECT outcome FROM signals WHERE run = ?1 AND outcome IS NOT NULL",
    "SELECT transcript FROM checkpoints WHERE run = ?1",
    "SELECT note FROM checkpoints WHERE run = ?1",
    "SELECT answer FROM answers WHERE run = ?1",
];

/// A run, and what it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRun {
    /// Its name.
    pub id: PipelineId,
    /// The repository that it works on.
    pub repository: RepositoryId,
    /// The fence under which this was seen.
    pub fence: i64,
    /// Whether it ended.
    pub finished: bool,
    /// When its state last changed.
    pub updated_at: Timestamp,
    /// Its rows and contents. A content of several runs counts for the newest of them, so this is what
    /// is free once the run and all older ones are gone.
    pub bytes: u64,
}

/// Whether sizes are wanted; for them everything is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weigh {
    /// Every size is 0.
    No,
    /// With sizes.
    Yes,
}

impl Store {
    /// Every run whose row is sound, newest first. Reads beside the store's own threads.
    pub async fn stored_runs(&self, weigh: Weigh) -> Result<Vec<StoredRun>> {
        let (path, folder) = (self.path().to_path_buf(), self.blob_folder());
        let read = tokio::task::spawn_blocking(move || stored_runs(&path, &folder, weigh)).await;
        read.map_err(|error| Error::internal(format!("weighing runs: {error}")))?
            .map_err(|failure| self.conclude(failure))
    }

    /// Deletes an ended run as [`Store::delete_run`] does, unless somebody took it up since it was seen
    /// under this fence. Answers whether it is gone.
    pub async fn expire_run(&self, id: &PipelineId, fence: i64) -> Result<bool> {
        let (store, id) = (self.clone(), id.clone());
        self.write(move |transaction| {
            let Some(row) = runs::find(transaction, &id)? else {
                return Ok(true);
            };
            let is_held = row.owner.as_ref().is_some_and(|owner| store.is_alive(owner));
            if row.fence != fence || !row.finished || is_held {
                return Ok(false);
            }
            transaction
                .prepare_cached("DELETE FROM runs WHERE id = ?1")?
                .execute([id.as_str()])?;
            Ok(true)
        })
        .await
    }
}

fn stored_runs(path: &Path, folder: &Path, weigh: Weigh) -> Outcome<Vec<StoredRun>> {
    let mut connection = connection::open_beside(path)?;
    let view = connection.transaction()?;
    let ids = view
        .prepare("SELECT id FROM runs ORDER BY ordinal DESC")?
        .query_map([], |row| row.get::<_, String>(0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    for id in ids {
        let id = PipelineId::new(id);
        let row = match runs::find(&view, &id) {
            Ok(Some(row)) => row,
            Ok(None) => continue,
            Err(damaged) => {
                tracing::warn!(run = %id, ?damaged, "a damaged pipeline is kept");
                continue;
            }
        };
        let bytes = match weigh {
            Weigh::Yes => size(&view, folder, &id, &mut seen)?,
            Weigh::No => 0,
        };
        found.push(StoredRun {
            id: row.id,
            repository: row.repository,
            fence: row.fence,
            finished: row.finished,
            updated_at: row.updated_at,
            bytes,
        });
    }
    Ok(found)
}

fn size(view: &Connection, folder: &Path, run: &PipelineId, seen: &mut HashSet<String>) -> Outcome<u64> {
    let (mut bytes, mut waiting) = (0, Vec::new());
    for sql in TEXTS_OF_RUN {
        let mut statement = view.prepare_cached(sql)?;
        let mut rows = statement.query([run.as_str()])?;
        while let Some(row) = rows.next()? {
            let text = row.get_ref(0)?.as_bytes().map_err(rusqlite::Error::from)?;
            bytes += text.len() as u64;
            sweep::collect_names(text, &mut waiting);
        }
    }
    while let Some(name) = waiting.pop() {
        if seen.contains(&name) {
            continue;
        }
        if let Some(content) = sweep::content(view, folder, &name)? {
            bytes += content.len() as u64;
            sweep::collect_names(&content, &mut waiting);
            seen.insert(name);
        }
    }
    Ok(bytes)
}
