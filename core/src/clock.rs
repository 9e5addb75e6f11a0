//! Time enters through here, as a value; nothing else in `clode-core` asks the system for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This moment plus so many milliseconds.
    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment, never negative.
    pub fn since_ms(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }

    /// RFC 3339 in UTC, as on the wire.
    pub fn rfc3339(self) -> String {
        jiff::Timestamp::from_millisecond(self.0)
            .map_or_else(|_| "1970-01-01T00:00:00Z".to_owned(), |time| time.to_string())
    }

    /// The calendar day in this time zone, as `2026-11-24`.
    pub fn day(self, zone: &jiff::tz::TimeZone) -> String {
        jiff::Timestamp::from_millisecond(self.0).map_or_else(
            |_| "1970-01-01".to_owned(),
            |time| time.to_zoned(zone.clone()).date().to_string(),
        )
    }

    /// The moment when the calendar day in this time zone ends.
    #[must_use]
    pub fn end_of_day(self, zone: &jiff::tz::TimeZone) -> Self {
        jiff::Timestamp::from_millisecond(self.0)
            .ok()
            .and_then(|time| time.to_zoned(zone.clone()).tomorrow().ok()?.start_of_day().ok())
            .map_or(self, |start| Self(start.timestamp().as_millisecond()))
    }
}

/// The port through which time enters.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_millisecond())
    }
}

/// The machine's clock, days ahead: lets a test of the program see what takes days. Only builds with debug
/// assertions have it.
#[cfg(debug_assertions)]
#[derive(Debug, Clone, Copy)]
pub struct ClockAhead {
    /// How many.
    pub days: u16,
}

#[cfg(debug_assertions)]
impl Clock for ClockAhead {
    fn now(&self) -> Timestamp {
        const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
        SystemClock.now().plus_ms(i64::from(self.days) * DAY_MS)
    }
}

/// A clock that moves when told to; for tests and simulation.
#[derive(Debug, Clone, Default)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// Starts at this moment.
    pub fn at(start: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(start.0)))
    }

    /// Moves on.
    pub fn advance_ms(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}
