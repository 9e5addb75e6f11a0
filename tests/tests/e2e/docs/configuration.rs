//! `docs/configuration.md` against the schema, the defaults, the rules of trust, and the program's own check.

use std::collections::BTreeSet;
use std::fs;

use clode_tests::cli::Cli;
use clode_tests::fixture::{Home, Repo};
use serde_json::Value;

use super::{assert_same, book, sources};

const DOCUMENT: &str = "docs/configuration.md";

/// The dotted keys of the schema that hold values; `*` is any name, `[]` any item.
fn keys_of_the_schema() -> BTreeSet<String> {
    let schema: Value = serde_json::from_str(&book::read("config/providers.schema.json")).expect("a schema");
    let mut found = BTreeSet::new();
    walk(&schema, &schema, "", &mut found);
    found
}

fn walk(schema: &Value, node: &Value, path: &str, found: &mut BTreeSet<String>) {
    let node = &resolved(schema, node);
    let mut is_leaf = true;
    let mut below = |child: &Value, path: String| {
        is_leaf = false;
        walk(schema, child, &path, found);
    };
    if let Some(properties) = node["properties"].as_object() {
        for (key, child) in properties {
            below(
                child,
                if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                },
            );
        }
    }
    if node["additionalProperties"].is_object() {
        below(&node["additionalProperties"], format!("{path}.*"));
    }
    if node["items"].is_object() && !resolved(schema, &node["items"])["properties"].is_null() {
        below(&node["items"], format!("{path}[]"));
    }
    if is_leaf && !path.is_empty() {
        found.insert(path.to_owned());
    }
}

/// The schema behind references and choices: of several the one that has keys.
fn resolved(schema: &Value, node: &Value) -> Value {
    if let Some(reference) = node["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return resolved(schema, &schema["definitions"][name]);
    }
    for choice in ["allOf", "anyOf", "oneOf"] {
        let choices = node[choice]
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| resolved(schema, one));
        if let Some(found) = choices
            .into_iter()
            .find(|one| one["properties"].is_object() || one["items"].is_object())
        {
            return found;
        }
    }
    node.clone()
}

/// `providers.<id>.kind` as the schema calls it.
fn plain(key: &str) -> String {
    let mut plain = String::new();
    let mut rest = key;
    while let Some((before, name)) = rest.split_once('<') {
        plain.push_str(before);
        plain.push('*');
        rest = name.split_once('>').map_or("", |(_, rest)| rest);
    }
    plain + rest
}

fn rows_of_keys() -> Vec<Vec<String>> {
    book::rows(&book::section(&book::read(DOCUMENT), "Keys"))
}

#[test]
fn every_key_of_the_schema_is_written_down_and_the_other_way_round() {
    let written = rows_of_keys()
        .iter()
        .filter_map(|row| row.first())
        .flat_map(|cell| book::code_spans(cell))
        .map(|key| plain(&key))
        .collect();
    assert_same("keys", &written, &keys_of_the_schema());
}

#[tokio::test]
async fn the_defaults_are_those_that_hold_without_any_file() {
    let (home, repo) = (Home::new(), Repo::with(&[("a.txt", "a\n")]));
    let shown = Cli::new(&home, repo.path())
        .run(&["config", "show", "--json"])
        .await;
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let shown: Value = serde_json::from_str(&shown.stdout).expect("one document");
    let mut count = 0;
    for row in rows_of_keys() {
        let [key, default, ..] = row.as_slice() else {
            panic!("a row has a key and a default: {row:?}")
        };
        let (Some(key), Some(default)) = (book::code_spans(key).pop(), book::code_spans(default).pop())
        else {
            continue;
        };
        let holds = value_of(&shown, &key).unwrap_or_else(|| panic!("`{key}` is not shown: {shown}"));
        let holds = holds.as_str().map_or_else(|| holds.to_string(), str::to_owned);
        assert_eq!(holds, default, "the default of `{key}`");
        count += 1;
    }
    assert!(count > 20, "only {count} defaults were compared");
}

/// The value of a dotted key, however the document nests it.
fn value_of(shown: &Value, key: &str) -> Option<Value> {
    match shown {
        Value::Object(fields) => fields
            .get(key)
            .map(|found| {
                if found["value"].is_null() {
                    found.clone()
                } else {
                    found["value"].clone()
                }
            })
            .or_else(|| fields.values().find_map(|field| value_of(field, key))),
        Value::Array(items) => items.iter().find_map(|item| {
            if item["key"] == key {
                Some(item["value"].clone())
            } else {
                value_of(item, key)
            }
        }),
        _ => None,
    }
}

#[tokio::test]
async fn every_yaml_example_is_a_configuration_without_mistakes() {
    let mut count = 0;
    for (path, text) in book::documents() {
        for fence in book::fences(&text)
            .into_iter()
            .filter(|fence| fence.language == "yaml")
        {
            let (home, repo) = (Home::new(), Repo::with(&[("a.txt", "a\n")]));
            home.configure(&fence.text);
            let checked = Cli::new(&home, repo.path()).run(&["config", "check"]).await;
            assert_eq!(
                checked.code,
                Some(0),
                "{path}:{}: {}{}",
                fence.line,
                checked.stdout,
                checked.stderr
            );
            count += 1;
        }
    }
    assert!(count > 3, "only {count} examples were found");
}

#[tokio::test]
async fn the_codes_of_mistakes_are_written_down() {
    let written: BTreeSet<String> = book::first_column(&book::section(&book::read(DOCUMENT), "Mistakes"))
        .into_iter()
        .collect();
    let elsewhere: BTreeSet<String> =
        book::first_column(&book::section(&book::read("docs/protocol.md"), "Error codes"))
            .into_iter()
            .collect();
    let known = |code: &String| written.contains(code) || elsewhere.contains(code);
    let given = sources::codes(|path| path.contains("/config/") || path.ends_with("/config.rs"));
    let missing: Vec<&String> = given.iter().filter(|code| !known(code)).collect();
    assert!(missing.is_empty(), "codes that are not written down: {missing:?}");
    let all: String = sources::all().into_iter().map(|(_, text)| text).collect();
    let stale: Vec<&String> = written
        .iter()
        .filter(|code| !all.contains(&format!("\"{code}\"")))
        .collect();
    assert!(stale.is_empty(), "codes that nothing gives: {stale:?}");

    let mut samples = Vec::new();
    book::collect(
        &book::root().join("config/samples/invalid"),
        "",
        "yaml",
        &mut samples,
    );
    for (name, text) in samples {
        let (home, repo) = (Home::new(), Repo::with(&[("a.txt", "a\n")]));
        home.configure(&text);
        let checked = Cli::new(&home, repo.path())
            .run(&["config", "check", "--json"])
            .await;
        assert_eq!(
            checked.code,
            Some(2),
            "{name}: {}{}",
            checked.stdout,
            checked.stderr
        );
        let report: Value =
            serde_json::from_str(&checked.stdout).unwrap_or_else(|error| panic!("{name}: {error}"));
        let codes = codes_in(&report);
        assert!(!codes.is_empty(), "{name}: no code in {report}");
        assert!(codes.iter().all(known), "{name}: {codes:?}");
    }
}

fn codes_in(report: &Value) -> Vec<String> {
    match report {
        Value::Object(fields) => {
            let own = fields.get("code").and_then(Value::as_str).map(str::to_owned);
            own.into_iter()
                .chain(fields.values().flat_map(codes_in))
                .collect()
        }
        Value::Array(items) => items.iter().flat_map(codes_in).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn what_a_repository_may_say_is_what_the_sources_let_it_say() {
    let source =
        fs::read_to_string(book::root().join("core/src/config/foreign.rs")).expect("the rules of trust");
    let section = book::section(&book::read(DOCUMENT), "What a repository may say");
    let written: BTreeSet<String> = book::code_spans(&section).into_iter().collect();
    let mut there = BTreeSet::new();
    for list in ["pub const UNTRUSTED_KEYS", "pub const USER_ONLY_KEYS"] {
        let body = source.split_once(list).map_or("", |(_, rest)| rest);
        let body = body.split_once("];\n").map_or("", |(body, _)| body);
        let patterns = body
            .split("&[")
            .skip(2)
            .map(|pattern| pattern.split(']').next().unwrap_or_default());
        there.extend(patterns.map(|pattern| pattern.replace(['"', ' '], "").replace(',', ".")));
    }
    assert_same("keys of the rules of trust", &written, &there);
}
