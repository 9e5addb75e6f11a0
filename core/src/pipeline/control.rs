//! Pause, resume, cancel, retry: what a person does to a run as a whole.

use std::sync::Arc;

use super::event::Effect;
use super::gate::{Answerer, GateKind};
use super::parts::Division;
use super::patch::PatchStage;
use super::spec::{StepRole, StepSpec};
use super::state::{Ending, Machine};
use super::step::{StepRecord, StepStatus};
use super::version::Rules;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::StepId;

impl Machine {
    pub(super) fn pause(&mut self) -> Result<()> {
        if self.ending.is_some() {
            return Err(self.not_now("an ended pipeline cannot be paused", "`retry` starts it again"));
        }
        self.paused = true;
        self.status_reason = Some("paused on request".to_owned());
        Ok(())
    }

    pub(super) fn resume(&mut self, at: Timestamp, effects: &mut Vec<Effect>) -> Result<()> {
        if self.ending.is_some() {
            return Err(self.not_now("an ended pipeline cannot be resumed", "`retry` starts it again"));
        }
        self.paused = false;
        self.status_reason = None;
        self.watch_steps(at, effects);
        Ok(())
    }

    pub(super) fn cancel(&mut self, at: Timestamp, by: &Answerer, effects: &mut Vec<Effect>) -> Result<()> {
        match self.ending {
            Some(Ending::Cancelled) => Ok(()),
            Some(_) => Err(self.not_now(
                "an ended pipeline cannot be cancelled",
                "nothing needs to be done",
            )),
            None => {
                self.end_cancelled(at, by, effects);
                Ok(())
            }
        }
    }

    pub(super) fn end_cancelled(&mut self, _at: Timestamp, by: &Answerer, effects: &mut Vec<Effect>) {
        self.status_reason = Some(format!("cancelled by {}", by.surface));
        self.end(Ending::Cancelled, None, effects);
    }

    /// Begins again what failed or was not done, or all from one step on.
    pub(super) fn retry(
        &mut self,
        from: Option<&StepId>,
        steps: Option<Vec<StepSpec>>,
        effects: &mut Vec<Effect>,
    ) -> Result<()> {
        if self.ending.is_none() && !self.paused {
            return Err(self.not_now(
                "only an ended or paused pipeline can be retried",
                "cancel it first, or wait for it",
            ));
        }
        if self.ending == Some(Ending::Completed) && from.is_none() && steps.is_none() {
            return Err(self.not_now(
                "a completed pipeline is retried from a step or with another pipeline",
                "name `fromStep` or `pipeline`",
            ));
        }
        if let Some(unknown) = from.filter(|id| self.step(id).is_none()) {
            let known: Vec<&str> = self.steps.iter().map(|step| step.spec.id.as_str()).collect();
            return Err(Error::usage(
                "unknownStep",
                format!("there is no step `{unknown}`; there are: {}", known.join(", ")),
            ));
        }
        if let Some(steps) = steps {
            self.go_on_with(steps);
        }
        if self.ending.is_some() {
            self.forget_what_was_under_way();
            self.worked_ms = 0;
        }
        let named = from.map_or_else(Vec::new, |id| self.again_from(id, effects));
        let was_not_done = |step: &&StepRecord| match from {
            // Whatever was ended before it would be waited for in vain.
            Some(_) => matches!(step.status, StepStatus::Failed | StepStatus::Cancelled),
            None => !step.is_settled() && step.status != StepStatus::Merging,
        };
        let mut again = named.clone();
        let others = self.steps.iter().filter(was_not_done);
        again.extend(
            others
                .map(|step| step.spec.id.clone())
                .filter(|id| !named.contains(id)),
        );
        for id in &again {
            if self
                .step(id)
                .is_some_and(|step| step.status == StepStatus::Running)
            {
                effects.push(Effect::AbortStep { step: id.clone() });
            }
            if let Some(step) = self.step_mut(id) {
                let began_from = step.began_from.take().filter(|_| !named.contains(id));
                step.reset();
                step.fresh = from == Some(id);
                step.began_from = began_from;
            }
        }
        if from.is_some() && self.rules() >= Rules::Present && self.changes_among(&again) {
            self.go_back_to_before(&again);
        }
        let works_anew = self.steps.iter().any(|step| {
            !step.is_settled()
                && matches!(
                    step.spec.role,
                    StepRole::Change | StepRole::Verify | StepRole::Plan
                )
        });
        if works_anew {
            self.forget_patch(&again);
        }
        if self.ending.is_some() {
            self.progress_floor = 0;
        }
        self.ending = None;
        self.error = None;
        self.paused = false;
        self.status_reason = None;
        self.admitted = true;
        Ok(())
    }

    /// A step and all that follow from it. A part that is named is done again by itself; a step that was
    /// divided is divided anew.
    fn again_from(&mut self, id: &StepId, effects: &mut Vec<Effect>) -> Vec<StepId> {
        let part_of = self
            .step(id)
            .and_then(|step| step.spec.part.as_ref())
            .map(|part| part.of.clone());
        let again = self.downstream(id);
        match part_of.and_then(|whole| self.step_mut(&whole)) {
            Some(whole) => whole.division = Division::Divided,
            None => {
                for step in &again {
                    self.rejoin(step, effects);
                }
            }
        }
        self.merging = None;
        again
            .into_iter()
            .filter(|step| self.step(step).is_some())
            .collect()
    }

    fn changes_among(&self, steps: &[StepId]) -> bool {
        let mut changes = self
            .steps
            .iter()
            .filter(|step| step.spec.role == StepRole::Change);
        changes.any(|step| steps.contains(&step.spec.id))
    }

    /// The files are again as the steps left them that stay; what was found in the others' is no matter any more.
    fn go_back_to_before(&mut self, again: &[StepId]) {
        if self.steps.iter().any(|step| step.division == Division::Divided) {
            // A part is done again on top of the others.
            return;
        }
        let stay = self.steps.iter().filter(|step| {
            step.spec.role == StepRole::Change && step.spec.part.is_none() && !again.contains(&step.spec.id)
        });
        self.result = stay.rev().find_map(|step| step.output.as_ref()?.files.clone());
        self.findings = None;
    }

    fn forget_patch(&mut self, again: &[StepId]) {
        self.patch_stage = PatchStage::None;
        self.gates
            .retain(|gate| !(gate.is_open() && gate.kind == GateKind::Patch));
        let changes_anew = self.changes_among(again);
        let plans_anew = self
            .steps
            .iter()
            .any(|step| step.spec.role == StepRole::Plan && again.contains(&step.spec.id));
        if changes_anew {
            self.round += 1;
        }
        if plans_anew {
            self.result = None;
            self.findings = None;
        }
    }

    /// Takes another list of steps; what has finished under the same id and agent counts.
    fn go_on_with(&mut self, specs: Vec<StepSpec>) {
        let old = std::mem::take(&mut self.steps);
        for step in &old {
            self.retire(step);
        }
        for spec in &specs {
            let same = old
                .iter()
                .find(|step| step.spec.id == spec.id && step.spec.agent == spec.agent);
            let Some(same) = same else {
                let new = self.new_step(spec.clone());
                self.steps.push(new);
                continue;
            };
            self.steps.push(StepRecord {
                spec: spec.clone(),
                ..same.clone()
            });
            let is_part = |step: &&StepRecord| step.spec.part.as_ref().is_some_and(|part| part.of == spec.id);
            self.steps.extend(old.iter().filter(is_part).cloned());
        }
        Arc::make_mut(&mut self.spec).steps = specs;
    }
}
