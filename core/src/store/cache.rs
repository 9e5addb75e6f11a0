//! The step cache: results that may stand for those of later steps, by the hash of what was asked.
//!
//! Losing an entry costs money, never work: a damaged one counts as missing.

use rusqlite::{Connection, Row, params};

use super::checksum::{Seal, text};
use super::failure::Outcome;
use super::{Store, Swept, runs};
use crate::Result;
use crate::clock::Timestamp;
use crate::id::{PipelineId, RepositoryId, StepId, StepKey};
use crate::money::Money;

const TABLE: &str = "step_cache";
const COLUMNS: &str =
    "repository, lineage, key, variant, run, step, grounds, answer, cost, used_at, checksum";
/// Most entries under one key that are looked at, the newest first.
const FOUND_MAX: i64 = 8;
/// Larger results are not kept.
pub const CACHE_ENTRY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A result of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheEntry {
    /// In which repository.
    pub repository: RepositoryId,
    /// Whose: one run, or every run of a task that its caller named.
    pub lineage: String,
    /// All that was asked, by its hash.
    pub key: StepKey,
    /// Tells apart what the same question led to on other files.
    pub variant: String,
    /// The run that paid for it.
    pub run: PipelineId,
    /// The step of that run.
    pub step: StepId,
    /// Under what it holds; JSON.
    pub grounds: String,
    /// What was answered; JSON.
    pub answer: String,
    /// What it cost.
    pub cost: Money,
    /// When it was made, or last stood for another one.
    pub used_at: Timestamp,
}

/// Whose results are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheScope {
    /// Those of this lineage.
    Lineage(String),
    /// Those of the whole repository.
    Repository,
}

/// What stays when the cache is trimmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheTrim {
    /// Most bytes of all entries together; the least recently used go first.
    pub bytes_max: u64,
    /// What was last used before this goes.
    pub unused_since: Timestamp,
}

impl CacheEntry {
    fn bytes(&self) -> i64 {
        let texts = [&self.grounds, &self.answer, &self.variant];
        let sum = texts.iter().map(|text| text.len()).sum::<usize>();
        i64::try_from(sum).unwrap_or(i64::MAX)
    }

    fn seal(&self) -> Seal {
        Seal::of(TABLE, self.key.as_str())
            .text(self.repository.as_str())
            .text(&self.lineage)
            .text(&self.variant)
            .text(self.run.as_str())
            .text(self.step.as_str())
            .text(&self.grounds)
            .text(&self.answer)
            .number(self.cost.pico())
            .number(self.bytes())
    }
}

impl Store {
    /// Keeps a result under the fence of its run; one of the same key and variant is replaced. Too large
    /// a one is not kept.
    pub async fn cache_put(&self, entry: CacheEntry, fence: i64) -> Result<()> {
        if entry.grounds.len() + entry.answer.len() > CACHE_ENTRY_BYTES_MAX {
            tracing::debug!(step = %entry.step, "a result is too large for the step cache");
            return Ok(());
        }
        self.write(move |transaction| {
            runs::must_be_fenced(transaction, &entry.run, fence)?;
            put(transaction, &entry)
        })
        .await
    }

    /// The results under a key, the newest first.
    pub async fn cache_find(
        &self,
        repository: &RepositoryId,
        key: &StepKey,
        scope: CacheScope,
    ) -> Result<Vec<CacheEntry>> {
        let (repository, key) = (repository.clone(), key.clone());
        self.read(move |connection| find(connection, &repository, &key, &scope))
            .await
    }

    /// Notes that a result stood for another one: what is used stays longest.
    pub async fn cache_touch(&self, entry: &CacheEntry, at: Timestamp) -> Result<()> {
        let used = entry.clone();
        self.write(move |transaction| {
            let sql = "UPDATE step_cache SET used_at = ?5 WHERE repository = ?1 AND lineage = ?2 AND key = ?3 AND variant = ?4";
            transaction.prepare_cached(sql)?.execute(params![
                used.repository.as_str(),
                used.lineage,
                used.key.as_str(),
                used.variant,
                at.0,
            ])?;
            Ok(())
        })
        .await
    }

    /// Removes every result under these keys, whoever made it: it is made anew. What is rejected goes with the
    /// transition that rejects it.
    pub async fn cache_forget(&self, repository: &RepositoryId, keys: Vec<StepKey>) -> Result<()> {
        let repository = repository.clone();
        self.write(move |transaction| forget(transaction, &repository, &keys))
            .await
    }

    /// Removes everything.
    pub async fn cache_clear(&self) -> Result<Swept> {
        self.write(|transaction| {
            let mut statement = transaction.prepare_cached("DELETE FROM step_cache RETURNING bytes")?;
            count(statement.query_map([], |row| row.get(0))?)
        })
        .await
    }

    /// Removes what was not used for long, and then the least recently used until the rest fits.
    pub async fn cache_trim(&self, keep: CacheTrim) -> Result<Swept> {
        self.write(move |transaction| {
            let sql = "DELETE FROM step_cache WHERE used_at < ?1 OR ordinal IN ( \
                           SELECT ordinal FROM ( \
                               SELECT ordinal, sum(bytes) OVER (ORDER BY used_at DESC, ordinal DESC) AS so_far \
                               FROM step_cache WHERE used_at >= ?1) \
                           WHERE so_far > ?2) \
                       RETURNING bytes";
            let bytes_max = i64::try_from(keep.bytes_max).unwrap_or(i64::MAX);
            let mut statement = transaction.prepare_cached(sql)?;
            count(statement.query_map(params![keep.unused_since.0, bytes_max], |row| row.get(0))?)
        })
        .await
    }
}

/// Removes every result under these keys.
pub(super) fn forget(transaction: &Connection, repository: &RepositoryId, keys: &[StepKey]) -> Outcome<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let mut statement =
        transaction.prepare_cached("DELETE FROM step_cache WHERE repository = ?1 AND key = ?2")?;
    for key in keys {
        statement.execute([repository.as_str(), key.as_str()])?;
    }
    Ok(())
}

fn count(removed: impl Iterator<Item = rusqlite::Result<i64>>) -> Outcome<Swept> {
    let mut swept = Swept::default();
    for bytes in removed {
        swept.removed += 1;
        swept.bytes += bytes?.unsigned_abs();
    }
    Ok(swept)
}

fn put(transaction: &Connection, entry: &CacheEntry) -> Outcome<()> {
    let sql = format!(
        "INSERT OR REPLACE INTO step_cache ({COLUMNS}, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
    );
    transaction.prepare_cached(&sql)?.execute(params![
        entry.repository.as_str(),
        entry.lineage,
        entry.key.as_str(),
        entry.variant,
        entry.run.as_str(),
        entry.step.as_str(),
        entry.grounds,
        entry.answer,
        entry.cost.pico(),
        entry.used_at.0,
        entry.seal().finish(),
        entry.bytes(),
    ])?;
    Ok(())
}

fn find(
    connection: &Connection,
    repository: &RepositoryId,
    key: &StepKey,
    scope: &CacheScope,
) -> Outcome<Vec<CacheEntry>> {
    let lineage = match scope {
        CacheScope::Lineage(lineage) => Some(lineage.as_str()),
        CacheScope::Repository => None,
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM step_cache WHERE repository = ?1 AND key = ?2 AND (?3 IS NULL OR lineage = ?3) \
         ORDER BY ordinal DESC LIMIT ?4"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![repository.as_str(), key.as_str(), lineage, FOUND_MAX])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (entry, checksum) = read(row)?;
        if entry.seal().finish() == checksum {
            found.push(entry);
        } else {
            tracing::warn!(%key, "a damaged entry of the step cache is passed over");
        }
    }
    Ok(found)
}

fn read(row: &Row<'_>) -> rusqlite::Result<(CacheEntry, String)> {
    let entry = CacheEntry {
        repository: RepositoryId::new(text(row, 0)?),
        lineage: text(row, 1)?,
        key: StepKey::new(text(row, 2)?),
        variant: text(row, 3)?,
        run: PipelineId::new(text(row, 4)?),
        step: StepId::new(text(row, 5)?),
        grounds: text(row, 6)?,
        answer: text(row, 7)?,
        cost: Money::from_pico(row.get(8)?),
        used_at: Timestamp(row.get(9)?),
    };
    Ok((entry, text(row, 10)?))
}
