//! What is wrong with a configuration, in the words of the person who has to put it right.

use std::fmt::{self, Write as _};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::tree::{Path, Place};

/// Longest source line that is shown under an error (characters).
const SNIPPET_CHARS_MAX: usize = 120;

/// Codes of errors about a value that may be a secret: it is not shown.
const HIDDEN_VALUES: [&str; 3] = ["secretInFile", "invalidAddress", "invalidHeader"];

/// Something wrong, or ignored, in one place of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigError {
    /// The file; `None` for client settings and the environment.
    pub path: Option<PathBuf>,
    /// Line from 1; 0 where there is no file.
    pub line: u32,
    /// Column in characters from 1; 0 where there is no file.
    pub column: u32,
    /// Dotted key, such as `routing.default.map.qa.provider`.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What was expected, or what to do.
    pub expected: String,
    /// Stable identifier in camelCase, such as `unknownKey`.
    pub code: String,
}

impl ConfigError {
    /// The error as a terminal shows it, with the line that it is about and a caret under the
    /// place. `text` is the file's text. What follows a secret-looking key is not shown.
    pub fn render(&self, text: Option<&str>) -> String {
        let number = self.line.to_string();
        let Some(line) = text.and_then(|text| text.lines().nth((self.line as usize).checked_sub(1)?)) else {
            return format!("{self}\n");
        };
        let column = (self.column.max(1) as usize - 1).min(SNIPPET_CHARS_MAX);
        let line = if HIDDEN_VALUES.contains(&self.code.as_str()) {
            format!("{}(not shown)", line.chars().take(column).collect::<String>())
        } else {
            line.to_owned()
        };
        let shown: String = hide_secrets(&line)
            .chars()
            .take(SNIPPET_CHARS_MAX)
            .map(|c| if c == '\t' || c.is_control() { ' ' } else { c })
            .collect();
        let margin = " ".repeat(number.len());
        let column = " ".repeat(column.min(shown.chars().count()));
        let mut out = String::new();
        let _ = writeln!(out, "{}", self.headline());
        let _ = writeln!(out, "{margin} |");
        let _ = writeln!(out, "{number} | {shown}");
        let _ = writeln!(out, "{margin} | {column}^ expected {}", self.expected);
        out
    }

    fn headline(&self) -> String {
        let mut line = String::new();
        if let Some(path) = &self.path {
            let _ = write!(line, "{}:{}:{}: ", path.display(), self.line, self.column);
        }
        if !self.key.is_empty() {
            let _ = write!(line, "{}: ", self.key);
        }
        line.push_str(&self.message);
        line
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        if !self.expected.is_empty() {
            write!(f, " (expected {})", self.expected)?;
        }
        Ok(())
    }
}

impl From<&ConfigError> for crate::Error {
    fn from(problem: &ConfigError) -> Self {
        Self::new(crate::Kind::Config, "configInvalid", problem.to_string())
            .hint("run `clode-ls config check` to see every problem with its line")
    }
}

/// The line up to a value that may be a secret: headers, keys, tokens, long random text.
fn hide_secrets(line: &str) -> String {
    const SECRET_KEYS: [&str; 7] = [
        "key",
        "token",
        "secret",
        "password",
        "authorization",
        "header",
        "cookie",
    ];
    const SECRET_CHARS_MIN: usize = 20;
    for (colon, _) in line.match_indices(':') {
        let Some((before, value)) = line.split_at_checked(colon) else {
            continue;
        };
        let is_word = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
        let key = before
            .trim_end_matches(['"', '\'', ' '])
            .rsplit(|c| !is_word(c))
            .next()
            .unwrap_or_default();
        let lower = key.to_ascii_lowercase();
        let names_a_variable = lower.ends_with("keyenv");
        let has_value = !value.trim_start_matches(':').trim().is_empty();
        if has_value && !names_a_variable && SECRET_KEYS.iter().any(|word| lower.contains(word)) {
            return format!("{before}: (not shown)");
        }
    }
    hide_long_words(line, SECRET_CHARS_MIN)
}

/// Replaces words that look like keys: long, with digits and letters, nothing that a name has.
fn hide_long_words(line: &str, chars_min: usize) -> String {
    line.split_inclusive(char::is_whitespace)
        .map(|word| {
            let bare = word.trim();
            let looks_random = bare.len() >= chars_min
                && (bare.contains('@') || !bare.contains(['/', '.']))
                && (bare.contains('@') || bare.chars().any(|c| c.is_ascii_digit()))
                && bare.chars().any(|c| c.is_ascii_alphabetic());
            if looks_random {
                word.replace(bare, "(not shown)")
            } else {
                word.to_owned()
            }
        })
        .collect()
}

/// A problem before it is known which file its source index means.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) expected: String,
    pub(crate) path: Path,
    pub(crate) place: Option<Place>,
}

impl Problem {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            expected: String::new(),
            path: Path::default(),
            place: None,
        }
    }

    pub(crate) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = expected.into();
        self
    }

    pub(crate) fn at(mut self, place: Place) -> Self {
        self.place.get_or_insert(place);
        self
    }

    pub(crate) fn on(mut self, path: Path) -> Self {
        self.path = path;
        self
    }

    /// Under the name of the file.
    pub(crate) fn in_file(self, path: Option<PathBuf>) -> ConfigError {
        let place = self.place.unwrap_or_default();
        let (line, column) = if path.is_some() {
            (place.line.max(1), place.column.max(1))
        } else {
            (0, 0)
        };
        ConfigError {
            path,
            line,
            column,
            key: self.path.to_string(),
            message: self.message,
            expected: self.expected,
            code: self.code.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: u32, column: u32) -> ConfigError {
        Problem::new("unknownKey", "there is no key `rqm`")
            .expected("`rpm`?")
            .on(Path::of(&["limits", "rqm"]))
            .at(Place {
                source: 0,
                line,
                column,
            })
            .in_file(Some("providers.yaml".into()))
    }

    #[test]
    fn the_caret_stands_under_the_place() {
        let shown = problem(2, 3).render(Some("limits:\n  rqm: 3\n"));
        assert_eq!(
            shown,
            "providers.yaml:2:3: limits.rqm: there is no key `rqm`\n  |\n2 |   rqm: 3\n  |   ^ expected `rpm`?\n"
        );
    }

    #[test]
    fn a_line_that_holds_a_secret_is_shown_without_it() {
        for line in [
            "  x-api-key: hunter2hunter2",
            "apiKey: \"s3cret\"",
            "foo: sk4nt0123456789abcdef0123",
        ] {
            let shown = problem(1, 1).render(Some(line));
            assert!(shown.contains("(not shown)"), "{shown}");
            assert!(
                !shown.contains("hunter2") && !shown.contains("s3cret") && !shown.contains("0123456789"),
                "{shown}"
            );
        }
        assert!(problem(1, 1).render(Some("apiKeyEnv: MY_KEY")).contains("MY_KEY"));
    }

    #[test]
    fn a_place_beyond_the_file_is_no_panic() {
        assert!(
            problem(99, 99)
                .render(Some("a: 1"))
                .starts_with("providers.yaml:99:99")
        );
        assert!(problem(1, 99).render(Some("a: 1")).contains("a: 1"));
    }
}
