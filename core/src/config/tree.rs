//! A configuration file as a tree in which every value knows the file and the place that it came from.
//!
//! Everything else (typed reading, trust, layering, origins, messages) works on this one tree, so
//! that a warning about the merged configuration still points at the line that somebody wrote.

use std::fmt;

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
                    if plain {
                        f.write_str(key)?;
                    } else {
                        write!(f, "{key:?}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Node {
    /// An empty mapping.
    pub(crate) fn empty(place: Place) -> Self {
        Self {
            value: Value::Mapping(Vec::new()),
            place,
        }
    }

    /// Takes the settings that a client sent.
    pub(crate) fn from_json(value: &serde_json::Value, source: usize) -> Self {
        let place = Place {
            source,
            ..Place::default()
        };
        let value = match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(flag) => Value::Bool(*flag),
            serde_json::Value::Number(number) => number
                .as_i64()
                .map(i128::from)
                .or_else(|| number.as_u64().map(i128::from))
                .map_or_else(
                    || Value::Decimal(number.as_f64().unwrap_or(f64::NAN)),
                    Value::Integer,
                ),
            serde_json::Value::String(text) => Value::Text(text.clone()),
            serde_json::Value::Array(items) => {
                Value::List(items.iter().map(|item| Self::from_json(item, source)).collect())
            }
            serde_json::Value::Object(fields) => Value::Mapping(
                fields
                    .iter()
                    .filter(|(_, value)| !value.is_null())
                    .map(|(key, value)| Entry {
                        key: key.clone(),
                        key_place: place,
                        node: Self::from_json(value, source),
                    })
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
            Value::Integer(number) => {
                i64::try_from(*number).map_or_else(|_| number.to_string().into(), Into::into)
            }
            Value::Decimal(number) => (*number).into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Mapping(entries) => entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.node.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }

    /// The entries, when this is a mapping.
    pub(crate) fn entries(&self) -> &[Entry] {
        if let Value::Mapping(entries) = &self.value {
            entries
        } else {
            &[]
        }
    }

    /// The items, when this is a list.
    pub(crate) fn items(&self) -> &[Self] {
        if let Value::List(items) = &self.value {
            items
        } else {
            &[]
        }
    }

    /// Whether this is a list with nothing in it.
    pub(crate) fn is_empty_list(&self) -> bool {
        matches!(&self.value, Value::List(items) if items.is_empty())
    }

    /// The text, when this is one.
    pub(crate) fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value {
            Some(text)
        } else {
            None
        }
    }

    /// The value under a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entries()
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.node)
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
                    let Some(entry) = node.entries().iter().find(|entry| entry.key == *key) else {
                        break;
                    };
                    (node, key_place) = (&entry.node, entry.key_place);
                }
                Segment::Index(index) => {
                    let Some(item) = node.items().get(*index) else {
                        break;
                    };
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
            ([Segment::Key(key), rest @ ..], Value::Mapping(entries)) => entries
                .iter_mut()
                .find(|entry| entry.key == *key)
                .is_some_and(|entry| entry.node.remove(rest)),
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
