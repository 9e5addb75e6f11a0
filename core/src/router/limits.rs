//! The port to the money: reserve before a send, settle right after, each idempotent by its intent.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::Result;
use crate::id::{AgentId, IntentId, OwnerId, PipelineId, RepositoryId, StepId};
use crate::money::Money;
use crate::provider::Usage;

/// Keeps what is spent and what is held, for all processes of the user.
///
/// An implementation checks all caps of a hold and records it in one step. A hold of no money is
/// always granted, and recorded. A refused hold leaves no trace: the same intent may come again
/// with a smaller amount. A granted intent that comes again is granted again and counted once.
pub trait Limits: Send + Sync + std::fmt::Debug {
    /// Holds the amount, or says which cap it would pass. Idempotent by `hold.intent`.
    fn reserve(&self, hold: Hold) -> BoxFuture<'_, Result<Grant>>;

    /// Replaces the hold by what it came to. Idempotent: the first settlement stands.
    fn settle<'a>(&'a self, intent: &'a IntentId, outcome: Settlement) -> BoxFuture<'a, Result<()>>;
}

/// The most that one physical send may cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// `<run>/<step>/<attempt>/<ordinal>/<send>`
    pub intent: IntentId,
    /// The run that pays.
    pub run: PipelineId,
    /// Its step.
    pub step: StepId,
    /// The agent that asks.
    pub agent: AgentId,
    /// The provider that is asked.
    pub provider: String,
    /// The model that is asked.
    pub model: String,
    /// The repository that the run works on.
    pub repository: RepositoryId,
    /// The process that sends.
    pub owner: OwnerId,
    /// The most that it may cost.
    pub amount: Money,
    /// What it must fit into.
    pub caps: Vec<Cap>,
    /// The calendar day that it belongs to, as `2026-11-24`.
    pub day: String,
    /// When it was asked for.
    pub at: Timestamp,
}

/// A limit on the money of a scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cap {
    /// What is counted.
    pub scope: BudgetScope,
    /// The most that may be spent and held in it.
    pub limit: Money,
}

/// What a limit counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BudgetScope {
    /// One run.
    Run,
    /// One repository on one day.
    RepositoryDay,
    /// Everything of the user on one day.
    UserDay,
    /// This provider on one day.
    ProviderDay(String),
}

/// The answer to a [`Hold`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Grant {
    /// The money is held.
    Granted,
    /// A cap would be passed; nothing is held.
    Refused(BudgetRefusal),
}

/// The cap that a hold would pass, with the numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BudgetRefusal {
    /// What is counted.
    pub scope: BudgetScope,
    /// The most that may be spent and held in it.
    pub limit: Money,
    /// Spent so far.
    pub spent: Money,
    /// Held by calls in flight.
    pub reserved: Money,
    /// What was asked for.
    pub needed: Money,
}

impl BudgetRefusal {
    /// What the cap still has room for.
    pub const fn available(&self) -> Money {
        self.limit.minus(self.spent).minus(self.reserved)
    }
}

/// What a send came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settlement {
    /// What it cost.
    pub cost: Money,
    /// What it used.
    pub usage: Usage,
    /// Whether the provider said so.
    pub confirmed: Confirmation,
    /// When that was known.
    pub at: Timestamp,
}

/// Whether a cost is what the provider reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Confirmation {
    /// Reported by the provider, or known to be nothing.
    Confirmed,
    /// The outcome is unknown or estimated; it counts as spent.
    Unconfirmed,
}

/// Limits that live and die with the process: for tests and simulation.
#[derive(Debug, Default)]
pub struct MemoryLimits {
    entries: Mutex<BTreeMap<IntentId, Entry>>,
}

/// A hold and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As it was asked for.
    pub hold: Hold,
    /// None while the call is in flight.
    pub settled: Option<Settlement>,
}

impl MemoryLimits {
    /// Nothing spent, nothing held.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IntentId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every hold, by intent.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().values().cloned().collect()
    }

    /// Held by calls in flight.
    pub fn reserved(&self) -> Money {
        self.lock()
            .values()
            .filter(|entry| entry.settled.is_none())
            .map(|entry| entry.hold.amount)
            .sum()
    }

    /// Spent, confirmed or not.
    pub fn spent(&self) -> Money {
        self.lock()
            .values()
            .filter_map(|entry| entry.settled)
            .map(|settled| settled.cost)
            .sum()
    }
}

fn counts(scope: &BudgetScope, known: &Hold, asked: &Hold) -> bool {
    match scope {
        BudgetScope::Run => known.run == asked.run,
        BudgetScope::RepositoryDay => known.day == asked.day && known.repository == asked.repository,
        BudgetScope::UserDay => known.day == asked.day,
        BudgetScope::ProviderDay(provider) => known.day == asked.day && known.provider == *provider,
    }
}

fn refusal(entries: &BTreeMap<IntentId, Entry>, hold: &Hold) -> Option<BudgetRefusal> {
    hold.caps.iter().find_map(|cap| {
        let (mut spent, mut reserved) = (Money::ZERO, Money::ZERO);
        for entry in entries
            .values()
            .filter(|entry| counts(&cap.scope, &entry.hold, hold))
        {
            match entry.settled {
                Some(settled) => spent = spent.plus(settled.cost),
                None => reserved = reserved.plus(entry.hold.amount),
            }
        }
        let is_over = spent.plus(reserved).plus(hold.amount) > cap.limit;
        is_over.then(|| BudgetRefusal {
            scope: cap.scope.clone(),
            limit: cap.limit,
            spent,
            reserved,
            needed: hold.amount,
        })
    })
}

impl Limits for MemoryLimits {
    fn reserve(&self, hold: Hold) -> BoxFuture<'_, Result<Grant>> {
        Box::pin(async move {
            let mut entries = self.lock();
            if entries.contains_key(&hold.intent) {
                return Ok(Grant::Granted);
            }
            if hold.amount > Money::ZERO
                && let Some(refusal) = refusal(&entries, &hold)
            {
                return Ok(Grant::Refused(refusal));
            }
            entries.insert(hold.intent.clone(), Entry { hold, settled: None });
            Ok(Grant::Granted)
        })
    }

    fn settle<'a>(&'a self, intent: &'a IntentId, outcome: Settlement) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if let Some(entry) = self.lock().get_mut(intent) {
                entry.settled.get_or_insert(outcome);
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(intent: &str, run: &str, dollars: i64, caps: Vec<Cap>) -> Hold {
        Hold {
            intent: intent.into(),
            run: run.into(),
            step: "developer".into(),
            agent: "developer".into(),
            provider: "anthropic".to_owned(),
            model: "m".to_owned(),
            repository: "r".into(),
            owner: "o".into(),
            amount: Money::from_dollars(dollars),
            caps,
            day: "2026-11-24".to_owned(),
            at: Timestamp(0),
        }
    }

    fn cap(scope: BudgetScope, dollars: i64) -> Cap {
        Cap {
            scope,
            limit: Money::from_dollars(dollars),
        }
    }

    fn settlement(dollars: i64) -> Settlement {
        Settlement {
            cost: Money::from_dollars(dollars),
            usage: Usage::default(),
            confirmed: Confirmation::Confirmed,
            at: Timestamp(1),
        }
    }

    #[tokio::test]
    async fn a_hold_and_its_settlement_count_once_however_often_they_come() {
        let limits = MemoryLimits::new();
        let caps = vec![cap(BudgetScope::Run, 5)];
        for _ in 0..3 {
            assert_eq!(
                limits.reserve(hold("a", "run", 4, caps.clone())).await,
                Ok(Grant::Granted)
            );
        }
        assert_eq!(limits.reserved(), Money::from_dollars(4));
        for dollars in [1, 3] {
            limits
                .settle(&"a".into(), settlement(dollars))
                .await
                .expect("settles");
        }
        assert_eq!(
            (limits.reserved(), limits.spent()),
            (Money::ZERO, Money::from_dollars(1))
        );
    }

    #[tokio::test]
    async fn every_cap_must_hold_and_the_refusal_has_the_numbers() {
        let limits = MemoryLimits::new();
        let caps = |run| {
            vec![
                cap(BudgetScope::Run, run),
                cap(BudgetScope::UserDay, 6),
                cap(BudgetScope::ProviderDay("anthropic".to_owned()), 100),
            ]
        };
        assert_eq!(
            limits.reserve(hold("a", "one", 3, caps(5))).await,
            Ok(Grant::Granted)
        );
        limits.settle(&"a".into(), settlement(2)).await.expect("settles");
        assert_eq!(
            limits.reserve(hold("b", "two", 3, caps(5))).await,
            Ok(Grant::Granted),
            "another run has its own limit"
        );
        let expected = BudgetRefusal {
            scope: BudgetScope::UserDay,
            limit: Money::from_dollars(6),
            spent: Money::from_dollars(2),
            reserved: Money::from_dollars(3),
            needed: Money::from_dollars(2),
        };
        assert_eq!(expected.available(), Money::from_dollars(1));
        assert_eq!(
            limits.reserve(hold("c", "one", 2, caps(5))).await,
            Ok(Grant::Refused(expected))
        );
        assert_eq!(
            limits.reserve(hold("c", "one", 1, caps(5))).await,
            Ok(Grant::Granted),
            "a refused intent may come again, smaller"
        );
        assert_eq!(
            limits.reserve(hold("free", "one", 0, caps(0))).await,
            Ok(Grant::Granted),
            "what costs nothing needs no budget"
        );
    }
}
