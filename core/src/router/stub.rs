//! Stands in until the router lands.
use std::sync::Arc;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use super::*;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::id::{AgentId, IntentId, OwnerId, PipelineId, RepositoryId, StepId};
use crate::money::Money;
use crate::provider::{Delta, FailureClass, Provider, Request, Response, Usage};

/// Scope.
#[derive(Debug, Clone)]
pub struct CallScope { pub run: PipelineId, pub step: StepId, pub agent: AgentId, pub attempt: u32, pub ordinal: u32, pub max_cost: Option<Money>, pub daily_limits_waived: bool, pub owner: OwnerId, pub repository: RepositoryId }
/// Answer.
#[derive(Debug, Clone)]
pub struct Answer { pub response: Response, pub provider: String, pub model: String, pub cost: Money }
/// Failure.
#[derive(Debug, Clone)]
pub enum RouteFailure { Budget(BudgetRefusal), Failed(Error, FailureClass), Cancelled }
/// Decision.
#[derive(Debug, Clone, Serialize)]
pub struct RouteDecision { pub chosen: Option<Chosen> }
/// Chosen.
#[derive(Debug, Clone, Serialize)]
pub struct Chosen { pub provider: String, pub model: String }
/// Observer.
pub trait CallObserver: Send + Sync { fn route_decision(&self, decision: &RouteDecision); fn usage(&self, provider: &str, model: &str, usage: &Usage, cost: Money); fn delta(&self, delta: &Delta); }
/// Router.
#[derive(Debug)]
pub struct Router {}
impl Router {
    pub fn new(_settings: RouterSettings, _providers: std::collections::BTreeMap<String, Arc<dyn Provider>>, _limits: Arc<dyn Limits>, _clock: Arc<dyn Clock>) -> Self { Self {} }
    pub async fn call(&self, _scope: &CallScope, _request: Request, _observer: &dyn CallObserver, _cancel: &CancellationToken) -> Result<Answer, RouteFailure> { Err(RouteFailure::Cancelled) }
}

impl CallScope { /** Intent. */ pub fn intent(&self, send: u32) -> IntentId { IntentId::new(format!("{}/{}/{}/{}/{send}", self.run, self.step, self.attempt, self.ordinal)) } }
impl Router {
    /// Reserve.
    pub async fn reserve(&self, _scope: &CallScope, _intent: &IntentId, _provider: &str, _model: &str, _amount: Money) -> Result<Grant> { Ok(Grant::Granted) }
    /// Settle.
    pub async fn settle(&self, _intent: &IntentId, _settlement: Settlement) -> Result<()> { Ok(()) }
}

/// Provider.
#[derive(Debug, Clone, Serialize)]
pub struct ProviderStatus { pub id: String, pub kind: String, pub health: String, pub reason: Option<String>, pub circuit: String, pub rpm: RateStatus, pub tpm: RateStatus, pub models: Vec<String> }
/// Rate.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct RateStatus { pub limit: Option<u64>, pub used: u64 }
/// Check.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport { pub id: String, pub ok: bool, pub code: Option<String>, pub message: String, pub hint: Option<String>, pub latency_ms: u64 }
impl Router {
    /// Status.
    pub fn status(&self) -> Vec<ProviderStatus> { Vec::new() }
    /// Check.
    pub async fn check(&self, _only: Option<&str>, _owner: &OwnerId, _repository: &RepositoryId, _cancel: &CancellationToken) -> Vec<CheckReport> { Vec::new() }
}
