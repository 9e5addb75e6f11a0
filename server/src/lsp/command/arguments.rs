//! Reads the arguments of commands as real editors send them.
//!
//! `arguments[0]` is one object; missing, `null`, `{}` and `[]` all mean "no options". Lua sends `[]` for an
//! empty object: at every level `null` counts as absent and `[]` is taken for an object where one is
//! expected. Unknown fields are ignored; a wrong type names the path of the field.

use clode_core::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

mod strict;

use strict::Strict;

/// The one options object of a command.
pub(crate) fn options(arguments: Option<&Value>) -> Result<Value> {
    let first = match arguments {
        None | Some(Value::Null) => None,
        Some(Value::Array(items)) => items.first(),
        Some(Value::Object(object)) if object.is_empty() => None,
        Some(_) => return Err(Error::usage("invalidParams", "arguments: expected an array")),
    };
    match first {
        None | Some(Value::Null) => Ok(Value::Object(Map::new())),
        Some(Value::Array(items)) if items.is_empty() => Ok(Value::Object(Map::new())),
        Some(object @ Value::Object(_)) => Ok(without_nulls(object.clone())),
        Some(_) => Err(Error::usage("invalidParams", "arguments[0]: expected an object")),
    }
}

/// Reads options (or any parameters) into a type whose optional fields have defaults.
pub(crate) fn read<T: DeserializeOwned>(options: Value) -> Result<T> {
    serde_path_to_error::deserialize(Strict(without_nulls(options))).map_err(|error| {
        let path = Some(error.path().to_string()).filter(|path| path != ".");
        Error::usage(
            "invalidParams",
            in_plain_words(path, &error.into_inner().to_string()),
        )
    })
}

/// `request.objective: missing`, `task: … expected an object`: in the words of the wire, not of our types.
fn in_plain_words(path: Option<String>, what: &str) -> String {
    let missing = what
        .strip_prefix("missing field `")
        .and_then(|rest| rest.strip_suffix('`'));
    if let Some(field) = missing {
        return path.map_or_else(
            || format!("{field}: missing"),
            |path| format!("{path}.{field}: missing"),
        );
    }
    let what = what.split_once("expected struct ").map_or_else(
        || what.to_owned(),
        |(before, _)| format!("{before}expected an object"),
    );
    path.map_or_else(|| what.clone(), |path| format!("{path}: {what}"))
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(object) => Value::Object(
            object
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key, without_nulls(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Inner {
        max_cost: Option<f64>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Outer {
        options: Inner,
        list: Vec<String>,
    }

    #[test]
    fn nothing_in_any_form_means_no_options() {
        for arguments in [
            json!(null),
            json!([]),
            json!([null]),
            json!([{}]),
            json!([[]]),
            json!({}),
        ] {
            assert_eq!(
                options(Some(&arguments)).expect("accepted"),
                json!({}),
                "{arguments}"
            );
        }
        assert_eq!(options(None).expect("accepted"), json!({}));
    }

    #[test]
    fn an_empty_list_stands_for_an_object_at_every_level_and_null_for_absent() {
        let read: Outer = read(json!({"options": [], "list": [], "unknown": 1})).expect("accepted");
        assert_eq!(read, Outer::default());
        let nulls: Outer =
            super::read(json!({"options": {"maxCost": null}, "list": null})).expect("accepted");
        assert_eq!(nulls, Outer::default());
    }

    #[test]
    fn a_wrong_type_names_its_field() {
        let error = read::<Outer>(json!({"options": {"maxCost": "much"}})).expect_err("refused");
        assert!(error.message.starts_with("options.maxCost: "), "{error}");
        assert!(options(Some(&json!(["text"]))).is_err());
    }

    #[test]
    fn a_list_is_no_object_however_well_it_would_fit() {
        let error = read::<Outer>(json!({"options": [5.0]})).expect_err("refused");
        assert!(error.message.starts_with("options: "), "{error}");
    }
}
