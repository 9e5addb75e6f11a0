//! Secrets of every kind go, everything else stays, and no way of cutting the text changes that.

use std::io::Write;

use proptest::prelude::*;

use super::*;

fn redacted(text: &str) -> String {
    Redactor::new().redact(text).into_owned()
}

/// Built at run time: no scanner of repositories shall stumble over examples.
fn example(prefix: &str, length: usize) -> String {
    let alphabet = b"k3Vq9ZtR7wLm2XbN5cYd8HfJ4sGp6TaQ1";
    let rest = alphabet.iter().cycle().take(length).map(|byte| char::from(*byte));
    prefix.chars().chain(rest).collect()
}

fn digits(prefix: &str, length: usize) -> String {
    prefix
        .chars()
        .chain("0a1b2c3d4e5f6789".chars().cycle().take(length))
        .collect()
}

fn shaped() -> Vec<(&'static str, String)> {
    vec![
        ("anthropic-key", example("sk-ant-api03-", 90)),
        ("openai-key", example("sk-", 48)),
        ("openai-key", example("sk-proj-", 60)),
        ("github-token", example("ghp_", 36)),
        ("github-token", example("gho_", 36)),
        ("github-token", example("github_pat_", 60)),
        ("gitlab-token", example("glpat-", 20)),
        ("slack-token", example("xoxb-", 40)),
        ("aws-key", "AKIA".to_owned() + &example("", 16).to_uppercase()),
        ("google-key", example("AIza", 35)),
        ("google-token", example("ya29.", 60)),
        (
            "jwt",
            format!(
                "{}.{}.{}",
                example("eyJ", 20),
                example("eyJ", 40),
                example("", 43)
            ),
        ),
        ("npm-token", example("npm_", 36)),
        ("pypi-token", example("pypi-AgEIcHlwaS5vcmc", 80)),
        ("crates-token", example("cio", 32)),
        ("stripe-key", example("sk_live_", 24)),
        (
            "sendgrid-key",
            format!("{}.{}", example("SG.", 22), example("", 43)),
        ),
        ("huggingface-token", example("hf_", 34)),
        ("digitalocean-token", digits("dop_v1_", 64)),
        ("telegram-token", example("123456789:AA", 33)),
        ("twilio-key", digits("SK", 32)),
        ("groq-key", example("gsk_", 52)),
        ("databricks-token", digits("dapi", 32)),
        ("vault-token", example("hvs.", 90)),
        ("docker-token", example("dckr_pat_", 27)),
    ]
}

#[test]
fn a_key_goes_wherever_it_stands() {
    for (kind, key) in shaped() {
        let places = [
            key.clone(),
            format!("using {key} now"),
            format!("\"{key}\""),
            format!("https://example.org/?k={key}&next=1"),
            format!("({key})"),
            format!("https%3A%2F%2Fexample.org%3Fk%3D{key}%26x"),
            format!("{{\"body\":\"a\\n{key}\\n\"}}"),
        ];
        for place in places {
            let clean = redacted(&place);
            assert!(!clean.contains(&key), "{kind}: {clean}");
            assert!(clean.contains(&format!("«redacted:{kind}:")), "{kind}: {clean}");
        }
    }
}

#[test]
fn only_the_key_goes() {
    let key = example("ghp_", 36);
    let clean = redacted(&format!(
        "fetch https://example.org/?k={key}&next=1 failed (404)\nsecond line"
    ));
    let mark = mark(&key);
    let wanted = format!(
        "fetch https://example.org/?k=«redacted:github-token:{mark}»&next=1 failed (404)\nsecond line"
    );
    assert_eq!(clean, wanted);
}

#[test]
fn a_private_key_goes_with_all_its_lines() {
    let body = (0..20).map(|_| example("", 64)).collect::<Vec<_>>().join("\n");
    for name in [
        "PRIVATE KEY",
        "RSA PRIVATE KEY",
        "OPENSSH PRIVATE KEY",
        "PGP PRIVATE KEY BLOCK",
    ] {
        let text = format!("before\n-----BEGIN {name}-----\n{body}\n-----END {name}-----\nafter\n");
        let clean = redacted(&text);
        assert!(
            clean.starts_with("before\n«redacted:private-key:") && clean.ends_with("»\nafter\n"),
            "{clean}"
        );
        assert_eq!(clean.lines().count(), 3);
        let half = format!("before\n-----BEGIN {name}-----\n{body}");
        assert_eq!(redacted(&half).lines().count(), 2);
        let escaped = serde_json::to_string(&text).unwrap();
        assert!(!redacted(&escaped).contains(&example("", 64)));
    }
    let public = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
    assert_eq!(redacted(&public), public);
}

#[test]
fn a_value_goes_where_secrets_stand() {
    let value = "q8Zt3LmPx0vKc72Nw5";
    for (before, after) in [
        ("Authorization: Bearer ", ""),
        ("authorization: bearer ", "\""),
        ("api_key=", "&x=1"),
        ("API-KEY: ", ""),
        ("x-api-key: ", "\r"),
        ("MY_SERVICE_TOKEN=", " next"),
        ("\"accessToken\": \"", "\", \"x\": 1"),
        ("{\\\"client_secret\\\":\\\"", "\\\"}"),
        ("--token ", " --verbose"),
        ("--api-key=", ""),
        ("password: '", "'"),
        ("https://user:", "@example.org/x"),
        ("https://", "@example.org/x"),
        ("postgres://admin:", "@db:5432/x"),
        ("key=", ""),
    ] {
        let clean = redacted(&format!("{before}{value}{after}"));
        assert!(
            clean.starts_with(&format!("{before}«redacted:")) && clean.ends_with(&format!("»{after}")),
            "{clean}"
        );
    }
    assert!(!redacted("Authorization: Basic dXNlcjpodW50ZXIy").contains("dXNlcjpodW50ZXIy"));
    assert!(!redacted("password = \"Hunter2!x\"").contains("Hunter2"));
    assert!(!redacted("redis://:p@localhost").contains(":p@"));
}

#[test]
fn ids_and_ordinary_text_stay() {
    for text in [
        "req_011CSHoEeqs5C35K2UUqR7Fy msg_01XFDUDYJgAACzvnptvVoYEL toolu_01A09q90qw90lq917835lq9",
        "token: toolu_01A09q90qw90lq917835lq9",
        "key=req_011CSHoEeqs5C35K2UUqR7Fy",
        "commit f91b4720c2b1a9e0c7a3d5b8e6f4a1b2c3d4e5f6",
        "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904 key=4b825dc642cb6eb9a060e54bf8d69288fbee4904",
        "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
        "id 0191b4c2-7d3e-7abc-8def-0123456789ab key: 0191b4c2-7d3e-7abc-8def-0123456789ab",
        "\"integrity\": \"sha512-v2kDEe57lecTulaDIuNTPy3Ry4gLGJ6Z1O3vE1krgXZNrsQ+LFTGHVxVjcXPs17LhbZVGedAJv8XZ1tvj5FvSg==\"",
        "let password = get_password_from_environment();",
        "let token = self.lexer.next_token().unwrap();",
        "max_tokens=8192 input_tokens: 1234567890123456",
        "the secret of good tests is patience; basic understanding, bearer of news",
        "Basic authentication and Bearer authentication are supported",
        "key = \"src/components/Button2/index.tsx\"",
        "class=\"sk-cubic-grid sk-loading-animation-large\"",
        "https://example.org:8080/path?query=1 git@github.com:owner/repository.git ssh://git@host/x",
        "password=$PASSWORD token=${TOKEN} api_key=<your key> secret=****************",
        "xoxo task-list key-value npm_config_registry hf_model sk-learn",
        "monkey=business1234567 keyboard: qwertz",
    ] {
        assert_eq!(redacted(text), text);
    }
}

#[test]
fn equal_secrets_have_equal_marks_and_others_do_not() {
    let (one, other) = (example("ghp_", 36), example("ghp_", 37));
    let clean = redacted(&format!("{one} {one} {other}"));
    let marks: Vec<&str> = clean.split(' ').collect();
    assert_eq!(marks[0], marks[1]);
    assert_ne!(marks[0], marks[2]);
}

#[test]
fn a_learned_value_has_one_mark_in_every_form() {
    let redactor = Redactor::new();
    redactor.learn("pa/ss wörd\"7");
    let forms = encoding::forms("pa/ss wörd\"7");
    assert!(forms.len() >= 11, "{forms:?}");
    let mark = format!("«redacted:known:{}»", mark("pa/ss wörd\"7"));
    for form in forms {
        assert_eq!(
            redactor.redact(&format!("<{form}>")),
            format!("<{mark}>"),
            "{form}"
        );
    }
    assert_eq!(format!("{redactor:?}"), "Redactor(1 known values)");
}

#[test]
fn a_learned_value_with_lines_goes_line_by_line() {
    let redactor = Redactor::new();
    let secret = format!("{}\n{}\n", example("", 40), example("z", 40));
    redactor.learn(&secret);
    let clean = redactor.redact(&secret).into_owned();
    assert!(
        clean
            .lines()
            .all(|line| line.starts_with("«redacted:known:") && line.ends_with('»')),
        "{clean}"
    );
}

#[test]
fn a_short_value_is_not_learned() {
    let redactor = Redactor::new();
    redactor.learn("true");
    assert_eq!(redactor.redact("it is true"), "it is true");
}

#[test]
fn a_line_without_end_is_let_through_in_pieces_and_loses_its_secrets() {
    let key = example("ghp_", 36);
    let line = format!(
        "{} {key} {}",
        "x".repeat(units::LINE_BYTES_MAX - 20),
        "é".repeat(units::LINE_BYTES_MAX)
    );
    let clean = redacted(&line);
    assert!(!clean.contains(&key));
    let mut written = Vec::new();
    let mut writer = RedactingWriter::new(Redactor::new(), &mut written);
    for piece in line.as_bytes().chunks(65_521) {
        writer.write_all(piece).unwrap();
    }
    drop(writer);
    assert!(written == clean.as_bytes());
}

/// Pieces of text in which secrets, halves of secrets and harmless things follow each other.
fn text() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        "[a-zA-Z0-9 =:/.,é\"-]{0,12}",
        Just("\n".to_owned()),
        proptest::sample::select(shaped()).prop_map(|(_, key)| key),
        Just("password=Q9x!mZ2#kLp0".to_owned()),
        Just("Bearer q8Zt3LmPx0vKc72Nw5".to_owned()),
        Just("\n-----BEGIN RSA PRIVATE KEY-----\n".to_owned()),
        Just("\n-----END RSA PRIVATE KEY-----\n".to_owned()),
        Just("learned-value-77".to_owned()),
        Just("bGVhcm5lZC12YWx1ZS03Nw".to_owned()),
    ];
    proptest::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn cutting_the_writes_anywhere_changes_nothing(text in text(), sizes in proptest::collection::vec(1_usize..30, 1..40)) {
        let redactor = Redactor::new();
        redactor.learn("learned-value-77");
        let whole = redactor.redact(&text).into_owned();
        let mut written = Vec::new();
        let mut writer = RedactingWriter::new(redactor.clone(), &mut written);
        let mut rest = text.as_bytes();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at(rest.len().min(*size));
            writer.write_all(piece).unwrap();
            rest = after;
        }
        drop(writer);
        prop_assert_eq!(String::from_utf8(written).unwrap(), whole);
    }

    #[test]
    fn what_was_redacted_stays_as_it_is(text in text()) {
        let once = redacted(&text);
        prop_assert_eq!(redacted(&once), once);
    }

    #[test]
    fn words_and_numbers_without_secrets_are_unchanged(text in "([a-z]{1,12}[ .,:;=/(){}\n]{1,2}|[0-9]{1,6} |[A-Z][a-z]{1,9}[ -]){0,40}") {
        prop_assert!(matches!(Redactor::new().redact(&text), Cow::Borrowed(same) if same == text));
    }

    #[test]
    fn a_learned_value_disappears_in_every_form(secret in "[!-~]{8,40}", before in "[ -~]{0,20}", after in "[ -~]{0,20}") {
        let redactor = Redactor::new();
        redactor.learn(&secret);
        for form in encoding::forms(&secret) {
            let clean = redactor.redact(&format!("{before}{form}{after}")).into_owned();
            prop_assert!(!clean.contains(&form), "{} in {}", form, clean);
        }
    }
}
