//! What a session used, counted while it runs: a program that dies takes its own totals with it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::config::{Price, Tokens};
use crate::money::Money;
use crate::provider::Usage;

/// Most tokens of one answer that the program asks for.
pub(crate) const ANSWER_TOKENS_MAX: u64 = 32_000;
/// Tokens that a conversation may grow by from one call to the next: results of tools.
const GROWTH_TOKENS: u64 = 30_000;
/// Prompt of the first call: instructions, tools, task.
const FIRST_PROMPT_TOKENS: u64 = 60_000;

/// Counts model calls, each with its model.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter {
    finished: Vec<(String, Usage)>,
    /// Under way, by the tool call that they belong to (empty: the main conversation).
    open: BTreeMap<String, (String, Usage)>,
    counted: BTreeSet<String>,
    last: Usage,
}

impl Meter {
    /// Takes in a piece of a stream.
    pub(super) fn stream(&mut self, event: &Value, parent: &str) {
        match event.get("type").and_then(Value::as_str) {
            Some("message_start") => {
                let message = event.get("message").cloned().unwrap_or_default();
                // One that never ended is charged as far as it came.
                self.close(parent);
                self.counted.extend(text(&message, "id"));
                self.open.insert(
                    parent.to_owned(),
                    (
                        text(&message, "model").unwrap_or_default(),
                        usage(message.get("usage")),
                    ),
                );
            }
            Some("message_delta") => {
                if let Some((_, used)) = self.open.get_mut(parent) {
                    *used = used.raised_to(usage(event.get("usage")));
                }
            }
            Some("message_stop") => self.close(parent),
            _ => {}
        }
    }

    /// Takes in a block of an answer that was not streamed.
    pub(super) fn spoken(&mut self, message: &Value) {
        let Some(id) = text(message, "id") else { return };
        let used = usage(message.get("usage"));
        if !used.is_empty() && self.counted.insert(id) {
            self.push(text(message, "model").unwrap_or_default(), used);
        }
    }

    fn close(&mut self, parent: &str) {
        if let Some((model, used)) = self.open.remove(parent) {
            self.push(model, used);
        }
    }

    fn push(&mut self, model: String, used: Usage) {
        self.last = used;
        self.finished.push((model, used));
    }

    /// Every call, those under way included.
    fn calls(&self) -> impl Iterator<Item = &(String, Usage)> {
        self.finished.iter().chain(self.open.values())
    }

    /// All tokens.
    pub(crate) fn usage(&self) -> Usage {
        self.calls()
            .fold(Usage::default(), |sum, (_, used)| sum.plus(*used))
    }

    /// The model of the last call.
    pub(crate) fn model(&self) -> Option<&str> {
        self.calls()
            .last()
            .map(|(model, _)| model.as_str())
            .filter(|model| !model.is_empty())
    }

    /// What it cost at these prices.
    pub(crate) fn cost(&self, price: &dyn Fn(&str) -> Option<Price>) -> Money {
        self.calls()
            .map(|(model, used)| price(model).map_or(Money::ZERO, |price| price.cost(tokens(*used))))
            .sum()
    }

    /// The most that the next call can cost.
    pub(crate) fn next_at_most(&self, price: &Price) -> Money {
        let open = self.open.get("").map(|(_, used)| *used).unwrap_or_default();
        let before = self.last.raised_to(open);
        let grown = before
            .input_total()
            .saturating_add(before.output_tokens)
            .saturating_add(GROWTH_TOKENS);
        price.upper_bound(grown.max(FIRST_PROMPT_TOKENS), ANSWER_TOKENS_MAX)
    }
}

pub(crate) fn tokens(used: Usage) -> Tokens {
    Tokens {
        input: used.input_tokens,
        output: used.output_tokens,
        cache_read: used.cache_read_tokens,
        cache_write: used.cache_write_tokens,
    }
}

fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn usage(value: Option<&Value>) -> Usage {
    let count = |name: &str| {
        value
            .and_then(|value| value.get(name))
            .and_then(Value::as_u64)
            .unwrap_or_default()
    };
    Usage {
        input_tokens: count("input_tokens"),
        output_tokens: count("output_tokens"),
        cache_read_tokens: count("cache_read_input_tokens"),
        cache_write_tokens: count("cache_creation_input_tokens"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn start(id: &str, input: u64) -> Value {
        let usage = json!({ "input_tokens": input, "output_tokens": 1, "cache_read_input_tokens": 5 });
        json!({ "type": "message_start", "message": { "id": id, "model": "m", "usage": usage } })
    }

    #[test]
    fn a_stream_is_counted_once_and_one_that_was_cut_as_far_as_it_came() {
        let mut meter = Meter::default();
        meter.stream(&start("1", 100), "");
        meter.stream(
            &json!({ "type": "message_delta", "usage": { "output_tokens": 40 } }),
            "",
        );
        meter.spoken(
            &json!({ "id": "1", "model": "m", "usage": { "input_tokens": 100, "output_tokens": 1 } }),
        );
        meter.stream(&json!({ "type": "message_stop" }), "");
        meter.stream(&start("2", 200), "");
        meter.stream(&start("3", 300), "");
        meter.spoken(
            &json!({ "id": "4", "model": "m", "usage": { "input_tokens": 1_000, "output_tokens": 2 } }),
        );
        let used = meter.usage();
        assert_eq!(
            (used.input_tokens, used.output_tokens, used.cache_read_tokens),
            (1_600, 44, 15)
        );
    }

    #[test]
    fn the_next_call_is_expected_to_be_larger_than_the_last() {
        let price = Price {
            input: Money::from_pico(3),
            output: Money::from_pico(15),
            ..Price::default()
        };
        let mut meter = Meter::default();
        let first = meter.next_at_most(&price);
        meter.stream(&start("1", 500_000), "");
        assert!(meter.next_at_most(&price) > first && first > Money::ZERO);
    }
}
