//! `next`: one event in, effects out, or a rejection that changes nothing.

use super::event::{Effect, Event, Transitioned};
use super::gate::GateKind;
use super::patch::PatchStage;
use super::state::{Ending, Machine, SnapshotStage};
use super::step::StepStatus;
use super::version::Rules;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{CommitId, TreeId};

impl Machine {
    /// Takes in what happened at `at`. An error rejects the event: nothing has changed then.
    pub fn next(&mut self, at: Timestamp, event: Event) -> Result<Transitioned> {
        let mut changed = self.clone();
        let mut effects = Vec::new();
        let recovered = matches!(event, Event::Recovered);
        let before = (!recovered).then(|| changed.status());
        changed.count_work(at, &event);
        changed.take_in(at, event, &mut effects)?;
        changed.advance(at, &mut effects);
        changed.watch_work(at, before, &mut effects);
        changed.raise_progress();
        if self.ending.is_some() && changed.ending.is_some() {
            // Whatever its stored state says: an ended run tells, and asks for nothing.
            effects.retain(|effect| matches!(effect, Effect::Publish { .. } | Effect::Ended));
        }
        *self = changed;
        Ok(Transitioned { effects })
    }

    fn take_in(&mut self, at: Timestamp, event: Event, effects: &mut Vec<Effect>) -> Result<()> {
        match event {
            Event::Admitted => self.admitted = true,
            Event::Recovered => self.recover(at, effects),
            Event::SnapshotTaken {
                commit,
                tree,
                for_agents,
                withheld,
            } => {
                if self.snapshot_taken(commit, tree, withheld) {
                    self.agents_base = for_agents;
                }
            }
            Event::Halted { reason } => self.halt(at, &reason, effects),
            Event::SnapshotFailed { .. } if self.ignores(self.snapshot == SnapshotStage::Running) => {}
            Event::SnapshotFailed { error } if error.lacks_space() => self.halt(at, &error, effects),
            Event::StepFailed {
                step,
                attempt,
                failure,
            } if failure.error.lacks_space() => {
                if self.running(&step, attempt).is_some() {
                    self.halt(at, &failure.error, effects);
                }
            }
            Event::SnapshotFailed { error } => {
                self.snapshot = SnapshotStage::Todo;
                self.end(Ending::Failed, Some(error), effects);
            }
            Event::StepFinished {
                step,
                attempt,
                output,
            } => self.step_finished(at, &step, attempt, *output, effects),
            Event::StepFailed {
                step,
                attempt,
                failure,
            } => self.step_failed(at, &step, attempt, failure, effects),
            Event::Asked { step, request } => self.asked(at, step, request, effects),
            Event::Answered {
                approval,
                gate,
                answer,
                plan_document,
                plan_parts,
                by,
            } => {
                let id = self.find_gate(approval, gate)?;
                let plan = plan_document.map(|document| (document, plan_parts.clone()));
                let draft = self.plan_draft.clone().map(|draft| (draft, plan_parts));
                self.answered(at, &id, answer, plan.or(draft), &by, effects)?;
            }
            Event::PlanDrafted { draft } => {
                if !self.open_gates().any(|gate| gate.kind == GateKind::Plan) {
                    return Err(self.not_now(
                        "there is no open plan gate",
                        "planning again starts with `clode.pipeline.retry`",
                    ));
                }
                self.plan_draft = Some(draft);
            }
            Event::ResultsMerged {
                step,
                attempt,
                onto,
                outcome,
            } => self.results_merged(&step, attempt, &onto, outcome, effects),
            Event::MergeFailed { step, attempt, error } => {
                self.merge_failed(at, &step, attempt, error, effects);
            }
            Event::PatchPrepared { prepared } => self.patch_prepared(at, *prepared, effects),
            Event::PatchFailed { .. } if self.ignores(self.patch_stage == PatchStage::Preparing) => {}
            Event::PatchFailed { error } if error.lacks_space() => self.halt(at, &error, effects),
            Event::PatchFailed { error } => {
                self.patch_stage = PatchStage::None;
                self.end(Ending::Failed, Some(error), effects);
            }
            Event::HunksDecided {
                outcomes,
                comment,
                by,
            } => self.hunks_decided(at, outcomes, comment.as_deref(), &by, effects)?,
            Event::ApplyFinished { outcomes } => self.apply_finished(at, outcomes, effects),
            Event::Paused => self.pause()?,
            Event::Resumed => self.resume(at, effects)?,
            Event::Cancelled { by } => self.cancel(at, &by, effects)?,
            Event::Retried { from, steps } => self.retry(from.as_ref(), steps, effects)?,
            Event::TimeReached => self.time_reached(at, effects),
        }
        Ok(())
    }

    /// The owner died: what was under way is begun again under a new attempt, except what waits for
    /// a person; gates stay open.
    pub(super) fn recover(&mut self, at: Timestamp, effects: &mut Vec<Effect>) {
        if self.ending.is_some() {
            return;
        }
        self.forget_what_was_under_way();
        for step in &mut self.steps {
            if step.status == StepStatus::Running {
                step.status = StepStatus::Pending;
                step.started_at = None;
            }
        }
        self.watch_steps(at, effects);
    }

    /// What the machine asked for and nobody works on any more is asked for again.
    pub(super) fn forget_what_was_under_way(&mut self) {
        if self.snapshot == SnapshotStage::Running {
            self.snapshot = SnapshotStage::Todo;
        }
        match self.patch_stage {
            PatchStage::Preparing => self.patch_stage = PatchStage::None,
            PatchStage::Applying => self.patch_stage = PatchStage::Ready,
            _ => {}
        }
        self.merging = None;
    }

    /// Whether news that nobody waited for is left alone.
    fn ignores(&self, awaited: bool) -> bool {
        self.rules() >= Rules::Present && !awaited
    }

    /// Whether it was waited for.
    fn snapshot_taken(&mut self, commit: CommitId, tree: TreeId, withheld: Vec<String>) -> bool {
        let awaited = self.snapshot == SnapshotStage::Running;
        if awaited {
            self.snapshot = SnapshotStage::Done;
            self.base = Some(commit);
            self.base_tree = Some(tree);
            self.withheld = withheld;
        }
        awaited
    }

    pub(super) fn document_uri(&self, name: &str) -> String {
        format!("clode://pipeline/{}/{name}", self.spec.pipeline)
    }

    pub(super) fn not_now(&self, what: &str, hint: &str) -> Error {
        Error::state(
            "notAllowed",
            format!("{what} (the pipeline is {})", self.status().as_str()),
        )
        .hint(hint)
    }
}
