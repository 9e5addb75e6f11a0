//! What became of the hunks of a file.

use clode_core::id::HunkId;
use clode_core::pipeline::HunkState;
use serde::Serialize;
use url::Url;

/// One line of the answer; a file whose hunks fared differently has several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FileResult {
    pub(crate) uri: Url,
    /// `applied`, `reverted`, `unconfirmed`, `failed`, `conflict` or `rejected`.
    pub(crate) result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    pub(crate) hunks: Vec<HunkId>,
    /// To be recorded; nothing where nothing was tried.
    #[serde(skip)]
    pub(crate) state: Option<HunkState>,
    /// Whether the change is in a buffer only.
    #[serde(skip)]
    pub(crate) unsaved: bool,
}

impl FileResult {
    pub(crate) fn new(uri: Url, result: &'static str, hunks: Vec<HunkId>) -> Self {
        let state = match result {
            "applied" => HunkState::Applied,
            "unconfirmed" => HunkState::Unconfirmed,
            "conflict" => HunkState::Conflict,
            "rejected" => HunkState::Rejected,
            "reverted" => HunkState::Reverted,
            _ => HunkState::Failed,
        };
        Self {
            uri,
            result,
            code: None,
            message: None,
            hint: None,
            hunks,
            state: Some(state),
            unsaved: false,
        }
    }

    pub(crate) fn code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    pub(crate) fn because(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// It was only looked at: nothing is to be recorded.
    pub(crate) fn unrecorded(mut self) -> Self {
        self.state = None;
        self
    }

    /// The same of the way back: what is applied there was taken back; what is not is still where it was.
    pub(crate) fn taken_back(self) -> Self {
        if self.result == "applied" {
            Self {
                result: "reverted",
                state: Some(HunkState::Reverted),
                ..self
            }
        } else {
            self.unrecorded()
        }
    }

    pub(crate) fn in_a_buffer(mut self) -> Self {
        self.unsaved = true;
        self
    }
}
