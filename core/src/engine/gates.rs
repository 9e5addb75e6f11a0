//! Answers to gates, from whatever surface: one way in, and an audit record for each.

use super::{Engine, Signal};
use crate::error::{Error, Result};
use crate::id::{ApprovalId, PipelineId};
use crate::pipeline::{Answer, Answerer, Gate, GateKind};
use crate::store::AuditRecord;

impl Engine {
    /// The open gate that an answer means: the one with this id, or the only one (of this kind).
    pub async fn open_gate(
        &self,
        run: &PipelineId,
        approval: Option<&ApprovalId>,
        kind: Option<GateKind>,
    ) -> Result<Gate> {
        let machine = self.row(run).await?.machine()?;
        let id = machine.find_gate(approval.cloned(), kind)?;
        machine
            .open_gates()
            .find(|gate| gate.id == id)
            .cloned()
            .ok_or_else(|| Error::internal("an approval vanished while it was looked up"))
    }

    /// Answers a gate; the owner of the run writes into the audit who answered what.
    pub async fn answer(&self, run: &PipelineId, gate: &Gate, answer: Answer, by: Answerer) -> Result<()> {
        let signal = Signal::Answer {
            approval: Some(gate.id.clone()),
            gate: None,
            answer,
            by,
        };
        self.signal(run, signal).await
    }

    /// Writes down what a person did to a run. What was done stands even where this fails.
    pub async fn record(&self, run: &PipelineId, action: &str, by: &Answerer, detail: &serde_json::Value) {
        let actor = if by.detail.is_empty() {
            by.surface.clone()
        } else {
            format!("{}: {}", by.surface, by.detail)
        };
        let record = AuditRecord {
            at: self.shared.services.clock.now(),
            run: Some(run.clone()),
            actor,
            action: action.to_owned(),
            detail: detail.to_string(),
        };
        if let Err(error) = self.shared.services.store.audit(record).await {
            tracing::error!(%error, %run, action, "the audit record could not be written");
        }
    }
}
