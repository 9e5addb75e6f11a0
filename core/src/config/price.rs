//! What a token costs, and what the built-in table knows about the models on offer.
//!
//! Every price is stored as such, never as a multiple of another, in picodollars per token.

mod table;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::settings::{Capability, ModelSettings, PriceSettings};
use crate::money::Money;

pub(crate) use table::vendor;

/// What one token costs, and how many a model takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    /// A token of the prompt.
    pub input: Money,
    /// A token of the answer.
    pub output: Money,
    /// A token of the prompt that was read from a cache.
    pub cache_read: Money,
    /// A token of the prompt that was written to a cache.
    pub cache_write: Money,
    /// Other prices, for the whole call, when its prompt is longer than this.
    pub long_prompt: Option<LongPrompt>,
}

/// Prices of a call with a long prompt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LongPrompt {
    /// They hold for prompts of more tokens than this, cached ones included.
    pub above: u64,
    /// A token of the prompt.
    pub input: Money,
    /// A token of the answer.
    pub output: Money,
    /// A token of the prompt that was read from a cache.
    pub cache_read: Money,
    /// A token of the prompt that was written to a cache.
    pub cache_write: Money,
}

/// The tokens of one call, as prices see them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Of the prompt, neither read from nor written to a cache.
    pub input: u64,
    /// Of the answer.
    pub output: u64,
    /// Of the prompt, read from a cache.
    pub cache_read: u64,
    /// Of the prompt, written to a cache.
    pub cache_write: u64,
}

impl Price {
    /// What a call with these tokens costs.
    pub fn cost(&self, tokens: impl Into<Tokens>) -> Money {
        let tokens = tokens.into();
        let prompt = tokens
            .input
            .saturating_add(tokens.cache_read)
            .saturating_add(tokens.cache_write);
        let (input, output, cache_read, cache_write) = match self.long_prompt {
            Some(long) if prompt > long.above => (long.input, long.output, long.cache_read, long.cache_write),
            _ => (self.input, self.output, self.cache_read, self.cache_write),
        };
        [
            input.times(tokens.input),
            output.times(tokens.output),
            cache_read.times(tokens.cache_read),
            cache_write.times(tokens.cache_write),
        ]
        .into_iter()
        .sum()
    }

    /// Most that a call can cost whose prompt has at most `prompt` tokens and whose answer has at
    /// most `output`: every prompt token at the dearest of its prices.
    pub fn upper_bound(&self, prompt: u64, output: u64) -> Money {
        let normal = self
            .input
            .max(self.cache_read)
            .max(self.cache_write)
            .times(prompt)
            .plus(self.output.times(output));
        let long = self
            .long_prompt
            .filter(|long| prompt > long.above)
            .map_or(Money::ZERO, |long| {
                long.input
                    .max(long.cache_read)
                    .max(long.cache_write)
                    .times(prompt)
                    .plus(long.output.times(output))
            });
        normal.max(long)
    }

    /// What a token of the answer costs at most after a prompt of this many tokens.
    pub fn dearest_output(&self, prompt: u64) -> Money {
        let long = self.long_prompt.filter(|long| prompt > long.above);
        long.map_or(self.output, |long| self.output.max(long.output))
    }

    /// Whether nothing costs anything.
    pub fn is_free(&self) -> bool {
        self.upper_bound(u64::MAX, 1) == Money::ZERO
    }

    /// The dearer of two prices, part by part.
    #[must_use]
    pub(crate) fn dearest(self, other: Self) -> Self {
        let long = match (self.long_prompt, other.long_prompt) {
            (Some(left), Some(right)) => Some(LongPrompt {
                above: left.above.min(right.above),
                input: left.input.max(right.input),
                output: left.output.max(right.output),
                cache_read: left.cache_read.max(right.cache_read),
                cache_write: left.cache_write.max(right.cache_write),
            }),
            (left, right) => left.or(right),
        };
        let normal = Self {
            input: self.input.max(other.input),
            output: self.output.max(other.output),
            cache_read: self.cache_read.max(other.cache_read),
            cache_write: self.cache_write.max(other.cache_write),
            long_prompt: None,
        };
        let long_prompt = long.map(|long| LongPrompt {
            above: long.above,
            input: long.input.max(normal.input),
            output: long.output.max(normal.output),
            cache_read: long.cache_read.max(normal.cache_read),
            cache_write: long.cache_write.max(normal.cache_write),
        });
        Self {
            long_prompt,
            ..normal
        }
    }

    /// Input and output of a typical agent call, to compare models by.
    pub(crate) fn typical(&self) -> Money {
        const INPUT_PER_OUTPUT: u64 = 4;
        self.input.times(INPUT_PER_OUTPUT).plus(self.output)
    }

    fn from_settings(settings: &PriceSettings) -> Self {
        let input = settings.input.0;
        let quarter_above = Money::from_pico(input.pico().saturating_add(input.pico().saturating_add(3) / 4));
        Self {
            input,
            output: settings.output.0,
            cache_read: settings.cache_read.map_or(input, |price| price.0),
            cache_write: settings.cache_write.map_or(quarter_above, |price| price.0),
            long_prompt: None,
        }
    }
}

/// What is known about the price of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PriceAnswer {
    /// From the table or the user's configuration.
    Known(Price),
    /// Nobody wrote it down: the most expensive known price of the provider. Shown as a guess.
    Assumed(Price),
    /// Nothing is known: refused when a budget is set.
    Unknown,
}

/// What is known about a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Model {
    /// What a token costs.
    pub price: Option<Price>,
    /// Tokens that prompt and answer may have together.
    pub context_window: Option<u64>,
    /// Tokens that an answer may have.
    pub max_output: Option<u64>,
    /// What it can do.
    pub capabilities: Vec<Capability>,
    /// Day on which the price was looked up; `None` for what a person wrote.
    pub as_of: Option<String>,
}

impl Model {
    /// With what a person wrote laid over it.
    pub(crate) fn overlaid(mut self, settings: &ModelSettings) -> Self {
        if let Some(price) = &settings.price {
            self.price = Some(Price::from_settings(price));
            self.as_of = None;
        }
        self.context_window = settings.context_window.or(self.context_window);
        self.max_output = settings.max_output.or(self.max_output);
        if let Some(capabilities) = &settings.capabilities {
            self.capabilities.clone_from(capabilities);
        }
        self
    }
}

/// A model under the name that was written, or under its name without a date at the end
/// (`claude-haiku-4-5-20251001`, `gpt-4o-2024-08-06`).
pub(crate) fn find<'m>(models: &'m BTreeMap<String, Model>, name: &str) -> Option<&'m Model> {
    models.get(name).or_else(|| models.get(undated(name)?))
}

fn undated(name: &str) -> Option<&str> {
    if let Some(base) = name.strip_suffix("-latest") {
        return Some(base);
    }
    let digits =
        |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let (base, last) = name.rsplit_once('-')?;
    if digits(last, 8) {
        return Some(base);
    }
    let (base, month) = base.rsplit_once('-')?;
    let (base, year) = base.rsplit_once('-')?;
    (digits(last, 2) && digits(month, 2) && digits(year, 4)).then_some(base)
}

#[cfg(test)]
mod tests;
