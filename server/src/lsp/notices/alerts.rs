//! What a person should know, the latest first to be forgotten last.

use std::collections::VecDeque;

use clode_core::id::PipelineId;
use serde::Serialize;

/// Alerts that are kept.
const ALERTS_MAX: usize = 50;

/// One thing that a person should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Alert {
    pub(super) code: String,
    pub(super) message: String,
    pub(super) severity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pipeline_id: Option<PipelineId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<String>,
}

/// The last alerts, oldest first.
#[derive(Debug, Default)]
pub(super) struct Alerts {
    kept: VecDeque<Alert>,
}

impl Alerts {
    pub(super) fn add(&mut self, alert: Alert) {
        if self.kept.len() >= ALERTS_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(alert);
    }

    pub(super) fn all(&self) -> Vec<Alert> {
        self.kept.iter().cloned().collect()
    }
}
