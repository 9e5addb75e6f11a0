//! Values that stand where secrets stand: behind `Bearer`, in the user part of an address, after the
//! name of a key. Here the value itself must look like a secret, or ordinary text would go.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use regex::{Captures, Regex};

use super::{Found, encoding, mark};

/// Shortest value behind a name that is looked at.
const VALUE_BYTES_MIN: usize = 16;
/// Passwords that people choose are shorter, but then mix kinds of characters.
const PASSWORD_BYTES_MIN: usize = 8;
const PASSWORD_KINDS_MIN: usize = 3;
/// Bits per character below which a value is no secret (`xxxxxxxx`, `00000000`).
const ENTROPY_MIN: f64 = 3.0;
/// Words of letters change between small and capital letters more rarely than that, per character.
const CASE_CHANGES_MAX: f64 = 0.2;
/// Digits that may end a word.
const WORD_DIGITS_MAX: usize = 4;

/// Where none of these occurs nothing is looked for.
const WORDS: [&str; 10] = [
    "bearer",
    "basic",
    "://",
    "pass",
    "secret",
    "token",
    "key",
    "pwd",
    "credential",
    "authorization",
];

struct Patterns {
    words: AhoCorasick,
    bearer: Regex,
    basic: Regex,
    address: Regex,
    named: Regex,
    /// What may stand behind a name and is known to be no secret.
    id: Regex,
    /// A number that identifies a thing: git object, digest, UUID.
    digest: Regex,
}

/// None only if a pattern is broken, which a test excludes.
static PATTERNS: LazyLock<Option<Patterns>> = LazyLock::new(|| {
    Some(Patterns {
        words: AhoCorasick::builder().ascii_case_insensitive(true).build(WORDS).ok()?,
        bearer: Regex::new(r"(?i)bearer\s+([A-Za-z0-9._~+/=-]{12,})").ok()?,
        basic: Regex::new(r"(?i)basic\s+([A-Za-z0-9+/]{8,}={0,2})").ok()?,
        address: Regex::new(r#"[A-Za-z][A-Za-z0-9+.-]*://([^\s/@:"'`<>«»]*)(?::([^\s/@"'`<>«»]+))?@"#).ok()?,
        named: Regex::new(concat!(
            r"(?i)(?:^|[^A-Za-z0-9])-{0,2}",
            r"([A-Za-z0-9_.-]*(?:passwords?|passwd|passphrase|secret|token|(?:api|access|private|auth|secret|signing|encryption|account)[_.-]?key|credentials?)|key|pwd|pass|authorization)",
            r#"(?:["'\\\]]{0,3}\s*(?:=>|:=|=|:)\s*|\s+)["'\\]{0,3}"#,
            r"([A-Za-z0-9!#$%*+./:=?@^_~-]{8,})"
        ))
        .ok()?,
        id: Regex::new(
            r"^(?:req|msg|toolu|srvtoolu|call|chatcmpl|resp|run|step|batch|file|evt|event|thread|asst|pipeline|task|sess|session|user|org|proj|model)[_-]|^sha(?:1|256|384|512)[-:]",
        )
        .ok()?,
        digest: Regex::new(
            r"(?i)^(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$",
        )
        .ok()?,
    })
});

pub(super) fn search(unit: &str, found: &mut Vec<Found>) {
    let Some(patterns) = PATTERNS.as_ref() else { return };
    if !patterns.words.is_match(unit) {
        return;
    }
    let mut add = |kind, captures: &Captures<'_>, group: usize| {
        if let Some(secret) = captures.get(group) {
            found.push(Found {
                range: secret.range(),
                kind,
                mark: mark(secret.as_str()),
            });
        }
    };
    let text = |captures: &Captures<'_>, group: usize| {
        captures.get(group).map_or("", |text| text.as_str()).to_owned()
    };
    for captures in patterns.bearer.captures_iter(unit) {
        let value = text(&captures, 1);
        if !is_wordy(&value) && !is_placeholder(&value) {
            add("bearer", &captures, 1);
        }
    }
    for captures in patterns.basic.captures_iter(unit) {
        if is_basic(&text(&captures, 1)) {
            add("basic", &captures, 1);
        }
    }
    for captures in patterns.address.captures_iter(unit) {
        let (user, password) = (text(&captures, 1), text(&captures, 2));
        if !password.is_empty() && !is_placeholder(&password) {
            add("password", &captures, 2);
        } else if password.is_empty() && is_secret(&user) {
            add("token", &captures, 1);
        }
    }
    for captures in patterns.named.captures_iter(unit) {
        let (name, value) = (text(&captures, 1).to_ascii_lowercase(), text(&captures, 2));
        let value_alone = value.trim_end_matches(['.', ',', ':', '?', '!']);
        if patterns.id.is_match(&value) || is_placeholder(&value) || value.contains("://") {
            continue;
        }
        // A commit or a digest is often called a key or a token, never a password.
        if (name == "key" || name.ends_with("token")) && patterns.digest.is_match(value_alone) {
            continue;
        }
        let is_password = name.contains("pass") || name == "pwd";
        if is_secret(&value) || (is_password && is_password_like(&value)) {
            add(if is_password { "password" } else { "value" }, &captures, 2);
        }
    }
}

/// `user:password`, encoded.
fn is_basic(value: &str) -> bool {
    encoding::decode_base64(value)
        .is_some_and(|bytes| bytes.contains(&b':') && bytes.iter().all(|byte| !byte.is_ascii_control()))
}

/// Stands for a secret that is filled in elsewhere.
fn is_placeholder(value: &str) -> bool {
    value.starts_with('$') || value.starts_with("%(") || value.contains("***") || value.contains("...")
}

fn is_secret(value: &str) -> bool {
    value.len() >= VALUE_BYTES_MIN
        && value.bytes().any(|byte| byte.is_ascii_digit())
        && value.bytes().any(|byte| byte.is_ascii_alphabetic())
        && entropy(value) >= ENTROPY_MIN
        && !is_wordy(value)
}

fn is_password_like(value: &str) -> bool {
    let kinds = [
        value.bytes().any(|byte| byte.is_ascii_lowercase()),
        value.bytes().any(|byte| byte.is_ascii_uppercase()),
        value.bytes().any(|byte| byte.is_ascii_digit()),
        value.bytes().any(|byte| byte.is_ascii_punctuation()),
    ];
    value.len() >= PASSWORD_BYTES_MIN
        && kinds.into_iter().filter(|kind| *kind).count() >= PASSWORD_KINDS_MIN
        && (!is_wordy(value) || value.contains(['!', '#', '$', '%', '^', '*', '+', '~']))
}

/// Names, paths, versions and code: words with separators between them.
fn is_wordy(value: &str) -> bool {
    value
        .split(|character: char| !character.is_ascii_alphanumeric())
        .all(|piece| {
            let word = piece.trim_end_matches(|character: char| character.is_ascii_digit());
            let digits = piece.len() - word.len();
            let changes = word
                .as_bytes()
                .windows(2)
                .filter(|pair| matches!(pair, [a, b] if a.is_ascii_lowercase() && b.is_ascii_uppercase()))
                .count();
            let few_changes = changes <= 1 || as_float(changes) <= CASE_CHANGES_MAX * as_float(word.len());
            (word.is_empty() || digits <= WORD_DIGITS_MAX)
                && word.bytes().all(|byte| byte.is_ascii_alphabetic())
                && few_changes
        })
}

/// Bits per character.
fn entropy(value: &str) -> f64 {
    let mut counts = [0_usize; 256];
    for byte in value.bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let total = as_float(value.len());
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = as_float(*count) / total;
            -share * share.log2()
        })
        .sum()
}

fn as_float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_is_a_regular_expression() {
        assert!(PATTERNS.is_some());
    }

    #[test]
    fn names_and_paths_are_words_and_random_text_is_not() {
        for word in [
            "getPasswordFromEnvironment",
            "some-long-kebab-name-2",
            "src/components/Button2/index.tsx",
            "self.next_token.value",
            "HTTPServer2024",
            "v1.20.3",
            "pre-commit_config",
        ] {
            assert!(is_wordy(word), "{word}");
        }
        for random in [
            "q8Zt3LmPx0vKc72N",
            "9f86d081884c7d65",
            "aGVsbG8gd29ybGQx",
            "Tr0ub4dor&3xQz",
        ] {
            assert!(!is_wordy(random), "{random}");
        }
    }

    #[test]
    fn entropy_is_in_bits() {
        assert!((entropy("aaaaaaaa")).abs() < 1e-9);
        assert!((entropy("abcdefgh") - 3.0).abs() < 1e-9);
    }
}
