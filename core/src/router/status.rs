//! What `clode.status` shows of the providers.

use serde::{Deserialize, Serialize};

use super::{Circuit, Health, Shared};

/// One provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderStatus {
    /// Its name in the configuration.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// How it is.
    pub health: Health,
    /// Why, where it is not well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The worst circuit of its models.
    pub circuit: Circuit,
    /// Requests a minute.
    pub rpm: RateStatus,
    /// Tokens a minute.
    pub tpm: RateStatus,
    /// The models that it is known for or was asked for.
    pub models: Vec<String>,
}

/// A limit and what is used of it. No limit: nothing is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RateStatus {
    /// Per minute; none: no limit.
    pub limit: Option<u64>,
    /// Not yet refilled.
    pub used: u64,
}

pub(super) fn of(shared: &Shared) -> Vec<ProviderStatus> {
    let now = shared.clock.now();
    let mut health = shared.health();
    let states = health.iter_mut().filter_map(|(id, state)| {
        let registered = shared.providers.get(id)?;
        let limits = shared.settings.limits.get(id).copied().unwrap_or_default();
        let (requests, tokens) = state.allowance.used(now);
        let (health, reason) = match registered.missing_key() {
            Some(reason) => (Health::Blocked, Some(reason)),
            None => state.health(now),
        };
        let mut models: Vec<String> = registered.settings.models.keys().cloned().collect();
        models.extend(
            state
                .routes
                .keys()
                .filter(|model| !registered.settings.models.contains_key(*model))
                .cloned(),
        );
        Some(ProviderStatus {
            id: id.clone(),
            kind: registered.settings.kind.as_str().to_owned(),
            health,
            reason,
            circuit: state.circuit(now),
            rpm: RateStatus {
                limit: limits.rpm,
                used: requests,
            },
            tpm: RateStatus {
                limit: limits.tpm,
                used: tokens,
            },
            models,
        })
    });
    states.collect()
}
