//! Lays the layers over each other. Most keys are replaced by the stronger layer; limits only ever
//! shrink, approvals only ever grow, and lists of excluded files add up.

use serde::{Deserialize, Serialize};

use super::amount::exact;
use super::problem::Problem;
use super::tree::{Entry, Node, Path, Segment, Value};

/// Who decided a value, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Layer {
    /// Built in.
    Default,
    /// Found on this machine: keys, addresses in the environment, programs.
    Environment,
    /// The user's file.
    User,
    /// A file of the repository.
    Workspace,
    /// Settings that the editor sent.
    Client,
    /// The options of one run.
    Run,
}

impl Layer {
    /// Whether what it says may come from a repository.
    pub const fn is_foreign(self) -> bool {
        matches!(self, Self::Workspace | Self::Client)
    }

    /// As a person calls it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Environment => "environment",
            Self::User => "user",
            Self::Workspace => "workspace",
            Self::Client => "client",
            Self::Run => "run",
        }
    }
}

/// Lays `over` on `base`. Warnings are about values that do not count.
pub(crate) fn lay(base: &mut Node, over: &Node, layer: Layer, warnings: &mut Vec<Problem>) {
    lay_at(base, over, &Path::default(), layer, warnings);
}

fn lay_at(base: &mut Node, over: &Node, path: &Path, layer: Layer, warnings: &mut Vec<Problem>) {
    if let (Value::Mapping(below), Value::Mapping(above)) = (&mut base.value, &over.value)
        && !is_one_value(path)
    {
        for Entry { key, key_place, node } in above {
            let path = path.key(key);
            match below.iter_mut().find(|entry| entry.key == *key) {
                Some(entry) => lay_at(&mut entry.node, node, &path, layer, warnings),
                None => below.push(Entry {
                    key: key.clone(),
                    key_place: *key_place,
                    node: node.clone(),
                }),
            }
        }
        return;
    }
    match rule(path, layer) {
        Rule::Replace => *base = over.clone(),
        Rule::Add => add(base, over),
        Rule::Smaller => {
            if number(over) <= number(base) {
                *base = over.clone();
            } else {
                let message = format!("the larger limit does not count: {} holds", shown(base));
                warnings.push(
                    Problem::new("limitNotRaised", message)
                        .expected("a smaller limit; a larger one only in the user's configuration")
                        .on(path.clone())
                        .at(over.place),
                );
            }
        }
        Rule::Stricter => {
            if over.text() == Some("strict") {
                *base = over.clone();
            }
        }
    }
}

enum Rule {
    Replace,
    Add,
    Smaller,
    Stricter,
}

fn rule(path: &Path, layer: Layer) -> Rule {
    let keys: Vec<&str> = path
        .0
        .iter()
        .filter_map(|segment| {
            if let Segment::Key(key) = segment {
                Some(key.as_str())
            } else {
                None
            }
        })
        .collect();
    match keys.as_slice() {
        ["context", "exclude"] => Rule::Add,
        ["limits", "enforce"] if layer > Layer::User => Rule::Stricter,
        ["limits", ..] if layer > Layer::User => Rule::Smaller,
        _ => Rule::Replace,
    }
}

/// Mappings that mean one thing and are therefore replaced as a whole: half of one target and half
/// of another would be a third that nobody wrote.
fn is_one_value(path: &Path) -> bool {
    let keys: Vec<&str> = path
        .0
        .iter()
        .filter_map(|segment| {
            if let Segment::Key(key) = segment {
                Some(key.as_str())
            } else {
                None
            }
        })
        .collect();
    matches!(
        keys.as_slice(),
        ["routing", "default", "map", _]
            | ["routing", "downgrade"]
            | ["providers", _, "models", _, "price"]
            | ["pipelines", _]
    )
}

fn add(base: &mut Node, over: &Node) {
    let (Value::List(below), Value::List(above)) = (&mut base.value, &over.value) else {
        *base = over.clone();
        return;
    };
    for item in above {
        if !below.iter().any(|known| known.value == item.value) {
            below.push(item.clone());
        }
    }
}

/// In picodollars or millionths of a request: only compared with its like. Absent counts as endless.
fn number(node: &Node) -> i128 {
    const DIGITS: u32 = 12;
    let text = match &node.value {
        Value::Integer(number) => return number.saturating_mul(10_i128.pow(DIGITS)),
        Value::Decimal(number) => number.to_string(),
        Value::Text(text) => text.trim().to_owned(),
        _ => return i128::MAX,
    };
    exact(&text, DIGITS).map_or(i128::MAX, i128::from)
}

fn shown(node: &Node) -> String {
    match &node.value {
        Value::Integer(number) => number.to_string(),
        Value::Decimal(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        _ => "the other".to_owned(),
    }
}
