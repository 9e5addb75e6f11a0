//! Who did what, when: append-only, each record chained to the one before, so that a changed or
//! removed record shows.

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::checksum::{maybe_text, text};
use super::failure::{Outcome, damaged_row};
use super::safety_log::{self, Promise};
use super::{Store, limit_payload, page, runs};
use crate::Result;
use crate::clock::Timestamp;
use crate::id::PipelineId;

const TABLE: &str = "audit";

/// Something that somebody did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// When.
    pub at: Timestamp,
    /// In which run, if in one.
    pub run: Option<PipelineId>,
    /// Who: a person through a client, an agent, the router, the server itself.
    pub actor: String,
    /// What, as a stable word.
    pub action: String,
    /// Anything more, JSON.
    pub detail: String,
}

/// A record as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditRow {
    /// Grows from record to record; where the next page begins.
    pub id: i64,
    /// The record.
    #[serde(flatten)]
    pub record: AuditRecord,
}

impl Store {
    /// Appends a record.
    pub async fn audit(&self, record: AuditRecord) -> Result<()> {
        limit_payload("an audit record", &record.detail)?;
        self.keep(move |transaction| append(transaction, record)).await
    }

    /// Records of one run or of all, after the record `after`, oldest first. Each is checked
    /// against the record before it.
    pub async fn audit_records(
        &self,
        run: Option<PipelineId>,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<AuditRow>> {
        self.read(move |connection| list(connection, run.as_ref(), after.unwrap_or(0), limit))
            .await
    }
}

/// Appends a record and promises it.
pub(super) fn append(transaction: &Connection, record: AuditRecord) -> Outcome<()> {
    let before = transaction
        .prepare_cached("SELECT chain FROM audit ORDER BY id DESC LIMIT 1")?
        .query_row([], |row| text(row, 0));
    let chain = link(&runs::optional(before)?.unwrap_or_default(), &record);
    let sql = "INSERT INTO audit (at, run, actor, action, detail, chain) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    transaction.prepare_cached(sql)?.execute(params![
        record.at.0,
        record.run.as_ref().map(PipelineId::as_str),
        record.actor,
        record.action,
        record.detail,
        chain
    ])?;
    safety_log::promise(transaction, &Promise::Audited { record })
}

/// Whether this very record is there.
pub(super) fn holds(connection: &Connection, record: &AuditRecord) -> Outcome<bool> {
    let sql =
        "SELECT 1 FROM audit WHERE at = ?1 AND run IS ?2 AND actor = ?3 AND action = ?4 AND detail = ?5";
    let run = record.run.as_ref().map(PipelineId::as_str);
    Ok(connection.prepare_cached(sql)?.exists(params![
        record.at.0,
        run,
        record.actor,
        record.action,
        record.detail
    ])?)
}

fn link(before: &str, record: &AuditRecord) -> String {
    let mut hasher = blake3::Hasher::new();
    let run = record.run.as_ref().map_or("", PipelineId::as_str);
    for field in [
        before,
        &record.at.0.to_string(),
        run,
        &record.actor,
        &record.action,
        &record.detail,
    ] {
        hasher.update(&(field.len() as u64).to_le_bytes());
        hasher.update(field.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

fn list(
    connection: &Connection,
    run: Option<&PipelineId>,
    after: i64,
    limit: usize,
) -> Outcome<Vec<AuditRow>> {
    let condition = if run.is_some() { "run = ?1" } else { "?1 IS NULL" };
    let sql = format!(
        "SELECT id, at, run, actor, action, detail, chain, \
         (SELECT earlier.chain FROM audit AS earlier WHERE earlier.id < audit.id ORDER BY earlier.id DESC LIMIT 1) \
         FROM audit WHERE {condition} AND id > ?2 ORDER BY id LIMIT ?3"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![run.map(PipelineId::as_str), after, page(limit)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let record = AuditRecord {
            at: Timestamp(row.get(1)?),
            run: maybe_text(row, 2)?.map(PipelineId::new),
            actor: text(row, 3)?,
            action: text(row, 4)?,
            detail: text(row, 5)?,
        };
        let id: i64 = row.get(0)?;
        if link(&maybe_text(row, 7)?.unwrap_or_default(), &record) != text(row, 6)? {
            return Err(damaged_row(TABLE, &id.to_string()).into());
        }
        found.push(AuditRow { id, record });
    }
    Ok(found)
}
