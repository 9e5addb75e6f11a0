//! What is wrong with the configuration, shown in the files that it is wrong in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clode_core::config::{ConfigError, Loaded};
use lsp_types::{Position, Range};
use ropey::Rope;
use serde_json::{Value, json};
use url::Url;

use crate::lsp::encoding;
use crate::lsp::session::Session;

/// Largest configuration that is read to find the end of a line (bytes).
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What is shown now, by file.
#[derive(Debug, Default)]
pub(crate) struct ConfigMarks {
    shown: BTreeMap<Url, Vec<Value>>,
}

impl ConfigMarks {
    /// Configuration errors and warnings by file, as LSP diagnostics.
    pub(crate) fn all(&self) -> BTreeMap<Url, Vec<Value>> {
        self.shown.clone()
    }
}

/// One thing that is wrong, where the editor can show it.
#[derive(Debug, Clone)]
pub(crate) struct ConfigProblem {
    pub(crate) uri: Option<Url>,
    pub(crate) range: Range,
    pub(crate) error: ConfigError,
    severity: u8,
}

const ERROR: u8 = 1;
const WARNING: u8 = 2;

impl ConfigProblem {
    pub(crate) fn is_error(&self) -> bool {
        self.severity == ERROR
    }

    /// One line: what is wrong and what was expected.
    pub(crate) fn message(&self) -> String {
        let expected = &self.error.expected;
        if expected.is_empty() {
            self.error.message.clone()
        } else {
            format!("{} (expected {expected})", self.error.message)
        }
    }

    fn diagnostic(&self) -> Value {
        json!({
            "range": self.range, "severity": self.severity, "source": "clode", "code": self.error.code,
            "message": self.message(), "data": { "key": self.error.key },
        })
    }
}

/// Reads the configuration of every open folder, shows what is wrong, and answers it.
pub(crate) async fn check_configuration(session: &Session) -> Vec<ConfigProblem> {
    let problems = problems(session).await;
    let mut by_file: BTreeMap<Url, Vec<Value>> = BTreeMap::new();
    for problem in &problems {
        if let Some(uri) = &problem.uri {
            by_file.entry(uri.clone()).or_default().push(problem.diagnostic());
        }
    }
    session.config_marks().shown = by_file;
    // One place publishes what there is to say about a file.
    crate::lsp::review::settings_changed(session);
    problems
}

async fn problems(session: &Session) -> Vec<ConfigProblem> {
    let Ok(engine) = session.engine().await else {
        return Vec::new();
    };
    let mut loaded: Vec<Loaded> = Vec::new();
    for repository in session.find_repositories().await {
        match engine.configuration(&repository).await {
            Ok(configured) => loaded.push(configured.loaded.clone()),
            Err(error) => tracing::warn!(%error, "a configuration cannot be read"),
        }
    }
    if loaded.is_empty() {
        loaded.extend(engine.services().configurations.global().ok());
    }
    let mut problems: Vec<ConfigProblem> = Vec::new();
    for loaded in loaded {
        let errors = loaded.errors.into_iter().map(|error| (error, ERROR));
        for (error, severity) in errors.chain(loaded.warnings.into_iter().map(|error| (error, WARNING))) {
            if !problems.iter().any(|known| known.error == error) {
                problems.push(placed(session, error, severity));
            }
        }
    }
    problems
}

fn placed(session: &Session, error: ConfigError, severity: u8) -> ConfigProblem {
    let path = error.path.as_ref().map(|path| as_opened(session, path));
    let uri = path.as_ref().and_then(|path| Url::from_file_path(path).ok());
    let range = path.map_or_else(Range::default, |path| {
        range_in(session, &path, uri.as_ref(), &error)
    });
    ConfigProblem {
        uri,
        range,
        error,
        severity,
    }
}

/// The path under which the editor knows the file.
fn as_opened(session: &Session, path: &Path) -> PathBuf {
    let opened = session.opened_folders();
    let place = opened
        .iter()
        .find_map(|(folder, canonical)| Some(folder.join(path.strip_prefix(canonical).ok()?)));
    place.unwrap_or_else(|| path.to_path_buf())
}

fn range_in(session: &Session, path: &Path, uri: Option<&Url>, error: &ConfigError) -> Range {
    let open = uri.and_then(|uri| session.document(uri));
    let rope = match open {
        Some(document) => document.rope().clone(),
        None if std::fs::metadata(path).is_ok_and(|file| file.len() <= FILE_BYTES_MAX) => {
            Rope::from_str(&String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()))
        }
        None => Rope::new(),
    };
    let (line, column) = (
        error.line.saturating_sub(1),
        error.column.saturating_sub(1) as usize,
    );
    let line_number = line as usize;
    let start = Position {
        line,
        character: error.column.saturating_sub(1),
    };
    let Some(text) = rope.get_line(line_number) else {
        return Range { start, end: start };
    };
    let content = text.to_string();
    let content = content.trim_end_matches(['\n', '\r']);
    let before: usize = content.chars().take(column).map(char::len_utf8).sum();
    let begins = rope.line_to_byte(line_number);
    encoding::range_of(&rope, begins + before..begins + content.len(), session.encoding())
}
