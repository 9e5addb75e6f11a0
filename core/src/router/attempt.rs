//! The attempt loop of one call: choose, hold, send, settle, and decide what a failure means.

mod choice;
mod consequence;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use choice::{Chosen, Pass};
use tokio_util::sync::CancellationToken;

use super::decision::{Route, RouteDecision};
use super::estimate::Size;
use super::lease::{Held, Report};
use super::limits::{BudgetRefusal, Confirmation, Grant, Hold};
use super::settings::OUTPUT_TOKENS_FLOOR;
use super::{Answer, CallObserver, CallScope, Candidate, Charge, RouteFailure, Shared};
use crate::clock::Timestamp;
use crate::error::{Error, Kind};
use crate::money::Money;
use crate::provider::{CallFailure, Delta, FailureClass, Request, Response, Sent, Usage};

/// How often a hold is made smaller before the candidate is given up.
const SHRINKS_MAX: u32 = 4;

/// One logical call.
pub(super) struct Call<'a> {
    shared: &'a Arc<Shared>,
    scope: &'a CallScope,
    request: Request,
    /// Output tokens that the agent asked for.
    wanted: u32,
    size: Size,
    observer: &'a dyn CallObserver,
    cancel: &'a CancellationToken,
    /// Candidates that are out for this call, with the reason.
    out: BTreeMap<usize, String>,
    /// Candidates that rest after a failure.
    resting: BTreeMap<usize, Timestamp>,
    failures: BTreeMap<usize, u32>,
    refusal: Option<BudgetRefusal>,
    last_failure: Option<(Error, FailureClass)>,
    sends: u32,
    waited_ms: u64,
    has_streamed: bool,
}

impl<'a> Call<'a> {
    pub(super) fn new(
        shared: &'a Arc<Shared>,
        scope: &'a CallScope,
        request: Request,
        observer: &'a dyn CallObserver,
        cancel: &'a CancellationToken,
    ) -> Self {
        let size = Size::of(&request);
        Self {
            shared,
            scope,
            wanted: request.max_tokens.max(1),
            request,
            size,
            observer,
            cancel,
            out: BTreeMap::new(),
            resting: BTreeMap::new(),
            failures: BTreeMap::new(),
            refusal: None,
            last_failure: None,
            sends: 0,
            waited_ms: 0,
            has_streamed: false,
        }
    }

    pub(super) async fn run(mut self) -> Result<Answer, RouteFailure> {
        let shared = self.shared;
        loop {
            if self.cancel.is_cancelled() {
                return Err(RouteFailure::Cancelled);
            }
            if self.sends >= shared.settings.retry.max_attempts.max(1) {
                return Err(self.failed("the attempts are used up", FailureClass::Transient));
            }
            // Listens before it looks, so that no end of a call is missed in between.
            let changed = shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let mut pass = self.look();
            let Some(mut chosen) = pass.chosen.take() else {
                self.wait(pass, changed).await?;
                continue;
            };
            if !self.hold(&mut chosen).await? {
                continue;
            }
            self.sends += 1;
            let route = Route {
                provider: chosen.candidate.provider.clone(),
                model: chosen.candidate.model.clone(),
            };
            self.observer.route_decision(&RouteDecision {
                candidates: pass.judged,
                chosen: Some(route),
                attempt: self.sends,
            });
            if let Some(answer) = self.send(chosen).await? {
                return Ok(answer);
            }
        }
    }

    /// Holds the worst case, made smaller if the budget asks for it; `false`: the candidate is out.
    async fn hold(&mut self, chosen: &mut Chosen<'_>) -> Result<bool, RouteFailure> {
        let now = self.shared.clock.now();
        let input_cost = chosen.price.upper_bound(chosen.input, 0);
        let least = floor(chosen.output);
        for _ in 0..SHRINKS_MAX {
            let amount = chosen.price.upper_bound(chosen.input, u64::from(chosen.output));
            let hold = self.hold_of(chosen.candidate, amount, now);
            // Before the answer: should the call be dropped while it waits, the hold is given back.
            chosen.lease.money = Some(Held {
                hold: hold.clone(),
                price: chosen.price,
                input_estimate: chosen.input,
                streamed_bytes: 0,
            });
            let grant = self.shared.limits.reserve(hold).await;
            match grant.map_err(|error| RouteFailure::Failed(error, FailureClass::Transient))? {
                Grant::Granted => return Ok(true),
                Grant::Refused(refusal) => {
                    chosen.lease.money = None;
                    let for_output = refusal.available().minus(input_cost).pico();
                    let affordable = for_output
                        .checked_div(chosen.price.dearest_output(chosen.input).pico())
                        .and_then(|tokens| u32::try_from(tokens).ok());
                    let affordable = affordable.unwrap_or(0).min(chosen.output.saturating_sub(1));
                    let reason = format!(
                        "budget: needs {}, {} left of {}",
                        refusal.needed,
                        refusal.available(),
                        refusal.limit
                    );
                    if affordable < least {
                        self.refusal.get_or_insert(refusal);
                        self.out.insert(chosen.index, reason);
                        return Ok(false);
                    }
                    chosen.output = affordable;
                }
            }
        }
        self.out
            .insert(chosen.index, "budget: other calls take what is left".to_owned());
        Ok(false)
    }

    fn hold_of(&self, candidate: &Candidate, amount: Money, now: Timestamp) -> Hold {
        Hold {
            intent: self.scope.intent(self.sends + 1),
            run: self.scope.run.clone(),
            step: self.scope.step.clone(),
            agent: self.scope.agent.clone(),
            provider: candidate.provider.clone(),
            model: candidate.model.clone(),
            repository: self.scope.repository.clone(),
            owner: self.scope.owner.clone(),
            amount,
            caps: self
                .shared
                .caps(&candidate.provider, self.scope.max_cost, self.scope.daily_limits),
            day: now.day(&self.shared.settings.zone),
            at: now,
        }
    }

    /// One physical send. An answer, or none when it is worth going on.
    #[tracing::instrument(name = "send", skip_all, fields(provider = %chosen.candidate.provider, model = %chosen.candidate.model, send = self.sends))]
    async fn send(&mut self, mut chosen: Chosen<'_>) -> Result<Option<Answer>, RouteFailure> {
        self.request.model.clone_from(&chosen.candidate.model);
        self.request.max_tokens = chosen.output;
        if std::mem::take(&mut self.has_streamed) {
            self.observer.delta(&Delta::Restarted);
        }
        let (observer, mut has_streamed) = (self.observer, false);
        chosen.lease.send();
        let result = {
            let lease = &mut chosen.lease;
            let mut events = |delta: Delta| {
                has_streamed = true;
                if let Delta::Text(text) | Delta::Reasoning(text) = &delta {
                    lease.streamed(text.len());
                }
                observer.delta(&delta);
            };
            chosen
                .registered
                .provider
                .call(&self.request, &mut events, self.cancel)
                .await
        };
        self.has_streamed = has_streamed;
        match result {
            Ok(response) => Ok(Some(self.succeed(chosen, response).await)),
            Err(failure) => self.fail(chosen, failure).await.map(|()| None),
        }
    }

    async fn succeed(&self, chosen: Chosen<'_>, response: Response) -> Answer {
        let Chosen {
            candidate,
            registered,
            price,
            basis,
            lease,
            ..
        } = chosen;
        // The model that answered decides the price, where that is known.
        let answered = registered
            .settings
            .models
            .get(&response.model)
            .and_then(|model| model.price);
        let price = answered.unwrap_or(price);
        let held = lease.money.as_ref();
        let (usage, cost, confirmed) = match held {
            Some(held) if response.usage.is_empty() && !price.is_free() => {
                let (usage, cost) = held.seen(Usage::default());
                (usage, cost, Confirmation::Unconfirmed)
            }
            _ => (
                response.usage,
                price.cost(response.usage),
                Confirmation::Confirmed,
            ),
        };
        if confirmed == Confirmation::Confirmed {
            let (size, counted) = (self.size, usage.input_total());
            self.shared.with_health(&candidate.provider, |health| {
                health.model(&candidate.model).ratio.learn(size, counted);
            });
        }
        let charge = self.charge(candidate, usage, cost, confirmed);
        lease.settle(usage, cost, confirmed, Report::Well).await;
        self.observer.usage(&charge);
        let (provider, model) = (candidate.provider.clone(), candidate.model.clone());
        Answer {
            response,
            provider,
            model,
            cost,
            price: basis,
        }
    }

    fn charge(&self, candidate: &Candidate, usage: Usage, cost: Money, confirmed: Confirmation) -> Charge {
        let (provider, model) = (candidate.provider.clone(), candidate.model.clone());
        Charge {
            intent: self.scope.intent(self.sends),
            provider,
            model,
            usage,
            cost,
            confirmed,
        }
    }

    async fn fail(&mut self, chosen: Chosen<'_>, failure: CallFailure) -> Result<(), RouteFailure> {
        let Chosen {
            index,
            candidate,
            lease,
            ..
        } = chosen;
        let (usage, cost, confirmed) = match (failure.sent, lease.money.as_ref()) {
            (Sent::Nothing | Sent::Refused, _) | (_, None) => {
                (Usage::default(), Money::ZERO, Confirmation::Confirmed)
            }
            (Sent::Unknown, Some(held)) => (Usage::default(), held.hold.amount, Confirmation::Unconfirmed),
            (Sent::Started, Some(held)) => {
                let (usage, cost) = held.seen(failure.usage_seen);
                (usage, cost, Confirmation::Unconfirmed)
            }
        };
        let is_sick = matches!(failure.class, FailureClass::Transient | FailureClass::Truncated);
        let charge = self.charge(candidate, usage, cost, confirmed);
        lease
            .settle(
                usage,
                cost,
                confirmed,
                if is_sick { Report::Sick } else { Report::Nothing },
            )
            .await;
        if cost > Money::ZERO || !usage.is_empty() {
            self.observer.usage(&charge);
        }
        let class = failure.class;
        tracing::debug!(
            provider = candidate.provider,
            model = candidate.model,
            class = class.as_str(),
            "a model call failed"
        );
        self.last_failure = Some((*failure.error, class));
        self.act_on(class, index, candidate)
    }

    /// Nothing can take the call now: waits if that is worth it.
    async fn wait(&mut self, pass: Pass<'_>, changed: impl Future<Output = ()>) -> Result<(), RouteFailure> {
        let now = self.shared.clock.now();
        let left_ms = self.shared.settings.wait_ms_max.saturating_sub(self.waited_ms);
        let Some(wait_ms) = pass.next.wait_ms(now, left_ms) else {
            let reasons = pass
                .judged
                .iter()
                .map(|judged| format!("{}/{}: {}", judged.provider, judged.model, judged.reason));
            let mut why = reasons.collect::<Vec<_>>().join("; ");
            let class = if pass.next.at.is_some() {
                FailureClass::Transient
            } else {
                FailureClass::Invalid
            };
            if let Some(moment) = pass.next.at {
                why = format!(
                    "{why} (ready in {} ms, later than this call may wait)",
                    moment.since_ms(now)
                );
            }
            self.observer.route_decision(&RouteDecision {
                candidates: pass.judged,
                chosen: None,
                attempt: self.sends + 1,
            });
            return Err(self
                .refusal
                .take()
                .map_or_else(|| self.failed(&why, class), RouteFailure::Budget));
        };
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(RouteFailure::Cancelled),
            () = changed => {}
            () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
        }
        self.waited_ms = self
            .waited_ms
            .saturating_add(self.shared.clock.now().since_ms(now).max(1));
        Ok(())
    }

    /// The end without an answer: the last failure, or why nothing could be tried.
    fn failed(&mut self, why: &str, class: FailureClass) -> RouteFailure {
        if let Some((error, class)) = self.last_failure.take() {
            let error = if error.hints.is_empty() {
                error.hint(why)
            } else {
                error
            };
            return RouteFailure::Failed(error, class);
        }
        let why = if why.is_empty() {
            "no route is configured"
        } else {
            why
        };
        let message = format!(
            "no model can take this call of agent `{}`: {why}",
            self.scope.agent
        );
        let error = Error::new(Kind::Provider, "noRoute", message)
            .hint("run `clode-ls doctor` to see what each provider answers");
        RouteFailure::Failed(error, class)
    }
}

/// Least output tokens that a call is worth making for.
const fn floor(wanted: u32) -> u32 {
    if wanted < OUTPUT_TOKENS_FLOOR {
        wanted
    } else {
        OUTPUT_TOKENS_FLOOR
    }
}
