//! What a provider may be asked for now: requests and tokens a minute as buckets that refill all
//! the time (no clock minutes, which let twice as much pass at their boundary), and how many at once.

use crate::clock::Timestamp;

use super::settings::ProviderLimits;

/// A level counts in parts of a token, so that each millisecond refills a whole number of parts.
const PARTS: i64 = 60_000;
/// Largest limit that is kept exactly.
const PER_MINUTE_MAX: u64 = 1_000_000_000_000;

/// Tokens that refill evenly up to a minute's worth.
#[derive(Debug)]
struct Bucket {
    per_minute: i64,
    level: i64,
    at: Timestamp,
}

impl Bucket {
    fn full(per_minute: u64, now: Timestamp) -> Self {
        let per_minute = i64::try_from(per_minute.clamp(1, PER_MINUTE_MAX)).unwrap_or(1);
        Self {
            per_minute,
            level: per_minute.saturating_mul(PARTS),
            at: now,
        }
    }

    fn capacity(&self) -> i64 {
        self.per_minute.saturating_mul(PARTS)
    }

    fn refill(&mut self, now: Timestamp) {
        // A clock that goes back refills nothing.
        let passed = i64::try_from(now.since_ms(self.at)).unwrap_or(i64::MAX);
        self.level = self
            .level
            .saturating_add(passed.saturating_mul(self.per_minute))
            .min(self.capacity());
        self.at = now;
    }

    /// Milliseconds until so many can be taken. More than the bucket holds may be taken from a full
    /// one, which then owes the rest.
    fn wait_ms(&self, amount: u64) -> u64 {
        let wanted = parts(amount).min(self.capacity());
        let missing = wanted.saturating_sub(self.level).max(0);
        u64::try_from(missing.saturating_add(self.per_minute - 1) / self.per_minute).unwrap_or(0)
    }

    fn take(&mut self, amount: u64) {
        self.level = self.level.saturating_sub(parts(amount));
    }

    fn give_back(&mut self, amount: u64) {
        self.level = self.level.saturating_add(parts(amount)).min(self.capacity());
    }

    fn used(&self) -> u64 {
        u64::try_from((self.capacity().saturating_sub(self.level)).saturating_add(PARTS - 1) / PARTS)
            .unwrap_or(0)
    }
}

fn parts(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX).saturating_mul(PARTS)
}

/// Why nothing can be taken now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shortage {
    /// Requests a minute, for so long.
    Requests { wait_ms: u64 },
    /// Tokens a minute, for so long.
    Tokens { wait_ms: u64 },
    /// As many calls as allowed are in flight.
    Slots,
}

/// The allowance of one provider.
#[derive(Debug)]
pub(super) struct Allowance {
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
    slots: Option<u32>,
    running: u32,
}

impl Allowance {
    pub(super) fn new(limits: ProviderLimits, now: Timestamp) -> Self {
        Self {
            requests: limits.rpm.map(|rpm| Bucket::full(rpm, now)),
            tokens: limits.tpm.map(|tpm| Bucket::full(tpm, now)),
            slots: limits.concurrency.map(|slots| slots.max(1)),
            running: 0,
        }
    }

    /// Takes one request, its tokens and a slot, all or nothing.
    pub(super) fn take(&mut self, tokens: u64, now: Timestamp) -> Result<(), Shortage> {
        self.refill(now);
        if self.slots.is_some_and(|slots| self.running >= slots) {
            return Err(Shortage::Slots);
        }
        let requests_ms = self.requests.as_ref().map_or(0, |bucket| bucket.wait_ms(1));
        let tokens_ms = self.tokens.as_ref().map_or(0, |bucket| bucket.wait_ms(tokens));
        if requests_ms > 0 && requests_ms >= tokens_ms {
            return Err(Shortage::Requests { wait_ms: requests_ms });
        }
        if tokens_ms > 0 {
            return Err(Shortage::Tokens { wait_ms: tokens_ms });
        }
        if let Some(bucket) = &mut self.requests {
            bucket.take(1);
        }
        if let Some(bucket) = &mut self.tokens {
            bucket.take(tokens);
        }
        self.running = self.running.saturating_add(1);
        Ok(())
    }

    /// The call was never sent: everything goes back.
    pub(super) fn undo(&mut self, tokens: u64, now: Timestamp) {
        self.refill(now);
        if let Some(bucket) = &mut self.requests {
            bucket.give_back(1);
        }
        self.finish(tokens, 0, now);
    }

    /// The call ended: the slot is free, the tokens are corrected to what was used.
    pub(super) fn finish(&mut self, taken: u64, used: u64, now: Timestamp) {
        self.refill(now);
        if let Some(bucket) = &mut self.tokens {
            bucket.give_back(taken.saturating_sub(used));
            bucket.take(used.saturating_sub(taken));
        }
        self.running = self.running.saturating_sub(1);
    }

    fn refill(&mut self, now: Timestamp) {
        for bucket in [&mut self.requests, &mut self.tokens].into_iter().flatten() {
            bucket.refill(now);
        }
    }

    /// Requests and tokens of the last minute, as far as they are limited.
    pub(super) fn used(&mut self, now: Timestamp) -> (u64, u64) {
        self.refill(now);
        let used = |bucket: &Option<Bucket>| bucket.as_ref().map_or(0, Bucket::used);
        (used(&self.requests), used(&self.tokens))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_000_000);

    fn allowance(rpm: Option<u64>, tpm: Option<u64>, concurrency: Option<u32>) -> Allowance {
        Allowance::new(
            ProviderLimits {
                rpm,
                tpm,
                concurrency,
                daily_budget: None,
            },
            START,
        )
    }

    #[test]
    fn a_minutes_worth_passes_at_once_and_then_one_after_the_other_without_a_jump_at_the_minute() {
        let mut allowance = allowance(Some(10), None, None);
        let admitted = (0..100).filter(|_| allowance.take(1, START).is_ok()).count();
        assert_eq!(admitted, 10);
        assert_eq!(
            allowance.take(1, START),
            Err(Shortage::Requests { wait_ms: 6_000 })
        );
        assert_eq!(
            allowance.take(1, START.plus_ms(5_999)),
            Err(Shortage::Requests { wait_ms: 1 })
        );
        let later = START.plus_ms(60_000);
        let admitted = (0..100).filter(|_| allowance.take(1, later).is_ok()).count();
        assert_eq!(admitted, 10);
    }

    #[test]
    fn requests_and_tokens_are_taken_together_or_not_at_all() {
        let mut allowance = allowance(Some(10), Some(1_000), None);
        assert_eq!(allowance.take(900, START), Ok(()));
        assert_eq!(
            allowance.take(900, START),
            Err(Shortage::Tokens { wait_ms: 48_000 })
        );
        assert_eq!(
            allowance.used(START),
            (1, 900),
            "the refused call took no request"
        );
        allowance.finish(900, 100, START);
        assert_eq!(
            allowance.take(900, START),
            Ok(()),
            "what was not used is given back"
        );
        allowance.undo(900, START);
        assert_eq!(allowance.used(START), (1, 100));
    }

    #[test]
    fn a_call_larger_than_the_bucket_passes_when_it_is_full_and_is_paid_off() {
        let mut allowance = allowance(None, Some(1_000), None);
        assert_eq!(allowance.take(3_000, START), Ok(()));
        assert_eq!(
            allowance.take(1, START),
            Err(Shortage::Tokens { wait_ms: 120_060 })
        );
    }

    #[test]
    fn slots_are_freed_by_the_end_of_a_call_and_a_clock_that_goes_back_refills_nothing() {
        let mut allowance = allowance(Some(1), None, Some(1));
        assert_eq!(allowance.take(1, START), Ok(()));
        assert_eq!(allowance.take(1, START.plus_ms(120_000)), Err(Shortage::Slots));
        allowance.finish(1, 1, START);
        assert_eq!(
            allowance.take(1, START.plus_ms(-100_000)),
            Ok(()),
            "refilled before the clock went back"
        );
        allowance.finish(1, 1, START.plus_ms(-100_000));
        assert_eq!(
            allowance.take(1, START.plus_ms(-100_000)),
            Err(Shortage::Requests { wait_ms: 60_000 })
        );
    }
}
