//! What one physical send holds: allowance, the breaker's leave, money. Whatever happens to the
//! call, dropping the lease gives the allowance back and settles the money.

use std::sync::Arc;
use std::time::Duration;

use super::breaker::Ticket;
use super::limits::{Confirmation, Settlement};
use super::{Hold, Shared};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::IntentId;
use crate::money::Money;
use crate::provider::{Price, Usage};

/// Wait before a cost that could not be settled is settled again; doubles with each try.
const SETTLE_WAIT: Duration = Duration::from_secs(1);
/// Longest of these waits. As long as the process lives nobody else settles for it.
const SETTLE_WAIT_MAX: Duration = Duration::from_secs(16);
/// Bytes of streamed output that count as one token when the call is dropped in the middle.
const BYTES_PER_TOKEN: u64 = 3;

/// How the route did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    Well,
    Sick,
    /// The end of the call says nothing about the route.
    Nothing,
}

/// Whether the request left us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Not yet.
    Reserved,
    /// It may have.
    Sent,
    /// Done; nothing is left to give back.
    Settled,
}

#[derive(Debug)]
pub(super) struct Lease {
    shared: Arc<Shared>,
    provider: String,
    model: String,
    ticket: Ticket,
    tokens: u64,
    report: Report,
    stage: Stage,
    used_tokens: Option<u64>,
    pub(super) money: Option<Held>,
}

/// The money that is held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) hold: Hold,
    pub(super) price: Price,
    pub(super) input_estimate: u64,
    pub(super) streamed_bytes: u64,
}

impl Held {
    /// Usage and cost of a call that had begun to answer: what was reported, and for the rest what
    /// was seen; input that nobody reported counts as estimated, at the dearest price that may apply.
    pub(super) fn seen(&self, reported: Usage) -> (Usage, Money) {
        let streamed = Usage {
            output_tokens: self.streamed_bytes.div_ceil(BYTES_PER_TOKEN),
            ..Usage::default()
        };
        let usage = reported.raised_to(streamed);
        if usage.input_total() > 0 {
            return (usage, self.price.cost(usage));
        }
        let input_cost = self.price.upper_bound(self.input_estimate, 0);
        (
            Usage {
                input_tokens: self.input_estimate,
                ..usage
            },
            input_cost.plus(self.price.cost(usage)),
        )
    }
}

impl Lease {
    pub(super) fn new(
        shared: &Arc<Shared>,
        provider: &str,
        model: &str,
        ticket: Ticket,
        tokens: u64,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            provider: provider.to_owned(),
            model: model.to_owned(),
            ticket,
            tokens,
            report: Report::Nothing,
            stage: Stage::Reserved,
            used_tokens: None,
            money: None,
        }
    }

    /// From here on the request may reach the provider.
    pub(super) fn send(&mut self) {
        self.stage = Stage::Sent;
    }

    /// A piece of the answer came.
    pub(super) fn streamed(&mut self, bytes: usize) {
        if let Some(money) = &mut self.money {
            money.streamed_bytes = money.streamed_bytes.saturating_add(bytes as u64);
        }
    }

    /// Settles the money and gives the rest back. A ledger that fails is asked again, without anybody
    /// waiting for it; in the end the hold stays, and its janitor makes it unconfirmed spend.
    pub(super) async fn settle(mut self, usage: Usage, cost: Money, confirmed: Confirmation, report: Report) {
        self.report = report;
        let cached = usage.cache_read_tokens;
        let is_known = confirmed == Confirmation::Confirmed || !usage.is_empty();
        self.used_tokens = is_known.then(|| {
            usage
                .input_total()
                .saturating_sub(cached)
                .saturating_add(usage.output_tokens)
        });
        let Some(money) = &self.money else { return };
        let outcome = Settlement {
            cost,
            usage,
            confirmed,
            at: self.now(),
        };
        if let Err(error) = self.shared.limits.settle(&money.hold.intent, outcome).await {
            settle_again(&self.shared, &money.hold.intent, outcome, &error);
        }
        self.stage = Stage::Settled;
    }

    fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let now = self.now();
        let (tokens, used, stage, report, ticket) = (
            self.tokens,
            self.used_tokens,
            self.stage,
            self.report,
            self.ticket,
        );
        let model = &self.model;
        self.shared.with_health(&self.provider, |health| {
            match (stage, used) {
                (Stage::Reserved, _) => health.allowance.undo(tokens, now),
                (_, used) => health.allowance.finish(tokens, used.unwrap_or(tokens), now),
            }
            let breaker = &mut health.model(model).breaker;
            match report {
                Report::Well => breaker.succeed(ticket, now),
                Report::Sick => breaker.fail(ticket, now),
                Report::Nothing => breaker.abandon(ticket, now),
            }
        });
        self.shared.changed.notify_waiters();
        if stage != Stage::Settled
            && let Some(money) = self.money.take()
        {
            settle_later(Arc::clone(&self.shared), money, stage, now);
        }
    }
}

/// The call was dropped in the middle: what was seen is charged, or all that was held when nothing
/// was seen.
fn settle_later(shared: Arc<Shared>, money: Held, stage: Stage, now: Timestamp) {
    let (usage, cost, confirmed) = if stage == Stage::Reserved {
        (Usage::default(), Money::ZERO, Confirmation::Confirmed)
    } else if money.streamed_bytes > 0 {
        let (usage, cost) = money.seen(Usage::default());
        (usage, cost, Confirmation::Unconfirmed)
    } else {
        (Usage::default(), money.hold.amount, Confirmation::Unconfirmed)
    };
    let outcome = Settlement {
        cost,
        usage,
        confirmed,
        at: now,
    };
    let settle = async move {
        if let Err(error) = shared.limits.settle(&money.hold.intent, outcome).await {
            settle_again(&shared, &money.hold.intent, outcome, &error);
        }
    };
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        drop(runtime.spawn(settle));
    } else {
        tracing::error!("a call was dropped outside the runtime: its hold stays for the janitor");
    }
}

/// The ledger failed: asks it again, later and later, until it has room.
fn settle_again(shared: &Arc<Shared>, intent: &IntentId, outcome: Settlement, error: &Error) {
    // Nothing was reserved after all: there is nothing to settle.
    let is_nothing = |error: &Error| error.code == "unknownIntent";
    if is_nothing(error) {
        return;
    }
    tracing::warn!(%intent, %error, "a cost could not be settled; it is tried again until it is");
    let (shared, intent) = (Arc::clone(shared), intent.clone());
    tokio::spawn(async move {
        let mut wait = SETTLE_WAIT;
        loop {
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(SETTLE_WAIT_MAX);
            match shared.limits.settle(&intent, outcome).await {
                Ok(()) => return,
                Err(error) if is_nothing(&error) => return,
                Err(error) => tracing::debug!(%intent, %error, "a cost could not be settled yet"),
            }
        }
    });
}
