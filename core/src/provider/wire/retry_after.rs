//! How long a provider asks to wait, in all the forms that are in use.

use std::time::Duration;

use reqwest::header::HeaderMap;

use crate::clock::Timestamp;

/// Longest wait that a provider can impose.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// What the provider asks for, else when the
/// allowance that ran out is full again. Bounded by [`RETRY_AFTER_MAX`].
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
    };
    let asked = [
        text("retry-after-ms")
            .and_then(|text| text.parse::<f64>().ok())
            .and_then(|ms| seconds(ms / 1000.0)),
        text("retry-after").and_then(|text| match text.parse::<f64>() {
            Ok(number) => seconds(number),
            Err(_) => until_date(text, now),
        }),
    ];
    let wait = asked.into_iter().flatten().max().or_else(|| {
        let allowances = [
            "anthropic-ratelimit-requests",
            "anthropic-ratelimit-tokens",
            "anthropic-ratelimit-input-tokens",
            "anthropic-ratelimit-output-tokens",
        ];
        let anthropic = allowances.map(|name| (format!("{name}-remaining"), format!("{name}-reset")));
        let others = ["requests", "tokens"].map(|what| {
            (
                format!("x-ratelimit-remaining-{what}"),
                format!("x-ratelimit-reset-{what}"),
            )
        });
        let used_up = anthropic
            .iter()
            .chain(&others)
            .filter(|(remaining, _)| text(remaining).is_some_and(|left| left == "0"));
        let resets = used_up
            .filter_map(|(_, reset)| text(reset))
            .chain(text("x-ratelimit-reset"));
        resets.filter_map(|text| until_reset(text, now)).max()
    });
    wait.map(|wait| wait.min(RETRY_AFTER_MAX))
}

fn seconds(number: f64) -> Option<Duration> {
    let bounded = number
        .is_finite()
        .then(|| number.min(RETRY_AFTER_MAX.as_secs_f64()))?;
    Duration::try_from_secs_f64(bounded).ok()
}

fn until_date(text: &str, now: Timestamp) -> Option<Duration> {
    let moment = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(text)
        .ok()?;
    Some(Duration::from_millis(
        Timestamp(moment.as_millisecond()).since_ms(now),
    ))
}

/// A reset as RFC 3339, as seconds from now or since 1970, or as `6m0s`, `1.5s`, `20ms`.
fn until_reset(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(number) = text.parse::<f64>() {
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds of this age are exact in a double"
        )]
        let since_1970 = number - now.0 as f64 / 1000.0;
        return seconds(if number > 1e9 { since_1970.max(0.0) } else { number });
    }
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Some(Duration::from_millis(
            Timestamp(moment.as_millisecond()).since_ms(now),
        ));
    }
    let span = text.parse::<jiff::SignedDuration>().ok()?;
    Duration::try_from(span).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(pairs: &[(&'static str, &str)]) -> Option<u128> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().expect("header"));
        }
        // 2026-11-24T06:00:00Z
        retry_after(&headers, Timestamp(1_795_500_000_000)).map(|wait| wait.as_millis())
    }

    #[test]
    fn every_form_of_retry_after_is_understood_and_bounded() {
        assert_eq!(wait(&[]), None);
        assert_eq!(wait(&[("retry-after", "2")]), Some(2_000));
        assert_eq!(wait(&[("retry-after", "0.5")]), Some(500));
        assert_eq!(wait(&[("retry-after-ms", "750")]), Some(750));
        assert_eq!(
            wait(&[("retry-after-ms", "750"), ("retry-after", "1")]),
            Some(1_000),
            "the longer one holds"
        );
        assert_eq!(
            wait(&[("retry-after", "Tue, 24 Nov 2026 06:00:30 GMT")]),
            Some(30_000)
        );
        assert_eq!(
            wait(&[("retry-after", "Tue, 24 Nov 2020 06:00:30 GMT")]),
            Some(0),
            "a date that has passed"
        );
        assert_eq!(
            wait(&[("retry-after", "999999999")]),
            Some(RETRY_AFTER_MAX.as_millis())
        );
        for nonsense in ["-5", "NaN", "soon", ""] {
            assert_eq!(wait(&[("retry-after", nonsense)]), None, "{nonsense}");
        }
    }

    #[test]
    fn resets_count_only_for_the_allowance_that_ran_out() {
        assert_eq!(
            wait(&[
                ("x-ratelimit-remaining-requests", "90"),
                ("x-ratelimit-reset-requests", "6m0s"),
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", "1.5s"),
            ]),
            Some(1_500)
        );
        assert_eq!(
            wait(&[
                ("anthropic-ratelimit-input-tokens-remaining", "0"),
                ("anthropic-ratelimit-input-tokens-reset", "2026-11-24T06:00:07Z"),
            ]),
            Some(7_000)
        );
        assert_eq!(wait(&[("x-ratelimit-reset", "1795500009")]), Some(9_000));
    }
}
