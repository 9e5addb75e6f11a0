//! Reads from the sources what they say to the outside: names of variants, error codes.

use std::collections::BTreeSet;

use super::book;

/// Calls whose first text is an error code.
const CODED_CALLS: [&str; 8] = [
    "Error::usage(",
    "Error::state(",
    "Error::new(",
    "Problem::new(",
    "with_code(",
    ".code(",
    "code: Cow::Borrowed(",
    "code: \"",
];
/// How far the code may stand behind the call (characters).
const DISTANCE_MAX: usize = 120;
/// Ends of what the test modules of a file begin with.
const TESTS_BEGIN: &str = "#[cfg(test)]\nmod tests {";

/// The sources of `core` and `server` without their tests, by path.
pub(super) fn all() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for folder in ["core/src", "server/src"] {
        book::collect(&book::root().join(folder), folder, "rs", &mut found);
    }
    found.retain(|(path, _)| {
        !path.contains("/tests/")
            && !path.contains("/simulation/")
            && !path.ends_with("/tests.rs")
            && !path.ends_with("/testing.rs")
    });
    for (_, text) in &mut found {
        if let Some(at) = text.find(TESTS_BEGIN) {
            text.truncate(at);
        }
    }
    found
}

/// The variants of an enum of the sources, as they are on the wire, each with the names of its fields.
pub(super) fn variants(declaration: &str) -> Vec<(String, Vec<String>)> {
    let sources = all();
    let text = sources
        .iter()
        .find_map(|(_, text)| {
            text.split_once(&format!("pub enum {declaration} {{\n"))
                .map(|(_, rest)| rest)
        })
        .unwrap_or_else(|| panic!("there is no enum `{declaration}`"));
    let body = text.split_once("\n}").map_or(text, |(body, _)| body);
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    let mut renamed = None;
    for line in body.lines() {
        let name: String = line
            .trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        let depth = line.len() - line.trim_start().len();
        if let Some((_, rest)) = line.split_once("rename = \"") {
            renamed = rest.split('"').next().map(str::to_owned);
        } else if depth == 4 && name.starts_with(char::is_uppercase) {
            found.push((lower_first(&name), Vec::new()));
        } else if depth == 8 && !name.is_empty() && line.contains(&format!("{name}: ")) {
            let field = renamed.take().unwrap_or_else(|| camel_case(&name));
            found.last_mut().expect("a field has a variant").1.push(field);
        }
    }
    found
}

/// The error codes that the sources give.
pub(super) fn codes(path_has: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (path, text) in all().iter().filter(|(path, _)| path_has(path)) {
        let helpers = helpers(text);
        let calls = CODED_CALLS.into_iter().chain(helpers.iter().map(String::as_str));
        for call in calls {
            let quoted = call.strip_suffix('"').unwrap_or(call);
            found.extend(
                text.match_indices(call)
                    .filter_map(|(at, _)| first_text(text.get(at + quoted.len()..)?)),
            );
        }
        // The mistakes of a configuration are reported by helpers that take the code on a line of its own.
        if path.contains("/config/") {
            found.extend(text.lines().filter_map(line_of_code));
        }
        if path.ends_with("provider/failure.rs") {
            let map = text.split_once("fn code(self)").map_or("", |(_, rest)| rest);
            let map = map.split_once("\n    }\n").map_or("", |(map, _)| map);
            found.extend(
                map.lines()
                    .filter_map(|line| first_text(line.split_once("=> ")?.1)),
            );
        }
    }
    found
}

/// Calls of the functions in this text that take a code first.
fn helpers(text: &str) -> Vec<String> {
    let functions = text.split("fn ").skip(1);
    let take_a_code = functions.filter_map(|function| function.split_once("(code: &'static str"));
    let names = take_a_code
        .map(|(name, _)| name)
        .filter(|name| name.chars().all(|c| c.is_alphanumeric() || c == '_'));
    names.map(|name| format!("{name}(")).collect()
}

/// The text that comes next, if only names and signs stand before it.
fn first_text(rest: &str) -> Option<String> {
    let (before, after) = rest.split_once('"')?;
    let is_near = before.chars().count() <= DISTANCE_MAX;
    let is_plain = before
        .chars()
        .all(|c| c.is_alphanumeric() || "_:,&.( \n".contains(c));
    let text = after.split('"').next()?;
    (is_near && is_plain && is_code(text)).then(|| text.to_owned())
}

fn line_of_code(line: &str) -> Option<String> {
    let text = line.trim().strip_prefix('"')?.strip_suffix("\",")?;
    (is_code(text) && text.contains(char::is_uppercase)).then(|| text.to_owned())
}

fn is_code(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(|c| c.is_ascii_alphanumeric())
}

fn lower_first(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(characters).collect()
    })
}

fn camel_case(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| {
        let mut characters = part.chars();
        let upper = characters
            .next()
            .map(|first| first.to_uppercase().collect::<String>())
            .unwrap_or_default();
        all + &upper + characters.as_str()
    })
}
