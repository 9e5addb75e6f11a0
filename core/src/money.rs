//! Money is an integer of picodollars (1e-12 USD), so that the price of one token is exact.
//!
//! Floating point exists only at the edges: parsed with a check, printed for the wire.

use std::fmt;
use std::iter::Sum;

use serde::{Deserialize, Serialize};

/// Picodollars in a dollar.
const PER_DOLLAR: i64 = 1_000_000_000_000;

/// An amount of US dollars in picodollars (1e-12 USD); reaches about nine million dollars.
/// Arithmetic saturates: an absurd sum stays absurdly high and never wraps to cheap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Money(i64);

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// As much as there can be.
    pub const MAX: Self = Self(i64::MAX);

    /// From picodollars.
    pub const fn from_pico(pico: i64) -> Self {
        Self(pico)
    }

    /// In picodollars.
    pub const fn pico(self) -> i64 {
        self.0
    }

    /// From whole dollars.
    pub const fn from_dollars(dollars: i64) -> Self {
        Self(dollars.saturating_mul(PER_DOLLAR))
    }

    /// From a number that a person or a client wrote: finite, not negative, at most a million
    /// dollars; anything else is refused (a NaN would compare as "not over the limit").
    pub fn from_usd(usd: f64) -> Option<Self> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "range checked, rounded to a picodollar"
        )]
        (usd.is_finite() && (0.0..=1_000_000.0).contains(&usd))
            .then(|| Self((usd * PER_DOLLAR as f64).round() as i64))
    }

    /// As the wire shows it: a JSON number of dollars.
    #[expect(clippy::cast_precision_loss, reason = "only shown, never calculated with")]
    pub fn usd(self) -> f64 {
        self.0 as f64 / PER_DOLLAR as f64
    }

    /// Saturating sum.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Saturating difference, never below zero.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        let difference = self.0.saturating_sub(other.0);
        Self(if difference < 0 { 0 } else { difference })
    }

    /// Saturating product, as for `price × tokens`.
    #[must_use]
    pub const fn times(self, count: u64) -> Self {
        let count = if count > i64::MAX as u64 {
            i64::MAX
        } else {
            count.cast_signed()
        };
        Self(self.0.saturating_mul(count))
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::plus)
    }
}

/// Four digits after the point, as progress shows it: `$0.0421`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenth_milli = (i128::from(self.0) + 50_000_000) / 100_000_000;
        write!(f, "${}.{:04}", tenth_milli / 10_000, tenth_milli % 10_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_no_amount_are_refused() {
        for usd in [f64::NAN, f64::INFINITY, -0.01, 1e12] {
            assert_eq!(Money::from_usd(usd), None, "{usd}");
        }
        assert_eq!(Money::from_usd(5.0), Some(Money::from_dollars(5)));
    }

    #[test]
    fn a_million_tokens_at_three_dollars_a_million_cost_three_dollars() {
        let price_per_token = Money::from_pico(3_000_000);
        assert_eq!(price_per_token.times(1_000_000), Money::from_dollars(3));
    }

    #[test]
    fn sums_saturate_instead_of_wrapping_to_cheap() {
        assert_eq!(Money::MAX.plus(Money::from_dollars(1)), Money::MAX);
        assert_eq!(Money::ZERO.minus(Money::from_dollars(1)), Money::ZERO);
    }

    #[test]
    fn shown_with_four_digits() {
        assert_eq!(Money::from_pico(42_100_000_000).to_string(), "$0.0421");
        assert_eq!(Money::from_dollars(12).to_string(), "$12.0000");
    }
}
