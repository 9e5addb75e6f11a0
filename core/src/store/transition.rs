//! One step of a run: fence, state, journal, events and consumed signals in one transaction.

use rusqlite::{Connection, params};

use super::checksum::{Seal, text};
use super::failure::Outcome;
use super::run::{Committed, Finished, JournalRow, Transition};
use super::{Store, audit, blob, cache, event, limit_payload, page, runs, signal};
use crate::Result;
use crate::clock::Timestamp;
use crate::id::PipelineId;

const TABLE: &str = "journal";

impl Store {
    /// Stores a transition whole or not at all. Error `fenced` when the run was taken over.
    pub async fn commit(&self, transition: Transition) -> Result<Committed> {
        self.commit_after(transition, None).await
    }

    /// As [`Store::commit`], for another try after one whose answer got lost: `known` is the newest
    /// entry of the journal before the first. If there is a newer one the transition is in the
    /// store, and its numbers are the answer.
    pub async fn commit_after(&self, mut transition: Transition, known: Option<i64>) -> Result<Committed> {
        limit_payload("the state of a run", &transition.state)?;
        limit_payload("a journal entry", &transition.journal)?;
        event::limit_events(&transition.events)?;
        if let Some(record) = &transition.audit {
            limit_payload("an audit record", &record.detail)?;
        }
        let blobs = self.prepare_blobs(std::mem::take(&mut transition.blobs)).await?;
        self.write(move |transaction| {
            let mut run = runs::fenced(transaction, &transition.run, transition.fence)?;
            if let Some(known) = known {
                let entry = last_entry(transaction, &run.id)?;
                if entry > known {
                    let seqs = event::last(transaction, &run.id, transition.events.len())?;
                    return Ok(Committed { seqs, entry });
                }
            }
            blob::insert(transaction, &blobs)?;
            let revived = run.finished && transition.finished == Finished::No;
            if revived && run.explicit && !run.force {
                runs::alive_with(transaction, &run.repository, &run.task_id, None, Some(&run.id))?;
            }
            (run.finished, run.reuse) = match &transition.finished {
                Finished::No => (false, String::new()),
                Finished::Yes { reuse } => (true, reuse.clone()),
            };
            run.state = transition.state;
            run.status = transition.status;
            run.updated_at = transition.at;
            runs::update(transaction, &run)?;
            let entry = append(
                transaction,
                &run.id,
                transition.fence,
                transition.at,
                &transition.journal,
            )?;
            for (id, outcome) in &transition.consumed {
                signal::consume(transaction, &run.id, *id, outcome)?;
            }
            let seqs = event::append(transaction, &run.id, transition.at, &transition.events)?;
            if let Some(record) = transition.audit {
                audit::append(transaction, record)?;
            }
            cache::forget(transaction, &run.repository, &transition.rejected)?;
            Ok(Committed { seqs, entry })
        })
        .await
    }

    /// The newest entry of a run's journal; 0 without one.
    pub async fn last_entry(&self, run: &PipelineId) -> Result<i64> {
        let run = run.clone();
        self.read(move |connection| last_entry(connection, &run)).await
    }

    /// What was fed to a run's machine after the entry `after`, oldest first.
    pub async fn journal(&self, run: &PipelineId, after: i64, limit: usize) -> Result<Vec<JournalRow>> {
        let run = run.clone();
        self.read(move |connection| list(connection, &run, after, limit))
            .await
    }
}

fn seal(run: &PipelineId, fence: i64, at: Timestamp, body: &str) -> Seal {
    Seal::of(TABLE, run.as_str())
        .number(fence)
        .number(at.0)
        .text(body)
}

fn last_entry(connection: &Connection, run: &PipelineId) -> Outcome<i64> {
    let sql = "SELECT coalesce(max(ordinal), 0) FROM journal WHERE run = ?1";
    Ok(connection
        .prepare_cached(sql)?
        .query_row([run.as_str()], |row| row.get(0))?)
}

fn append(connection: &Connection, run: &PipelineId, fence: i64, at: Timestamp, body: &str) -> Outcome<i64> {
    let sql = "INSERT INTO journal (run, fence, at, body, checksum) VALUES (?1, ?2, ?3, ?4, ?5)";
    let checksum = seal(run, fence, at, body).finish();
    connection
        .prepare_cached(sql)?
        .execute(params![run.as_str(), fence, at.0, body, checksum])?;
    #[cfg(debug_assertions)]
    super::failpoint::journal_written();
    Ok(connection.last_insert_rowid())
}

fn list(connection: &Connection, run: &PipelineId, after: i64, limit: usize) -> Outcome<Vec<JournalRow>> {
    let sql = "SELECT ordinal, fence, at, body, checksum FROM journal WHERE run = ?1 AND ordinal > ?2 ORDER BY ordinal LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![run.as_str(), after, page(limit)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let entry = JournalRow {
            ordinal: row.get(0)?,
            fence: row.get(1)?,
            at: Timestamp(row.get(2)?),
            body: text(row, 3)?,
        };
        seal(run, entry.fence, entry.at, &entry.body).check(
            TABLE,
            &format!("{run} {}", entry.ordinal),
            &text(row, 4)?,
        )?;
        found.push(entry);
    }
    Ok(found)
}
