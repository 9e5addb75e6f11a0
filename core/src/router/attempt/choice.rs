//! One pass over the candidates of a call: who can take it, and why the others cannot.

use super::{Call, floor};
use crate::clock::Timestamp;
use crate::provider::Price;
use crate::router::decision::{Judged, Verdict};
use crate::router::health::{NotNow, When};
use crate::router::lease::Lease;
use crate::router::pricing::{PriceBasis, price_of};
use crate::router::{Candidate, Registered};

/// A candidate that can take the call.
pub(super) struct Chosen<'a> {
    pub(super) index: usize,
    pub(super) candidate: &'a Candidate,
    pub(super) registered: &'a Registered,
    pub(super) price: Price,
    pub(super) basis: PriceBasis,
    pub(super) input: u64,
    pub(super) output: u32,
    pub(super) lease: Lease,
}

/// What a pass over the candidates found.
pub(super) struct Pass<'a> {
    pub(super) judged: Vec<Judged>,
    pub(super) chosen: Option<Chosen<'a>>,
    /// When it is worth another pass.
    pub(super) next: Next,
}

/// When another pass over the candidates may find more: at this moment, or when a call ends.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Next {
    pub(super) at: Option<Timestamp>,
    pub(super) when_a_call_ends: bool,
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
    pub(super) fn wait_ms(self, now: Timestamp, left_ms: u64) -> Option<u64> {
        let until_then = self
            .at
            .map(|moment| moment.since_ms(now).max(1))
            .filter(|wait_ms| *wait_ms <= left_ms);
        until_then.or((self.when_a_call_ends && left_ms > 0).then_some(left_ms))
    }
}

impl<'a> Call<'a> {
    /// One pass over the candidates in their order; takes the allowance of the first that is ready.
    pub(super) fn look(&self) -> Pass<'a> {
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
        let has_budget = !self
            .shared
            .caps(provider, self.scope.max_cost, self.scope.daily_limits)
            .is_empty();
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
}
