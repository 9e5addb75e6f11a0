//! A step's order, record, output and failure: what passes between the machine and an agent.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::{AgentId, BlobId, CommitId, StepId, StepKey};
use crate::money::Money;

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
}

/// Classes of failure; they decide about another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StepFailureClass {
    /// May well work the next time.
    Transient,
    /// Will not work the next time.
    Permanent,
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
        }
    }

    /// Makes it pending again; what it handed over before is forgotten.
    pub fn reset(&mut self) {
        *self = Self {
            attempts: self.attempts,
            ..Self::new(self.spec.clone())
        };
    }

    /// Finished or skipped: nothing waits for it.
    pub fn is_settled(&self) -> bool {
        matches!(self.status, StepStatus::Finished | StepStatus::Skipped)
    }
}
