//! Time limits: of an attempt of a step, and of the work of a whole run. Neither counts the time in which
//! nobody but a person could have gone on.

use super::event::{Effect, Event};
use super::gate::Gate;
use super::state::{Ending, Machine, Status};
use super::step::{StepFailure, StepRecord, StepStatus};
use crate::clock::Timestamp;
use crate::error::{Error, Kind};
use crate::id::StepId;

impl Machine {
    /// Counts the work since the last event. What lies between a crash and its recovery is nobody's.
    pub(super) fn count_work(&mut self, at: Timestamp, event: &Event) {
        if self.spec.time_limit_ms.is_none() {
            return;
        }
        let since = self.last_at.replace(at);
        if let Some(since) = since
            && self.status() == Status::Running
            && *event != Event::Recovered
        {
            let worked = i64::try_from(at.since_ms(since)).unwrap_or(i64::MAX);
            self.worked_ms = self.worked_ms.saturating_add(worked);
        }
    }

    /// Comes back when the run's time is up, if it goes on working until then. `before` is how it stood; a
    /// crash has taken all timers with it.
    pub(super) fn watch_work(&self, at: Timestamp, before: Option<Status>, effects: &mut Vec<Effect>) {
        let begins = self.status() == Status::Running && before != Some(Status::Running);
        if let Some(limit) = self.spec.time_limit_ms
            && begins
        {
            let left = limit.saturating_sub(self.worked_ms).max(0);
            effects.push(Effect::SetTimer { at: at.plus_ms(left) });
        }
    }

    pub(super) fn time_reached(&mut self, at: Timestamp, effects: &mut Vec<Effect>) {
        if self.ending.is_some() {
            return;
        }
        let is_up = self
            .spec
            .time_limit_ms
            .is_some_and(|limit| self.worked_ms >= limit && self.status() == Status::Running);
        if is_up {
            let error = Error::new(
                Kind::State,
                "pipelineTimedOut",
                "the pipeline worked longer than its time limit",
            )
            .hint("retry it: what is done is kept, and the time begins anew; or raise `timeoutMs` of the pipeline");
            self.end(Ending::Failed, Some(error), effects);
            return;
        }
        let late: Vec<(StepId, u32)> = self
            .steps
            .iter()
            .filter(|step| step.status == StepStatus::Running && !self.asks(&step.spec.id))
            .filter(|step| deadline(step).is_some_and(|deadline| deadline <= at))
            .map(|step| (step.spec.id.clone(), step.attempts))
            .collect();
        for (step, attempt) in late {
            effects.push(Effect::AbortStep { step: step.clone() });
            let error = Error::new(
                Kind::Provider,
                "stepTimedOut",
                format!("step `{step}` took longer than its time limit"),
            )
            .hint("retry it, or give it a smaller task");
            self.step_failed(at, &step, attempt, StepFailure::transient(error), effects);
        }
        self.watch_steps(at, effects);
    }

    /// Comes back when the first step may begin again or has taken too long. A timer that went off while nothing
    /// could begin is used up, and a clock that was set back makes what was due wait once more.
    pub(super) fn watch_steps(&self, at: Timestamp, effects: &mut Vec<Effect>) {
        let next = self.steps.iter().filter_map(|step| match step.status {
            StepStatus::Backoff => step.not_before,
            StepStatus::Running => deadline(step),
            _ => None,
        });
        if let Some(at) = next.filter(|time| *time > at).min() {
            effects.push(Effect::SetTimer { at });
        }
    }

    /// The step that asked has waited for the answer: its time goes on from here.
    pub(super) fn count_waiting(&mut self, at: Timestamp, gate: &Gate, effects: &mut Vec<Effect>) {
        let asked = gate.step.as_ref().and_then(|id| self.step_mut(id));
        let Some(step) = asked.filter(|step| step.status == StepStatus::Running) else {
            return;
        };
        let began = step.started_at.unwrap_or(gate.since).max(gate.since);
        let waited = i64::try_from(at.since_ms(began)).unwrap_or(i64::MAX);
        step.waited_ms = step.waited_ms.saturating_add(waited);
        if let Some(at) = deadline(step) {
            effects.push(Effect::SetTimer { at });
        }
    }
}

/// When the attempt under way has taken too long.
fn deadline(step: &StepRecord) -> Option<Timestamp> {
    let limit = step.spec.time_limit_ms.saturating_add(step.waited_ms);
    step.started_at.map(|started| started.plus_ms(limit))
}
