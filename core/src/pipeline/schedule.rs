//! What may begin now: the one place that decides it, run after every event.

use super::answer::choice;
use super::event::{Effect, RunEvent};
use super::gate::{Gate, GateKind};
use super::parts::Division;
use super::patch::{HunkState, PatchStage};
use super::spec::{GatePolicy, StepRole};
use super::state::{Ending, Machine, SnapshotStage};
use super::step::{StepOrder, StepRecord, StepStatus};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::StepId;
use crate::task::ApplyMode;

impl Machine {
    pub(super) fn advance(&mut self, at: Timestamp, effects: &mut Vec<Effect>) {
        if self.ending.is_some() || self.paused || !self.admitted {
            return;
        }
        if self.snapshot == SnapshotStage::Todo {
            self.snapshot = SnapshotStage::Running;
            effects.push(Effect::TakeSnapshot {
                buffers: self.spec.buffers.clone(),
            });
        }
        if self.snapshot != SnapshotStage::Done {
            return;
        }
        self.merge_results(at, effects);
        self.start_steps(at, effects);
        self.advance_patch(at, effects);
        self.start_steps(at, effects);
        self.end_if_done(effects);
    }

    fn start_steps(&mut self, at: Timestamp, effects: &mut Vec<Effect>) {
        // A step that is left out or divided may be what another one waited for.
        for _ in 0..=self.steps.len() {
            let ready: Vec<StepId> = self
                .steps
                .iter()
                .filter(|step| self.may_start(step, at))
                .map(|step| step.spec.id.clone())
                .collect();
            if ready.is_empty() {
                return;
            }
            for id in ready {
                if self.step(&id).is_some_and(|step| self.may_start(step, at)) {
                    self.start_step(at, &id, effects);
                }
            }
        }
    }

    fn may_start(&self, step: &StepRecord, at: Timestamp) -> bool {
        let due = match step.status {
            StepStatus::Pending => step.division != Division::Divided,
            StepStatus::Backoff => step.not_before.is_none_or(|time| time <= at),
            _ => false,
        };
        let needs_met = step
            .spec
            .needs
            .iter()
            .all(|need| self.step(need).is_none_or(StepRecord::is_settled));
        let asks = self.open_gates().any(|gate| {
            gate.kind.holds_the_run()
                && (gate.step.as_ref() == Some(&step.spec.id)
                    || gate
                        .step
                        .as_ref()
                        .is_some_and(|asking| step.spec.needs.contains(asking)))
        });
        let settled = step.spec.role != StepRole::Learn
            || self.patch_stage == PatchStage::Settled
            || !self.changes_files();
        due && needs_met && !asks && settled && self.has_room_for(step)
    }

    fn changes_files(&self) -> bool {
        self.steps
            .iter()
            .any(|step| step.spec.role == StepRole::Change && step.status != StepStatus::Skipped)
    }

    fn start_step(&mut self, at: Timestamp, id: &StepId, effects: &mut Vec<Effect>) {
        let (Some(base), Some(files)) = (
            self.agents_base.clone().or_else(|| self.base.clone()),
            self.files_now(),
        ) else {
            return;
        };
        if self.nothing_to_learn(id) || !self.is_wanted(id) {
            if let Some(step) = self.step_mut(id) {
                step.status = StepStatus::Skipped;
            }
            return;
        }
        if self.is_divided_at_its_begin(id) {
            self.divide(at, id, effects);
            return;
        }
        let round = self.round;
        let (brief, plan, findings, request) = (
            self.brief.clone(),
            self.plan.clone(),
            self.findings.clone(),
            self.spec.request.clone(),
        );
        let Some(step) = self.step_mut(id) else { return };
        step.attempts += 1;
        step.status = StepStatus::Running;
        step.started_at = Some(at);
        step.ended_at = None;
        step.not_before = None;
        step.waited_ms = 0;
        let part = step.spec.part.as_ref().map(|part| part.plan_step.clone());
        let files = match &part {
            Some(_) => step.began_from.get_or_insert(files).clone(),
            None => files,
        };
        let order = StepOrder {
            step: id.clone(),
            agent: step.spec.agent.clone(),
            attempt: step.attempts,
            round,
            base,
            files,
            brief,
            plan,
            findings,
            comment: step.comment.clone(),
            request,
            fresh: step.fresh,
            part,
            collided_in: step.collided_in.clone(),
        };
        let deadline = at.plus_ms(step.spec.time_limit_ms);
        effects.push(Effect::Publish {
            event: RunEvent::StepStarted {
                step_id: id.clone(),
                agent: order.agent.clone(),
                attempt: order.attempt,
            },
        });
        effects.push(Effect::RunStep {
            order: Box::new(order),
        });
        effects.push(Effect::SetTimer { at: deadline });
    }

    fn is_wanted(&self, id: &StepId) -> bool {
        self.step(id)
            .and_then(|step| step.spec.when)
            .is_none_or(|condition| self.holds(condition))
    }

    /// Lessons come from work that was taken over, or that nobody was asked to take over.
    fn nothing_to_learn(&self, id: &StepId) -> bool {
        let learns = self
            .step(id)
            .is_some_and(|step| step.spec.role == StepRole::Learn);
        let taken = self
            .hunks
            .iter()
            .any(|hunk| matches!(hunk.state, HunkState::Applied | HunkState::Unconfirmed));
        learns && !self.hunks.is_empty() && self.spec.options.apply != ApplyMode::None && !taken
    }

    fn advance_patch(&mut self, at: Timestamp, effects: &mut Vec<Effect>) {
        let worked = self
            .steps
            .iter()
            .filter(|step| matches!(step.spec.role, StepRole::Change | StepRole::Verify))
            .all(StepRecord::is_settled);
        if !worked {
            return;
        }
        match (self.patch_stage, self.base.clone(), self.result.clone()) {
            (PatchStage::None, Some(base), Some(result)) => {
                self.patch_stage = PatchStage::Preparing;
                effects.push(Effect::PreparePatch { base, result });
            }
            (PatchStage::None, _, None) if self.changes_files() => self.patch_stage = PatchStage::Settled,
            (PatchStage::Ready, ..) => self.offer_patch(at, effects),
            _ => {}
        }
    }

    fn offer_patch(&mut self, at: Timestamp, effects: &mut Vec<Effect>) {
        let undecided = self.hunks.iter().any(|hunk| !hunk.is_decided());
        match self.spec.options.apply {
            _ if !undecided => self.patch_stage = PatchStage::Settled,
            ApplyMode::None => self.patch_stage = PatchStage::Settled,
            ApplyMode::Direct => {
                self.patch_stage = PatchStage::Applying;
                effects.push(Effect::ApplyPatch);
            }
            ApplyMode::Review if self.spec.patch_gate == GatePolicy::Skip => {
                self.patch_stage = PatchStage::Applying;
                effects.push(Effect::ApplyPatch);
            }
            ApplyMode::Review => self.open_patch_gate(at, effects),
        }
    }

    pub(super) fn open_patch_gate(&mut self, at: Timestamp, effects: &mut Vec<Effect>) {
        self.patch_stage = PatchStage::Review;
        if self.open_gates().any(|gate| gate.kind == GateKind::Patch) {
            return;
        }
        let pending: Vec<_> = self.hunks.iter().filter(|hunk| !hunk.is_decided()).collect();
        let mut files: Vec<&str> = pending.iter().map(|hunk| hunk.path.as_str()).collect();
        files.dedup();
        let content: String = pending
            .iter()
            .map(|hunk| hunk.id.as_str())
            .collect::<Vec<_>>()
            .join(",");
        let mut gate = Gate::open(GateKind::Patch, &self.spec.pipeline, self.round, &content, at);
        gate.title = format!("Review the patch: {}", self.spec.shown_title());
        let noun = if pending.len() == 1 { "hunk" } else { "hunks" };
        gate.summary = format!("{} {noun} in {}", pending.len(), files.join(", "));
        gate.document = Some(self.document_uri("patch.diff"));
        gate.choices = vec![choice("reject", "Reject all"), choice("approve", "Accept all")];
        self.open(gate, effects);
    }

    fn end_if_done(&mut self, effects: &mut Vec<Effect>) {
        let steps_done = self.steps.iter().all(StepRecord::is_settled);
        let patch_done = self.patch_stage == PatchStage::Settled || !self.changes_files();
        let waits = self.open_gates().any(|gate| gate.kind.holds_the_run());
        if steps_done && patch_done && !waits {
            self.end(Ending::Completed, None, effects);
        }
    }

    /// Ends the run: whatever is under way is aborted, and questions that nobody can use any more close.
    pub(super) fn end(&mut self, ending: Ending, error: Option<Error>, effects: &mut Vec<Effect>) {
        if self.ending.is_some() {
            return;
        }
        for step in &mut self.steps {
            if step.status == StepStatus::Running {
                effects.push(Effect::AbortStep {
                    step: step.spec.id.clone(),
                });
            }
            if matches!(step.status, StepStatus::Running | StepStatus::Backoff) {
                step.status = StepStatus::Cancelled;
            }
        }
        self.gates
            .retain(|gate| !gate.is_open() || gate.kind == GateKind::Knowledge);
        self.paused = false;
        self.merging = None;
        self.ending = Some(ending);
        self.error.clone_from(&error);
        effects.push(Effect::Publish {
            event: RunEvent::Finished {
                status: self.status(),
                error,
            },
        });
        effects.push(Effect::Ended);
    }
}
