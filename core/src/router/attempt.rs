//! The attempt loop of one call: choose, hold, send, settle, and decide what a failure means.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::decision::{Judged, Route, RouteDecision, Verdict};
use super::estimate::Size;
use super::health::{NotNow, When};
use super::lease::{Held, Lease, Report};
use super::limits::{BudgetRefusal, Confirmation, Grant, Hold};
use super::pricing::{PriceBasis, price_of};
use super::settings::OUTPUT_TOKENS_FLOOR;
use super::{Answer, CallObserver, CallScope, Candidate, Charge, Registered, RouteFailure, Shared};
use crate::clock::Timestamp;
use crate::error::{Error, Kind};
use crate::money::Money;
use crate::provider::{CallFailure, Delta, FailureClass, Price, Request, Response, Sent, Usage};

/// How long a provider that is throttled without saying for how long is left alone.
const THROTTLE_MS_DEFAULT: u64 = 5_000;
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

/// A candidate that can take the call.
struct Chosen<'a> {
    index: usize,
    candidate: &'a Candidate,
    registered: &'a Registered,
    price: Price,
    basis: PriceBasis,
    input: u64,
    output: u32,
    lease: Lease,
}

/// What a pass over the candidates found.
struct Pass<'a> {
    judged: Vec<Judged>,
    chosen: Option<Chosen<'a>>,
    /// When it is worth another pass.
    next: Next,
}

/// When another pass over the candidates may find more: at this moment, or when a call ends.
#[derive(Debug, Clone, Copy, Default)]
struct Next {
    at: Option<Timestamp>,
    when_a_call_ends: bool,
}

impl Next {
    fn note(&mut self, when: When) {
        match when {
            When::At(moment) => self.at = Some(self.at.map_or(moment, |known| known.min(moment))),
            When::ACallEnds => self.when_a_call_ends = true,
            When::NotInThisCall => {}
        }
    }

    /// How long to wait, if it is worth it in the time that is left.
    fn wait_ms(self, now: Timestamp, left_ms: u64) -> Option<u64> {
        let until_then = self
            .at
            .map(|moment| moment.since_ms(now).max(1))
            .filter(|wait_ms| *wait_ms <= left_ms);
        until_then.or((self.when_a_call_ends && left_ms > 0).then_some(left_ms))
    }
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

    /// One pass over the candidates in their order; takes the allowance of the first that is ready.
    fn look(&self) -> Pass<'a> {
        let now = self.shared.clock.now();
        let mut pass = Pass {
            judged: Vec::new(),
            chosen: None,
            next: Next::default(),
        };
        for (index, candidate) in self.shared.candidates(&self.scope.agent).iter().enumerate() {
            let (verdict, reason) = if pass.chosen.is_some() {
                (Verdict::Standby, candidate.reason.clone())
            } else {
                match self.judge(index, candidate, now) {
                    Ok(chosen) => {
                        let mut reason = candidate.reason.clone();
                        match chosen.basis {
                            PriceBasis::Known => {}
                            PriceBasis::Assumed if chosen.price.is_free() => {
                                reason.push_str("; no price is known: its cost is not counted");
                            }
                            PriceBasis::Assumed => {
                                reason
                                    .push_str("; no price is known: counted at the dearest of its provider");
                            }
                        }
                        pass.chosen = Some(chosen);
                        (Verdict::Chosen, reason)
                    }
                    Err(not_now) => {
                        pass.next.note(not_now.when);
                        (Verdict::Skipped, not_now.reason)
                    }
                }
            };
            let (provider, model) = (candidate.provider.clone(), candidate.model.clone());
            pass.judged.push(Judged {
                provider,
                model,
                verdict,
                reason,
            });
        }
        pass
    }

    fn judge(&self, index: usize, candidate: &'a Candidate, now: Timestamp) -> Result<Chosen<'a>, NotNow> {
        if let Some(reason) = self.out.get(&index) {
            return Err(NotNow::out(reason.clone()));
        }
        let provider = candidate.provider.as_str();
        let registered = self
            .shared
            .providers
            .get(provider)
            .ok_or_else(|| NotNow::out(format!("no provider `{provider}` is configured")))?;
        if let Some(reason) = registered.missing_key() {
            return Err(NotNow::out(reason));
        }
        let models = &registered.settings.models;
        let has_budget = !self.shared.caps(provider, self.scope.max_cost).is_empty();
        let (price, basis) = match price_of(models, &candidate.model) {
            Some(known) => known,
            None if has_budget => return Err(NotNow::out("no known price, and a budget is set")),
            None => (Price::default(), PriceBasis::Assumed),
        };
        let input = self
            .shared
            .with_health(provider, |health| {
                health.model(&candidate.model).ratio.tokens(self.size)
            })
            .unwrap_or(0);
        let output = self
            .output_that_fits(registered, &candidate.model, input)
            .map_err(NotNow::out)?;
        if let Some(until) = self.resting.get(&index).filter(|until| now < **until) {
            return Err(NotNow::until(*until, now, "rests after a failure"));
        }
        let tokens = input.saturating_add(u64::from(output));
        let begun = self
            .shared
            .with_health(provider, |health| health.begin(&candidate.model, tokens, now));
        let ticket = begun.unwrap_or_else(|| Err(NotNow::out("not configured")))?;
        let lease = Lease::new(self.shared, provider, &candidate.model, ticket, tokens);
        Ok(Chosen {
            index,
            candidate,
            registered,
            price,
            basis,
            input,
            output,
            lease,
        })
    }

    /// Output tokens that the model and its window have room for.
    fn output_that_fits(&self, registered: &Registered, model: &str, input: u64) -> Result<u32, String> {
        let wanted = self.wanted;
        let settings = registered.settings.models.get(model);
        let wanted = settings
            .and_then(|model| model.max_output)
            .map_or(wanted, |most| wanted.min(most.max(1)));
        let Some(window) = settings.and_then(|model| model.context_window) else {
            return Ok(wanted);
        };
        let room = u32::try_from(window.saturating_sub(input)).unwrap_or(u32::MAX);
        if room < floor(wanted) {
            return Err(format!(
                "context too small: about {input} tokens of input in a window of {window}"
            ));
        }
        Ok(wanted.min(room))
    }

    /// Holds the worst case, made smaller if the budget asks for it; `false`: the candidate is out.
    async fn hold(&mut self, chosen: &mut Chosen<'_>) -> Result<bool, RouteFailure> {
        let now = self.shared.clock.now();
        let input_cost = chosen.price.dearest_input().times(chosen.input);
        let least = floor(chosen.output);
        for _ in 0..SHRINKS_MAX {
            let amount = input_cost.plus(chosen.price.output.times(u64::from(chosen.output)));
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
                        .checked_div(chosen.price.output.pico())
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
            caps: self.shared.caps(&candidate.provider, self.scope.max_cost),
            day: now.day(&self.shared.settings.zone),
            at: now,
        }
    }

    /// One physical send. An answer, or none when it is worth going on.
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

    /// The table of classes: what each failure means for this candidate and for the others.
    fn act_on(
        &mut self,
        class: FailureClass,
        index: usize,
        candidate: &Candidate,
    ) -> Result<(), RouteFailure> {
        let now = self.shared.clock.now();
        let provider = candidate.provider.as_str();
        match class {
            FailureClass::Throttled { retry_after } => {
                let asked = retry_after.map_or(THROTTLE_MS_DEFAULT, |wait| {
                    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
                });
                let until = later(now, asked.max(self.pause_ms(index)));
                self.shared
                    .with_health(provider, |health| health.throttle(&candidate.model, until));
            }
            FailureClass::Transient | FailureClass::Truncated => {
                let until = later(now, self.pause_ms(index));
                self.resting.insert(index, until);
            }
            FailureClass::Auth | FailureClass::Billing => {
                let reason = self
                    .last_failure
                    .as_ref()
                    .and_then(|(error, _)| error.first_hint())
                    .unwrap_or(class.as_str())
                    .to_owned();
                self.shared
                    .with_health(provider, |health| health.block(&reason, now));
                let of_provider = self
                    .shared
                    .candidates(&self.scope.agent)
                    .iter()
                    .enumerate()
                    .filter(|(_, other)| other.provider == provider);
                let out: Vec<usize> = of_provider.map(|(index, _)| index).collect();
                self.out
                    .extend(out.into_iter().map(|index| (index, reason.clone())));
            }
            FailureClass::NotFound => {
                self.shared
                    .with_health(provider, |health| health.miss(&candidate.model, now));
                self.out
                    .insert(index, "the provider does not know the model".to_owned());
            }
            FailureClass::ContextOverflow => self.keep_only_larger_than(candidate),
            FailureClass::Cancelled => return Err(RouteFailure::Cancelled),
            FailureClass::ContentPolicy | FailureClass::Invalid => {
                return Err(self.failed(class.as_str(), class));
            }
        }
        Ok(())
    }

    /// Milliseconds of rest after one more failure of this candidate: doubling, with seeded jitter.
    fn pause_ms(&mut self, index: usize) -> u64 {
        let failures = self.failures.entry(index).or_insert(0);
        let retry = self.shared.settings.retry;
        let longest = retry
            .initial_ms
            .saturating_mul(1_u64.checked_shl(*failures).unwrap_or(u64::MAX))
            .min(retry.max_ms);
        *failures = failures.saturating_add(1).min(63);
        if !retry.jitter {
            return longest;
        }
        let seed = blake3::hash(self.scope.intent(self.sends).as_str().as_bytes());
        let drawn = seed
            .as_bytes()
            .iter()
            .take(8)
            .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        drawn % longest.saturating_add(1).max(1)
    }

    fn keep_only_larger_than(&mut self, candidate: &Candidate) {
        let shared = self.shared;
        let window = |candidate: &Candidate| {
            shared
                .providers
                .get(&candidate.provider)
                .and_then(|registered| registered.settings.models.get(&candidate.model)?.context_window)
        };
        let too_small = window(candidate);
        for (index, other) in shared.candidates(&self.scope.agent).iter().enumerate() {
            let is_larger = window(other)
                .zip(too_small)
                .is_some_and(|(other, too_small)| other > too_small);
            if !is_larger {
                self.out.entry(index).or_insert_with(|| {
                    "the input did not fit, and its window is not known to be larger".to_owned()
                });
            }
        }
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

const fn floor(wanted: u32) -> u32 {
    if wanted < OUTPUT_TOKENS_FLOOR {
        wanted
    } else {
        OUTPUT_TOKENS_FLOOR
    }
}

fn later(now: Timestamp, ms: u64) -> Timestamp {
    now.plus_ms(i64::try_from(ms).unwrap_or(i64::MAX))
}
