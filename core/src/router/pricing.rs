//! What a call to a model costs. A model without a known price is never free: it costs as much as
//! the dearest known model of its provider.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::provider::{ModelSettings, Price};

/// Where a price comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PriceBasis {
    /// The model's own price.
    Known,
    /// The dearest known prices of its provider.
    Assumed,
}

/// The price of this model; none when nothing at all is known of its provider.
pub(super) fn price_of(models: &BTreeMap<String, ModelSettings>, model: &str) -> Option<(Price, PriceBasis)> {
    if let Some(price) = models.get(model).and_then(|model| model.price) {
        return Some((price, PriceBasis::Known));
    }
    let known = models.values().filter_map(|model| model.price);
    known
        .reduce(Price::dearest)
        .map(|price| (price, PriceBasis::Assumed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Money;

    fn model(input: i64, output: i64) -> ModelSettings {
        let price = Price {
            input: Money::from_pico(input),
            output: Money::from_pico(output),
            ..Price::default()
        };
        ModelSettings {
            price: Some(price),
            ..ModelSettings::default()
        }
    }

    #[test]
    fn an_unknown_model_costs_what_the_dearest_known_one_of_its_provider_does() {
        let models = BTreeMap::from([
            ("a".to_owned(), model(3, 10)),
            ("b".to_owned(), model(2, 15)),
            ("c".to_owned(), ModelSettings::default()),
        ]);
        let answer = |name: &str| {
            price_of(&models, name).map(|(price, basis)| (price.input.pico(), price.output.pico(), basis))
        };
        assert_eq!(answer("a"), Some((3, 10, PriceBasis::Known)));
        assert_eq!(answer("c"), Some((3, 15, PriceBasis::Assumed)));
        assert_eq!(answer("never heard of"), Some((3, 15, PriceBasis::Assumed)));
        assert_eq!(price_of(&BTreeMap::new(), "a"), None);
    }
}
