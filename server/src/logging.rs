//! The log: to stderr, filtered by `CLODE_LOG`, without any secret of the environment.

use std::sync::Arc;

use clode_core::config::Environment;
use clode_core::redact::{RedactingWriter, Redactor};
use tracing_subscriber::EnvFilter;

/// The variable that chooses what is logged.
const FILTER_VARIABLE: &str = "CLODE_LOG";
/// Ends of the names of variables that hold secrets.
const SECRET_ENDINGS: [&str; 6] = ["_KEY", "_TOKEN", "_SECRET", "_PASSWORD", "_PASS", "_CREDENTIALS"];

/// Starts the log; answers the redactor, which knows every secret of the environment.
pub(crate) fn start(environment: &Environment, default_filter: &str) -> Arc<Redactor> {
    let redactor = Arc::new(Redactor::new());
    for (_, value) in environment
        .prefixed("")
        .iter()
        .filter(|(name, _)| holds_a_secret(name))
    {
        redactor.learn(value.trim());
    }
    let wanted = environment.get(FILTER_VARIABLE);
    let (filter, problem) = match wanted.map(EnvFilter::try_new) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(default_filter), Some(error)),
        None => (EnvFilter::new(default_filter), None),
    };
    let log = Arc::clone(&redactor);
    let writer = move || RedactingWriter::new((*log).clone(), std::io::stderr());
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(false)
        .try_init();
    if let Some(error) = problem {
        tracing::warn!(%error, "{FILTER_VARIABLE} cannot be understood; `{default_filter}` is used");
    }
    if let Err(error) = started {
        tracing::debug!(%error, "the log was started before");
    }
    redactor
}

/// Whether a variable of this name holds something that nobody else should read.
pub(crate) fn holds_a_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    name.contains("API_KEY") || SECRET_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_hold_secrets_are_known_by_their_names() {
        for name in ["ANTHROPIC_API_KEY", "my_api_key_2", "GITHUB_TOKEN", "DB_PASSWORD"] {
            assert!(holds_a_secret(name), "{name}");
        }
        for name in ["PATH", "KEYBOARD", "TOKENIZERS_PARALLELISM", "HOME"] {
            assert!(!holds_a_secret(name), "{name}");
        }
    }

    #[test]
    fn the_redactor_knows_every_key_of_the_environment() {
        let environment =
            Environment::from_pairs([("OPENAI_API_KEY", "zq-4f7d9a1c8e5b2036"), ("PATH", "/usr/bin")]);
        let shown = start(&environment, "warn")
            .redact("key zq-4f7d9a1c8e5b2036 path /usr/bin")
            .into_owned();
        assert!(
            !shown.contains("4f7d9a1c8e5b2036") && shown.contains("/usr/bin"),
            "{shown}"
        );
    }
}
