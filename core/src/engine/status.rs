//! What is spent today, how the providers are, and the end of what is kept of a run.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{Engine, routing};
use crate::clock::Timestamp;
use crate::config::{CapScope, Config, ProviderKind};
use crate::error::Result;
use crate::id::{PipelineId, RepositoryId};
use crate::money::Money;
use crate::router::CheckReport;
use crate::store::{DayScope, Totals};

/// Stands for the repository where none is open.
const NO_REPOSITORY: &str = "none";

/// A day's money against its limit (USD).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DayView {
    /// The limit; none: no limit.
    pub limit: Option<f64>,
    /// Settled.
    pub spent: f64,
    /// Held for calls in flight.
    pub reserved: f64,
    /// What is left; none: no limit.
    pub remaining: Option<f64>,
    /// RFC 3339.
    pub resets_at: String,
}

/// The money of today.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BudgetView {
    /// The limit of the day that is reached first.
    pub daily: DayView,
    /// By provider.
    pub per_provider: BTreeMap<String, DayView>,
    /// The repository, where it has a limit of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<DayView>,
}

/// A provider as `clode.status` shows it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderView {
    /// Its name in the configuration.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// How it is.
    pub health: serde_json::Value,
    /// Why, where it is not well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `closed`, `open` or `halfOpen`.
    pub circuit: serde_json::Value,
    /// Requests a minute: `{limit, used}`.
    pub rpm: serde_json::Value,
    /// Tokens a minute: `{limit, used}`.
    pub tpm: serde_json::Value,
    /// The models that it offers.
    pub models: Vec<String>,
}

impl Engine {
    /// What is spent today, against the limits of this configuration.
    pub async fn budget(&self, config: &Config, repository: Option<&RepositoryId>) -> Result<BudgetView> {
        let ledger = self.shared.services.store.ledger();
        let now = self.shared.services.clock.now();
        let zone = config.time_zone();
        let (day, resets_at) = (now.day(&zone), now.end_of_day(&zone));
        let limit = |wanted: &dyn Fn(&CapScope) -> bool| {
            config
                .caps
                .iter()
                .filter(|cap| wanted(&cap.scope))
                .map(|cap| cap.limit)
                .min()
        };
        let user = ledger.day_totals(&day, &DayScope::User).await?;
        let mut per_provider = BTreeMap::new();
        for id in config.providers.keys() {
            let totals = ledger.day_totals(&day, &DayScope::Provider(id.clone())).await?;
            let limit = limit(
                &|scope| matches!(scope, CapScope::ProviderDay(name) | CapScope::RepositoryProviderDay(name) if name == id),
            );
            per_provider.insert(id.clone(), day_view(&totals, limit, resets_at));
        }
        let of_user = day_view(&user, limit(&|scope| *scope == CapScope::UserDay), resets_at);
        let of_repository = match (repository, limit(&|scope| *scope == CapScope::RepositoryDay)) {
            (Some(id), Some(limit)) => {
                let totals = ledger.day_totals(&day, &DayScope::Repository(id.clone())).await?;
                Some(day_view(&totals, Some(limit), resets_at))
            }
            _ => None,
        };
        let left = |view: &DayView| view.remaining.unwrap_or(f64::INFINITY);
        let first = of_repository.as_ref().filter(|here| left(here) < left(&of_user));
        Ok(BudgetView {
            daily: first.unwrap_or(&of_user).clone(),
            per_provider,
            repository: of_repository,
        })
    }

    /// The providers of this configuration and how they are.
    pub fn providers(&self, config: &Config) -> Vec<ProviderView> {
        let known = routing::router(&self.shared, config).status();
        let view = |(id, provider): (&String, &crate::config::ProviderConfig)| {
            let seen = known.iter().find(|status| status.id == *id);
            let rates = config.limits.per_provider.get(id).copied().unwrap_or_default();
            let problem = provider.readiness.problem();
            let health = match (seen, &problem) {
                (_, Some(_)) => json("blocked"),
                (Some(status), None) => json(status.health),
                (None, None) => json("ok"),
            };
            ProviderView {
                id: id.clone(),
                kind: kind_name(provider.kind),
                health,
                reason: problem.or_else(|| seen.and_then(|status| status.reason.clone())),
                circuit: seen.map_or_else(|| json("closed"), |status| json(status.circuit)),
                rpm: rate(rates.rpm, seen.map_or(0, |status| status.rpm.used)),
                tpm: rate(rates.tpm, seen.map_or(0, |status| status.tpm.used)),
                models: seen.map_or_else(
                    || provider.models.keys().cloned().collect(),
                    |status| status.models.clone(),
                ),
            }
        };
        config.providers.iter().map(view).collect()
    }

    /// Asks every provider of this configuration, or only one, the cheapest real question.
    pub async fn check_providers(
        &self,
        config: &Config,
        only: Option<&str>,
        repository: Option<&RepositoryId>,
        cancel: &CancellationToken,
    ) -> Vec<CheckReport> {
        let router = routing::router(&self.shared, config);
        let none = RepositoryId::new(NO_REPOSITORY);
        let mut reports = router
            .check(only, &self.shared.owner, repository.unwrap_or(&none), cancel)
            .await;
        let missing = config
            .providers
            .iter()
            .filter(|(id, _)| only.is_none_or(|only| only == id.as_str()));
        for (id, provider) in missing {
            if !reports.iter().any(|report| report.id == *id) {
                reports.push(unasked(id, provider));
            }
        }
        reports.sort_by(|one, other| one.id.cmp(&other.id));
        reports
    }

    /// Deletes an ended run. What it cost and who did what to it stay known.
    pub async fn delete(&self, run: &PipelineId) -> Result<()> {
        self.shared.services.store.delete_run(run).await
    }
}

/// A provider that the router does not reach: it lacks something, or it is a program.
fn unasked(id: &str, provider: &crate::config::ProviderConfig) -> CheckReport {
    let problem = provider.readiness.problem();
    let is_program = matches!(provider.kind, ProviderKind::ClaudeCode | ProviderKind::Acp);
    let (ok, code, message, hint) = match problem {
        Some(problem) => (
            false,
            Some("providerNotReady"),
            problem,
            Some("`clode-ls doctor` shows what was found"),
        ),
        None if is_program => (
            true,
            None,
            "the program was found; it is started by the Developer only".to_owned(),
            None,
        ),
        None => (
            false,
            Some("providerNotReachable"),
            "it was not asked".to_owned(),
            Some("see the log"),
        ),
    };
    CheckReport {
        id: id.to_owned(),
        ok,
        code: code.map(str::to_owned),
        message,
        hint: hint.map(str::to_owned),
        latency_ms: 0,
    }
}

fn day_view(totals: &Totals, limit: Option<Money>, resets_at: Timestamp) -> DayView {
    let used = totals.cost.plus(totals.reserved);
    DayView {
        limit: limit.map(Money::usd),
        spent: totals.cost.usd(),
        reserved: totals.reserved.usd(),
        remaining: limit.map(|limit| limit.minus(used).usd()),
        resets_at: resets_at.rfc3339(),
    }
}

fn rate(limit: Option<u64>, used: u64) -> serde_json::Value {
    serde_json::json!({"limit": limit, "used": used})
}

fn json(value: impl Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn kind_name(kind: ProviderKind) -> String {
    json(kind).as_str().unwrap_or_default().to_owned()
}
