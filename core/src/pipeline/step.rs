//! A step's order, record, output and failure: what passes between the machine and an agent.

use serde::{Deserialize, Serialize};

use super::parts::Division;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::{AgentId, BlobId, CommitId, StepId, StepKey};
use crate::money::Money;
use crate::plan::PlanPart;

/// What an agent is asked to do; references, not contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepOrder {
    /// Which step.
    pub step: StepId,
    /// Who does it.
    pub agent: AgentId,
    /// Which try, from 1; part of every intent of it.
    pub attempt: u32,
    /// Which round of the change, from 1.
    pub round: u32,
    /// The files that the run started from.
    pub base: CommitId,
    /// The files as they are before this step.
    pub files: CommitId,
    /// The Task Master's brief (Markdown).
    pub brief: Option<BlobId>,
    /// The plan (Markdown).
    pub plan: Option<BlobId>,
    /// What QA found in the last round (JSON list of [`Finding`]).
    pub findings: Option<BlobId>,
    /// What a person said about the last round.
    pub comment: Option<String>,
    /// The request of a single agent's run (JSON).
    pub request: Option<BlobId>,
    /// A person asked for this very step: no earlier result may stand for it.
    #[serde(default)]
    pub fresh: bool,
    /// The one step of the plan that is to be carried out, where others do the rest.
    #[serde(default)]
    pub part: Option<StepId>,
    /// Files in which the last result of this step collided with what others had done meanwhile.
    #[serde(default)]
    pub collided_in: Vec<String>,
}

/// Whether the change does what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// It does.
    Passed,
    /// It does not: back to the Developer.
    Failed,
}

/// One thing that QA found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Relative to the top level, if it is about a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Line from 1, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// `error`, `warning` or `info`.
    pub severity: String,
    /// What is wrong.
    pub message: String,
}

/// One run of a test command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestRun {
    /// The command line.
    pub command: String,
    /// Its exit code; none when it was killed.
    pub exit_code: Option<i32>,
    /// Exit code 0, and `successRegex` (if any) found.
    pub passed: bool,
    /// Milliseconds.
    pub duration_ms: u64,
    /// Head and tail of what it printed, redacted.
    pub output: String,
}

/// One thing that the team learned; counts only after a person approved it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnowledgeEntry {
    /// Unique in the run.
    pub id: String,
    /// One sentence.
    pub claim: String,
    /// Where it holds: `repository`, a directory or a file.
    pub scope: String,
    /// What supports it.
    #[serde(default)]
    pub evidence: String,
}

/// What a finished step hands over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StepOutput {
    /// One or two sentences for a person.
    pub summary: String,
    /// The whole answer (Markdown).
    pub document: Option<BlobId>,
    /// The files as this step left them.
    pub files: Option<CommitId>,
    /// QA's verdict.
    pub verdict: Option<Verdict>,
    /// QA's findings.
    pub findings: Vec<Finding>,
    /// Test commands that ran.
    pub test_runs: Vec<TestRun>,
    /// Lessons proposed.
    pub knowledge: Vec<KnowledgeEntry>,
    /// Provider and model that answered last.
    pub provider: Option<String>,
    /// See `provider`.
    pub model: Option<String>,
    /// Lowest and highest likely cost of what is still to come, in picodollars; from the Architect.
    pub estimate: Option<super::Estimate>,
    /// What the result is called in the step cache, if it is kept there.
    pub key: Option<StepKey>,
    /// What it cost when it was made, where an earlier result stands for this one.
    pub saved: Option<Money>,
    /// The parts of the plan that several Developers can carry out; from the Architect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PlanPart>,
}

/// Codes of what a person has to mend, after which the very same attempt may work.
const MENDED_BY_A_PERSON: [&str; 3] = ["diskFull", "repositoryMoved", "commitMissing"];

/// Classes of failure; they decide about another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StepFailureClass {
    /// May well work the next time.
    Transient,
    /// Will not work the next time.
    Permanent,
    /// Nobody knows whether it was done: the next attempt pays for itself.
    OutcomeUnknown,
    /// Will work as soon as a person has mended something.
    NeedsPerson,
    /// Ended because it was asked to.
    Cancelled,
}

/// Why a step ended without a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepFailure {
    /// What may follow.
    pub class: StepFailureClass,
    /// What happened.
    pub error: Error,
}

impl StepFailure {
    /// A failure that another attempt may cure.
    pub fn transient(error: Error) -> Self {
        Self {
            class: StepFailureClass::Transient,
            error,
        }
    }

    /// A failure that another attempt cannot cure.
    pub fn permanent(error: Error) -> Self {
        Self {
            class: StepFailureClass::Permanent,
            error,
        }
    }

    /// A failure after which nobody knows what was done and paid for.
    pub fn outcome_unknown(error: Error) -> Self {
        Self {
            class: StepFailureClass::OutcomeUnknown,
            error,
        }
    }

    /// A failure that a person has to mend before it is worth another attempt.
    pub fn needs_person(error: Error) -> Self {
        Self {
            class: StepFailureClass::NeedsPerson,
            error,
        }
    }

    /// The step was told to end.
    pub fn cancelled() -> Self {
        Self {
            class: StepFailureClass::Cancelled,
            error: Error::cancelled(),
        }
    }
}

impl From<Error> for StepFailure {
    fn from(error: Error) -> Self {
        match error.kind {
            crate::Kind::Cancelled => Self::cancelled(),
            _ if MENDED_BY_A_PERSON.contains(&error.code.as_ref()) => Self::needs_person(error),
            _ => Self::permanent(error),
        }
    }
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StepStatus {
    /// Not begun, or to be done again.
    Pending,
    /// Under way.
    Running,
    /// Waits for the time of its next attempt.
    Backoff,
    /// Done; its result is being merged with those of others.
    Merging,
    /// Done.
    Finished,
    /// Gave up.
    Failed,
    /// Not needed.
    Skipped,
    /// Ended by request.
    Cancelled,
}

/// A step of a run, as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepRecord {
    /// Its declaration.
    pub spec: super::StepSpec,
    /// Where it stands.
    pub status: StepStatus,
    /// Attempts begun so far; the number of the one under way.
    pub attempts: u32,
    /// Attempts since it last became pending that ended in a transient failure.
    pub failures: u32,
    /// When the attempt under way began.
    pub started_at: Option<Timestamp>,
    /// When it last ended.
    pub ended_at: Option<Timestamp>,
    /// When the next attempt may begin.
    pub not_before: Option<Timestamp>,
    /// What a person said about its last result.
    pub comment: Option<String>,
    /// A person asked for it again: until it has finished no earlier result may stand for it.
    #[serde(default)]
    pub fresh: bool,
    /// What it handed over.
    pub output: Option<StepOutput>,
    /// Why it failed.
    pub error: Option<Error>,
    /// How its work is divided.
    #[serde(default)]
    pub division: Division,
    /// For a part: the files that its attempts begin from.
    #[serde(default)]
    pub began_from: Option<CommitId>,
    /// For a part: files in which its last result collided with what others had done.
    #[serde(default)]
    pub collided_in: Vec<String>,
    /// How long the attempt under way has waited for people (milliseconds).
    #[serde(default)]
    pub waited_ms: i64,
}

impl StepRecord {
    /// A step that has not begun.
    pub fn new(spec: super::StepSpec) -> Self {
        Self {
            spec,
            status: StepStatus::Pending,
            attempts: 0,
            failures: 0,
            started_at: None,
            ended_at: None,
            not_before: None,
            comment: None,
            fresh: false,
            output: None,
            error: None,
            division: Division::Open,
            began_from: None,
            collided_in: Vec::new(),
            waited_ms: 0,
        }
    }

    /// Makes it pending again; what it handed over before is forgotten.
    pub fn reset(&mut self) {
        *self = Self {
            attempts: self.attempts,
            division: self.division,
            ..Self::new(self.spec.clone())
        };
    }

    /// Finished or skipped: nothing waits for it.
    pub fn is_settled(&self) -> bool {
        matches!(self.status, StepStatus::Finished | StepStatus::Skipped)
    }
}
