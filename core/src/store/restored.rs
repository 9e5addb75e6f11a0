//! Runs that came back from a backup: what happened to them since is not known, so each waits for a
//! person, who is told why.

use rusqlite::{Connection, params};

use super::Store;
use super::checksum::{Seal, text};
use super::failure::Outcome;
use crate::id::PipelineId;
use crate::{Error, Kind, Result};

const TABLE: &str = "restored";
/// Why such a run waits.
const REASON: &str =
    "the database was damaged; this pipeline came back from a backup, so its last steps may be missing";

impl Store {
    /// Runs that came back and have not been paused yet.
    pub async fn restored_runs(&self) -> Result<Vec<(PipelineId, Error)>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT run, reason, checksum FROM restored")?;
            let mut rows = statement.query([])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let run = PipelineId::new(text(row, 0)?);
                let reason = read(&run, text(row, 1)?, &text(row, 2)?)?;
                found.push((run, reason));
            }
            Ok(found)
        })
        .await
    }

    /// Why this one is to be paused before it goes on; nothing if it did not come back, or is paused.
    pub async fn restored_run(&self, run: &PipelineId) -> Result<Option<Error>> {
        let run = run.clone();
        self.read(move |connection| {
            let sql = "SELECT reason, checksum FROM restored WHERE run = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query([run.as_str()])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            read(&run, text(row, 0)?, &text(row, 1)?).map(Some)
        })
        .await
    }

    /// Its pause is stored: nothing more is to be done.
    pub async fn forget_restored(&self, run: &PipelineId) -> Result<()> {
        let run = run.clone();
        self.write(move |transaction| {
            let sql = "DELETE FROM restored WHERE run = ?1";
            transaction.prepare_cached(sql)?.execute([run.as_str()])?;
            Ok(())
        })
        .await
    }
}

fn read(run: &PipelineId, reason: String, checksum: &str) -> Outcome<Error> {
    seal(run, &reason).check(TABLE, run.as_str(), checksum)?;
    Ok(Error::new(Kind::Io, "storeRestored", reason)
        .hint("compare its plan and patch with your files, then resume or cancel it"))
}

/// Notes that a run came back.
pub(super) fn insert(transaction: &Connection, run: &PipelineId) -> Outcome<()> {
    let sql = "INSERT OR REPLACE INTO restored (run, reason, checksum) VALUES (?1, ?2, ?3)";
    transaction
        .prepare_cached(sql)?
        .execute(params![run.as_str(), REASON, seal(run, REASON).finish()])?;
    Ok(())
}

fn seal(run: &PipelineId, reason: &str) -> Seal {
    Seal::of(TABLE, run.as_str()).text(reason)
}
