//! Events for clients: numbered per run from 1 without gaps, kept until the run is deleted.

use rusqlite::{Connection, params};

use super::checksum::{Seal, text};
use super::failure::Outcome;
use super::{Store, limit_payload, page};
use crate::Result;
use crate::clock::Timestamp;
use crate::id::PipelineId;

const TABLE: &str = "events";

/// An event as it was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// Its number in the run.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// The event, JSON.
    pub body: String,
}

impl Store {
    /// The events of a run after `after_seq`, oldest first.
    pub async fn events(&self, run: &PipelineId, after_seq: u64, limit: usize) -> Result<Vec<EventRow>> {
        let run = run.clone();
        self.read(move |connection| list(connection, &run, after_seq, limit))
            .await
    }

    /// The number of a run's newest event; 0 without one.
    pub async fn last_event(&self, run: &PipelineId) -> Result<u64> {
        let run = run.clone();
        self.read(move |connection| newest(connection, &run)).await
    }
}

/// Refuses events that are too large to be meant.
pub(super) fn limit_events(events: &[String]) -> Result<()> {
    events.iter().try_for_each(|body| limit_payload("an event", body))
}

/// Appends events and says which numbers they got.
pub(super) fn append(
    connection: &Connection,
    run: &PipelineId,
    at: Timestamp,
    bodies: &[String],
) -> Outcome<Vec<u64>> {
    if bodies.is_empty() {
        return Ok(Vec::new());
    }
    let last = i64::try_from(newest(connection, run)?).unwrap_or(i64::MAX);
    let mut insert = connection
        .prepare_cached("INSERT INTO events (run, seq, at, body, checksum) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    let mut seqs = Vec::with_capacity(bodies.len());
    for (seq, body) in (last + 1..).zip(bodies) {
        insert.execute(params![
            run.as_str(),
            seq,
            at.0,
            body,
            seal(run, seq, at, body).finish()
        ])?;
        seqs.push(seq.unsigned_abs());
    }
    Ok(seqs)
}

/// The numbers of the newest `count` events of a run, oldest first.
pub(super) fn last(connection: &Connection, run: &PipelineId, count: usize) -> Outcome<Vec<u64>> {
    let last = newest(connection, run)?;
    let first = last.saturating_sub(count as u64) + 1;
    Ok((first..=last).collect())
}

fn newest(connection: &Connection, run: &PipelineId) -> Outcome<u64> {
    let newest: i64 = connection
        .prepare_cached("SELECT coalesce(max(seq), 0) FROM events WHERE run = ?1")?
        .query_row([run.as_str()], |row| row.get(0))?;
    Ok(newest.unsigned_abs())
}

fn seal(run: &PipelineId, seq: i64, at: Timestamp, body: &str) -> Seal {
    Seal::of(TABLE, run.as_str()).number(seq).number(at.0).text(body)
}

fn list(connection: &Connection, run: &PipelineId, after_seq: u64, limit: usize) -> Outcome<Vec<EventRow>> {
    let sql = "SELECT seq, at, body, checksum FROM events WHERE run = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let after = i64::try_from(after_seq).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![run.as_str(), after, page(limit)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        let event = EventRow {
            seq: seq.unsigned_abs(),
            at: Timestamp(row.get(1)?),
            body: text(row, 2)?,
        };
        seal(run, seq, event.at, &event.body).check(TABLE, &format!("{run} {seq}"), &text(row, 3)?)?;
        found.push(event);
    }
    Ok(found)
}
