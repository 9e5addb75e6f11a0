//! Rows of the ledger: one physical send each, from its reservation to its settlement.

use rusqlite::{Connection, Params, Row, params};

use super::checksum::{Seal, text};
use super::failure::Outcome;
use super::ledger_port::{Confirmation, Hold, Settlement, Usage};
use super::tally::{Totals, count, stored};
use crate::clock::Timestamp;
use crate::id::{AgentId, IntentId, OwnerId, PipelineId, RepositoryId, StepId};
use crate::money::Money;

const TABLE: &str = "holds";
const COLUMNS: &str = "intent, run, step, agent, provider, model, repository, owner, day, amount, reserved_at, settled_at, cost, \
                       confirmed, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, checksum";

/// A hold and what came of it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// As it was reserved (without its caps, which are not kept).
    pub(super) hold: Hold,
    /// What it came to; nothing while the send is under way.
    pub(super) settlement: Option<Settlement>,
}

impl Entry {
    /// Whether this is the hold that is asked for again. The moment may differ.
    pub(super) fn is_same(&self, asked: &Hold) -> bool {
        let kept = &self.hold;
        kept.run == asked.run
            && kept.step == asked.step
            && kept.agent == asked.agent
            && kept.provider == asked.provider
            && kept.model == asked.model
            && kept.repository == asked.repository
            && kept.owner == asked.owner
            && kept.amount == asked.amount
    }

    /// What it adds to every sum that it is part of.
    pub(super) fn totals(&self) -> Totals {
        let Some(settlement) = &self.settlement else {
            return Totals {
                reserved: self.hold.amount,
                calls: 1,
                ..Totals::default()
            };
        };
        let unconfirmed = if is_confirmed(settlement) {
            Money::ZERO
        } else {
            settlement.cost
        };
        Totals {
            cost: settlement.cost,
            reserved: Money::ZERO,
            unconfirmed,
            usage: settlement.usage,
            calls: 1,
        }
    }

    fn seal(&self) -> Seal {
        let (hold, settlement) = (&self.hold, Stored::of(self.settlement.as_ref()));
        Seal::of(TABLE, hold.intent.as_str())
            .text(hold.run.as_str())
            .text(hold.step.as_str())
            .text(hold.agent.as_str())
            .text(&hold.provider)
            .text(&hold.model)
            .text(hold.repository.as_str())
            .text(hold.owner.as_str())
            .text(&hold.day)
            .number(hold.amount.pico())
            .number(hold.at.0)
            .number(i64::from(settlement.at.is_some()))
            .number(settlement.at.unwrap_or(0))
            .number(settlement.cost)
            .number(i64::from(settlement.confirmed))
            .number(settlement.tokens[0])
            .number(settlement.tokens[1])
            .number(settlement.tokens[2])
            .number(settlement.tokens[3])
    }

    fn read(row: &Row<'_>) -> Outcome<Self> {
        let hold = Hold {
            intent: IntentId::new(text(row, 0)?),
            run: PipelineId::new(text(row, 1)?),
            step: StepId::new(text(row, 2)?),
            agent: AgentId::new(text(row, 3)?),
            provider: text(row, 4)?,
            model: text(row, 5)?,
            repository: RepositoryId::new(text(row, 6)?),
            owner: OwnerId::new(text(row, 7)?),
            day: text(row, 8)?,
            amount: Money::from_pico(row.get(9)?),
            caps: Vec::new(),
            at: Timestamp(row.get(10)?),
        };
        let settlement = match row.get::<_, Option<i64>>(11)? {
            None => None,
            Some(at) => Some(Settlement {
                cost: Money::from_pico(row.get(12)?),
                confirmed: if row.get(13)? {
                    Confirmation::Confirmed
                } else {
                    Confirmation::Unconfirmed
                },
                usage: Usage {
                    input_tokens: count(row, 14)?,
                    output_tokens: count(row, 15)?,
                    cache_read_tokens: count(row, 16)?,
                    cache_write_tokens: count(row, 17)?,
                },
                at: Timestamp(at),
            }),
        };
        let entry = Self { hold, settlement };
        entry
            .seal()
            .check(TABLE, entry.hold.intent.as_str(), &text(row, 18)?)?;
        Ok(entry)
    }
}

/// A settlement as the row keeps it.
struct Stored {
    at: Option<i64>,
    cost: i64,
    confirmed: bool,
    tokens: [i64; 4],
}

impl Stored {
    fn of(settlement: Option<&Settlement>) -> Self {
        let Some(settlement) = settlement else {
            return Self {
                at: None,
                cost: 0,
                confirmed: false,
                tokens: [0; 4],
            };
        };
        let usage = settlement.usage;
        let tokens = [
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_read_tokens,
            usage.cache_write_tokens,
        ]
        .map(stored);
        Self {
            at: Some(settlement.at.0),
            cost: settlement.cost.pico(),
            confirmed: is_confirmed(settlement),
            tokens,
        }
    }
}

fn is_confirmed(settlement: &Settlement) -> bool {
    matches!(settlement.confirmed, Confirmation::Confirmed)
}

/// The entries that a condition names, in order of their reservation.
pub(super) fn select(connection: &Connection, condition: &str, values: impl Params) -> Outcome<Vec<Entry>> {
    let sql = format!("SELECT {COLUMNS} FROM holds WHERE {condition} ORDER BY rowid");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(Entry::read(row)?);
    }
    Ok(found)
}

/// The entry of an intent.
pub(super) fn find(connection: &Connection, intent: &IntentId) -> Outcome<Option<Entry>> {
    Ok(select(connection, "intent = ?1", [intent.as_str()])?.pop())
}

/// Writes an open hold down.
pub(super) fn insert(connection: &Connection, entry: &Entry) -> Outcome<()> {
    let sql = format!(
        "INSERT INTO holds ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, NULL, 0, 0, 0, 0, 0, 0, ?12)"
    );
    let hold = &entry.hold;
    connection.prepare_cached(&sql)?.execute(params![
        hold.intent.as_str(),
        hold.run.as_str(),
        hold.step.as_str(),
        hold.agent.as_str(),
        hold.provider,
        hold.model,
        hold.repository.as_str(),
        hold.owner.as_str(),
        hold.day,
        hold.amount.pico(),
        hold.at.0,
        entry.seal().finish(),
    ])?;
    Ok(())
}

/// Writes the settlement of an entry down.
pub(super) fn settle(connection: &Connection, entry: &Entry) -> Outcome<()> {
    let stored = Stored::of(entry.settlement.as_ref());
    let sql = "UPDATE holds SET settled_at = ?2, cost = ?3, confirmed = ?4, input_tokens = ?5, output_tokens = ?6, \
               cache_read_tokens = ?7, cache_write_tokens = ?8, checksum = ?9 WHERE intent = ?1";
    connection.prepare_cached(sql)?.execute(params![
        entry.hold.intent.as_str(),
        stored.at,
        stored.cost,
        stored.confirmed,
        stored.tokens[0],
        stored.tokens[1],
        stored.tokens[2],
        stored.tokens[3],
        entry.seal().finish(),
    ])?;
    Ok(())
}
