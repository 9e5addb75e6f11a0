//! The real programs that `tests/setup/install` fetched.

use std::path::{Path, PathBuf};

use crate::skip::skipped;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// The real Claude Code.
    Claude,
    /// Neovim.
    Neovim,
    /// VS Code's `server-main.js`.
    CodeServer,
    /// The node that runs it.
    Node,
    /// A browser.
    Chromium,
    /// The folder of the npm package `playwright-core`.
    Playwright,
    /// Our own VS Code extension, packaged by tests/run.
    Extension,
    /// `clode-ls` as an earlier commit had it.
    Earlier,
}

impl Component {
    /// Where it is. Where it is missing the test is skipped, loudly; under `CI=true` it fails.
    #[must_use]
    #[track_caller]
    pub fn find(self) -> Option<PathBuf> {
        let variable = self.variable();
        let found = variable_of_process(variable)
            .or_else(|| variable_of_setup(variable))
            .or_else(|| (self == Self::Extension).then(packaged_extension))
            .map(PathBuf::from)
            .filter(|path| path.exists());
        if found.is_none() {
            let place = std::panic::Location::caller();
            let message = format!("{variable} is missing ({place}): run tests/setup/install");
            let is_excused = self == Self::Earlier && is_shallow_clone();
            let is_needed = variable_of_process("CI").as_deref() == Some("true") && !is_excused;
            assert!(!is_needed, "{message}");
            skipped(&message);
        }
        found
    }

    fn variable(self) -> &'static str {
        match self {
            Self::Claude => "CLODE_TEST_CLAUDE",
            Self::Neovim => "CLODE_TEST_NVIM",
            Self::CodeServer => "CLODE_TEST_CODE_SERVER",
            Self::Node => "CLODE_TEST_NODE",
            Self::Chromium => "CLODE_TEST_CHROMIUM",
            Self::Playwright => "CLODE_TEST_PLAYWRIGHT",
            Self::Extension => "CLODE_TEST_EXTENSION",
            Self::Earlier => "CLODE_TEST_EARLIER",
        }
    }
}

/// A clone without its history cannot build an earlier commit.
fn is_shallow_clone() -> bool {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../.git/shallow")
        .exists()
}

/// Where tests/run puts the packaged extension, for a plain `cargo test` after it.
fn packaged_extension() -> String {
    let path = crate::editors::artifacts().join("clode-agents.vsix");
    path.to_string_lossy().into_owned()
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests/run says by the environment where things are"
)]
fn variable_of_process(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// What the set-up wrote down: it makes a plain `cargo test` find the same programs as tests/run.
fn variable_of_setup(name: &str) -> Option<String> {
    let cache = variable_of_process("CLODE_TEST_CACHE")
        .map(PathBuf::from)
        .or_else(|| {
            let base = variable_of_process("XDG_CACHE_HOME").map(PathBuf::from);
            let home = || variable_of_process("HOME").map(|home| Path::new(&home).join(".cache"));
            Some(base.or_else(home)?.join("clode-tests"))
        })?;
    let text = std::fs::read_to_string(cache.join("env.sh")).ok()?;
    let prefix = format!("export {name}=");
    text.lines()
        .find_map(|line| line.strip_prefix(&prefix))
        .map(|value| value.replace('\\', ""))
}
