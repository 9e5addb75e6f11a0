//! The port to the money, as the router sees it: reserve before sending, settle after.

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::clock::Timestamp;
use crate::id::{AgentId, IntentId, OwnerId, PipelineId, RepositoryId, StepId};
use crate::money::Money;

/// The port to the money.
pub trait Limits: Send + Sync + std::fmt::Debug {
    /// Holds an amount under every cap, or under none. The same open hold may be asked for again.
    /// A hold of no money is always granted, and recorded.
    fn reserve(&self, hold: Hold) -> BoxFuture<'_, Result<Grant>>;
    /// Turns a hold into what it cost. Only the first settlement counts.
    fn settle<'a>(&'a self, intent: &'a IntentId, outcome: Settlement) -> BoxFuture<'a, Result<()>>;
}

/// Money to be held for one physical send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// The send.
    pub intent: IntentId,
    /// The run that it belongs to.
    pub run: PipelineId,
    /// The step.
    pub step: StepId,
    /// The agent.
    pub agent: AgentId,
    /// The provider that is asked.
    pub provider: String,
    /// The model that is asked.
    pub model: String,
    /// The repository that is worked on.
    pub repository: RepositoryId,
    /// The process that sends.
    pub owner: OwnerId,
    /// The most that it may cost.
    pub amount: Money,
    /// What must not be exceeded.
    pub caps: Vec<Cap>,
    /// The calendar day in the person's zone, as `2026-11-24`.
    pub day: String,
    /// Now.
    pub at: Timestamp,
}

/// A limit on one scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cap {
    /// What is counted.
    pub scope: BudgetScope,
    /// The most that it may come to.
    pub limit: Money,
}

/// What a limit counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BudgetScope {
    /// This run.
    Run,
    /// This repository on this day.
    RepositoryDay,
    /// Everything of this user on this day.
    UserDay,
    /// This provider on this day.
    ProviderDay(String),
}

/// Answer to a reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Grant {
    /// The money is held.
    Granted,
    /// A cap stands against it; nothing is held.
    Refused(BudgetRefusal),
}

/// Which cap stands against a reservation, with its numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BudgetRefusal {
    /// The cap's scope.
    pub scope: BudgetScope,
    /// The cap.
    pub limit: Money,
    /// What was spent under it.
    pub spent: Money,
    /// What is held under it.
    pub reserved: Money,
    /// What was asked for.
    pub needed: Money,
}

/// What a send came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settlement {
    /// What it cost.
    pub cost: Money,
    /// What was counted.
    pub usage: Usage,
    /// Whether the provider said so.
    pub confirmed: Confirmation,
    /// Now.
    pub at: Timestamp,
}

/// Tokens, in disjoint counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Read anew.
    pub input_tokens: u64,
    /// Written.
    pub output_tokens: u64,
    /// Read from the provider's cache.
    pub cache_read_tokens: u64,
    /// Written to the provider's cache.
    pub cache_write_tokens: u64,
}

/// Whether the provider told what a send cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Confirmation {
    /// It did.
    Confirmed,
    /// It is our estimate.
    Unconfirmed,
}
