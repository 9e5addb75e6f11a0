//! What this machine offers without any configuration, as a layer of its own below the user's.

use serde_json::{Map, Value, json};

use super::environment::Environment;
use super::validate::is_address;

/// Addresses that the environment may name: provider id, variable.
const ADDRESSES: [(&str, &str); 2] = [("anthropic", "ANTHROPIC_BASE_URL"), ("openai", "OPENAI_BASE_URL")];
/// Where an OpenTelemetry collector is.
const COLLECTOR: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// The layer as settings.
pub(crate) fn layer(environment: &Environment) -> Value {
    let mut providers = Map::new();
    for (id, variable) in ADDRESSES {
        if let Some(address) = environment.get(variable).filter(|address| is_address(address)) {
            providers.insert(id.to_owned(), json!({ "baseUrl": address }));
        }
    }
    let mut layer = json!({ "providers": providers });
    if let Some(address) = environment.get(COLLECTOR).filter(|address| is_address(address)) {
        layer["telemetry"] = json!({ "enabled": true, "endpoint": address });
    }
    layer
}

/// Providers whose address in the environment cannot be used, with the variable. Such a provider is
/// not used at all: its key must not go to another address than the one that somebody meant.
pub(crate) fn unusable_addresses(
    environment: &Environment,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    ADDRESSES.into_iter().filter(|(_, variable)| {
        environment
            .get(variable)
            .is_some_and(|address| !is_address(address))
    })
}
