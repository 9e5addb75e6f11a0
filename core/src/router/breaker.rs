//! Keeps calls away from a route that is sick, and lets exactly one through to see whether it is
//! well again. Throttling is no sickness and does not come here.

use crate::clock::Timestamp;

use super::settings::BreakerSettings;

const SLOTS: usize = 10;
const SLOTS_IN_TIME: i64 = 10;

/// Whether calls may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until: Timestamp,
    },
    /// One call is out to see.
    Probing,
}

/// As it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Circuit {
    /// Calls pass.
    Closed,
    /// One call may pass, or is out, to see.
    HalfOpen,
    /// No call passes.
    Open,
}

/// Why no call may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    /// Until then.
    Until(Timestamp),
    /// A probe is out.
    WhileProbing,
}

/// The right to report about one call. What was begun before the last change of state reports in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    generation: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    number: i64,
    calls: u32,
    failures: u32,
}

#[derive(Debug)]
pub(super) struct Breaker {
    settings: BreakerSettings,
    state: State,
    generation: u64,
    in_a_row: u32,
    openings: u32,
    slots: [Slot; SLOTS],
}

impl Breaker {
    pub(super) fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            state: State::Closed,
            generation: 0,
            in_a_row: 0,
            openings: 0,
            slots: [Slot::default(); SLOTS],
        }
    }

    /// Whether a call may pass now.
    pub(super) fn check(&self, now: Timestamp) -> Result<(), Closed> {
        match self.state {
            State::Open { until } if now < until => Err(Closed::Until(until)),
            State::Probing => Err(Closed::WhileProbing),
            State::Closed | State::Open { .. } => Ok(()),
        }
    }

    pub(super) fn circuit(&self, now: Timestamp) -> Circuit {
        match self.state {
            State::Closed => Circuit::Closed,
            State::Open { until } if now < until => Circuit::Open,
            State::Open { .. } | State::Probing => Circuit::HalfOpen,
        }
    }

    /// A call passes; after an opening it is the probe.
    pub(super) fn begin(&mut self) -> Ticket {
        if matches!(self.state, State::Open { .. }) {
            self.change(State::Probing);
        }
        Ticket {
            generation: self.generation,
        }
    }

    pub(super) fn succeed(&mut self, ticket: Ticket, now: Timestamp) {
        if ticket.generation != self.generation {
            return;
        }
        if self.state == State::Probing {
            self.reset();
        }
        self.in_a_row = 0;
        self.openings = 0;
        self.slot(now).calls += 1;
    }

    pub(super) fn fail(&mut self, ticket: Ticket, now: Timestamp) {
        if ticket.generation != self.generation {
            return;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        let slot = self.slot(now);
        slot.calls += 1;
        slot.failures += 1;
        let (calls, failures) = self.recent(now);
        let is_bad_share = calls >= self.settings.volume_min
            && u64::from(failures) * 100 >= u64::from(calls) * u64::from(self.settings.failure_percent);
        if self.state == State::Probing || self.in_a_row >= self.settings.failures || is_bad_share {
            let factor = 1_u64.checked_shl(self.openings.min(32)).unwrap_or(u64::MAX);
            let open_ms = self
                .settings
                .open_ms
                .saturating_mul(factor)
                .min(self.settings.open_ms_max);
            self.openings = self.openings.saturating_add(1);
            self.change(State::Open {
                until: now.plus_ms(i64::try_from(open_ms).unwrap_or(i64::MAX)),
            });
        }
    }

    /// The call ended without telling anything about the route's health.
    pub(super) fn abandon(&mut self, ticket: Ticket, now: Timestamp) {
        if ticket.generation == self.generation && self.state == State::Probing {
            self.change(State::Open { until: now });
        }
    }

    /// The route is known to be well.
    pub(super) fn reset(&mut self) {
        self.change(State::Closed);
        self.openings = 0;
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.generation = self.generation.wrapping_add(1);
        self.in_a_row = 0;
        self.slots = [Slot::default(); SLOTS];
    }

    fn slot_number(&self, now: Timestamp) -> i64 {
        let slot_ms = (self.settings.window_ms / SLOTS as u64).max(1);
        now.0.div_euclid(i64::try_from(slot_ms).unwrap_or(i64::MAX))
    }

    fn slot(&mut self, now: Timestamp) -> &mut Slot {
        let number = self.slot_number(now);
        let place = usize::try_from(number.rem_euclid(SLOTS_IN_TIME)).unwrap_or(0) % SLOTS;
        let slot = &mut self.slots[place];
        if slot.number != number {
            *slot = Slot {
                number,
                ..Slot::default()
            };
        }
        slot
    }

    fn recent(&self, now: Timestamp) -> (u32, u32) {
        let oldest = self.slot_number(now).saturating_sub(SLOTS_IN_TIME);
        let recent = self.slots.iter().filter(|slot| slot.number > oldest);
        recent.fold((0, 0), |(calls, failures), slot| {
            (calls + slot.calls, failures + slot.failures)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_000_000);

    fn breaker() -> Breaker {
        Breaker::new(BreakerSettings::default())
    }

    fn fail(breaker: &mut Breaker, now: Timestamp) {
        let ticket = breaker.begin();
        breaker.fail(ticket, now);
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_each_opening_lasts_longer_until_a_success() {
        let mut breaker = breaker();
        (0..4).for_each(|_| fail(&mut breaker, START));
        assert_eq!(breaker.check(START), Ok(()));
        fail(&mut breaker, START);
        assert_eq!(breaker.check(START), Err(Closed::Until(START.plus_ms(5_000))));

        let mut now = START;
        for open_ms in [5_000, 10_000, 20_000, 40_000, 80_000, 120_000, 120_000] {
            now = now.plus_ms(open_ms);
            assert_eq!(breaker.circuit(now), Circuit::HalfOpen, "after {open_ms}");
            assert_eq!(breaker.circuit(now.plus_ms(-1)), Circuit::Open);
            fail(&mut breaker, now);
        }
        let now = now.plus_ms(120_000);
        let probe = breaker.begin();
        breaker.succeed(probe, now);
        assert_eq!(breaker.circuit(now), Circuit::Closed);
        // One good call and four bad ones: the share opens it.
        (0..4).for_each(|_| fail(&mut breaker, now));
        assert_eq!(
            breaker.check(now),
            Err(Closed::Until(now.plus_ms(5_000))),
            "a success resets the length"
        );
    }

    #[test]
    fn exactly_one_probe_passes_and_an_abandoned_one_leaves_room_for_the_next() {
        let mut breaker = breaker();
        (0..5).for_each(|_| fail(&mut breaker, START));
        let now = START.plus_ms(5_000);
        assert_eq!(breaker.check(now), Ok(()));
        let probe = breaker.begin();
        assert_eq!(breaker.check(now), Err(Closed::WhileProbing));
        breaker.abandon(probe, now);
        assert_eq!(breaker.check(now), Ok(()));
    }

    #[test]
    fn stragglers_from_before_can_neither_open_nor_close_it() {
        let mut breaker = breaker();
        let early = breaker.begin();
        (0..5).for_each(|_| fail(&mut breaker, START));
        breaker.succeed(early, START);
        assert_eq!(breaker.circuit(START), Circuit::Open);
        let now = START.plus_ms(5_000);
        let probe = breaker.begin();
        breaker.fail(early, now);
        assert_eq!(breaker.check(now), Err(Closed::WhileProbing));
        breaker.succeed(probe, now);
        breaker.fail(early, now);
        assert_eq!(breaker.circuit(now), Circuit::Closed);
    }

    #[test]
    fn half_of_the_calls_failing_opens_it_only_with_enough_calls_in_the_window() {
        let mut breaker = breaker();
        for round in 0..2 {
            fail(&mut breaker, START);
            let ticket = breaker.begin();
            breaker.succeed(ticket, START);
            assert_eq!(breaker.circuit(START), Circuit::Closed, "round {round}");
        }
        let much_later = START.plus_ms(61_000);
        fail(&mut breaker, much_later);
        assert_eq!(
            breaker.circuit(much_later),
            Circuit::Closed,
            "what was long ago does not count"
        );
        let mut breaker = self::breaker();
        for _ in 0..2 {
            fail(&mut breaker, START);
            let ticket = breaker.begin();
            breaker.succeed(ticket, START);
        }
        fail(&mut breaker, START);
        assert_eq!(breaker.circuit(START), Circuit::Open);
    }
}
