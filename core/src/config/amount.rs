//! Numbers that a person writes: dollars, shares, sizes. Finite, not negative, and exact.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error as DeError, Visitor};
use serde::{Serialize, Serializer};

use super::read::wrong;
use crate::money::Money;

/// Digits after the point of a dollar (picodollars).
const DOLLAR_DIGITS: u32 = 12;
/// Digits after the point of a price per million tokens (picodollars per token).
const PRICE_DIGITS: u32 = 6;
/// Most that anybody may write down: a million dollars.
const DOLLARS_MAX: i64 = 1_000_000;

/// `text`, a plain decimal number, times ten to the power of `digits`, without rounding.
pub(crate) fn exact(text: &str, digits: u32) -> Option<i64> {
    const INTEGER_DIGITS_MAX: usize = 12;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let fraction = fraction.trim_end_matches('0');
    if whole.is_empty() || whole.len() > INTEGER_DIGITS_MAX || !plain(whole) || !plain(fraction) {
        return None;
    }
    let missing = digits.checked_sub(u32::try_from(fraction.len()).ok()?)?;
    let fraction: i64 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    let whole: i64 = whole.parse().ok()?;
    whole
        .checked_mul(10_i64.checked_pow(digits)?)?
        .checked_add(fraction.checked_mul(10_i64.checked_pow(missing)?)?)
}

/// Reads a number or a decimal in quotes as its decimal text: floating point ends here.
struct DecimalText {
    expected: &'static str,
}

impl Visitor<'_> for DecimalText {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }
    fn visit_u64<E>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }
    fn visit_i64<E: DeError>(self, number: i64) -> Result<String, E> {
        Err(wrong(&format!("this is the number {number}"), self.expected))
    }
    fn visit_f64<E: DeError>(self, number: f64) -> Result<String, E> {
        // The shortest decimal that means this number: what the person wrote.
        if number.is_finite() && number >= 0.0 {
            Ok(number.to_string())
        } else {
            Err(wrong("this is not such a number", self.expected))
        }
    }
    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.trim().to_owned())
    }
}

macro_rules! money {
    ($(#[$doc:meta])* $name:ident, $digits:expr, $expected:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Money);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = deserializer.deserialize_any(DecimalText { expected: $expected })?;
                exact(&text, $digits)
                    .filter(|amount| *amount <= DOLLARS_MAX.saturating_mul(10_i64.pow($digits)))
                    .map(|amount| Self(Money::from_pico(amount)))
                    .ok_or_else(|| wrong("this is no such amount", $expected))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&plain(self.0.pico(), $digits))
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "description": $expected,
                    "type": ["number", "string"],
                    "minimum": 0,
                    "maximum": DOLLARS_MAX,
                    "pattern": r"^[0-9]+(\.[0-9]+)?$",
                })
            }
        }
    };
}

money!(
    /// An amount of US dollars as written in a file.
    Dollars,
    DOLLAR_DIGITS,
    "US dollars: a finite number from 0 to 1000000"
);
money!(
    /// A price in US dollars per million tokens as written in a file; holds the price of one token.
    PerMillion,
    PRICE_DIGITS,
    "US dollars per million tokens: a number from 0 with at most 6 digits after the point"
);

/// The decimal text of `amount` / 10^`digits`.
fn plain(amount: i64, digits: u32) -> String {
    let scale = 10_i64.pow(digits);
    let fraction = format!("{:0width$}", amount % scale, width = digits as usize);
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() {
        (amount / scale).to_string()
    } else {
        format!("{}.{fraction}", amount / scale)
    }
}

/// A part of a whole, from 0 to 1, in ten-thousandths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u16);

impl Share {
    const WHOLE: u16 = 10_000;

    /// In ten-thousandths.
    pub const fn ten_thousandths(self) -> u16 {
        self.0
    }

    /// This part of an amount.
    pub fn of(self, amount: Money) -> Money {
        let part = i128::from(amount.pico()) * i128::from(self.0) / i128::from(Self::WHOLE);
        Money::from_pico(i64::try_from(part).unwrap_or(i64::MAX))
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a share: a number from 0 to 1";
        let text = deserializer.deserialize_any(DecimalText { expected: EXPECTED })?;
        exact(&text, 4)
            .and_then(|share| u16::try_from(share).ok())
            .filter(|share| *share <= Self::WHOLE)
            .map(Self)
            .ok_or_else(|| wrong("this is no share", EXPECTED))
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.0) / f64::from(Self::WHOLE))
    }
}

impl JsonSchema for Share {
    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "A part of a whole.", "type": "number", "minimum": 0, "maximum": 1 })
    }
}

/// A plain number, not negative, in millionths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(i64);

impl Quantity {
    const DIGITS: u32 = 6;

    /// In millionths.
    pub const fn millionths(self) -> i64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a finite number, 0 or more";
        let text = deserializer.deserialize_any(DecimalText { expected: EXPECTED })?;
        exact(&text, Self::DIGITS)
            .map(Self)
            .ok_or_else(|| wrong("this is no such number", EXPECTED))
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&plain(self.0, Self::DIGITS))
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "A finite number, 0 or more.", "type": "number", "minimum": 0 })
    }
}

/// A size in bytes: a whole number, or text such as `20 GiB` or `500MB`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

impl ByteSize {
    fn parse(text: &str) -> Option<Self> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at_checked(digits)?;
        let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(factor).map(Self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a size such as 20GiB, 500MB or a whole number of bytes";
        let text = deserializer.deserialize_any(DecimalText { expected: EXPECTED })?;
        Self::parse(&text).ok_or_else(|| wrong("this is no size", EXPECTED))
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of bytes, or text such as 20GiB or 500MB.",
            "type": ["integer", "string"],
            "minimum": 0,
            "pattern": "^[0-9]+ ?([kKmMgG]?[iI]?[bB])?$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_become_integers_without_rounding() {
        assert_eq!(exact("0.10", PRICE_DIGITS), Some(100_000));
        assert_eq!(exact("4", PRICE_DIGITS), Some(4_000_000));
        assert_eq!(exact("0.000001", PRICE_DIGITS), Some(1));
        assert_eq!(
            exact("0.0000001", PRICE_DIGITS),
            None,
            "finer than a picodollar per token"
        );
        for text in [
            "",
            ".",
            "-1",
            "1e3",
            "NaN",
            "inf",
            "1.2.3",
            "9999999999999",
            "+1",
            " 1",
        ] {
            assert_eq!(exact(text, PRICE_DIGITS), None, "{text:?}");
        }
    }

    #[test]
    fn amounts_are_shown_as_they_were_written() {
        assert_eq!(plain(100_000, PRICE_DIGITS), "0.1");
        assert_eq!(plain(4_000_000, PRICE_DIGITS), "4");
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(ByteSize::parse("20 GiB"), Some(ByteSize(20 << 30)));
        assert_eq!(ByteSize::parse("500MB"), Some(ByteSize(500_000_000)));
        assert_eq!(ByteSize::parse("12 apples"), None);
        assert_eq!(ByteSize::parse("99999999999GiB"), None);
    }
}
