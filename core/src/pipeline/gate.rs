//! Gates: questions to a person. They are state, not the client's word; no answer leaves them open.

use serde::{Deserialize, Serialize};

use super::step::KnowledgeEntry;
use crate::clock::Timestamp;
use crate::id::{ApprovalId, PipelineId, StepId};
use crate::money::Money;

/// What a gate is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GateKind {
    /// The plan, before anything is changed.
    Plan,
    /// The patch, before anything of the user's is changed.
    Patch,
    /// A limit of money.
    Budget,
    /// Something that the policy does not allow by itself.
    Permission,
    /// A question of an agent's.
    Question,
    /// Lessons, before they count.
    Knowledge,
}

impl GateKind {
    /// Every kind, as announced in the handshake.
    pub const ALL: [Self; 6] = [
        Self::Plan,
        Self::Patch,
        Self::Budget,
        Self::Permission,
        Self::Question,
        Self::Knowledge,
    ];

    /// As on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Patch => "patch",
            Self::Budget => "budget",
            Self::Permission => "permission",
            Self::Question => "question",
            Self::Knowledge => "knowledge",
        }
    }

    /// Whether the run may go on while it is open.
    pub const fn holds_the_run(self) -> bool {
        !matches!(self, Self::Knowledge)
    }
}

/// One answer that a gate offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Choice {
    /// As in `choice`.
    pub id: String,
    /// As shown.
    pub title: String,
}

/// What the work is likely to cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// At least.
    pub min: Money,
    /// At most.
    pub max: Money,
    /// Where the figures come from.
    pub basis: String,
}

/// The limit that was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BudgetAsk {
    /// `run`, `repositoryDay`, `userDay` or `providerDay:<id>`.
    pub scope: String,
    /// The limit.
    pub limit: Money,
    /// Spent and reserved against it.
    pub spent: Money,
    /// What the next request may cost.
    pub needed: Money,
}

/// What an agent wants to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PermissionAsk {
    /// Name of the tool.
    pub tool: String,
    /// The command, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Paths that it would touch.
    #[serde(default)]
    pub paths: Vec<String>,
}

/// A question that a running step asks a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum GateRequest {
    /// May it go on beyond this limit?
    Budget(BudgetAsk),
    /// May it do this?
    Permission(PermissionAsk),
    /// What should it do?
    Question {
        /// The agent's words.
        text: String,
    },
}

impl GateRequest {
    /// What kind of gate it opens.
    pub const fn kind(&self) -> GateKind {
        match self {
            Self::Budget(_) => GateKind::Budget,
            Self::Permission(_) => GateKind::Permission,
            Self::Question { .. } => GateKind::Question,
        }
    }
}

/// Who answered and from where; goes to the audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answerer {
    /// `editor`, `commandLine` or `policy`.
    pub surface: String,
    /// More, such as the client's name.
    #[serde(default)]
    pub detail: String,
}

/// A person's answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Answer {
    /// Yes or no.
    pub approved: bool,
    /// A person's words.
    pub comment: Option<String>,
    /// The plan as a person edited it (Markdown).
    pub plan: Option<String>,
    /// One of the gate's choices.
    pub choice: Option<String>,
    /// New limit of this run.
    pub max_cost: Option<Money>,
    /// Which knowledge entries; all without it.
    pub entries: Option<Vec<String>>,
}

/// How a gate was closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resolution {
    /// What was said.
    pub answer: Answer,
    /// By whom.
    pub by: Answerer,
    /// When.
    pub at: Timestamp,
}

/// A question to a person, open until `resolution`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// Names gate, round and content.
    pub id: ApprovalId,
    /// What it is about.
    pub kind: GateKind,
    /// The step that asks, if one does.
    pub step: Option<StepId>,
    /// One line.
    pub title: String,
    /// A sentence or two.
    pub summary: String,
    /// More (Markdown).
    pub detail: String,
    /// Named answers.
    pub choices: Vec<Choice>,
    /// The document to read, such as `plan.md`.
    pub document: Option<String>,
    /// What the work is likely to cost.
    pub estimate: Option<Estimate>,
    /// The limit that was reached.
    pub budget: Option<BudgetAsk>,
    /// What an agent wants to do.
    pub request: Option<PermissionAsk>,
    /// Lessons.
    pub entries: Option<Vec<KnowledgeEntry>>,
    /// Open since.
    pub since: Timestamp,
    /// Closed by.
    pub resolution: Option<Resolution>,
    /// What the step asked, where a step did.
    #[serde(default)]
    pub asked: Option<GateRequest>,
    /// Whether the step that asked has got the answer.
    #[serde(default)]
    pub handed_over: bool,
}

impl Gate {
    /// Whether the answer that was given here also answers this: because it was given for the whole
    /// task, or because the step died before it got it.
    pub fn answers_again(&self, step: &StepId, request: &GateRequest) -> bool {
        let Some(resolution) = &self.resolution else {
            return false;
        };
        let for_the_task = resolution.answer.approved && resolution.answer.choice.as_deref() == Some("task");
        let same_step = self.step.as_ref() == Some(step);
        let same = self.asked.as_ref() == Some(request);
        self.kind != GateKind::Budget && same && (for_the_task || (same_step && !self.handed_over))
    }

    /// An open gate. `content` is what its id stands for.
    pub fn open(kind: GateKind, run: &PipelineId, round: u32, content: &str, since: Timestamp) -> Self {
        Self {
            id: approval_id(kind, run, round, content),
            kind,
            step: None,
            title: String::new(),
            summary: String::new(),
            detail: String::new(),
            choices: Vec::new(),
            document: None,
            estimate: None,
            budget: None,
            request: None,
            entries: None,
            since,
            resolution: None,
            asked: None,
            handed_over: false,
        }
    }

    /// Whether nobody has answered yet.
    pub const fn is_open(&self) -> bool {
        self.resolution.is_none()
    }
}

fn approval_id(kind: GateKind, run: &PipelineId, round: u32, content: &str) -> ApprovalId {
    let mut hasher = blake3::Hasher::new();
    for part in [run.as_str(), kind.as_str(), content] {
        hasher.update(part.as_bytes());
        hasher.update(&[0]);
    }
    let hash = hasher.finalize().to_hex();
    ApprovalId::new(format!(
        "{}-{round}-{}",
        kind.as_str(),
        hash.get(..12).unwrap_or_default()
    ))
}
