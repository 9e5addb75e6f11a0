//! Durable messages to the owner of a run: an approval from another editor reaches it even if the
//! owner is another process, or nobody yet.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use super::checksum::{Seal, maybe_text, text};
use super::failure::Outcome;
use super::{Store, limit_payload, runs};
use crate::clock::Timestamp;
use crate::id::PipelineId;
use crate::{Error, Result};

const TABLE: &str = "signals";
const COLUMNS: &str = "id, run, dedup, at, payload, outcome, checksum";

/// Names a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SignalId(pub i64);

/// A signal that nobody has consumed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalRow {
    /// Its name; grows from signal to signal.
    pub id: SignalId,
    /// What it says, JSON.
    pub payload: String,
    /// When it was sent.
    pub at: Timestamp,
}

impl Store {
    /// Leaves a message for the owner of a run. The same `dedup` on the same run is the same
    /// signal: the first payload stays, and its id is the answer.
    pub async fn send_signal(
        &self,
        run: &PipelineId,
        dedup: &str,
        payload: String,
        at: Timestamp,
    ) -> Result<SignalId> {
        limit_payload("a signal", &payload)?;
        let (run, dedup) = (run.clone(), dedup.to_owned());
        self.keep(move |transaction| {
            runs::must_exist(transaction, &run)?;
            let known = transaction
                .prepare_cached("SELECT id FROM signals WHERE run = ?1 AND dedup = ?2")?
                .query_row([run.as_str(), &dedup], |row| row.get(0));
            if let Some(id) = runs::optional(known)? {
                return Ok(SignalId(id));
            }
            let signal = Signal {
                id: SignalId(0),
                run,
                dedup,
                at,
                payload,
                outcome: None,
            };
            let sql = "INSERT INTO signals (run, dedup, at, payload, checksum) VALUES (?1, ?2, ?3, ?4, ?5)";
            transaction.prepare_cached(sql)?.execute(params![
                signal.run.as_str(),
                signal.dedup,
                at.0,
                signal.payload,
                signal.seal().finish()
            ])?;
            Ok(SignalId(transaction.last_insert_rowid()))
        })
        .await
    }

    /// The signals of a run that wait, oldest first. Error `fenced` when the run was taken over.
    pub async fn pending_signals(&self, run: &PipelineId, fence: i64) -> Result<Vec<SignalRow>> {
        let run = run.clone();
        self.read(move |connection| {
            let sql = format!(
                "SELECT {COLUMNS}, fence FROM (SELECT id AS of, fence FROM runs WHERE id = ?1) \
                 LEFT JOIN signals ON run = of AND outcome IS NULL ORDER BY id"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([run.as_str()])?;
            let (mut found, mut present) = (Vec::new(), None);
            while let Some(row) = rows.next()? {
                present = Some(row.get(7)?);
                if row.get_ref(0)? == ValueRef::Null {
                    continue;
                }
                let signal = Signal::read(row)?;
                found.push(SignalRow {
                    id: signal.id,
                    payload: signal.payload,
                    at: signal.at,
                });
            }
            runs::must_be_present(&run, present, fence)?;
            Ok(found)
        })
        .await
    }

    /// What came of a signal; nothing while it waits. Unknown ids (also those of deleted runs)
    /// are an error.
    pub async fn signal_outcome(&self, id: SignalId) -> Result<Option<String>> {
        self.read(move |connection| Ok(find(connection, id)?.outcome))
            .await
    }
}

struct Signal {
    id: SignalId,
    run: PipelineId,
    dedup: String,
    at: Timestamp,
    payload: String,
    outcome: Option<String>,
}

impl Signal {
    fn seal(&self) -> Seal {
        Seal::of(TABLE, self.run.as_str())
            .text(&self.dedup)
            .number(self.at.0)
            .text(&self.payload)
            .maybe(self.outcome.as_deref())
    }

    fn read(row: &Row<'_>) -> Outcome<Self> {
        let signal = Self {
            id: SignalId(row.get(0)?),
            run: PipelineId::new(text(row, 1)?),
            dedup: text(row, 2)?,
            at: Timestamp(row.get(3)?),
            payload: text(row, 4)?,
            outcome: maybe_text(row, 5)?,
        };
        signal
            .seal()
            .check(TABLE, &signal.id.0.to_string(), &text(row, 6)?)?;
        Ok(signal)
    }
}

fn find(connection: &Connection, id: SignalId) -> Outcome<Signal> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM signals WHERE id = ?1"))?;
    let mut rows = statement.query([id.0])?;
    match rows.next()? {
        Some(row) => Signal::read(row),
        None => Err(Error::state("unknownSignal", format!("there is no signal {}", id.0)).into()),
    }
}

/// All signals of a run, oldest first.
#[cfg(test)]
pub(super) fn all(connection: &Connection, run: &PipelineId) -> Outcome<Vec<(String, Option<String>)>> {
    let sql = format!("SELECT {COLUMNS} FROM signals WHERE run = ?1 ORDER BY id");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([run.as_str()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let signal = Signal::read(row)?;
        found.push((signal.payload, signal.outcome));
    }
    Ok(found)
}

/// Marks a signal of this run as consumed. What came of it first stays.
pub(super) fn consume(connection: &Connection, run: &PipelineId, id: SignalId, outcome: &str) -> Outcome<()> {
    limit_payload("the outcome of a signal", outcome)?;
    let mut signal = find(connection, id)?;
    if &signal.run != run {
        return Err(Error::internal(format!(
            "signal {} is of pipeline `{}`, not of `{run}`",
            id.0, signal.run
        ))
        .into());
    }
    if signal.outcome.is_some() {
        return Ok(());
    }
    signal.outcome = Some(outcome.to_owned());
    connection
        .prepare_cached("UPDATE signals SET outcome = ?2, checksum = ?3 WHERE id = ?1")?
        .execute(params![id.0, outcome, signal.seal().finish()])?;
    Ok(())
}
