//! What a body says: a request, a notification, or the answer to a request of ours.

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// Deepest nesting of arrays and objects in a message.
pub(crate) const JSON_DEPTH_MAX: usize = 128;

/// The id of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Id {
    Number(i64),
    Text(String),
}

impl Id {
    pub(crate) fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => number.as_i64().map(Self::Number),
            Value::String(text) => Some(Self::Text(text.clone())),
            _ => None,
        }
    }
}

/// One message from the editor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Message {
    Request {
        id: Id,
        method: String,
        params: Option<Value>,
    },
    Notification {
        method: String,
        params: Option<Value>,
    },
    Answer {
        id: Id,
        outcome: Result<Value, AnswerError>,
    },
}

/// The error that an editor answered with, whatever shape it had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AnswerError {
    pub(crate) code: i64,
    pub(crate) message: String,
}

/// Why a body is no message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Defect {
    /// Not UTF-8, not JSON, or nested too deeply: `-32700`.
    Unreadable(&'static str),
    /// JSON, but no message of ours: `-32600`.
    NoMessage(&'static str),
    /// The answer to nothing that could be asked; it is ignored.
    StrayAnswer,
    /// An id and nothing else: an answer without `result` if we asked under that id (clients written in Lua drop
    /// what is nil), else `-32600`.
    Hollow(Id),
}

/// The `id` of a message.
enum IdField {
    Absent,
    Usable(Id),
    /// Neither an integer nor a string.
    Odd,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// `null` is there, other than what is absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads a body.
pub(crate) fn parse(body: &[u8]) -> Result<Message, Defect> {
    let text = std::str::from_utf8(body).map_err(|_| Defect::Unreadable("the body is not UTF-8"))?;
    if depth(text.as_bytes()) > JSON_DEPTH_MAX {
        return Err(Defect::Unreadable("the body is nested too deeply"));
    }
    if !text.trim_ascii_start().starts_with('{') {
        return Err(no_object(text));
    }
    let envelope: Envelope<'_> = match serde_json::from_str(text) {
        Ok(envelope) => envelope,
        Err(error) if error.is_data() => return Err(no_object(text)),
        Err(_) => return Err(Defect::Unreadable("the body is not JSON")),
    };
    if envelope.jsonrpc.map(RawValue::get) != Some("\"2.0\"") {
        return Err(Defect::NoMessage("`jsonrpc` must be \"2.0\""));
    }
    let id = match envelope.id {
        Some(raw) => Id::from_value(&value(raw)?).map_or(IdField::Odd, IdField::Usable),
        None => IdField::Absent,
    };
    match envelope.method {
        Some(method) => request(method, id, envelope.params),
        None => answer(id, &envelope),
    }
}

fn no_object(text: &str) -> Defect {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(_) => Defect::NoMessage("the body is no message object; batches are not supported"),
        Err(_) => Defect::Unreadable("the body is not JSON"),
    }
}

fn request(method: &RawValue, id: IdField, params: Option<&RawValue>) -> Result<Message, Defect> {
    let Value::String(method) = value(method)? else {
        return Err(Defect::NoMessage("`method` must be a string"));
    };
    let params = params.map(value).transpose()?;
    match id {
        IdField::Usable(id) => Ok(Message::Request { id, method, params }),
        IdField::Odd => Err(Defect::NoMessage("`id` must be an integer or a string")),
        IdField::Absent => Ok(Message::Notification { method, params }),
    }
}

fn answer(id: IdField, envelope: &Envelope<'_>) -> Result<Message, Defect> {
    let outcome = match (envelope.error, envelope.result) {
        (Some(error), result) => match (value(error)?, result) {
            (Value::Null, Some(result)) => Ok(value(result)?),
            (error, _) => Err(AnswerError {
                code: error.get("code").and_then(Value::as_i64).unwrap_or(0),
                message: error
                    .get("message")
                    .and_then(Value::as_str)
                    .unwrap_or("no reason given")
                    .to_owned(),
            }),
        },
        (None, Some(result)) => Ok(value(result)?),
        (None, None) => {
            return Err(match id {
                IdField::Usable(id) => Defect::Hollow(id),
                _ => Defect::NoMessage("neither `method` nor `result` nor `error`"),
            });
        }
    };
    match id {
        IdField::Usable(id) => Ok(Message::Answer { id, outcome }),
        _ => Err(Defect::StrayAnswer),
    }
}

fn value(raw: &RawValue) -> Result<Value, Defect> {
    serde_json::from_str(raw.get()).map_err(|_| Defect::Unreadable("a value of the body cannot be read"))
}

/// How deeply arrays and objects nest; braces inside strings do not count.
fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for &byte in text {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse_text(text: &str) -> Result<Message, Defect> {
        parse(text.as_bytes())
    }

    fn nested(levels: usize) -> String {
        // The message itself is the first level.
        let (open, close) = ("[".repeat(levels - 1), "]".repeat(levels - 1));
        format!(r#"{{"jsonrpc":"2.0","method":"x","params":{open}{close}}}"#)
    }

    #[test]
    fn a_request_a_notification_and_answers_are_told_apart() {
        assert_eq!(
            parse_text(r#"{"jsonrpc":"2.0","id":"a","method":"m","params":{"x":1}}"#),
            Ok(Message::Request {
                id: Id::Text("a".into()),
                method: "m".into(),
                params: Some(json!({"x": 1}))
            })
        );
        assert_eq!(
            parse_text(r#"{"params":null,"method":"m","jsonrpc":"2.0"}"#),
            Ok(Message::Notification {
                method: "m".into(),
                params: Some(Value::Null)
            })
        );
        assert_eq!(
            parse_text(r#"{"jsonrpc":"2.0","id":7,"result":null}"#),
            Ok(Message::Answer {
                id: Id::Number(7),
                outcome: Ok(Value::Null)
            })
        );
        assert_eq!(
            parse_text(
                r#"{"jsonrpc":"2.0","id":7,"error":{"code":32603,"message":"no","data":[],"extra":1}}"#
            ),
            Ok(Message::Answer {
                id: Id::Number(7),
                outcome: Err(AnswerError {
                    code: 32603,
                    message: "no".into()
                })
            })
        );
        assert_eq!(
            parse_text(r#"{"jsonrpc":"2.0","id":7,"error":null,"result":true}"#),
            Ok(Message::Answer {
                id: Id::Number(7),
                outcome: Ok(json!(true))
            })
        );
    }

    #[test]
    fn what_is_not_json_is_unreadable() {
        for body in [
            &b"{nope"[..],
            b"",
            b"\xff\xfe{}",
            br#"{"jsonrpc":"2.0","method":"x"} tail"#,
            b"{\"a\":\"\xc3\"}",
        ] {
            assert!(matches!(parse(body), Err(Defect::Unreadable(_))), "{body:?}");
        }
    }

    #[test]
    fn json_that_is_no_message_is_refused() {
        for body in [
            "[]",
            r#"[{"jsonrpc":"2.0","id":1,"method":"x"}]"#,
            "7",
            "null",
            "{}",
            r#"{"id":1,"method":"x"}"#,
            r#"{"jsonrpc":"1.0","id":1,"method":"x"}"#,
            r#"{"jsonrpc":2.0,"id":1,"method":"x"}"#,
            r#"["2.0", 1, "x"]"#,
            r#"{"jsonrpc":"2.0","id":1,"method":5}"#,
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"x"}"#,
        ] {
            assert!(
                matches!(parse_text(body), Err(Defect::NoMessage(_))),
                "{body}: {:?}",
                parse_text(body)
            );
        }
        assert_eq!(
            parse_text(r#"{"jsonrpc":"2.0","id":1}"#),
            Err(Defect::Hollow(Id::Number(1)))
        );
    }

    #[test]
    fn ids_are_integers_or_strings_only() {
        for id in ["null", "1.5", "true", "[]", "{}", "18446744073709551615"] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"x"}}"#);
            assert!(matches!(parse_text(&body), Err(Defect::NoMessage(_))), "{body}");
            let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":1}}"#);
            assert_eq!(parse_text(&body), Err(Defect::StrayAnswer), "{body}");
        }
    }

    #[test]
    fn nesting_is_accepted_to_the_limit_and_not_beyond() {
        assert!(parse_text(&nested(JSON_DEPTH_MAX)).is_ok());
        assert!(matches!(
            parse_text(&nested(JSON_DEPTH_MAX + 1)),
            Err(Defect::Unreadable(_))
        ));
        assert!(matches!(
            parse_text(&"[".repeat(200_000)),
            Err(Defect::Unreadable(_))
        ));
        let braces_in_a_string = format!(r#"{{"jsonrpc":"2.0","method":"{}\"["}}"#, "[".repeat(500));
        assert!(parse_text(&braces_in_a_string).is_ok());
    }
}
