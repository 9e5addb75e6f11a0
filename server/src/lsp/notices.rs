//! Brings what runs tell to the editor: progress, events, notifications.

use serde_json::Value;

use super::session::Session;

/// The person pressed cancel on a progress of ours.
pub(crate) fn progress_cancelled(_session: &Session, _params: &Value) {}
