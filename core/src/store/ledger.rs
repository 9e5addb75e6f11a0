//! Money: reserve before a send, settle after it, each once, right in any order of crashes.
//!
//! One file for all editors of a person, and each reservation one transaction under its write
//! lock: several processes never spend more than the caps allow. A hold whose owner died becomes
//! spent and unconfirmed, never free money.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::Store;
use super::failure::Outcome;
use super::hold::{self, Entry};
use super::ledger_port::{
    BudgetRefusal, BudgetScope, Cap, Confirmation, Grant, Hold, Limits, Settlement, Usage,
};
use super::safety_log::{self, Promise};
use super::tally::{self, Key};
use crate::clock::Timestamp;
use crate::id::{AgentId, IntentId, OwnerId, PipelineId, RepositoryId, StepId};
use crate::money::Money;
use crate::{Error, Kind, Result};

pub use super::tally::Totals;

/// The money side of the store.
#[derive(Debug, Clone)]
pub struct Ledger {
    store: Store,
}

/// Whose day to sum up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DayScope {
    /// Everything of this user.
    User,
    /// One repository.
    Repository(RepositoryId),
    /// One provider.
    Provider(String),
}

/// What a step spent at one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepTotals {
    /// The step.
    pub step: StepId,
    /// The agent.
    pub agent: AgentId,
    /// The provider that was asked.
    pub provider: String,
    /// The model that was asked.
    pub model: String,
    /// What it came to.
    pub totals: Totals,
}

/// What to sum costs up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CostBy {
    /// Calendar day of the reservation.
    Day,
    /// Agent.
    Agent,
    /// Provider.
    Provider,
    /// Model.
    Model,
    /// Run; its id tells the task.
    Run,
    /// Repository.
    Repository,
}

/// One line of a cost report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CostRow {
    /// The day, agent, model, ….
    pub key: String,
    /// What it came to.
    pub totals: Totals,
}

/// A hold that its dead owner left behind, now spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forfeited {
    /// The send.
    pub intent: IntentId,
    /// The run that it belongs to.
    pub run: PipelineId,
    /// The step.
    pub step: StepId,
    /// What counts as spent.
    pub amount: Money,
}

impl Store {
    /// The money side of the store.
    pub fn ledger(&self) -> Ledger {
        Ledger { store: self.clone() }
    }
}

impl Limits for Ledger {
    fn reserve(&self, hold: Hold) -> BoxFuture<'_, Result<Grant>> {
        Box::pin(async move {
            refuse_negative("a reservation", hold.amount)?;
            self.store.writable()?;
            self.store.room()?;
            self.store
                .write(move |transaction| reserve(transaction, hold))
                .await
        })
    }

    fn settle<'a>(&'a self, intent: &'a IntentId, outcome: Settlement) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            refuse_negative("a settlement", outcome.cost)?;
            let intent = intent.clone();
            self.store
                .keep(move |transaction| settle(transaction, &intent, outcome))
                .await
        })
    }
}

impl Ledger {
    /// Settles the open holds of dead owners at their full amount, unconfirmed.
    pub async fn reconcile(
        &self,
        is_alive: impl Fn(&OwnerId) -> bool,
        at: Timestamp,
    ) -> Result<Vec<Forfeited>> {
        let owners = self.store.read(open_owners).await?;
        let dead: Vec<OwnerId> = owners.into_iter().filter(|owner| !is_alive(owner)).collect();
        if dead.is_empty() {
            return Ok(Vec::new());
        }
        let forfeited = self
            .store
            .write(move |transaction| forfeit(transaction, &dead, at))
            .await?;
        for hold in &forfeited {
            tracing::warn!(run = %hold.run, intent = %hold.intent, amount = %hold.amount, "a dead process left a paid call; it counts as spent");
        }
        Ok(forfeited)
    }

    /// What a run came to so far.
    pub async fn run_totals(&self, run: &PipelineId) -> Result<Totals> {
        let key = Key::run(run);
        self.store
            .read(move |connection| tally::load(connection, &key))
            .await
    }

    /// What a run came to, by step and model.
    pub async fn step_totals(&self, run: &PipelineId) -> Result<Vec<StepTotals>> {
        let run = run.clone();
        let entries = self
            .store
            .read(move |connection| hold::select(connection, "run = ?1", [run.as_str()]))
            .await?;
        let mut sums: Vec<StepTotals> = Vec::new();
        for entry in entries {
            let (totals, hold) = (entry.totals(), entry.hold);
            let known = sums.iter_mut().find(|sum| {
                sum.step == hold.step
                    && sum.agent == hold.agent
                    && sum.provider == hold.provider
                    && sum.model == hold.model
            });
            match known {
                Some(sum) => sum.totals = sum.totals.plus(totals),
                None => sums.push(StepTotals {
                    step: hold.step,
                    agent: hold.agent,
                    provider: hold.provider,
                    model: hold.model,
                    totals,
                }),
            }
        }
        Ok(sums)
    }

    /// What counts against a limit of this day, as [`Limits::reserve`] counts it.
    pub async fn day_totals(&self, day: &str, scope: &DayScope) -> Result<Totals> {
        let key = match scope {
            DayScope::User => Key::user(day),
            DayScope::Repository(repository) => Key::repository(repository.as_str(), day),
            DayScope::Provider(provider) => Key::provider(provider, day),
        };
        self.store
            .read(move |connection| tally::counted(connection, &key))
            .await
    }

    /// Costs from day to day (both included), summed up, in order of their keys.
    pub async fn costs(&self, by: CostBy, from: Option<&str>, to: Option<&str>) -> Result<Vec<CostRow>> {
        let (from, to) = (
            from.unwrap_or("").to_owned(),
            to.unwrap_or("9999-99-99").to_owned(),
        );
        let entries = self
            .store
            .read(move |connection| hold::select(connection, "day >= ?1 AND day <= ?2", [from, to]))
            .await?;
        let mut sums: BTreeMap<String, Totals> = BTreeMap::new();
        for entry in entries {
            let totals = entry.totals();
            let sum = sums.entry(by.key(entry.hold)).or_default();
            *sum = sum.plus(totals);
        }
        Ok(sums
            .into_iter()
            .map(|(key, totals)| CostRow { key, totals })
            .collect())
    }
}

impl CostBy {
    fn key(self, hold: Hold) -> String {
        match self {
            Self::Day => hold.day,
            Self::Agent => hold.agent.to_string(),
            Self::Provider => hold.provider,
            Self::Model => hold.model,
            Self::Run => hold.run.to_string(),
            Self::Repository => hold.repository.to_string(),
        }
    }
}

fn refuse_negative(what: &str, amount: Money) -> Result<()> {
    if amount >= Money::ZERO {
        Ok(())
    } else {
        Err(Error::internal(format!("{what} of a negative amount")))
    }
}

pub(super) fn reserve(transaction: &Connection, hold: Hold) -> Outcome<Grant> {
    if let Some(known) = hold::find(transaction, &hold.intent)? {
        return granted_before(&known, &hold).map_err(Into::into);
    }
    // What costs nothing needs no budget: the demo provider works on the last day's last cent.
    let caps = if hold.amount == Money::ZERO {
        &[]
    } else {
        hold.caps.as_slice()
    };
    for cap in caps {
        if let Some(refusal) = refusal(transaction, &hold, cap)? {
            return Ok(Grant::Refused(refusal));
        }
    }
    for key in Key::all_of(&hold) {
        tally::change(transaction, &key, |totals| {
            let reserved = totals.reserved.pico().checked_add(hold.amount.pico())?;
            Some(Totals {
                reserved: Money::from_pico(reserved),
                calls: totals.calls.saturating_add(1),
                ..totals
            })
        })?;
    }
    let entry = Entry {
        hold,
        settlement: None,
    };
    hold::insert(transaction, &entry)?;
    let hold = Box::new(entry.hold);
    safety_log::promise(transaction, &Promise::Reserved { hold })?;
    Ok(Grant::Granted)
}

fn granted_before(known: &Entry, asked: &Hold) -> Result<Grant> {
    let intent = &asked.intent;
    if known.settlement.is_some() {
        let message = format!("the call `{intent}` was made and settled before");
        return Err(Error::state("intentSettled", message).hint("another send needs an intent of its own"));
    }
    if known.is_same(asked) {
        return Ok(Grant::Granted);
    }
    Err(Error::state(
        "intentInUse",
        format!("the call `{intent}` is under way with other content"),
    ))
}

fn refusal(connection: &Connection, hold: &Hold, cap: &Cap) -> Outcome<Option<BudgetRefusal>> {
    let key = match &cap.scope {
        BudgetScope::Run => Key::run(&hold.run),
        BudgetScope::RepositoryDay => Key::repository(hold.repository.as_str(), &hold.day),
        BudgetScope::UserDay => Key::user(&hold.day),
        BudgetScope::ProviderDay(provider) => Key::provider(provider, &hold.day),
    };
    let Totals { cost, reserved, .. } = tally::counted(connection, &key)?;
    let sum = i128::from(cost.pico()) + i128::from(reserved.pico()) + i128::from(hold.amount.pico());
    Ok((sum > i128::from(cap.limit.pico())).then(|| BudgetRefusal {
        scope: cap.scope.clone(),
        limit: cap.limit,
        spent: cost,
        reserved,
        needed: hold.amount,
    }))
}

pub(super) fn settle(transaction: &Connection, intent: &IntentId, outcome: Settlement) -> Outcome<()> {
    let Some(entry) = hold::find(transaction, intent)? else {
        return Err(Error::new(
            Kind::Internal,
            "unknownIntent",
            format!("nothing was reserved for the call `{intent}`"),
        )
        .into());
    };
    if entry.settlement.is_some() {
        Ok(())
    } else {
        close(transaction, entry, outcome)
    }
}

/// Turns an open hold into spent money, in the row and in every sum.
fn close(transaction: &Connection, entry: Entry, outcome: Settlement) -> Outcome<()> {
    let held = entry.hold.amount;
    let closed = Entry {
        settlement: Some(outcome),
        ..entry
    };
    let spent = Totals {
        calls: 0,
        ..closed.totals()
    };
    for key in Key::all_of(&closed.hold) {
        tally::change(transaction, &key, |totals| {
            Some(
                Totals {
                    reserved: totals.reserved.minus(held),
                    ..totals
                }
                .plus(spent),
            )
        })?;
    }
    hold::settle(transaction, &closed)?;
    let intent = closed.hold.intent;
    safety_log::promise(
        transaction,
        &Promise::Settled {
            intent,
            settlement: outcome,
        },
    )
}

fn open_owners(connection: &Connection) -> Outcome<Vec<OwnerId>> {
    let mut statement =
        connection.prepare_cached("SELECT DISTINCT owner FROM holds WHERE settled_at IS NULL")?;
    let owners = statement.query_map([], |row| row.get::<_, String>(0))?;
    Ok(owners
        .map(|owner| owner.map(OwnerId::new))
        .collect::<rusqlite::Result<_>>()?)
}

fn forfeit(transaction: &Connection, dead: &[OwnerId], at: Timestamp) -> Outcome<Vec<Forfeited>> {
    let mut forfeited = Vec::new();
    for owner in dead {
        for entry in hold::select(transaction, "settled_at IS NULL AND owner = ?1", [owner.as_str()])? {
            let Hold {
                intent,
                run,
                step,
                amount,
                ..
            } = entry.hold.clone();
            let outcome = Settlement {
                cost: amount,
                usage: Usage::default(),
                confirmed: Confirmation::Unconfirmed,
                at,
            };
            close(transaction, entry, outcome)?;
            forfeited.push(Forfeited {
                intent,
                run,
                step,
                amount,
            });
        }
    }
    Ok(forfeited)
}
