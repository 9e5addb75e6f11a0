//! What a failure means: for this candidate, for the others, and for how soon to try again.

use super::Call;
use crate::clock::Timestamp;
use crate::provider::FailureClass;
use crate::router::{Candidate, RouteFailure};

/// How long a provider that is throttled without saying for how long is left alone.
const THROTTLE_MS_DEFAULT: u64 = 5_000;

impl Call<'_> {
    /// The table of classes: what each failure means for this candidate and for the others.
    pub(super) fn act_on(
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
}

fn later(now: Timestamp, ms: u64) -> Timestamp {
    now.plus_ms(i64::try_from(ms).unwrap_or(i64::MAX))
}
