//! Hunks under review: where they lie in the documents of now; the cache behind lenses, actions, hover and
//! diagnostics, so that those need no I/O.

use clode_core::id::PipelineId;
use url::Url;

use super::session::Session;

/// A run changed: reload its review, refresh what shows it. Returns at once.
pub(crate) fn run_changed(_session: &Session, _run: &PipelineId) {}

/// A document was opened, changed, closed, or changed on the disk. Returns at once.
pub(crate) fn document_changed(_session: &Session, _uri: &Url) {}
