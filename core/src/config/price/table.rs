//! The built-in table of models: decimal text in a file of the repository, integers in memory.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::{LongPrompt, Model, Price};
use crate::config::amount::exact;
use crate::config::settings::{Capability, ProviderKind};
use crate::money::Money;

/// The table as it is kept in the repository.
const TABLE: &str = include_str!("../../../../config/prices.json");
/// Digits after the point of a price per million tokens.
const PRICE_DIGITS: u32 = 6;

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
            let models = vendor
                .models
                .into_iter()
                .map(|(name, model)| Some((name, model.parse()?)))
                .collect::<Option<_>>()?;
            Some((
                name,
                Vendor {
                    models,
                    defaults: vendor.defaults,
                    otherwise: vendor.otherwise,
                },
            ))
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
                Some(LongPrompt {
                    above: long.above,
                    input,
                    output,
                    cache_read,
                    cache_write,
                })
            }
        };
        Some(Model {
            price: Some(Price {
                input,
                output,
                cache_read,
                cache_write,
                long_prompt,
            }),
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
        Some([
            amount(&self.input)?,
            amount(&self.output)?,
            amount(&self.cache_read)?,
            amount(&self.cache_write)?,
        ])
    }
}
