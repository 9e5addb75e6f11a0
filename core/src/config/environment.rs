//! The process environment, read once; nothing else in the program asks for it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use secrecy::SecretString;

/// What a child may inherit. Everything else (keys, tokens, agents' sockets, proxies with a
/// password in them) stays with us.
const CHILD_NAMES: [&str; 9] = [
    "PATH",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TERM",
    "USER",
    "LOGNAME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];
/// Prefix of the locale variables, which a child may inherit as well.
const CHILD_PREFIX: &str = "LC_";

/// The process environment as it was when we started. Its `Debug` shows names, never values.
#[derive(Clone, Default)]
pub struct Environment {
    values: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// Of this process. Called once, in `main`.
    pub fn from_process() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that reads the environment"
        )]
        Self {
            values: std::env::vars_os().collect(),
        }
    }

    /// Of these pairs and nothing else.
    pub fn from_pairs<N: Into<OsString>, V: Into<OsString>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        Self {
            values: pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        }
    }

    /// A value that is set, not empty, and text.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.raw(name)?.to_str()
    }

    /// A value that is set and not empty, as a path.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.raw(name).map(PathBuf::from)
    }

    /// Where programs are looked for.
    pub fn search_path(&self) -> OsString {
        self.raw("PATH").map(OsStr::to_os_string).unwrap_or_default()
    }

    /// The home directory, when the environment names one.
    pub fn home(&self) -> Option<PathBuf> {
        self.path("HOME").filter(|home| home.is_absolute())
    }

    /// A key, kept so that it cannot be printed by accident. Blanks around it are not part of it.
    pub fn api_key(&self, name: &str) -> Option<SecretString> {
        let key = self.get(name)?.trim();
        (!key.is_empty()).then(|| SecretString::from(key.to_owned()))
    }

    /// Everything whose name begins so, such as `OTEL_`.
    pub fn prefixed(&self, prefix: &str) -> BTreeMap<String, String> {
        self.values
            .iter()
            .filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)))
            .filter(|(name, value)| name.starts_with(prefix) && !value.is_empty())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// What a child starts with: enough to find programs and speak the person's language, no secret.
    pub fn child_baseline(&self) -> BTreeMap<OsString, OsString> {
        let inherited = |name: &OsStr| {
            name.to_str()
                .is_some_and(|name| CHILD_NAMES.contains(&name) || name.starts_with(CHILD_PREFIX))
        };
        self.values
            .iter()
            .filter(|(name, _)| inherited(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    fn raw(&self, name: &str) -> Option<&OsStr> {
        self.values
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    #[test]
    fn a_child_inherits_the_path_and_the_language_and_no_secret() {
        let environment = Environment::from_pairs([
            ("PATH", "/usr/bin"),
            ("LC_ALL", "C.UTF-8"),
            ("ANTHROPIC_API_KEY", "secret"),
            ("GITHUB_TOKEN", "secret"),
            ("LD_PRELOAD", "/tmp/x.so"),
            ("HTTPS_PROXY", "http://user:secret@proxy"),
        ]);
        let names: Vec<_> = environment.child_baseline().into_keys().collect();
        assert_eq!(names, ["LC_ALL", "PATH"]);
    }

    #[test]
    fn values_are_never_in_the_debug_text() {
        let environment = Environment::from_pairs([("OPENAI_API_KEY", "hunter2")]);
        let shown = format!("{environment:?} {:?}", environment.api_key("OPENAI_API_KEY"));
        assert!(
            shown.contains("OPENAI_API_KEY") && !shown.contains("hunter2"),
            "{shown}"
        );
    }

    #[test]
    fn a_key_of_blanks_is_no_key_and_blanks_around_a_key_are_dropped() {
        let environment = Environment::from_pairs([("A", "  "), ("B", " key\n"), ("C", "")]);
        assert!(environment.api_key("A").is_none() && environment.api_key("C").is_none());
        assert_eq!(environment.api_key("B").unwrap().expose_secret(), "key");
    }
}
