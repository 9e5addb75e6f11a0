//! Which provider and model a call takes, what it may cost, and what happens when it fails.
//!
//! One [`Router::call`] is one logical call of an agent. It takes the first of the agent's candidates
//! that can take it, holds the worst case of its cost before each physical send, settles right after,
//! and owns all retries: one budget of attempts for retries and fallbacks together. Every choice is
//! told to the [`CallObserver`] with the reason for each candidate.

mod allowance;
mod attempt;
mod breaker;
mod check;
pub mod decision;
mod estimate;
mod health;
mod lease;
pub mod limits;
pub mod pricing;
pub mod settings;
mod status;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use breaker::Circuit;
pub use check::CheckReport;
pub use decision::{Judged, Route, RouteDecision, Verdict};
pub use health::Health;
pub use limits::{
    BudgetRefusal, BudgetScope, Cap, Confirmation, Grant, Hold, Limits, MemoryLimits, Settlement,
};
pub use pricing::PriceBasis;
pub use settings::{BreakerSettings, Candidate, ProviderLimits, RetrySettings, RouterSettings};
pub use status::{ProviderStatus, RateStatus};

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::id::{AgentId, IntentId, OwnerId, PipelineId, RepositoryId, StepId};
use crate::money::Money;
use crate::provider::http::Http;
use crate::provider::{self, Delta, FailureClass, Provider, ProviderSettings, Request, Response, Usage};

/// Who calls, for what; everything that a hold on money needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallScope {
    /// The run.
    pub run: PipelineId,
    /// Its step.
    pub step: StepId,
    /// The agent.
    pub agent: AgentId,
    /// Which attempt at the step. A step that is taken up again after a crash is a new attempt:
    /// intents of the old one are settled and would be granted again without holding anything.
    pub attempt: u32,
    /// Which call of the attempt.
    pub ordinal: u32,
    /// The limit of the run.
    pub max_cost: Option<Money>,
    /// Whether a person let this run go beyond the day's limits today.
    pub daily_limits: DailyLimits,
    /// The process.
    pub owner: OwnerId,
    /// The repository.
    pub repository: RepositoryId,
}

impl CallScope {
    /// The intent of one physical send, numbered from 1.
    pub fn intent(&self, send: u32) -> IntentId {
        IntentId::new(format!(
            "{}/{}/{}/{}/{send}",
            self.run, self.step, self.attempt, self.ordinal
        ))
    }
}

/// Whether the limits of the day hold for a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DailyLimits {
    /// They do.
    #[default]
    Hold,
    /// A person let this run go beyond them today.
    Waived,
}

/// Hears what happens during a call.
pub trait CallObserver: Send + Sync {
    /// Where a send goes and why, or why nowhere.
    fn route_decision(&self, decision: &RouteDecision);
    /// What a send came to.
    fn usage(&self, charge: &Charge);
    /// A piece of the answer.
    fn delta(&self, delta: &Delta);
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Deaf;

impl CallObserver for Deaf {
    fn route_decision(&self, _: &RouteDecision) {}
    fn usage(&self, _: &Charge) {}
    fn delta(&self, _: &Delta) {}
}

/// What a send came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The send.
    pub intent: IntentId,
    /// Where it went.
    pub provider: String,
    /// The model that was asked.
    pub model: String,
    /// What it used.
    pub usage: Usage,
    /// What it cost.
    pub cost: Money,
    /// Whether the provider said so.
    pub confirmed: Confirmation,
}

/// A complete answer and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What the model said.
    pub response: Response,
    /// Who answered.
    pub provider: String,
    /// The model that was asked.
    pub model: String,
    /// What this send cost; earlier, failed ones are told to the observer only.
    pub cost: Money,
    /// Whether that is the model's own price.
    pub price: PriceBasis,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteFailure {
    /// No candidate fits into a budget.
    Budget(BudgetRefusal),
    /// All attempts failed, or nothing can be attempted.
    Failed(Error, FailureClass),
    /// Somebody asked to stop.
    Cancelled,
}

/// Chooses, pays, tries. Cloning is cheap; all clones share what they know.
#[derive(Debug, Clone)]
pub struct Router {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: RouterSettings,
    providers: BTreeMap<String, Registered>,
    limits: Arc<dyn Limits>,
    clock: Arc<dyn Clock>,
    health: Mutex<BTreeMap<String, health::Provider>>,
    /// Told whenever a call ends.
    changed: Notify,
}

#[derive(Debug)]
struct Registered {
    settings: ProviderSettings,
    provider: Arc<dyn Provider>,
}

impl Registered {
    /// Why the provider cannot be asked at all.
    fn missing_key(&self) -> Option<String> {
        let needs_key = provider::roster(self.settings.kind).is_some_and(|line| line.needs_key);
        let is_key_header = |name: &String| {
            name.eq_ignore_ascii_case("authorization") || name.eq_ignore_ascii_case("x-api-key")
        };
        let has_key = self.settings.api_key.is_some() || self.settings.headers.keys().any(is_key_header);
        (needs_key && !has_key).then(|| match &self.settings.api_key_env {
            Some(name) => format!("no key: set {name}"),
            None => "no key: set `apiKeyEnv`".to_owned(),
        })
    }
}

impl Router {
    /// Builds the providers that the settings describe.
    pub fn build(
        settings: RouterSettings,
        providers: Vec<ProviderSettings>,
        http: &Http,
        limits: Arc<dyn Limits>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let built = providers
            .into_iter()
            .map(|settings| provider::build(&settings, http).map(|provider| (settings, provider)));
        Ok(Self::new(settings, built.collect::<Result<_>>()?, limits, clock))
    }

    /// With providers that exist already.
    pub fn new(
        settings: RouterSettings,
        providers: Vec<(ProviderSettings, Arc<dyn Provider>)>,
        limits: Arc<dyn Limits>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let now = clock.now();
        let health = providers.iter().map(|(provider, _)| {
            (
                provider.id.clone(),
                health::Provider::new(provider, &settings, now),
            )
        });
        let health = Mutex::new(health.collect());
        let registered = providers
            .into_iter()
            .map(|(settings, provider)| (settings.id.clone(), Registered { settings, provider }));
        let providers = registered.collect();
        Self {
            shared: Arc::new(Shared {
                settings,
                providers,
                limits,
                clock,
                health,
                changed: Notify::new(),
            }),
        }
    }

    /// One logical call. The router fills in the model, and may lower `max_tokens` to what the budget
    /// and the model allow.
    #[tracing::instrument(name = "chat", skip_all, fields(run = %scope.run, step = %scope.step, agent = %scope.agent, ordinal = scope.ordinal))]
    pub async fn call(
        &self,
        scope: &CallScope,
        request: Request,
        observer: &dyn CallObserver,
        cancel: &CancellationToken,
    ) -> Result<Answer, RouteFailure> {
        attempt::Call::new(&self.shared, scope, request, observer, cancel)
            .run()
            .await
    }

    /// Holds money for work that is sent by somebody else, such as one session of an agent program.
    pub async fn reserve(
        &self,
        scope: &CallScope,
        intent: &IntentId,
        provider: &str,
        model: &str,
        amount: Money,
    ) -> Result<Grant> {
        let at = self.shared.clock.now();
        let hold = Hold {
            intent: intent.clone(),
            run: scope.run.clone(),
            step: scope.step.clone(),
            agent: scope.agent.clone(),
            provider: provider.to_owned(),
            model: model.to_owned(),
            repository: scope.repository.clone(),
            owner: scope.owner.clone(),
            amount,
            caps: self.shared.caps(provider, scope.max_cost, scope.daily_limits),
            day: at.day(&self.shared.settings.zone),
            at,
        };
        self.shared.limits.reserve(hold).await
    }

    /// Settles a hold of [`Router::reserve`].
    pub async fn settle(&self, intent: &IntentId, outcome: Settlement) -> Result<()> {
        self.shared.limits.settle(intent, outcome).await
    }

    /// What is known of each provider.
    pub fn status(&self) -> Vec<ProviderStatus> {
        status::of(&self.shared)
    }

    /// Forgets refused keys and unknown models: a person asked for another try and may have repaired them.
    pub fn forgive(&self) {
        self.shared
            .health()
            .values_mut()
            .for_each(health::Provider::forgive);
        self.shared.changed.notify_waiters();
    }

    /// The cheapest real request to each provider, or to this one.
    pub async fn check(
        &self,
        only: Option<&str>,
        owner: &OwnerId,
        repository: &RepositoryId,
        cancel: &CancellationToken,
    ) -> Vec<CheckReport> {
        check::run(&self.shared, only, owner, repository, cancel).await
    }
}

impl Shared {
    fn health(&self) -> MutexGuard<'_, BTreeMap<String, health::Provider>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_health<T>(&self, provider: &str, act: impl FnOnce(&mut health::Provider) -> T) -> Option<T> {
        self.health().get_mut(provider).map(act)
    }

    fn candidates(&self, agent: &AgentId) -> &[Candidate] {
        self.settings
            .routes
            .get(agent)
            .unwrap_or(&self.settings.default_route)
    }

    fn caps(&self, provider: &str, run: Option<Money>, daily: DailyLimits) -> Vec<Cap> {
        let provider_day = self
            .settings
            .limits
            .get(provider)
            .and_then(|limits| limits.daily_budget);
        let caps = [
            (BudgetScope::Run, run),
            (BudgetScope::RepositoryDay, self.settings.repository_day),
            (BudgetScope::UserDay, self.settings.user_day),
            (BudgetScope::ProviderDay(provider.to_owned()), provider_day),
        ];
        caps.into_iter()
            .filter(|(scope, _)| daily == DailyLimits::Hold || *scope == BudgetScope::Run)
            .filter_map(|(scope, limit)| Some(Cap { scope, limit: limit? }))
            .collect()
    }
}

#[cfg(test)]
mod tests;
