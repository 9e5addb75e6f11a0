//! What happens to a run, what it asks for, and what it tells.

use serde::{Deserialize, Serialize};

use super::gate::{Answer, Answerer, Gate, GateKind, GateRequest};
use super::parts::MergeOutcome;
use super::patch::{HunkOutcome, PreparedPatch};
use super::spec::StepSpec;
use super::step::{StepFailure, StepOrder, StepOutput};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::{AgentId, ApprovalId, BlobId, CommitId, StepId, TreeId};
use crate::money::Money;
use crate::plan::PlanPart;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "type")]
pub enum Event {
    /// The run may begin.
    Admitted,
    /// Its owner died; whatever was under way has an unknown outcome.
    Recovered,
    /// The files that it starts from are safe.
    SnapshotTaken {
        /// In our own store.
        commit: CommitId,
        /// Its tree: the same files have the same one.
        tree: TreeId,
        /// The files as agents get to see them, where that is something else.
        #[serde(default)]
        for_agents: Option<CommitId>,
        /// Files that agents do not get to see.
        withheld: Vec<String>,
    },
    /// There is nothing to start from.
    SnapshotFailed {
        /// Why.
        error: Error,
    },
    /// An agent is done.
    StepFinished {
        /// Which step.
        step: StepId,
        /// Which attempt of it.
        attempt: u32,
        /// What it hands over.
        output: Box<StepOutput>,
    },
    /// An agent gave up.
    StepFailed {
        /// Which step.
        step: StepId,
        /// Which attempt of it.
        attempt: u32,
        /// Why.
        failure: StepFailure,
    },
    /// A running agent asks a person.
    Asked {
        /// Which step.
        step: StepId,
        /// What.
        request: GateRequest,
    },
    /// A person answered.
    Answered {
        /// Which gate; without it exactly one may be open.
        approval: Option<ApprovalId>,
        /// Or by kind.
        gate: Option<GateKind>,
        /// What was said. `plan` has been read before and is stored as `plan_document`.
        answer: Answer,
        /// The edited plan, stored.
        plan_document: Option<BlobId>,
        /// Its parts, or those of the draft that the answer approves.
        #[serde(default)]
        plan_parts: Vec<PlanPart>,
        /// By whom.
        by: Answerer,
    },
    /// A person saved a draft of the plan.
    PlanDrafted {
        /// Stored Markdown.
        draft: BlobId,
    },
    /// The results of two steps were brought together, or cannot be.
    ResultsMerged {
        /// Whose result was to be taken over.
        step: StepId,
        /// Of which attempt.
        attempt: u32,
        /// Onto which files.
        onto: CommitId,
        /// What it came to.
        outcome: MergeOutcome,
    },
    /// The attempt to bring them together failed.
    MergeFailed {
        /// Whose result was to be taken over.
        step: StepId,
        /// Of which attempt.
        attempt: u32,
        /// Why.
        error: Error,
    },
    /// The patch was computed.
    PatchPrepared {
        /// The patch.
        prepared: Box<PreparedPatch>,
    },
    /// The patch cannot be computed.
    PatchFailed {
        /// Why.
        error: Error,
    },
    /// Hunks were applied, rejected, or found to be something else.
    HunksDecided {
        /// Which became what.
        outcomes: Vec<HunkOutcome>,
        /// A person's words about them.
        comment: Option<String>,
        /// By whom.
        by: Answerer,
    },
    /// Applying without asking is over; what is still pending goes to a person.
    ApplyFinished {
        /// Which became what.
        outcomes: Vec<HunkOutcome>,
    },
    /// Stop after the model call in flight.
    Paused,
    /// Go on.
    Resumed,
    /// End, keeping the results.
    Cancelled {
        /// By whom.
        by: Answerer,
    },
    /// Do it again.
    Retried {
        /// From this step on; without it, what failed or was not done.
        from: Option<StepId>,
        /// Another pipeline to go on with.
        steps: Option<Vec<StepSpec>>,
    },
    /// The time for which a timer was set has come.
    TimeReached,
}

/// Something that the run asks for. Performed only after the new state is durable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "type")]
pub enum Effect {
    /// Make the files that it starts from safe.
    TakeSnapshot {
        /// Unsaved text.
        buffers: Option<BlobId>,
    },
    /// Let an agent work.
    RunStep {
        /// On what.
        order: Box<StepOrder>,
    },
    /// End an agent's work.
    AbortStep {
        /// Which.
        step: StepId,
    },
    /// Hand an answer to the agent that asked.
    DeliverAnswer {
        /// Which step asked.
        step: StepId,
        /// Which gate.
        approval: ApprovalId,
        /// What was said.
        answer: Answer,
    },
    /// Bring the result of a step together with what others did since it began.
    MergeResults {
        /// Whose result.
        step: StepId,
        /// Of which attempt.
        attempt: u32,
        /// The files that it began from.
        base: CommitId,
        /// The files as they are now.
        onto: CommitId,
        /// The files as it left them.
        result: CommitId,
    },
    /// Compute the patch between these.
    PreparePatch {
        /// The files that the run started from.
        base: CommitId,
        /// The files as the agents left them.
        result: CommitId,
    },
    /// Apply what is pending and clean, without asking.
    ApplyPatch,
    /// Come back at this time.
    SetTimer {
        /// When.
        at: Timestamp,
    },
    /// Tell whoever listens.
    Publish {
        /// What.
        event: RunEvent,
    },
    /// Nothing of this run needs to stay in memory.
    Ended,
}

/// What a run tells the outside; each gets a sequence number and is never dropped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "type")]
pub enum RunEvent {
    /// An agent began.
    StepStarted {
        /// Which step.
        step_id: StepId,
        /// Who.
        agent: AgentId,
        /// Which try.
        attempt: u32,
    },
    /// An agent ended.
    StepFinished {
        /// Which step.
        step_id: StepId,
        /// Who.
        agent: AgentId,
        /// `finished`, `failed`, `cancelled`, `retrying`, or `waiting` for a person to mend something.
        status: String,
        /// One or two sentences.
        summary: String,
        /// An earlier result stands for it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        cached: bool,
        /// What went wrong.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<Error>,
    },
    /// The router chose.
    RouteDecision {
        /// For which step.
        step_id: StepId,
        /// What was considered and why (JSON of the router's record).
        decision: serde_json::Value,
    },
    /// A model answered and was paid.
    Usage {
        /// For which step.
        step_id: StepId,
        /// Who was paid.
        provider: String,
        /// For what.
        model: String,
        /// Uncached.
        input_tokens: u64,
        /// Written.
        output_tokens: u64,
        /// Read from the cache.
        cache_read_tokens: u64,
        /// Put into the cache.
        cache_write_tokens: u64,
        /// This call (USD).
        #[serde(rename = "costUSD")]
        cost_usd: f64,
        /// The run so far (USD).
        #[serde(rename = "totalCostUSD")]
        total_cost_usd: f64,
    },
    /// A gate opened.
    ApprovalRequested {
        /// The gate, in its wire form.
        approval: serde_json::Value,
    },
    /// A gate closed.
    ApprovalResolved {
        /// Which.
        approval_id: ApprovalId,
        /// What it was about.
        gate: GateKind,
        /// Yes or no.
        approved: bool,
        /// From where.
        by: String,
    },
    /// Something that a person should know.
    Alert {
        /// Stable.
        code: String,
        /// What.
        message: String,
    },
    /// There is a patch to look at.
    PatchReady {
        /// In which round.
        round: u32,
        /// How many hunks.
        hunks: usize,
        /// In how many files.
        files: usize,
    },
    /// It is over.
    Finished {
        /// How.
        status: super::Status,
        /// Why, where it did not complete.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<Error>,
    },
}

/// What [`super::Machine::next`] did.
#[derive(Debug, Clone, PartialEq)]
pub struct Transitioned {
    /// To perform once the new state is durable.
    pub effects: Vec<Effect>,
}

impl Gate {
    /// The gate in the wire form of the contract.
    pub fn wire(&self) -> serde_json::Value {
        let mut wire = serde_json::json!({
            "id": self.id, "gate": self.kind, "title": self.title, "summary": self.summary, "detail": self.detail,
            "choices": self.choices, "since": self.since.rfc3339(),
        });
        let optional = [
            ("stepId", self.step.as_ref().map(|step| serde_json::json!(step))),
            ("documentUri", self.document.as_ref().map(|name| serde_json::json!(name))),
            ("estimate", self.estimate.as_ref().map(|estimate| {
                serde_json::json!({"minUSD": estimate.min.usd(), "maxUSD": estimate.max.usd(), "basis": estimate.basis})
            })),
            ("budget", self.budget.as_ref().map(|budget| {
                let money = Money::usd;
                serde_json::json!({"scope": budget.scope, "limit": money(budget.limit), "spent": money(budget.spent), "needed": money(budget.needed)})
            })),
            ("request", self.request.as_ref().map(|request| serde_json::json!(request))),
            ("entries", self.entries.as_ref().map(|entries| serde_json::json!(entries))),
        ];
        if let Some(object) = wire.as_object_mut() {
            object.extend(
                optional
                    .into_iter()
                    .filter_map(|(key, value)| Some((key.to_owned(), value?))),
            );
        }
        wire
    }
}
