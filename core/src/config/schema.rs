//! The JSON Schemas that editors complete and check by; generated from the types, checked in under
//! `config/`, and held equal by a test.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::settings::Settings;

/// Of providers.yaml.
pub fn providers() -> Value {
    let schema = SchemaSettings::draft07()
        .into_generator()
        .into_root_schema_for::<Settings>();
    schema.to_value()
}

/// Of the section `clode` of a client's settings and of its `initializationOptions`.
pub fn client() -> Value {
    let mut schema = providers();
    schema["title"] = json!("Clode Agents: client settings");
    schema["description"] = json!(
        "The section `clode` of an editor's settings: what providers.yaml holds, limited until the workspace is trusted."
    );
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for key in ["retention", "sandbox", "trustClient", "zone"] {
            properties.remove(key);
        }
        properties.insert(
            "trusted".to_owned(),
            json!({
                "description": "The hash that was shown when this workspace was trusted; `true` counts only with `trustClient: true` in the user's file.",
                "type": ["string", "boolean"],
            }),
        );
    }
    schema
}

/// As it is written into a file.
pub fn text(schema: &Value) -> String {
    let mut text = serde_json::to_string_pretty(schema).unwrap_or_default();
    text.push('\n');
    text
}
