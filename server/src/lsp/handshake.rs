//! The opening: what the editor says about itself, what we say about us, and what starts after it.

use clode_core::Result;
use lsp_types::InitializeResult;
use serde_json::Value;

use super::session::Session;

/// Answers `initialize`.
pub(crate) fn initialize(_session: &Session) -> Result<InitializeResult> {
    Ok(InitializeResult::default())
}

/// Starts what waits for the editor to be ready.
pub(crate) fn initialized(_session: &Session) {}

/// Takes over changed settings.
pub(crate) fn did_change_configuration(_session: &Session, _params: Value) {}

/// Takes over opened and closed folders.
pub(crate) fn did_change_workspace_folders(_session: &Session, _params: &Value) {}
