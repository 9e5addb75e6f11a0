//! Reads a tree into types with serde, so that an error knows its place, its dotted key, and what
//! was expected in words that a person uses (not the name of a struct).

use std::fmt;

use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};

use super::problem::Problem;
use super::suggest::nearest;
use super::tree::{Entry, Node, Path, Place, Value};

/// Most errors that are reported for one file.
const ERRORS_MAX: usize = 20;

/// Reads the tree.
pub(crate) fn read<T: for<'de> Deserialize<'de>>(tree: &Node) -> Result<T, Vec<Problem>> {
    T::deserialize(Cursor {
        node: tree,
        path: Path::default(),
    })
    .map_err(|_| repair::<T>(tree).1)
}

/// The part of the tree that can be read, and everything that is wrong with the rest (up to a
/// limit): what is wrong is taken out and the remainder is read again.
pub(crate) fn repair<T: for<'de> Deserialize<'de>>(tree: &Node) -> (Node, Vec<Problem>) {
    let mut rest = tree.clone();
    let mut problems: Vec<Problem> = Vec::new();
    while let Err(Failure(problem)) = T::deserialize(Cursor {
        node: &rest,
        path: Path::default(),
    }) {
        let removed = rest.remove(&problem.path.0);
        // A key is only missing because it was wrong and has been taken out.
        let follows = |first: &Problem| first.path.0.starts_with(&problem.path.0);
        if problem.code != "missingKey" || !problems.iter().any(follows) {
            problems.push(problem);
        }
        if !removed || problems.len() >= ERRORS_MAX {
            return (Node::empty(tree.place), problems);
        }
    }
    (rest, problems)
}

/// A [`Problem`] on its way through serde.
#[derive(Debug)]
pub(crate) struct Failure(Problem);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Failure {}

/// Codes and expectations travel inside the text of a custom error, since serde has no other way.
const SEPARATOR: char = '\u{1f}';

/// An error for a visitor: what is wrong, and what was expected.
pub(crate) fn wrong<E: de::Error>(message: &str, expected: &str) -> E {
    E::custom(format!("{message}{SEPARATOR}{expected}"))
}

impl de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let text = message.to_string();
        let (message, expected) = text.split_once(SEPARATOR).unwrap_or((&text, ""));
        Self(Problem::new("invalidValue", message).expected(expected))
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self(
            Problem::new("wrongType", format!("this is {}", in_words(unexpected)))
                .expected(expected.to_string()),
        )
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self(
            Problem::new("invalidValue", format!("this is {}", in_words(unexpected)))
                .expected(expected.to_string()),
        )
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self(
            Problem::new("unknownKey", format!("there is no key `{field}` here"))
                .expected(offer(field, known)),
        )
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        Self(
            Problem::new("invalidValue", format!("`{variant}` is not possible here"))
                .expected(offer(variant, known)),
        )
    }

    fn missing_field(field: &'static str) -> Self {
        Self(
            Problem::new("missingKey", format!("the key `{field}` is missing"))
                .expected(format!("a value for `{field}`")),
        )
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self(
            Problem::new("duplicateKey", format!("the key `{field}` is there twice"))
                .expected("each key once"),
        )
    }
}

/// `` `rpm`? (one of rpm, tpm, …)``.
pub(crate) fn offer(written: &str, known: &[&str]) -> String {
    let all = known.join(", ");
    match nearest(written, known.iter().copied()) {
        Some(near) if known.len() > 1 => format!("`{near}`? (one of {all})"),
        Some(near) => format!("`{near}`?"),
        None => format!("one of {all}"),
    }
}

fn in_words(unexpected: Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Map => "a mapping".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Unit | Unexpected::Option => "empty".to_owned(),
        Unexpected::Str(_) => "text".to_owned(),
        Unexpected::Bool(flag) => format!("`{flag}`"),
        Unexpected::Signed(number) => format!("the number {number}"),
        Unexpected::Unsigned(number) => format!("the number {number}"),
        Unexpected::Float(number) => format!("the number {number}"),
        other => other.to_string(),
    }
}

/// A node that is being read, and the way to it.
struct Cursor<'t> {
    node: &'t Node,
    path: Path,
}

impl Cursor<'_> {
    fn locate<T>(self, result: Result<T, Failure>) -> Result<T, Failure> {
        result.map_err(|Failure(problem)| Failure(located(problem, &self.path, self.node.place)))
    }

    fn wrong_type<T>(self, expected: &str) -> Result<T, Failure> {
        let unexpected = match &self.node.value {
            Value::Null => Unexpected::Unit,
            Value::Bool(flag) => Unexpected::Bool(*flag),
            Value::Integer(number) => {
                i64::try_from(*number).map_or(Unexpected::Other("a huge number"), Unexpected::Signed)
            }
            Value::Decimal(number) => Unexpected::Float(*number),
            Value::Text(text) => Unexpected::Str(text),
            Value::List(_) => Unexpected::Seq,
            Value::Mapping(_) => Unexpected::Map,
        };
        let failure = Failure(
            Problem::new("wrongType", format!("this is {}", in_words(unexpected))).expected(expected),
        );
        self.locate(Err(failure))
    }
}

fn located(problem: Problem, path: &Path, place: Place) -> Problem {
    if problem.place.is_some() {
        problem
    } else {
        problem.on(path.clone()).at(place)
    }
}

macro_rules! whole_numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            match self.node.value {
                Value::Integer(number) => {
                    let result = u64::try_from(number).map_or_else(
                        |_| Err(wrong(&format!("this is the number {number}"), "a whole number, 0 or more")),
                        |number| visitor.visit_u64(number),
                    );
                    let result = result.map_err(|Failure(problem)| {
                        let whole = problem.expected.starts_with('u');
                        Failure(if whole { problem.expected("a smaller whole number") } else { problem })
                    });
                    self.locate(result)
                }
                _ => self.wrong_type("a whole number, 0 or more"),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Cursor<'_> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let result = match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::Integer(number) => match u64::try_from(*number) {
                Ok(number) => visitor.visit_u64(number),
                Err(_) => visitor.visit_i64(i64::try_from(*number).unwrap_or(i64::MIN)),
            },
            Value::Decimal(number) => visitor.visit_f64(*number),
            Value::Text(text) => visitor.visit_str(text),
            Value::List(items) => visitor.visit_seq(Items {
                nodes: items,
                next: 0,
                path: &self.path,
            }),
            Value::Mapping(entries) => visitor.visit_map(Fields {
                entries,
                next: 0,
                path: &self.path,
                place: self.node.place,
            }),
        };
        self.locate(result)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.node.value {
            Value::Bool(flag) => visitor.visit_bool(flag),
            _ => self.wrong_type("`true` or `false`"),
        }
    }

    whole_numbers! { deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::Text(text) => {
                let result = visitor.visit_str(text);
                self.locate(result)
            }
            Value::Integer(_) | Value::Decimal(_) | Value::Bool(_) => {
                self.wrong_type("text: put it in quotes")
            }
            _ => self.wrong_type("text"),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.node.value == Value::Null {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if matches!(self.node.value, Value::List(_)) {
            self.deserialize_any(visitor)
        } else {
            self.wrong_type("a list")
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.node.value {
            Value::Mapping(_) => self.deserialize_any(visitor),
            _ => self.wrong_type("a mapping"),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        match self.node.value {
            Value::Mapping(_) => self.deserialize_any(visitor),
            _ => self.wrong_type(&format!("a mapping with keys of {}", fields.join(", "))),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::Text(text) => {
                let result = visitor.visit_enum(Variant(text));
                self.locate(result)
            }
            _ => self.wrong_type(&format!("one of {}", variants.join(", "))),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

struct Items<'t> {
    nodes: &'t [Node],
    next: usize,
    path: &'t Path,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Failure;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Failure> {
        let Some(node) = self.nodes.get(self.next) else {
            return Ok(None);
        };
        let path = self.path.index(self.next);
        self.next += 1;
        let located_at = path.clone();
        seed.deserialize(Cursor { node, path })
            .map(Some)
            .map_err(|Failure(problem)| Failure(located(problem, &located_at, node.place)))
    }
}

struct Fields<'t> {
    entries: &'t [Entry],
    next: usize,
    path: &'t Path,
    place: Place,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Failure;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Failure> {
        let Some(entry) = self.entries.get(self.next) else {
            return Ok(None);
        };
        self.next += 1;
        let key: StrDeserializer<'_, Failure> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|Failure(problem)| {
            Failure(located(problem, &self.path.key(&entry.key), entry.key_place))
        })
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Failure> {
        let Some(entry) = self.next.checked_sub(1).and_then(|last| self.entries.get(last)) else {
            let problem = Problem::new("internal", "a value was read before its key").at(self.place);
            return Err(Failure(problem.on(self.path.clone())));
        };
        let path = self.path.key(&entry.key);
        let located_at = path.clone();
        seed.deserialize(Cursor {
            node: &entry.node,
            path,
        })
        .map_err(|Failure(problem)| Failure(located(problem, &located_at, entry.node.place)))
    }
}

struct Variant<'t>(&'t str);

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Failure;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Failure> {
        let name: StrDeserializer<'_, Failure> = self.0.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Failure;

    fn unit_variant(self) -> Result<(), Failure> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, _seed: S) -> Result<S::Value, Failure> {
        Err(wrong("this takes no value", "one plain word"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _length: usize, _visitor: V) -> Result<V::Value, Failure> {
        Err(wrong("this takes no value", "one plain word"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Failure> {
        Err(wrong("this takes no value", "one plain word"))
    }
}
