//! What a run froze when it started.

use serde::{Deserialize, Serialize};

use super::condition::Condition;
use crate::id::{AgentId, BlobId, PipelineId, StepId};
use crate::task::{RunOptions, Task};

/// What a step contributes; decides what its end leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StepRole {
    /// Orients the others.
    Brief,
    /// Writes the plan that the plan gate shows.
    Plan,
    /// Changes files.
    Change,
    /// Judges the change; a bad verdict sends it back.
    Verify,
    /// Draws lessons once the patch is settled.
    Learn,
}

/// One step of the pipeline as declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepSpec {
    /// Unique in the run.
    pub id: StepId,
    /// Who does it.
    pub agent: AgentId,
    /// What it contributes.
    pub role: StepRole,
    /// Steps that must have finished.
    pub needs: Vec<StepId>,
    /// Longest time for one attempt, waiting for people not counted.
    pub time_limit_ms: i64,
    /// Attempts, where they are other than the run's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts_max: Option<u32>,
    /// The step is left out unless this holds when its turn comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    /// Which part of which step's work it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
}

impl StepSpec {
    /// A step without anything special.
    pub fn new(
        id: impl Into<StepId>,
        agent: impl Into<AgentId>,
        role: StepRole,
        needs: Vec<StepId>,
        time_limit_ms: i64,
    ) -> Self {
        Self {
            id: id.into(),
            agent: agent.into(),
            role,
            needs,
            time_limit_ms,
            attempts_max: None,
            when: None,
            part: None,
        }
    }
}

/// A step of the plan that a Developer of its own carries out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// The step that its parts make up.
    pub of: StepId,
    /// Its id in the plan.
    pub plan_step: StepId,
    /// Its title there.
    pub title: String,
}

/// Whether a gate waits for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GatePolicy {
    /// A person answers.
    Ask,
    /// It answers itself; the audit says so.
    Skip,
}

/// Everything that a run was started with; never changes afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunSpec {
    /// Its name.
    pub pipeline: PipelineId,
    /// What is wanted.
    pub task: Task,
    /// How.
    pub options: RunOptions,
    /// The steps, in the order in which they are shown.
    pub steps: Vec<StepSpec>,
    /// The gate behind the plan.
    pub plan_gate: GatePolicy,
    /// The gate behind the patch.
    pub patch_gate: GatePolicy,
    /// How often failed verdicts go back to the Developer.
    pub rounds_max: u32,
    /// Attempts of a step whose failure is transient.
    pub attempts_max: u32,
    /// First wait before another attempt; doubles with each.
    pub retry_initial_ms: i64,
    /// Longest wait before another attempt.
    pub retry_max_ms: i64,
    /// Longest time that the run may work, waiting for people and pauses not counted.
    #[serde(default)]
    pub time_limit_ms: Option<i64>,
    /// The unsaved text that the person sees, as a stored list of buffers.
    pub buffers: Option<BlobId>,
    /// The request of a single agent's run, as stored JSON.
    pub request: Option<BlobId>,
    /// The frozen configuration, as stored JSON.
    pub config: BlobId,
    /// Whether the built-in demo provider stands in for a model.
    pub demo: bool,
}

impl RunSpec {
    /// The title as shown: runs of the demo provider say so.
    pub fn shown_title(&self) -> String {
        if self.demo {
            format!("[demo] {}", self.task.title)
        } else {
            self.task.title.clone()
        }
    }
}
