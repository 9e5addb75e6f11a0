//! Text synchronisation: documents open, change and close, in order of arrival.

use serde_json::Value;

use super::session::Session;

/// A document was opened.
pub(crate) fn did_open(_session: &Session, _params: Value) {}

/// A document was changed.
pub(crate) fn did_change(_session: &Session, _params: Value) {}

/// A document was saved.
pub(crate) fn did_save(_session: &Session, _params: Value) {}

/// A document was closed.
pub(crate) fn did_close(_session: &Session, _params: Value) {}

/// Files changed on the disk.
pub(crate) fn did_change_watched_files(_session: &Session, _params: Value) {}
