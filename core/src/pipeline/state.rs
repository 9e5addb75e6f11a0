//! The state of a run: one serialisable value, changed by the machine alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::gate::{Gate, GateKind};
use super::parts::Merging;
use super::patch::{HunkRecord, PatchStage};
use super::spec::{RunSpec, StepRole};
use super::step::{StepRecord, StepStatus, TestRun};
use super::version::MACHINE_VERSION;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::{ApprovalId, BlobId, CommitId, StepId, TreeId};
use crate::money::Money;
use crate::plan::PlanPart;

/// How a run stands, as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// Waits for its turn.
    Queued,
    /// Works.
    Running,
    /// Waits for a person's answer.
    AwaitingApproval,
    /// Was told to wait, or had to.
    Paused,
    /// Done.
    Completed,
    /// Gave up; can be retried.
    Failed,
    /// Was told to end; can be retried.
    Cancelled,
}

impl Status {
    /// As on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::AwaitingApproval => "awaitingApproval",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Nothing more happens by itself, ever.
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ending {
    /// Done.
    Completed,
    /// Gave up.
    Failed,
    /// Was told to end.
    Cancelled,
}

/// Where the first commit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum SnapshotStage {
    Todo,
    Running,
    Done,
}

/// A run. See the module's invariants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// Version of the machine that started it and finishes it.
    pub version: u32,
    /// What it was started with; each event makes a copy of the machine, which shares it.
    pub spec: Arc<RunSpec>,
    /// Its steps, in the order of `spec.steps`; parts of a step follow it.
    pub steps: Vec<StepRecord>,
    /// Its gates, open and closed, oldest first.
    pub gates: Vec<Gate>,
    /// Round of the change, from 1.
    pub round: u32,
    /// The files that it started from.
    pub base: Option<CommitId>,
    /// Their tree.
    pub base_tree: Option<TreeId>,
    /// The files that agents start from, where they see something else than the person.
    #[serde(default)]
    pub agents_base: Option<CommitId>,
    /// Files that agents do not get to see.
    pub withheld: Vec<String>,
    /// The files as the agents left them.
    pub result: Option<CommitId>,
    /// The brief (Markdown).
    pub brief: Option<BlobId>,
    /// The plan (Markdown).
    pub plan: Option<BlobId>,
    /// A person's unfinished edit of the plan.
    pub plan_draft: Option<BlobId>,
    /// The stored patch.
    pub patch: Option<BlobId>,
    /// Where the patch stands.
    pub patch_stage: PatchStage,
    /// Its hunks.
    pub hunks: Vec<HunkRecord>,
    /// Limit of this run as a person raised it.
    pub max_cost: Option<Money>,
    /// Until when the day's limits do not hold for this run.
    pub daily_limits_waived_at: Option<Timestamp>,
    /// Told to wait.
    pub paused: bool,
    /// Why it waits, where that is not plain.
    pub status_reason: Option<String>,
    /// How it ended.
    pub ending: Option<Ending>,
    /// Why it gave up.
    pub error: Option<Error>,
    /// Test runs of rounds that went back to the Developer, oldest first, their output cut short.
    #[serde(default)]
    pub earlier_test_runs: Vec<TestRun>,
    /// The parts of the plan that several Developers can carry out.
    #[serde(default)]
    pub plan_parts: Vec<PlanPart>,
    #[serde(default)]
    pub(super) merging: Option<Merging>,
    /// Attempts of steps that are no more.
    #[serde(default)]
    pub(super) former_attempts: BTreeMap<StepId, u32>,
    /// Milliseconds that it worked since it was last taken up.
    #[serde(default)]
    pub(super) worked_ms: i64,
    /// Time of the last event.
    #[serde(default)]
    pub(super) last_at: Option<Timestamp>,
    pub(super) admitted: bool,
    pub(super) snapshot: SnapshotStage,
    pub(super) findings: Option<BlobId>,
    pub(super) progress_floor: u8,
    pub(super) asked: u32,
}

impl Machine {
    /// A run that has not been admitted yet.
    pub fn new(spec: RunSpec) -> Self {
        Self {
            version: MACHINE_VERSION,
            steps: spec.steps.iter().cloned().map(StepRecord::new).collect(),
            spec: Arc::new(spec),
            gates: Vec::new(),
            round: 1,
            base: None,
            base_tree: None,
            agents_base: None,
            withheld: Vec::new(),
            result: None,
            brief: None,
            plan: None,
            plan_draft: None,
            patch: None,
            patch_stage: PatchStage::None,
            hunks: Vec::new(),
            max_cost: None,
            daily_limits_waived_at: None,
            paused: false,
            status_reason: None,
            ending: None,
            error: None,
            earlier_test_runs: Vec::new(),
            plan_parts: Vec::new(),
            merging: None,
            former_attempts: BTreeMap::new(),
            worked_ms: 0,
            last_at: None,
            admitted: false,
            snapshot: SnapshotStage::Todo,
            findings: None,
            progress_floor: 0,
            asked: 0,
        }
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        match self.ending {
            Some(Ending::Completed) => return Status::Completed,
            Some(Ending::Failed) => return Status::Failed,
            Some(Ending::Cancelled) => return Status::Cancelled,
            None => {}
        }
        if self.paused {
            Status::Paused
        } else if !self.admitted {
            Status::Queued
        } else if self.open_gates().any(|gate| gate.kind.holds_the_run()) && !self.works() {
            Status::AwaitingApproval
        } else {
            Status::Running
        }
    }

    /// Whether anything is under way that does not itself wait for a person.
    fn works(&self) -> bool {
        let asking = |id: &StepId| {
            self.open_gates()
                .any(|gate| gate.step.as_ref() == Some(id) && gate.kind.holds_the_run())
        };
        self.steps.iter().any(|step| match step.status {
            StepStatus::Running => !asking(&step.spec.id),
            StepStatus::Merging => true,
            _ => false,
        })
    }

    /// Gates without an answer, oldest first.
    pub fn open_gates(&self) -> impl Iterator<Item = &Gate> {
        self.gates.iter().filter(|gate| gate.is_open())
    }

    /// What an open gate is about.
    pub fn gate_kind(&self, id: &ApprovalId) -> Option<GateKind> {
        self.open_gates()
            .find(|gate| gate.id == *id)
            .map(|gate| gate.kind)
    }

    /// The step that is shown as current: the one under way, else the one whose result waits for a person,
    /// else the next one.
    pub fn current_step(&self) -> Option<&StepRecord> {
        let find = |wanted: &[StepStatus]| self.steps.iter().find(|step| wanted.contains(&step.status));
        let asking = self
            .open_gates()
            .find(|gate| gate.kind.holds_the_run())
            .and_then(|gate| gate.step.as_ref());
        let in_review = !matches!(self.patch_stage, PatchStage::None | PatchStage::Settled);
        let reviewed = || {
            let mut worked = self.steps.iter().rev();
            worked.find(|step| {
                let works = matches!(step.spec.role, StepRole::Change | StepRole::Verify);
                in_review && works && step.spec.part.is_none()
            })
        };
        find(&[StepStatus::Running, StepStatus::Backoff, StepStatus::Merging])
            .or_else(|| asking.and_then(|id| self.step(id)))
            .or_else(reviewed)
            .or_else(|| find(&[StepStatus::Pending, StepStatus::Failed]))
    }

    /// Percent done; never falls, and is 100 only at the end.
    pub fn progress(&self) -> u8 {
        if self.ending == Some(Ending::Completed) {
            return 100;
        }
        self.progress_floor.min(99).max(self.progress_now())
    }

    fn progress_now(&self) -> u8 {
        let done: usize = self
            .steps
            .iter()
            .map(|step| {
                if step.is_settled() {
                    2
                } else {
                    usize::from(step.status == StepStatus::Running)
                }
            })
            .sum();
        let with_patch = usize::from(self.patch_stage == PatchStage::Settled)
            + usize::from(self.snapshot == SnapshotStage::Done);
        let all = self.steps.len() * 2 + 2;
        u8::try_from((done + with_patch) * 100 / all)
            .unwrap_or(99)
            .min(99)
    }

    pub(super) fn raise_progress(&mut self) {
        self.progress_floor = self.progress();
    }

    /// The limit that holds for this run's money, if it has one of its own.
    pub fn limit(&self) -> Option<Money> {
        self.max_cost.or(self.spec.options.max_cost)
    }

    /// A step by its id.
    pub fn step(&self, id: &StepId) -> Option<&StepRecord> {
        self.steps.iter().find(|step| step.spec.id == *id)
    }

    pub(super) fn step_mut(&mut self, id: &StepId) -> Option<&mut StepRecord> {
        self.steps.iter_mut().find(|step| step.spec.id == *id)
    }

    pub(super) fn step_with_role(&self, role: StepRole) -> Option<&StepRecord> {
        self.steps.iter().find(|step| step.spec.role == role)
    }

    /// Every step that needs `id`, directly or not, and `id` itself. A step needs its parts.
    pub(super) fn downstream(&self, id: &StepId) -> Vec<StepId> {
        let mut found = vec![id.clone()];
        loop {
            let more: Vec<StepId> = self
                .steps
                .iter()
                .filter(|step| {
                    !found.contains(&step.spec.id)
                        && (step.spec.needs.iter().any(|need| found.contains(need))
                            || self
                                .parts_of(&step.spec.id)
                                .any(|part| found.contains(&part.spec.id)))
                })
                .map(|step| step.spec.id.clone())
                .collect();
            if more.is_empty() {
                return found;
            }
            found.extend(more);
        }
    }
}
