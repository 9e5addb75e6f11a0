//! The user's files, read only; our snapshots, slots and patches.
use serde::{Deserialize, Serialize};
/// Stub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HunkState { Pending, Applied, Unconfirmed, Failed, Rejected, Conflict, Superseded, Reverted }
