//! Running sums of the holds by what has a limit. They change in the transaction that changes the
//! hold, so a reservation costs the same on a busy day as on a quiet one.

use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use super::checksum::{Seal, text};
use super::failure::Outcome;
use super::ledger_port::{Hold, Usage};
use crate::id::PipelineId;
use crate::money::Money;
use crate::{Error, Kind};

const TABLE: &str = "tallies";
const COLUMNS: &str = "cost, reserved, unconfirmed, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, calls, checksum, day";

/// What something came to so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Spent.
    pub cost: Money,
    /// Held for sends that are under way.
    pub reserved: Money,
    /// The part of `cost` that no provider confirmed.
    pub unconfirmed: Money,
    /// Tokens.
    pub usage: Usage,
    /// Physical sends, failed ones and those under way included.
    pub calls: u64,
}

impl Totals {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            cost: self.cost.plus(other.cost),
            reserved: self.reserved.plus(other.reserved),
            unconfirmed: self.unconfirmed.plus(other.unconfirmed),
            usage: add_usage(self.usage, other.usage),
            calls: self.calls.saturating_add(other.calls),
        }
    }
}

fn add_usage(one: Usage, other: Usage) -> Usage {
    Usage {
        input_tokens: one.input_tokens.saturating_add(other.input_tokens),
        output_tokens: one.output_tokens.saturating_add(other.output_tokens),
        cache_read_tokens: one.cache_read_tokens.saturating_add(other.cache_read_tokens),
        cache_write_tokens: one.cache_write_tokens.saturating_add(other.cache_write_tokens),
    }
}

/// Names a sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    scope: &'static str,
    of: String,
    /// Empty for a run, which may last longer than a day.
    day: String,
}

impl Key {
    pub(super) fn run(run: &PipelineId) -> Self {
        Self {
            scope: "run",
            of: run.to_string(),
            day: String::new(),
        }
    }

    pub(super) fn repository(repository: &str, day: &str) -> Self {
        Self {
            scope: "repository",
            of: repository.to_owned(),
            day: day.to_owned(),
        }
    }

    pub(super) fn user(day: &str) -> Self {
        Self {
            scope: "user",
            of: String::new(),
            day: day.to_owned(),
        }
    }

    pub(super) fn provider(provider: &str, day: &str) -> Self {
        Self {
            scope: "provider",
            of: provider.to_owned(),
            day: day.to_owned(),
        }
    }

    /// Every sum that a hold is part of.
    pub(super) fn all_of(hold: &Hold) -> [Self; 4] {
        [
            Self::run(&hold.run),
            Self::repository(hold.repository.as_str(), &hold.day),
            Self::user(&hold.day),
            Self::provider(&hold.provider, &hold.day),
        ]
    }

    fn seal(&self, totals: &Totals) -> Seal {
        let usage = totals.usage;
        Seal::of(TABLE, self.scope)
            .text(&self.of)
            .text(&self.day)
            .number(totals.cost.pico())
            .number(totals.reserved.pico())
            .number(totals.unconfirmed.pico())
            .number(stored(usage.input_tokens))
            .number(stored(usage.output_tokens))
            .number(stored(usage.cache_read_tokens))
            .number(stored(usage.cache_write_tokens))
            .number(stored(totals.calls))
    }

    fn read(&self, row: &Row<'_>) -> Outcome<Totals> {
        let totals = Totals {
            cost: Money::from_pico(row.get(0)?),
            reserved: Money::from_pico(row.get(1)?),
            unconfirmed: Money::from_pico(row.get(2)?),
            usage: Usage {
                input_tokens: count(row, 3)?,
                output_tokens: count(row, 4)?,
                cache_read_tokens: count(row, 5)?,
                cache_write_tokens: count(row, 6)?,
            },
            calls: count(row, 7)?,
        };
        let named = Self {
            day: text(row, 9)?,
            ..self.clone()
        };
        let shown = format!("{} {} {}", named.scope, named.of, named.day);
        named.seal(&totals).check(TABLE, &shown, &text(row, 8)?)?;
        Ok(totals)
    }
}

/// The sum as it stands.
pub(super) fn load(connection: &Connection, key: &Key) -> Outcome<Totals> {
    let sql = format!("SELECT {COLUMNS} FROM tallies WHERE scope = ?1 AND key = ?2 AND day = ?3");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![key.scope, key.of, key.day])?;
    rows.next()?.map_or(Ok(Totals::default()), |row| key.read(row))
}

/// What counts against a limit: the sum of that day and of any later one. Later ones exist only
/// after the clock went back, which must not open a budget again.
pub(super) fn counted(connection: &Connection, key: &Key) -> Outcome<Totals> {
    let sql = format!("SELECT {COLUMNS} FROM tallies WHERE scope = ?1 AND key = ?2 AND day >= ?3");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![key.scope, key.of, key.day])?;
    let mut sum = Totals::default();
    while let Some(row) = rows.next()? {
        sum = sum.plus(key.read(row)?);
    }
    Ok(sum)
}

/// Changes a sum.
pub(super) fn change(
    connection: &Connection,
    key: &Key,
    change: impl FnOnce(Totals) -> Option<Totals>,
) -> Outcome<()> {
    let totals = change(load(connection, key)?).ok_or_else(|| {
        Error::new(
            Kind::Budget,
            "ledgerOverflow",
            "more money is reserved than the ledger can count",
        )
        .hint("wait for open calls to end")
    })?;
    let sql = "INSERT INTO tallies (scope, key, day, cost, reserved, unconfirmed, input_tokens, output_tokens, \
               cache_read_tokens, cache_write_tokens, calls, checksum) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
               ON CONFLICT (scope, key, day) DO UPDATE SET cost = excluded.cost, reserved = excluded.reserved, \
               unconfirmed = excluded.unconfirmed, input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens, \
               cache_read_tokens = excluded.cache_read_tokens, cache_write_tokens = excluded.cache_write_tokens, \
               calls = excluded.calls, checksum = excluded.checksum";
    connection.prepare_cached(sql)?.execute(params![
        key.scope,
        key.of,
        key.day,
        totals.cost.pico(),
        totals.reserved.pico(),
        totals.unconfirmed.pico(),
        stored(totals.usage.input_tokens),
        stored(totals.usage.output_tokens),
        stored(totals.usage.cache_read_tokens),
        stored(totals.usage.cache_write_tokens),
        stored(totals.calls),
        key.seal(&totals).finish(),
    ])?;
    Ok(())
}

/// A counter as SQLite keeps it.
pub(super) fn stored(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A counter as it was kept.
pub(super) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}
