//! What the router is built from: plain values, made from the configuration.

use std::collections::BTreeMap;

use crate::id::AgentId;
use crate::money::Money;

/// Least output tokens that a budget may shrink a call to; below that the call is not worth making.
pub const OUTPUT_TOKENS_FLOOR: u32 = 1024;

/// Everything that decides about routes, apart from the providers themselves.
#[derive(Debug, Clone)]
pub struct RouterSettings {
    /// Candidates of each agent, in order.
    pub routes: BTreeMap<AgentId, Vec<Candidate>>,
    /// Candidates of every other agent.
    pub default_route: Vec<Candidate>,
    /// How often and how soon again.
    pub retry: RetrySettings,
    /// When a route counts as sick.
    pub breaker: BreakerSettings,
    /// What each provider may be asked for.
    pub limits: BTreeMap<String, ProviderLimits>,
    /// Money that this repository may spend in a day.
    pub repository_day: Option<Money>,
    /// Money that this user may spend in a day.
    pub user_day: Option<Money>,
    /// The time zone in which days begin.
    pub zone: jiff::tz::TimeZone,
    /// Longest time that one call waits in all (for allowance, for a throttled provider, between
    /// attempts).
    pub wait_ms_max: u64,
}

impl Default for RouterSettings {
    fn default() -> Self {
        Self {
            routes: BTreeMap::new(),
            default_route: Vec::new(),
            retry: RetrySettings::default(),
            breaker: BreakerSettings::default(),
            limits: BTreeMap::new(),
            repository_day: None,
            user_day: None,
            zone: jiff::tz::TimeZone::UTC,
            wait_ms_max: 5 * 60 * 1000,
        }
    }
}

/// A provider and a model that an agent may use, and why it comes at this place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The provider's name in the configuration.
    pub provider: String,
    /// The provider's name of the model.
    pub model: String,
    /// As the audit tells it: `routing.default byAgent`, `fallback`, …
    pub reason: String,
}

/// How often and how soon again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrySettings {
    /// Physical sends of one call, retries and fallbacks together.
    pub max_attempts: u32,
    /// Longest pause after the first failure; doubles with each.
    pub initial_ms: u64,
    /// Longest pause of all.
    pub max_ms: u64,
    /// Whether the pause is drawn from zero up to its longest, so that callers spread out.
    pub jitter: bool,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            max_attempts: 4,
            initial_ms: 500,
            max_ms: 30_000,
            jitter: true,
        }
    }
}

/// When a route counts as sick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// So many failures in a row open it.
    pub failures: u32,
    /// The time that the share of failures is taken over.
    pub window_ms: u64,
    /// Least calls in that time before the share counts.
    pub volume_min: u32,
    /// This share of failures opens it.
    pub failure_percent: u32,
    /// How long it stays open the first time; doubles each time.
    pub open_ms: u64,
    /// How long it stays open at most.
    pub open_ms_max: u64,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failures: 5,
            window_ms: 60_000,
            volume_min: 5,
            failure_percent: 50,
            open_ms: 5_000,
            open_ms_max: 120_000,
        }
    }
}

/// What a provider may be asked for; nothing set means no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProviderLimits {
    /// Requests a minute.
    pub rpm: Option<u64>,
    /// Tokens a minute, input and output.
    pub tpm: Option<u64>,
    /// Requests at the same time.
    pub concurrency: Option<u32>,
    /// Money a day.
    pub daily_budget: Option<Money>,
}
