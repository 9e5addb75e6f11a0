use std::fs;
use std::path::{Path, PathBuf};

use super::*;

fn samples(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../config/samples")
        .join(kind);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

fn load_sample(path: &Path) -> (String, Loaded) {
    let text = fs::read_to_string(path).unwrap();
    let sources = Sources {
        user: Some(SourceText {
            path: path.to_owned(),
            text: text.clone(),
        }),
        ..Sources::default()
    };
    (text, load_with(&both_keys(), &sources))
}

#[test]
fn every_valid_sample_loads_without_an_error() {
    let samples = samples("valid");
    assert!(samples.len() >= 8);
    for path in samples {
        let (_, loaded) = load_sample(&path);
        assert_eq!(loaded.errors, [], "{}", path.display());
    }
}

#[test]
fn every_invalid_sample_fails_where_and_how_it_says() {
    let samples = samples("invalid");
    assert!(samples.len() >= 14);
    let mut wrong = Vec::new();
    for path in samples {
        let (text, loaded) = load_sample(&path);
        let expected: Vec<&str> = text
            .lines()
            .next()
            .unwrap()
            .strip_prefix("# expect: ")
            .unwrap()
            .split(' ')
            .collect();
        let first = loaded
            .errors
            .first()
            .unwrap_or_else(|| panic!("{} has no error", path.display()));
        let key = if first.key.is_empty() { "-" } else { &first.key };
        let place = format!("{}:{}", first.line, first.column);
        let actual = [first.code.as_str(), &place, key];
        if actual[..expected.len()] != expected[..] {
            wrong.push(format!(
                "{}: expected {expected:?}, got {actual:?}: {first}",
                path.display()
            ));
        }
        assert!(
            !first.expected.is_empty(),
            "{}: says what was expected",
            path.display()
        );
        assert_eq!(first.path.as_ref(), Some(&path));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_invalid_file_leaves_the_configuration_as_if_it_were_not_there() {
    let without = load_with(&both_keys(), &Sources::default()).config.hash();
    for path in samples("invalid") {
        assert_eq!(load_sample(&path).1.config.hash(), without, "{}", path.display());
    }
}

#[test]
fn no_error_shows_a_secret() {
    let secrets = ["sk-ant-0123456789abcdef", "abcdef", "hunter2"];
    let mut texts: Vec<String> = samples("invalid")
        .iter()
        .map(|path| {
            fs::read_to_string(path)
                .unwrap()
                .replace("sk-ant-0123456789abcdef", "sk-hunter2")
        })
        .collect();
    for line in [
        "providers: {anthropic: {apiKeyEnv: sk-hunter2}}",
        "providers: {anthropic: {baseUrl: 'https://me:hunter2@example.com'}}",
        "providers: {anthropic: {headers: {Authorization: Bearer hunter2}}}",
        "providers: {anthropic: {headers: {x-team: \"hunter2\\nx: y\"}}}",
        "providers: {anthropic: {apiKey: hunter2}}",
        "providers: {anthropic: {token: hunter2, kind: nonsense}}",
        "telemetry: {endpoint: 'https://me:hunter2@example.com'}",
        "retry: https://me:hunter2@example.com/a/b",
    ] {
        texts.push(line.to_owned());
    }
    for text in texts {
        let loaded = load_with(&both_keys(), &user(&text));
        assert!(!loaded.errors.is_empty(), "{text}");
        let mut shown = String::new();
        for error in &loaded.errors {
            shown.push_str(&error.to_string());
            shown.push_str(&error.render(Some(&text)));
        }
        for secret in secrets {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[test]
fn a_slip_is_answered_with_the_key_that_was_meant() {
    let loaded = load_with(
        &both_keys(),
        &user("limits:\n  perProvider:\n    anthropic:\n      rmp: 3\n"),
    );
    let error = &loaded.errors[0];
    assert_eq!(
        (error.line, error.column, error.key.as_str()),
        (4, 7, "limits.perProvider.anthropic.rmp")
    );
    assert!(error.expected.starts_with("`rpm`?"), "{}", error.expected);
    let loaded = load_with(&both_keys(), &user("agents:\n  devloper: {maxTurns: 3}\n"));
    assert!(
        loaded.errors[0].expected.contains("`developer`"),
        "{}",
        loaded.errors[0]
    );
}

#[test]
fn several_mistakes_in_one_file_are_all_reported() {
    let text = "limits: {dailyBudgetUSD: -1}\nretry: {maxAttempts: many}\nroutin: {}\n";
    let loaded = load_with(&both_keys(), &user(text));
    let codes: Vec<&str> = loaded.errors.iter().map(|error| error.code.as_str()).collect();
    assert_eq!(codes, ["invalidValue", "wrongType", "unknownKey"]);
    let loaded = load_with(&both_keys(), &user("routing: {downgrade: {below: 20, to: []}}"));
    assert_eq!(
        loaded.errors.len(),
        1,
        "that `below` is then missing is no second mistake"
    );
}

#[test]
fn other_line_endings_and_a_byte_order_mark_change_nothing() {
    let text = "\u{feff}limits:\r\n  perExecutionUSD: 2\r\n";
    let loaded = load_with(&both_keys(), &user(text));
    assert_eq!(loaded.errors, []);
    assert_eq!(loaded.origins["limits.perExecutionUSD"], Layer::User);
    let loaded = load_with(&both_keys(), &user(&text.replace("per", "pre")));
    assert_eq!((loaded.errors[0].line, loaded.errors[0].column), (2, 3));
    assert!(loaded.errors[0].expected.contains("perExecutionUSD"));
}

#[test]
fn a_file_beyond_any_size_is_not_even_parsed() {
    let text = format!("# {}\n", "x".repeat(FILE_BYTES_MAX));
    let loaded = load_with(&both_keys(), &user(&text));
    assert_eq!(loaded.errors[0].code, "fileTooLarge");
    let deep = format!("limits: {}", "[".repeat(20_000));
    assert!(!load_with(&both_keys(), &user(&deep)).errors.is_empty());
}

#[test]
fn the_built_in_layer_is_right_and_sets_everything_that_the_code_has_a_fallback_for() {
    let loaded = load_with(&Environment::default(), &Sources::default());
    assert_eq!(loaded.errors, []);
    assert_eq!(loaded.warnings, []);
    let set = |key: &str| loaded.origins.get(key) == Some(&Layer::Default);
    for key in [
        "limits.dailyBudgetUSD",
        "limits.perExecutionUSD",
        "retry.maxAttempts",
        "retry.initialMs",
        "retry.maxMs",
        "retry.jitter",
        "circuitBreaker.failures",
        "circuitBreaker.windowMs",
        "circuitBreaker.openMs",
        "worktrees.pool",
        "worktrees.maxBytes",
        "retention.days",
        "retention.maxBytes",
        "context.maxTokens",
        "context.maxFileBytes",
        "knowledge.enabled",
        "knowledge.maxEntries",
        "concurrency",
        "zone",
    ] {
        assert!(set(key), "{key}");
    }
    for name in ["default", "plan", "tests"] {
        assert!(loaded.config.pipelines.contains_key(name), "{name}");
    }
}

#[test]
fn the_starter_file_is_all_comments_and_right_once_they_are_taken_away() {
    assert!(STARTER.lines().all(|line| line.starts_with('#')));
    let (_, from_version) = STARTER.split_once("#\n# version").unwrap();
    let uncommented = |line: &str| {
        line.trim_start_matches('#')
            .strip_prefix(' ')
            .unwrap_or("")
            .to_owned()
    };
    let lines: Vec<String> = format!("# version{from_version}")
        .lines()
        .map(uncommented)
        .collect();
    let text = lines.join("\n");
    let loaded = load_with(&both_keys(), &user(&text));
    assert_eq!(loaded.errors, []);
    assert_eq!(loaded.origins["providers.local.baseUrl"], Layer::User, "{text}");
}

#[test]
fn the_schemas_in_the_repository_are_those_of_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    for (name, argument, schema) in [
        ("providers.schema.json", "", schema::providers()),
        ("client.schema.json", " -- client", schema::client()),
    ] {
        let checked_in = fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(
            checked_in == schema::text(&schema),
            "config/{name} is not what the types say; make it anew: cargo run -p clode-core --example schema{argument} > config/{name}"
        );
    }
}
