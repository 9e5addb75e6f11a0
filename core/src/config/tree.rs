//! A configuration file as a tree in which every value knows the file and the place that it came from.
//!
//! Everything else (typed reading, trust, layering, origins, messages) works on this one tree, so
//! that a warning about the merged configuration still points at the line that somebody wrote.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;

use super::problem::Problem;

/// Largest configuration file that is parsed.
pub const FILE_BYTES_MAX: usize = 256 * 1024;
/// Most nodes in one file, anchors and merge keys expanded.
const NODES_MAX: usize = 50_000;
/// Deepest nesting in one file.
const DEPTH_MAX: usize = 32;

/// Where a value was written. Lines and columns count from 1; 0 means "no place" (client settings).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Index into the list of sources that were loaded.
    pub(crate) source: usize,
    /// Line, from 1.
    pub(crate) line: u32,
    /// Column in characters, from 1.
    pub(crate) column: u32,
}

/// A value and the place where it was written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) place: Place,
}

/// One entry of a mapping; the key has a place of its own.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_place: Place,
    pub(crate) node: Node,
}

/// What a value can be. A `null` in a mapping counts as absent and is not kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Decimal(f64),
    Text(String),
    List(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// One step of a path into the tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Segment {
    Key(String),
    Index(usize),
}

/// A path into the tree, shown as a dotted key.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path(pub(crate) Vec<Segment>);

impl Path {
    /// From plain keys.
    pub(crate) fn of(keys: &[&str]) -> Self {
        Self(keys.iter().map(|key| Segment::Key((*key).to_owned())).collect())
    }

    pub(crate) fn key(&self, key: &str) -> Self {
        self.with(Segment::Key(key.to_owned()))
    }

    pub(crate) fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    fn with(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }
}

/// `routing.default.map.qa`, `alerts[0].metric`, `providers.openai.models."gpt-4.1".price`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) => {
                    if position > 0 {
                        f.write_str(".")?;
                    }
                    let plain = !key.is_empty() && !key.contains(['.', '[', ']', '"', ' ', '\n']);
                    if plain { f.write_str(key)? } else { write!(f, "{key:?}")? }
                }
            }
        }
        Ok(())
    }
}

impl Node {
    /// An empty mapping.
    pub(crate) fn empty(place: Place) -> Self {
        Self { value: Value::Mapping(Vec::new()), place }
    }

    /// Reads a file's text. An empty file is an empty mapping.
    pub(crate) fn from_yaml(text: &str, source: usize) -> Result<Self, Problem> {
        if text.len() > FILE_BYTES_MAX {
            let message = format!("the file has {} bytes", text.len());
            return Err(Problem::new("fileTooLarge", message).expected(format!("at most {FILE_BYTES_MAX} bytes")));
        }
        let options = serde_yaml::options! {
            budget: serde_yaml::budget! { max_events: NODES_MAX * 2, max_nodes: NODES_MAX, max_depth: DEPTH_MAX },
            strict_booleans: true,
            with_snippet: false,
        };
        let raw: Spanned<Raw> = serde_yaml::from_str_with_options(text, options).map_err(|error| syntax(&error, source))?;
        Ok(raw_node(raw, source))
    }

    /// Takes the settings that a client sent.
    pub(crate) fn from_json(value: &serde_json::Value, source: usize) -> Self {
        let place = Place { source, ..Place::default() };
        let value = match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(flag) => Value::Bool(*flag),
            serde_json::Value::Number(number) => number
                .as_i64()
                .map(i128::from)
                .or_else(|| number.as_u64().map(i128::from))
                .map_or_else(|| Value::Decimal(number.as_f64().unwrap_or(f64::NAN)), Value::Integer),
            serde_json::Value::String(text) => Value::Text(text.clone()),
            serde_json::Value::Array(items) => {
                Value::List(items.iter().map(|item| Self::from_json(item, source)).collect())
            }
            serde_json::Value::Object(fields) => Value::Mapping(
                fields
                    .iter()
                    .filter(|(_, value)| !value.is_null())
                    .map(|(key, value)| Entry { key: key.clone(), key_place: place, node: Self::from_json(value, source) })
                    .collect(),
            ),
        };
        Self { value, place }
    }

    /// As JSON, for `config show` and for the hash.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(flag) => (*flag).into(),
            Value::Integer(number) => i64::try_from(*number).map_or_else(|_| number.to_string().into(), Into::into),
            Value::Decimal(number) => (*number).into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Mapping(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect::<serde_json::Map<_, _>>().into()
            }
        }
    }

    /// The entries, when this is a mapping.
    pub(crate) fn entries(&self) -> &[Entry] {
        if let Value::Mapping(entries) = &self.value { entries } else { &[] }
    }

    /// The items, when this is a list.
    pub(crate) fn items(&self) -> &[Self] {
        if let Value::List(items) = &self.value { items } else { &[] }
    }

    /// Whether this is a list with nothing in it.
    pub(crate) fn is_empty_list(&self) -> bool {
        matches!(&self.value, Value::List(items) if items.is_empty())
    }

    /// The text, when this is one.
    pub(crate) fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    /// The value under a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// The value at a path.
    pub(crate) fn at(&self, path: &Path) -> Option<&Self> {
        path.0.iter().try_fold(self, |node, segment| match segment {
            Segment::Key(key) => node.get(key),
            Segment::Index(index) => node.items().get(*index),
        })
    }

    /// The place of the deepest part of `path` that exists: of its value, or of its key where the
    /// value is a mapping, which begins at its first key.
    pub(crate) fn nearest_place(&self, path: &Path) -> Place {
        let mut node = self;
        let mut key_place = self.place;
        for segment in &path.0 {
            match segment {
                Segment::Key(key) => {
                    let Some(entry) = node.entries().iter().find(|entry| entry.key == *key) else { break };
                    (node, key_place) = (&entry.node, entry.key_place);
                }
                Segment::Index(index) => {
                    let Some(item) = node.items().get(*index) else { break };
                    (node, key_place) = (item, item.place);
                }
            }
        }
        // A key keeps the place of the weakest layer that has it, a value that of the strongest.
        let by_key = matches!(node.value, Value::Mapping(_)) && key_place.source == node.place.source;
        if by_key { key_place } else { node.place }
    }

    /// Takes what is at `path` out of the tree.
    pub(crate) fn remove(&mut self, path: &[Segment]) -> bool {
        match (path, &mut self.value) {
            ([Segment::Key(key)], Value::Mapping(entries)) => {
                let before = entries.len();
                entries.retain(|entry| entry.key != *key);
                entries.len() < before
            }
            ([Segment::Index(index)], Value::List(items)) if *index < items.len() => {
                items.remove(*index);
                true
            }
            ([Segment::Key(key), rest @ ..], Value::Mapping(entries)) => {
                entries.iter_mut().find(|entry| entry.key == *key).is_some_and(|entry| entry.node.remove(rest))
            }
            ([Segment::Index(index), rest @ ..], Value::List(items)) => {
                items.get_mut(*index).is_some_and(|item| item.remove(rest))
            }
            _ => false,
        }
    }

    /// Calls `visit` for every value that is not a mapping, in order.
    pub(crate) fn leaves(&self, path: &Path, visit: &mut impl FnMut(&Path, &Self)) {
        match &self.value {
            Value::Mapping(entries) if !entries.is_empty() => {
                for entry in entries {
                    entry.node.leaves(&path.key(&entry.key), visit);
                }
            }
            _ => visit(path, self),
        }
    }
}

fn syntax(error: &serde_yaml::Error, source: usize) -> Problem {
    let place = error.location().map_or(Place { source, line: 1, column: 1 }, |location| place(location, source));
    let text = error.without_snippet().to_string();
    let (code, message, expected) = match error.without_snippet() {
        serde_yaml::Error::DuplicateMappingKey { key, .. } => (
            "duplicateKey",
            format!("the key {} is there twice", key.as_deref().unwrap_or("(not text)")),
            "each key once in a mapping",
        ),
        serde_yaml::Error::NonFiniteFloat { .. } => {
            ("invalidValue", "the number is not finite".to_owned(), "a finite number, 0 or more")
        }
        _ if text.contains("budget breached") => {
            ("fileTooComplex", "the file is nested or repeated beyond any use".to_owned(), "a small file of plain mappings")
        }
        _ => {
            let first = text.lines().next().unwrap_or_default();
            let cut = first.find(" at line ").map_or(first, |end| first.get(..end).unwrap_or(first));
            ("syntax", format!("this is not YAML: {cut}"), "valid YAML 1.2, one document")
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
