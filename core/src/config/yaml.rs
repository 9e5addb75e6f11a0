//! From the text of a file to a [`Node`]: size, depth and repetition are limited before anything
//! else looks at it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;

use super::problem::Problem;
use super::tree::{Entry, Node, Place, Value};

/// Largest configuration file that is parsed.
pub const FILE_BYTES_MAX: usize = 256 * 1024;
/// Most nodes in one file, anchors and merge keys expanded.
const NODES_MAX: usize = 50_000;
/// Deepest nesting in one file.
const DEPTH_MAX: usize = 32;

impl Node {
    /// Reads a file's text. An empty file is an empty mapping.
    pub(crate) fn from_yaml(text: &str, source: usize) -> Result<Self, Problem> {
        if text.len() > FILE_BYTES_MAX {
            let message = format!("the file has {} bytes", text.len());
            return Err(
                Problem::new("fileTooLarge", message).expected(format!("at most {FILE_BYTES_MAX} bytes"))
            );
        }
        let options = serde_yaml::options! {
            budget: serde_yaml::budget! { max_events: NODES_MAX * 2, max_nodes: NODES_MAX, max_depth: DEPTH_MAX },
            strict_booleans: true,
            with_snippet: false,
        };
        let raw: Spanned<Raw> =
            serde_yaml::from_str_with_options(text, options).map_err(|error| syntax(&error, source))?;
        Ok(raw_node(raw, source))
    }
}

fn syntax(error: &serde_yaml::Error, source: usize) -> Problem {
    let place = error.location().map_or(
        Place {
            source,
            line: 1,
            column: 1,
        },
        |location| place(location, source),
    );
    let text = error.without_snippet().to_string();
    let (code, message, expected) = match error.without_snippet() {
        serde_yaml::Error::DuplicateMappingKey { key, .. } => (
            "duplicateKey",
            format!(
                "the key {} is there twice",
                key.as_deref().unwrap_or("(not text)")
            ),
            "each key once in a mapping",
        ),
        serde_yaml::Error::NonFiniteFloat { .. } => (
            "invalidValue",
            "the number is not finite".to_owned(),
            "a finite number, 0 or more",
        ),
        _ if text.contains("multiple YAML documents") => (
            "syntax",
            "there is more than one document".to_owned(),
            "one document: no line `---`",
        ),
        _ if text.contains("budget breached") => (
            "fileTooComplex",
            "the file is nested or repeated beyond any use".to_owned(),
            "a small file of plain mappings",
        ),
        _ => {
            let first = text.lines().next().unwrap_or_default();
            let cut = first
                .find(" at line ")
                .map_or(first, |end| first.get(..end).unwrap_or(first));
            (
                "syntax",
                format!("this is not YAML: {cut}"),
                "valid YAML 1.2, one document",
            )
        }
    };
    Problem::new(code, message).expected(expected).at(place)
}

fn place(location: serde_yaml::Location, source: usize) -> Place {
    Place {
        source,
        line: u32::try_from(location.line()).unwrap_or(u32::MAX),
        column: u32::try_from(location.column()).unwrap_or(u32::MAX),
    }
}

fn raw_node(raw: Spanned<Raw>, source: usize) -> Node {
    let place = place(raw.referenced, source);
    let value = match raw.value {
        Raw::Scalar(value) => value,
        Raw::List(items) => Value::List(items.into_iter().map(|item| raw_node(item, source)).collect()),
        Raw::Mapping(entries) => Value::Mapping(
            entries
                .into_iter()
                .filter(|(_, value)| !matches!(value.value, Raw::Scalar(Value::Null)))
                .map(|(key, value)| Entry {
                    key_place: self::place(key.referenced, source),
                    key: key.value,
                    node: raw_node(value, source),
                })
                .collect(),
        ),
    };
    Node { value, place }
}

enum Raw {
    Scalar(Value),
    List(Vec<Spanned<Raw>>),
    Mapping(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RawVisitor;
        impl<'de> Visitor<'de> for RawVisitor {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a YAML value")
            }
            fn visit_unit<E>(self) -> Result<Raw, E> {
                Ok(Raw::Scalar(Value::Null))
            }
            fn visit_none<E>(self) -> Result<Raw, E> {
                Ok(Raw::Scalar(Value::Null))
            }
            fn visit_bool<E>(self, flag: bool) -> Result<Raw, E> {
                Ok(Raw::Scalar(Value::Bool(flag)))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Raw, E> {
                Ok(Raw::Scalar(Value::Integer(number.into())))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Raw, E> {
                Ok(Raw::Scalar(Value::Integer(number.into())))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Raw, E> {
                Ok(Raw::Scalar(Value::Decimal(number)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
                Ok(Raw::Scalar(Value::Text(text.to_owned())))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = access.next_element()? {
                    items.push(item);
                }
                Ok(Raw::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = access.next_entry()? {
                    entries.push(entry);
                }
                Ok(Raw::Mapping(entries))
            }
        }
        deserializer.deserialize_any(RawVisitor)
    }
}
