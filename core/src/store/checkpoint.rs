//! Where a step stands inside: its files and its transcript, always both.

use rusqlite::params;

use super::checksum::{Seal, maybe_text, text};
use super::failure::Outcome;
use super::{Store, blob, limit_payload, runs};
use crate::Result;
use crate::clock::Timestamp;
use crate::id::{BlobId, CommitId, PipelineId, StepId};

const TABLE: &str = "checkpoints";

/// The newest checkpoint of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The fence under which it was made.
    pub fence: i64,
    /// The files, as a commit of our own store; none where the step has no files.
    pub files: Option<CommitId>,
    /// What was said so far.
    pub transcript: BlobId,
    /// Anything more, JSON.
    pub note: String,
    /// When.
    pub at: Timestamp,
}

impl Store {
    /// Replaces the checkpoint of a step. The transcript must be in the store already.
    #[expect(
        clippy::too_many_arguments,
        reason = "a checkpoint is these values, and they are written in one place"
    )]
    pub async fn save_checkpoint(
        &self,
        run: &PipelineId,
        step: &StepId,
        fence: i64,
        files: Option<CommitId>,
        transcript: BlobId,
        note: String,
        at: Timestamp,
    ) -> Result<()> {
        limit_payload("the note of a checkpoint", &note)?;
        let (run, step) = (run.clone(), step.clone());
        let checkpoint = Checkpoint {
            fence,
            files,
            transcript,
            note,
            at,
        };
        self.write(move |transaction| {
            runs::must_be_fenced(transaction, &run, fence)?;
            blob::must_exist(transaction, &checkpoint.transcript)?;
            let sql = "INSERT INTO checkpoints (run, step, fence, files, transcript, note, at, checksum) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (run, step) DO UPDATE SET fence = excluded.fence, \
                       files = excluded.files, transcript = excluded.transcript, note = excluded.note, at = excluded.at, \
                       checksum = excluded.checksum";
            transaction.prepare_cached(sql)?.execute(params![
                run.as_str(),
                step.as_str(),
                fence,
                checkpoint.files.as_ref().map(CommitId::as_str),
                checkpoint.transcript.as_str(),
                checkpoint.note,
                at.0,
                seal(&run, &step, &checkpoint).finish(),
            ])?;
            Ok(())
        })
        .await
    }

    /// Where a step stands inside, if it has got anywhere.
    pub async fn checkpoint(&self, run: &PipelineId, step: &StepId) -> Result<Option<Checkpoint>> {
        let (run, step) = (run.clone(), step.clone());
        self.read(move |connection| find(connection, &run, &step)).await
    }
}

fn seal(run: &PipelineId, step: &StepId, checkpoint: &Checkpoint) -> Seal {
    Seal::of(TABLE, run.as_str())
        .text(step.as_str())
        .number(checkpoint.fence)
        .maybe(checkpoint.files.as_ref().map(CommitId::as_str))
        .text(checkpoint.transcript.as_str())
        .text(&checkpoint.note)
        .number(checkpoint.at.0)
}

fn find(connection: &rusqlite::Connection, run: &PipelineId, step: &StepId) -> Outcome<Option<Checkpoint>> {
    let sql =
        "SELECT fence, files, transcript, note, at, checksum FROM checkpoints WHERE run = ?1 AND step = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([run.as_str(), step.as_str()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let checkpoint = Checkpoint {
        fence: row.get(0)?,
        files: maybe_text(row, 1)?.map(CommitId::new),
        transcript: BlobId::new(text(row, 2)?),
        note: text(row, 3)?,
        at: Timestamp(row.get(4)?),
    };
    seal(run, step, &checkpoint).check(TABLE, &format!("{run} {step}"), &text(row, 5)?)?;
    Ok(Some(checkpoint))
}
