//! What is known of each provider and model right now: sickness, throttling, blocks, allowance.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::allowance::{Allowance, Shortage};
use super::breaker::{Breaker, Circuit, Closed, Ticket};
use super::estimate::Ratio;
use super::settings::{BreakerSettings, RouterSettings};
use crate::clock::Timestamp;
use crate::provider::ProviderSettings;

/// How long a provider whose key or account was refused is left alone, unless a check succeeds.
const BLOCK_MS: i64 = 10 * 60 * 1000;

/// As it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Health {
    /// Nothing is wrong that we know of.
    Ok,
    /// It asked for patience.
    Throttled,
    /// Calls fail.
    Failing,
    /// It refused the key or the account, or has no key.
    Blocked,
}

/// One provider and all its models.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) allowance: Allowance,
    pub(super) routes: BTreeMap<String, Model>,
    blocked: Option<(Timestamp, String)>,
    breaker: BreakerSettings,
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) breaker: Breaker,
    pub(super) ratio: Ratio,
    throttled_until: Timestamp,
    missing_until: Timestamp,
}

/// Why a route cannot take a call now, and when it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotNow {
    pub(super) reason: String,
    pub(super) when: When,
}

/// When a route is worth another look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    At(Timestamp),
    ACallEnds,
    /// Not as long as a call may wait.
    NotInThisCall,
}

impl NotNow {
    pub(super) fn until(until: Timestamp, now: Timestamp, what: &str) -> Self {
        Self {
            reason: format!("{what} for {} ms", until.since_ms(now)),
            when: When::At(until),
        }
    }

    pub(super) fn out(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            when: When::NotInThisCall,
        }
    }
}

impl Provider {
    pub(super) fn new(settings: &ProviderSettings, router: &RouterSettings, now: Timestamp) -> Self {
        let limits = router.limits.get(&settings.id).copied().unwrap_or_default();
        Self {
            allowance: Allowance::new(limits, now),
            routes: BTreeMap::new(),
            blocked: None,
            breaker: router.breaker,
        }
    }

    pub(super) fn model(&mut self, model: &str) -> &mut Model {
        let breaker = self.breaker;
        self.routes.entry(model.to_owned()).or_insert_with(|| Model {
            breaker: Breaker::new(breaker),
            ratio: Ratio::of_model(model),
            throttled_until: Timestamp(i64::MIN),
            missing_until: Timestamp(i64::MIN),
        })
    }

    /// Takes allowance and the breaker's leave for one call, all or nothing.
    pub(super) fn begin(&mut self, model: &str, tokens: u64, now: Timestamp) -> Result<Ticket, NotNow> {
        if let Some((until, reason)) = &self.blocked
            && now < *until
        {
            return Err(NotNow::out(reason.clone()));
        }
        let state = self.model(model);
        if now < state.missing_until {
            return Err(NotNow::out("the provider does not know the model"));
        }
        state.breaker.check(now).map_err(|closed| match closed {
            Closed::Until(until) => NotNow::until(until, now, "circuit open"),
            Closed::WhileProbing => NotNow {
                reason: "circuit half open, a probe is out".to_owned(),
                when: When::ACallEnds,
            },
        })?;
        if now < state.throttled_until {
            return Err(NotNow::until(state.throttled_until, now, "throttled"));
        }
        let later = |wait_ms: u64| now.plus_ms(i64::try_from(wait_ms).unwrap_or(i64::MAX));
        self.allowance
            .take(tokens, now)
            .map_err(|shortage| match shortage {
                Shortage::Requests { wait_ms } => {
                    NotNow::until(later(wait_ms), now, "requests per minute used up")
                }
                Shortage::Tokens { wait_ms } => {
                    NotNow::until(later(wait_ms), now, "tokens per minute used up")
                }
                Shortage::Slots => NotNow {
                    reason: "as many calls as allowed are in flight".to_owned(),
                    when: When::ACallEnds,
                },
            })?;
        Ok(self.model(model).breaker.begin())
    }

    /// Overlapping waits: the longest holds.
    pub(super) fn throttle(&mut self, model: &str, until: Timestamp) {
        let state = self.model(model);
        state.throttled_until = state.throttled_until.max(until);
    }

    pub(super) fn block(&mut self, reason: &str, now: Timestamp) {
        self.blocked = Some((now.plus_ms(BLOCK_MS), reason.to_owned()));
    }

    pub(super) fn miss(&mut self, model: &str, now: Timestamp) {
        self.model(model).missing_until = now.plus_ms(BLOCK_MS);
    }

    /// A check succeeded: what was held against this model is forgotten.
    pub(super) fn recover(&mut self, model: &str) {
        self.blocked = None;
        let state = self.model(model);
        state.breaker.reset();
        state.throttled_until = Timestamp(i64::MIN);
        state.missing_until = Timestamp(i64::MIN);
    }

    /// A person wants another try: what only a person can have repaired is held against nobody any more.
    pub(super) fn forgive(&mut self) {
        self.blocked = None;
        for model in self.routes.values_mut() {
            model.missing_until = Timestamp(i64::MIN);
        }
    }

    pub(super) fn circuit(&self, now: Timestamp) -> Circuit {
        self.routes
            .values()
            .map(|model| model.breaker.circuit(now))
            .max()
            .unwrap_or(Circuit::Closed)
    }

    /// The worst of its parts, and why.
    pub(super) fn health(&self, now: Timestamp) -> (Health, Option<String>) {
        if let Some((_, reason)) = self.blocked.as_ref().filter(|(until, _)| now < *until) {
            return (Health::Blocked, Some(reason.clone()));
        }
        if self.circuit(now) != Circuit::Closed {
            return (Health::Failing, Some("its last calls failed".to_owned()));
        }
        let until = self.routes.values().map(|model| model.throttled_until).max();
        match until.filter(|until| now < *until) {
            Some(until) => (
                Health::Throttled,
                Some(format!("it asked to wait for {} ms", until.since_ms(now))),
            ),
            None => (Health::Ok, None),
        }
    }
}
