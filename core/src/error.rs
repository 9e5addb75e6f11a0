//! The one error of the domain: what happened, to what, and what to do next, under a stable code.
//!
//! Rooms may have error enums of their own; what leaves `clode-core` is this. The edges map
//! [`Kind`] to a JSON-RPC code or an exit code in one place each and print nothing else.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Result with the domain's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who has to act on an [`Error`]; the edges choose their codes by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Kind {
    /// Arguments that cannot be understood, or that name something unknown.
    Usage,
    /// A configuration file or value that cannot be used.
    Config,
    /// Understood, but the present state does not allow it.
    State,
    /// A model provider or an agent program failed.
    Provider,
    /// Money or another limit is used up.
    Budget,
    /// Git, the repository or a working directory.
    Git,
    /// A change does not fit what is there now.
    Conflict,
    /// Somebody asked to stop.
    Cancelled,
    /// Disk, pipe, process.
    Io,
    /// A defect of ours.
    Internal,
}

/// An error that a person can act on. `message` completes the sentence "failed: …".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Error {
    /// Who has to act.
    pub kind: Kind,
    /// Stable identifier in camelCase, such as `approvalClosed`.
    pub code: Cow<'static, str>,
    /// What happened, to what.
    pub message: String,
    /// What to do next, most useful first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

impl Error {
    /// An error of this kind and stable code.
    pub fn new(kind: Kind, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: Cow::Borrowed(code),
            message: message.into(),
            hints: Vec::new(),
        }
    }

    /// Arguments that cannot be understood (`-32602`, exit code 2).
    pub fn usage(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, code, message)
    }

    /// A call that the present state does not allow (`-32803`).
    pub fn state(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::State, code, message)
    }

    /// A failed read, write, pipe or process; `what` names the thing that it happened to.
    pub fn io(what: impl fmt::Display, source: &std::io::Error) -> Self {
        let error = Self::new(Kind::Io, "io", format!("{what}: {source}"));
        match source.kind() {
            std::io::ErrorKind::StorageFull => Self {
                code: "diskFull".into(),
                ..error
            }
            .hint("free some disk space, then resume"),
            std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => {
                error.hint("check the owner and the mode of that path")
            }
            _ => error,
        }
    }

    /// A defect of ours; the text goes to the log and to the person who reports it.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, "internal", message)
            .hint("this is a defect of clode-ls: please report it with the log")
    }

    /// The work was cancelled.
    pub fn cancelled() -> Self {
        Self::new(Kind::Cancelled, "cancelled", "cancelled")
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Whether it goes away when a person frees some disk space.
    pub fn lacks_space(&self) -> bool {
        self.code == "diskFull"
    }

    /// The first hint, if there is one.
    pub fn first_hint(&self) -> Option<&str> {
        self.hints.first().map(String::as_str)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
