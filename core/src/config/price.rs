//! What a token costs, and what the built-in table knows about the models on offer.
//!
//! Every price is stored as such, never as a multiple of another, in picodollars per token.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::amount::{PerMillion, exact};
use super::settings::{Capability, ModelSettings, PriceSettings, ProviderKind};
use crate::money::Money;

/// The table as it is kept in the repository.
const TABLE: &str = include_str!("../../../config/prices.json");
/// Digits after the point of a price per million tokens.
const PRICE_DIGITS: u32 = 6;

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
    pub fn cost(&self, tokens: Tokens) -> Money {
        let prompt = tokens.input.saturating_add(tokens.cache_read).saturating_add(tokens.cache_write);
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
        let normal = self.input.max(self.cache_read).max(self.cache_write).times(prompt).plus(self.output.times(output));
        let long = self.long_prompt.filter(|long| prompt > long.above).map_or(Money::ZERO, |long| {
            long.input.max(long.cache_read).max(long.cache_write).times(prompt).plus(long.output.times(output))
        });
        normal.max(long)
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
        Self { long_prompt, ..normal }
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

/// The models of one vendor.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vendor {
    pub(crate) models: BTreeMap<String, Model>,
    defaults: BTreeMap<String, String>,
    otherwise: String,
}

impl Vendor {
    /// The model that an agent uses without any configuration.
    pub(crate) fn default_model(&self, agent: &str) -> &str {
        self.defaults.get(agent).unwrap_or(&self.otherwise)
    }
}

/// The models of the vendor that a provider of this kind belongs to; `None` where anything is possible.
pub(crate) fn vendor(kind: ProviderKind) -> Option<&'static Vendor> {
    static VENDORS: LazyLock<BTreeMap<String, Vendor>> = LazyLock::new(|| parse(TABLE).unwrap_or_default());
    let name = match kind {
        ProviderKind::Anthropic | ProviderKind::ClaudeCode => "anthropic",
        ProviderKind::OpenAi => "openai",
        ProviderKind::Demo => "demo",
        ProviderKind::OpenAiCompatible | ProviderKind::Acp => return None,
    };
    VENDORS.get(name)
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
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let (base, last) = name.rsplit_once('-')?;
    if digits(last, 8) {
        return Some(base);
    }
    let (base, month) = base.rsplit_once('-')?;
    let (base, year) = base.rsplit_once('-')?;
    (digits(last, 2) && digits(month, 2) && digits(year, 4)).then_some(base)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TableVendor {
    defaults: BTreeMap<String, String>,
    otherwise: String,
    models: BTreeMap<String, TableModel>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TableModel {
    price: TablePrice,
    #[serde(default)]
    long_prompt: Option<TableLongPrompt>,
    context_window: u64,
    max_output: u64,
    capabilities: Vec<Capability>,
    as_of: String,
}

/// Decimal text, so that no floating point is ever between the table and the integer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TablePrice {
    input: String,
    output: String,
    cache_read: String,
    cache_write: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TableLongPrompt {
    above: u64,
    price: TablePrice,
}

fn parse(text: &str) -> Option<BTreeMap<String, Vendor>> {
    let table: BTreeMap<String, TableVendor> = serde_json::from_str(text).ok()?;
    table
        .into_iter()
        .map(|(name, vendor)| {
            let models = vendor.models.into_iter().map(|(name, model)| Some((name, model.parse()?))).collect::<Option<_>>()?;
            Some((name, Vendor { models, defaults: vendor.defaults, otherwise: vendor.otherwise }))
        })
        .collect()
}

impl TableModel {
    fn parse(self) -> Option<Model> {
        let [input, output, cache_read, cache_write] = self.price.parse()?;
        let long_prompt = match self.long_prompt {
            None => None,
            Some(long) => {
                let [input, output, cache_read, cache_write] = long.price.parse()?;
                Some(LongPrompt { above: long.above, input, output, cache_read, cache_write })
            }
        };
        Some(Model {
            price: Some(Price { input, output, cache_read, cache_write, long_prompt }),
            context_window: Some(self.context_window),
            max_output: Some(self.max_output),
            capabilities: self.capabilities,
            as_of: Some(self.as_of),
        })
    }
}

impl TablePrice {
    fn parse(&self) -> Option<[Money; 4]> {
        let amount = |text: &str| exact(text, PRICE_DIGITS).map(Money::from_pico);
        Some([amount(&self.input)?, amount(&self.output)?, amount(&self.cache_read)?, amount(&self.cache_write)?])
    }
}

impl From<Price> for PriceSettings {
    fn from(price: Price) -> Self {
        Self {
            input: PerMillion(price.input),
            output: PerMillion(price.output),
            cache_read: Some(PerMillion(price.cache_read)),
            cache_write: Some(PerMillion(price.cache_write)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(kind: ProviderKind, name: &str) -> Price {
        find(&vendor(kind).unwrap().models, name).unwrap().price.unwrap()
    }

    #[test]
    fn the_table_is_read_to_the_last_picodollar() {
        let opus = price(ProviderKind::Anthropic, "claude-opus-5-5");
        assert_eq!(opus.input.pico(), 4_000_000);
        assert_eq!(opus.output.pico(), 20_000_000);
        assert_eq!(opus.cache_read.pico(), 400_000);
        assert_eq!(opus.cache_write.pico(), 5_000_000);
        assert_eq!(price(ProviderKind::Anthropic, "claude-haiku-5-5").cache_write.pico(), 125_000);
        assert_eq!(price(ProviderKind::OpenAi, "gpt-4-turbo").output.pico(), 30_000_000);
    }

    #[test]
    fn a_call_costs_what_the_claude_program_reports_for_it() {
        // Measured: Sonnet 5, 1030 new, 3000 written, 19300 read, 260 answered: $0.01602.
        let tokens = Tokens { input: 1_030, output: 260, cache_read: 19_300, cache_write: 3_000 };
        assert_eq!(price(ProviderKind::Anthropic, "claude-sonnet-5").cost(tokens), Money::from_pico(16_020_000_000));
    }

    #[test]
    fn a_long_prompt_has_its_own_price() {
        let haiku = price(ProviderKind::Anthropic, "claude-haiku-5-5");
        let short = Tokens { input: 100_000, output: 10, ..Tokens::default() };
        let long = Tokens { input: 100_000, cache_read: 1, output: 10, ..Tokens::default() };
        assert_eq!(haiku.cost(short).pico(), 100_000 * 100_000 + 10 * 500_000);
        assert_eq!(haiku.cost(long).pico(), 100_000 * 500_000 + 50_000 + 10 * 2_500_000);
        assert!(haiku.upper_bound(100_001, 10) >= haiku.cost(long));
        assert!(haiku.upper_bound(100_000, 10) >= haiku.cost(short));
    }

    #[test]
    fn every_model_has_sane_prices_and_every_default_is_in_the_table() {
        for kind in [ProviderKind::Anthropic, ProviderKind::OpenAi, ProviderKind::Demo] {
            let vendor = vendor(kind).unwrap();
            for (name, model) in &vendor.models {
                let price = model.price.unwrap();
                assert!(price.cache_read <= price.input && price.input <= price.cache_write, "{name}");
                assert!(price.input <= price.output, "{name}");
                assert!(model.max_output < model.context_window, "{name}");
            }
            for agent in ["taskMaster", "architect", "developer", "qa", "kbBuilder", "somebody"] {
                assert!(vendor.models.contains_key(vendor.default_model(agent)), "{agent}");
            }
        }
    }

    #[test]
    fn a_dated_name_is_the_same_model() {
        let models = &vendor(ProviderKind::Anthropic).unwrap().models;
        assert_eq!(find(models, "claude-haiku-4-5-20251001"), models.get("claude-haiku-4-5"));
        let models = &vendor(ProviderKind::OpenAi).unwrap().models;
        assert_eq!(find(models, "gpt-4o-2024-08-06"), models.get("gpt-4o"));
        assert!(find(models, "gpt-99").is_none());
        assert!(find(models, "gpt-4o-something-else").is_none());
    }
}
