//! What the editor says about settings: with the opening, and in its section `clode`.

use serde_json::{Map, Value};

use super::SECTION;
use crate::lsp::session::Session;

/// Splits `initializationOptions` into settings and what is said about trust.
pub(super) fn opening(options: Option<&Value>) -> (Option<Value>, Option<Value>) {
    let Some(Value::Object(options)) = options else {
        return (None, None);
    };
    let mut settings = options.clone();
    let trusted = settings.remove("trusted").filter(|trusted| !trusted.is_null());
    ((!settings.is_empty()).then_some(Value::Object(settings)), trusted)
}

/// The two together: the section lies over the options of the opening. Limits do not override: the
/// smaller one holds.
pub(crate) fn settings(opening: Option<&Value>, section: Option<&Value>) -> Option<Value> {
    match (opening, section) {
        (None, None) => None,
        (Some(only), None) | (None, Some(only)) => Some(only.clone()),
        (Some(opening), Some(section)) => Some(laid_over(opening, section, Under::Settings)),
    }
}

/// Where in the settings a value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Under {
    Settings,
    Limits,
}

fn laid_over(below: &Value, above: &Value, under: Under) -> Value {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            let mut merged: Map<String, Value> = below.clone();
            for (key, value) in above {
                let under = if key == "limits" { Under::Limits } else { under };
                let value = below
                    .get(key)
                    .map_or_else(|| value.clone(), |below| laid_over(below, value, under));
                merged.insert(key.clone(), value);
            }
            Value::Object(merged)
        }
        // Some editors send an empty list or nothing where they mean an empty object.
        (Value::Object(_), Value::Array(items)) if items.is_empty() => below.clone(),
        (_, Value::Null) => below.clone(),
        (Value::Number(one), Value::Number(other)) if under == Under::Limits => {
            let smaller = one
                .as_f64()
                .zip(other.as_f64())
                .is_some_and(|(one, other)| one <= other);
            if smaller { below.clone() } else { above.clone() }
        }
        _ => above.clone(),
    }
}

/// Asks for the section where the editor can be asked, else takes what it pushed.
pub(super) async fn take_over(session: &Session, pushed: Option<Value>) {
    let section = if session.capabilities().configuration {
        session.client().configuration(SECTION, None).await
    } else {
        pushed
    };
    session
        .set_section(section.filter(|section| section.as_object().is_some_and(|fields| !fields.is_empty())));
}
