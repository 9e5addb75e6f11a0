//! The step cache as a run sees it: whose earlier results may stand for its own, and which of its own are
//! rejected.
//!
//! A lineage is one run with all its retries, or every run of a task that its caller named and did not force.
//! What a person or QA rejected is forgotten in the commit that stores the rejection.

use crate::error::Result;
use crate::id::{StepKey, TreeId};
use crate::money::Money;
use crate::pipeline::{Event, GateKind, HunkState, Machine, RunSpec, StepRole, Verdict};
use crate::store::{CacheEntry, CacheScope};
use crate::task::CacheMode;

use super::context::StepContext;

/// Which earlier results concern a run.
#[derive(Debug, Clone)]
pub(super) struct Reach {
    lineage: String,
    mode: Option<CacheMode>,
}

/// A result as its agent keeps it.
#[derive(Debug, Clone)]
pub struct Kept {
    /// All that was asked, by its hash.
    pub key: StepKey,
    /// Tells apart what the same question led to on other files.
    pub variant: String,
    /// Under what it holds; JSON of the agent's.
    pub grounds: String,
    /// What was answered; JSON of the agent's.
    pub answer: String,
    /// What it cost.
    pub cost: Money,
}

impl Reach {
    pub(super) fn of(spec: &RunSpec) -> Self {
        let lineage = if spec.task.explicit_id && !spec.options.force {
            format!("task {}", spec.task.id)
        } else {
            format!("run {}", spec.pipeline)
        };
        Self {
            lineage,
            mode: spec.options.cache,
        }
    }

    fn scope(&self) -> Option<CacheScope> {
        match self.mode {
            None => Some(CacheScope::Lineage(self.lineage.clone())),
            Some(CacheMode::Use) => Some(CacheScope::Repository),
            Some(CacheMode::Bypass) => None,
        }
    }
}

impl StepContext {
    /// Earlier results under this key that may stand for one of this step, the newest first. A cache that
    /// cannot be read is an empty one.
    pub async fn earlier_results(&self, key: &StepKey) -> Vec<CacheEntry> {
        let Some(scope) = self.reach.scope().filter(|_| !self.order.fresh) else {
            return Vec::new();
        };
        let store = &self.services().store;
        let found = store.cache_find(&self.repository.id, key, scope).await;
        found
            .inspect_err(|error| tracing::warn!(%error, "the step cache cannot be read"))
            .unwrap_or_default()
    }

    /// Notes that an earlier result stands for this step's.
    pub async fn reuse(&self, entry: &CacheEntry) {
        self.say(format!("cached: an earlier result saves {}", entry.cost));
        tracing::info!(from = %entry.run, saved = %entry.cost, "an earlier result is used");
        let touched = self
            .services()
            .store
            .cache_touch(entry, self.services().clock.now())
            .await;
        if let Err(error) = touched {
            tracing::warn!(%error, "the use of an earlier result could not be noted");
        }
    }

    /// Keeps a result for later steps. One that was asked for anew takes the place of all earlier ones.
    pub async fn keep(&self, kept: Kept) {
        let services = self.services();
        let entry = CacheEntry {
            repository: self.repository.id.clone(),
            lineage: self.reach.lineage.clone(),
            key: kept.key,
            variant: kept.variant,
            run: self.run.clone(),
            step: self.order.step.clone(),
            grounds: kept.grounds,
            answer: kept.answer,
            cost: kept.cost,
            used_at: services.clock.now(),
        };
        if let Err(error) = self.replace_earlier(entry).await {
            tracing::warn!(%error, "a result is not kept in the step cache");
        }
    }

    async fn replace_earlier(&self, entry: CacheEntry) -> Result<()> {
        let store = &self.services().store;
        if self.order.fresh || self.reach.mode == Some(CacheMode::Bypass) {
            store
                .cache_forget(&entry.repository, vec![entry.key.clone()])
                .await?;
        }
        store.cache_put(entry, self.fence).await
    }

    /// The tree that this step began from: the same files have the same one.
    pub async fn tree(&self) -> Result<TreeId> {
        let workspaces = &self.services().workspaces;
        workspaces.tree_of(&self.repository, &self.order.files).await
    }
}

/// The results that this event rejects: a plan or lessons that a person refuses, a change that QA or a person
/// does.
pub(super) fn rejected(machine: &Machine, event: &Event) -> Vec<StepKey> {
    let refused = |state: HunkState| matches!(state, HunkState::Rejected | HunkState::Reverted);
    let role = match event {
        Event::StepFinished { output, .. } if output.verdict == Some(Verdict::Failed) => StepRole::Change,
        Event::HunksDecided { outcomes, .. } if outcomes.iter().any(|outcome| refused(outcome.state)) => {
            StepRole::Change
        }
        Event::Answered {
            approval,
            gate,
            answer,
            ..
        } if !answer.approved => {
            let open = machine.find_gate(approval.clone(), *gate).ok();
            let open = open.and_then(|id| machine.open_gates().find(|gate| gate.id == id));
            match open.map(|gate| gate.kind) {
                Some(GateKind::Plan) => StepRole::Plan,
                Some(GateKind::Patch) => StepRole::Change,
                Some(GateKind::Knowledge) => StepRole::Learn,
                _ => return Vec::new(),
            }
        }
        _ => return Vec::new(),
    };
    let steps = machine.steps.iter().filter(|step| step.spec.role == role);
    steps
        .filter_map(|step| step.output.as_ref()?.key.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::id::{AgentId, ApprovalId, BlobId, HunkId, PipelineId, StepId, TaskId};
    use crate::pipeline::{Answer, Answerer, Gate, GatePolicy, HunkOutcome, StepOutput, StepSpec};
    use crate::task::{Priority, RunOptions, Task};

    fn spec() -> RunSpec {
        let step = |id: &str, role| StepSpec {
            id: StepId::new(id),
            agent: AgentId::new(id),
            role,
            needs: Vec::new(),
            time_limit_ms: 1_000,
            attempts_max: None,
            when: None,
            part: None,
        };
        RunSpec {
            pipeline: PipelineId::new("pipeline-t-1"),
            task: Task {
                id: TaskId::new("t"),
                explicit_id: true,
                title: "Do it".to_owned(),
                description: String::new(),
                priority: Priority::Medium,
                tests: Vec::new(),
                constraints: Vec::new(),
                target_files: Vec::new(),
                origin: None,
                diagnostics: Vec::new(),
            },
            options: RunOptions::default(),
            steps: vec![
                step("brief", StepRole::Brief),
                step("plan", StepRole::Plan),
                step("one", StepRole::Change),
                step("other", StepRole::Change),
                step("qa", StepRole::Verify),
                step("lessons", StepRole::Learn),
            ],
            plan_gate: GatePolicy::Ask,
            patch_gate: GatePolicy::Ask,
            rounds_max: 2,
            attempts_max: 3,
            time_limit_ms: None,
            retry_initial_ms: 1,
            retry_max_ms: 1,
            buffers: None,
            request: None,
            config: BlobId::new("config"),
            demo: false,
        }
    }

    /// Every step has finished under a key of its own name, and this gate is open.
    fn machine(open: Option<GateKind>) -> Machine {
        let mut machine = Machine::new(spec());
        for step in &mut machine.steps {
            step.output = Some(StepOutput {
                key: Some(StepKey::new(step.spec.id.as_str())),
                ..StepOutput::default()
            });
        }
        let run = machine.spec.pipeline.clone();
        machine.gates = open
            .map(|kind| Gate::open(kind, &run, 1, "content", Timestamp(0)))
            .into_iter()
            .collect();
        machine
    }

    fn person() -> Answerer {
        Answerer {
            surface: "editor".to_owned(),
            detail: String::new(),
        }
    }

    fn answered(approved: bool) -> Event {
        Event::Answered {
            approval: None,
            gate: None,
            answer: Answer {
                approved,
                ..Answer::default()
            },
            plan_document: None,
            plan_parts: Vec::new(),
            by: person(),
        }
    }

    fn decided(state: HunkState) -> Event {
        Event::HunksDecided {
            outcomes: vec![HunkOutcome {
                id: HunkId::new("h"),
                state,
                reason: None,
            }],
            comment: None,
            by: person(),
        }
    }

    fn judged(verdict: Verdict) -> Event {
        Event::StepFinished {
            step: StepId::new("qa"),
            attempt: 1,
            output: Box::new(StepOutput {
                verdict: Some(verdict),
                ..StepOutput::default()
            }),
        }
    }

    fn names(open: Option<GateKind>, event: &Event) -> Vec<String> {
        let keys = rejected(&machine(open), event).into_iter();
        keys.map(|key| key.to_string()).collect()
    }

    #[test]
    fn a_no_rejects_what_the_gate_is_about() {
        let no = answered(false);
        assert_eq!(names(Some(GateKind::Plan), &no), ["plan"]);
        assert_eq!(names(Some(GateKind::Patch), &no), ["one", "other"]);
        assert_eq!(names(Some(GateKind::Knowledge), &no), ["lessons"]);
        for gate in [GateKind::Budget, GateKind::Permission, GateKind::Question] {
            assert!(names(Some(gate), &no).is_empty(), "{gate:?}");
        }
        assert!(names(None, &no).is_empty(), "nothing is asked any more");
        let closed = Event::Answered {
            approval: Some(ApprovalId::new("another")),
            gate: None,
            answer: Answer::default(),
            plan_document: None,
            plan_parts: Vec::new(),
            by: person(),
        };
        assert!(names(Some(GateKind::Plan), &closed).is_empty());
    }

    #[test]
    fn a_yes_rejects_nothing() {
        for gate in [GateKind::Plan, GateKind::Patch, GateKind::Knowledge] {
            assert!(names(Some(gate), &answered(true)).is_empty(), "{gate:?}");
        }
        assert!(names(None, &decided(HunkState::Applied)).is_empty());
        assert!(names(None, &judged(Verdict::Passed)).is_empty());
        assert!(names(None, &Event::Cancelled { by: person() }).is_empty());
    }

    #[test]
    fn refused_and_reverted_hunks_and_qa_reject_every_change() {
        for event in [
            decided(HunkState::Rejected),
            decided(HunkState::Reverted),
            judged(Verdict::Failed),
        ] {
            assert_eq!(names(Some(GateKind::Patch), &event), ["one", "other"]);
        }
    }

    #[test]
    fn a_named_task_is_one_lineage_over_its_runs_and_an_unnamed_one_is_its_run() {
        let named = Reach::of(&spec());
        assert_eq!(named.scope(), Some(CacheScope::Lineage("task t".to_owned())));
        let mut forced = spec();
        forced.options.force = true;
        assert_eq!(
            Reach::of(&forced).scope(),
            Some(CacheScope::Lineage("run pipeline-t-1".to_owned())),
            "it starts anew"
        );
        let mut unnamed = spec();
        unnamed.task.explicit_id = false;
        assert_eq!(
            Reach::of(&unnamed).scope(),
            Some(CacheScope::Lineage("run pipeline-t-1".to_owned()))
        );
        unnamed.options.cache = Some(CacheMode::Use);
        assert_eq!(Reach::of(&unnamed).scope(), Some(CacheScope::Repository));
        unnamed.options.cache = Some(CacheMode::Bypass);
        assert_eq!(Reach::of(&unnamed).scope(), None);
    }
}
