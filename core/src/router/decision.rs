//! Why a call went where it went: one record for each physical send, made from what was known.

use serde::{Deserialize, Serialize};

/// What became of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// The call goes there.
    Chosen,
    /// It could not take the call; the reason says why.
    Skipped,
    /// It was not needed.
    Standby,
}

/// One candidate, as it was judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judged {
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// What became of it.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
}

/// A provider and one of its models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
}

/// The choice before one physical send, or the reason why there was none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteDecision {
    /// All candidates in their order.
    pub candidates: Vec<Judged>,
    /// Where the call goes; none when nothing can take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Route>,
    /// Which physical send of the call this is, from 1.
    pub attempt: u32,
}
