//! Several Developers at once: the parts of a plan as steps of their own, and their results made one.
//!
//! The Change step is *divided*: a step for each part of the plan stands behind it, works beside the others
//! in files of its own, and hands its result over to be merged, one after the other. A result that collides
//! with what others did meanwhile is not taken: its part is done again on top of theirs, alone, so that it
//! cannot collide twice. When all parts are merged the Change step is done, and whatever follows (QA, another
//! round) sees one result and one Developer.

use serde::{Deserialize, Serialize};

use super::event::{Effect, RunEvent};
use super::spec::{Part, StepRole, StepSpec};
use super::state::{Ending, Machine};
use super::step::{StepOutput, StepRecord, StepStatus};
use super::version::Rules;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::{CommitId, StepId};
use crate::plan::PlanPart;

/// Parts that work at the same time.
const PARTS_AT_ONCE_MAX: usize = 4;

/// How the work of a Change step is divided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Division {
    /// It is decided when the step begins.
    #[default]
    Open,
    /// Its parts are at work.
    Divided,
    /// Its parts are done; another round is one Developer's.
    Joined,
}

/// A merge that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Merging {
    step: StepId,
    attempt: u32,
    onto: CommitId,
}

/// What a merge came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum MergeOutcome {
    /// Both sides are in it.
    Merged {
        /// The files.
        files: CommitId,
    },
    /// Both sides changed the same place.
    Collided {
        /// In these files.
        paths: Vec<String>,
    },
}

impl Machine {
    /// Takes the parts of a plan that has become the plan; parts of an earlier one are no more.
    pub(super) fn take_parts(&mut self, parts: Vec<PlanPart>, effects: &mut Vec<Effect>) {
        if self.rules() < Rules::Present {
            return;
        }
        for id in self.divisible() {
            self.rejoin(&id, effects);
        }
        self.plan_parts = parts;
    }

    fn divisible(&self) -> Vec<StepId> {
        self.steps
            .iter()
            .filter(|step| step.division != Division::Open)
            .map(|step| step.spec.id.clone())
            .collect()
    }

    /// Undoes the division of a step: it is decided anew when the step begins.
    pub(super) fn rejoin(&mut self, id: &StepId, effects: &mut Vec<Effect>) {
        let (gone, kept): (Vec<StepRecord>, Vec<StepRecord>) = std::mem::take(&mut self.steps)
            .into_iter()
            .partition(|step| step.spec.part.as_ref().is_some_and(|part| part.of == *id));
        self.steps = kept;
        for step in gone {
            if step.status == StepStatus::Running {
                effects.push(Effect::AbortStep {
                    step: step.spec.id.clone(),
                });
            }
            self.drop_questions_of(&step.spec.id);
            self.retire(&step);
        }
        if let Some(step) = self.step_mut(id) {
            step.division = Division::Open;
        }
    }

    /// Remembers the attempts of a step that is no more: if it comes back, its intents must be new ones.
    pub(super) fn retire(&mut self, step: &StepRecord) {
        if step.attempts > 0 {
            self.former_attempts.insert(step.spec.id.clone(), step.attempts);
        }
    }

    /// A step that has not begun; one of that name that was there before counts on.
    pub(super) fn new_step(&self, spec: StepSpec) -> StepRecord {
        let attempts = self.former_attempts.get(&spec.id).copied().unwrap_or(0);
        StepRecord {
            attempts,
            ..StepRecord::new(spec)
        }
    }

    /// Whether several Developers carry this step out when it begins.
    pub(super) fn is_divided_at_its_begin(&self, id: &StepId) -> bool {
        let is_first = self
            .step_with_role(StepRole::Change)
            .is_some_and(|step| step.spec.id == *id && step.division == Division::Open);
        let is_free = |part: &PlanPart| self.step(&part_id(id, &part.step)).is_none();
        is_first && !self.plan_parts.is_empty() && self.plan_parts.iter().all(is_free)
    }

    /// Puts the parts behind the step that they make up.
    pub(super) fn divide(&mut self, at: Timestamp, id: &StepId, effects: &mut Vec<Effect>) {
        let Some(position) = self.steps.iter().position(|step| step.spec.id == *id) else {
            return;
        };
        let Some(whole) = self.steps.get_mut(position) else {
            return;
        };
        whole.attempts += 1;
        whole.started_at = Some(at);
        whole.ended_at = None;
        whole.not_before = None;
        whole.division = Division::Divided;
        let (spec, attempt, fresh) = (whole.spec.clone(), whole.attempts, whole.fresh);
        let parts: Vec<StepRecord> = self
            .plan_parts
            .iter()
            .map(|part| StepRecord {
                fresh,
                ..self.new_step(part_spec(&spec, part))
            })
            .collect();
        let behind = self.steps.split_off(position + 1);
        self.steps.extend(parts);
        self.steps.extend(behind);
        effects.push(Effect::Publish {
            event: RunEvent::StepStarted {
                step_id: id.clone(),
                agent: spec.agent,
                attempt,
            },
        });
    }

    /// Whether a part may work beside those that do.
    pub(super) fn has_room_for(&self, step: &StepRecord) -> bool {
        let Some(part) = &step.spec.part else { return true };
        let mut others = self.parts_of(&part.of).filter(|other| {
            let is_under_way = matches!(
                other.status,
                StepStatus::Running | StepStatus::Backoff | StepStatus::Merging
            );
            is_under_way && other.spec.id != step.spec.id
        });
        if step.collided_in.is_empty() {
            let works = |other: &&StepRecord| other.status == StepStatus::Running;
            others.clone().all(|other| other.collided_in.is_empty())
                && others.filter(works).count() < PARTS_AT_ONCE_MAX
        } else {
            others.next().is_none()
        }
    }

    pub(super) fn parts_of<'a>(&'a self, whole: &StepId) -> impl Iterator<Item = &'a StepRecord> + Clone {
        let whole = whole.clone();
        self.steps
            .iter()
            .filter(move |step| step.spec.part.as_ref().is_some_and(|part| part.of == whole))
    }

    /// How a step is shown: one that is divided works as long as its parts do.
    pub fn shown_status(&self, step: &StepRecord) -> StepStatus {
        if step.division == Division::Divided && step.status == StepStatus::Pending && self.ending.is_none() {
            StepStatus::Running
        } else {
            step.status
        }
    }

    /// Takes over results that wait for it: at once where nothing else was changed, else by a merge.
    pub(super) fn merge_results(&mut self, at: Timestamp, effects: &mut Vec<Effect>) {
        while self.merging.is_none() {
            let waiting = self.steps.iter().find(|step| step.status == StepStatus::Merging);
            let (Some(step), Some(onto)) = (waiting, self.files_now()) else {
                break;
            };
            let (id, attempt) = (step.spec.id.clone(), step.attempts);
            let base = step.began_from.clone().unwrap_or_else(|| onto.clone());
            let result = step.output.as_ref().and_then(|output| output.files.clone());
            match result.filter(|result| *result != base) {
                None => self.part_is_merged(&id, onto),
                Some(result) if base == onto => self.part_is_merged(&id, result),
                Some(result) => {
                    self.merging = Some(Merging {
                        step: id.clone(),
                        attempt,
                        onto: onto.clone(),
                    });
                    effects.push(Effect::MergeResults {
                        step: id,
                        attempt,
                        base,
                        onto,
                        result,
                    });
                }
            }
        }
        self.join_parts(at, effects);
    }

    /// The files as all that was done so far left them, for agents.
    pub(super) fn files_now(&self) -> Option<CommitId> {
        self.result
            .clone()
            .or_else(|| self.agents_base.clone())
            .or_else(|| self.base.clone())
    }

    fn part_is_merged(&mut self, id: &StepId, files: CommitId) {
        if Some(&files) != self.files_now().as_ref() {
            self.result = Some(files);
        }
        if let Some(step) = self.step_mut(id) {
            step.status = StepStatus::Finished;
            step.fresh = false;
            step.collided_in.clear();
        }
    }

    pub(super) fn results_merged(
        &mut self,
        step: &StepId,
        attempt: u32,
        onto: &CommitId,
        outcome: MergeOutcome,
        effects: &mut Vec<Effect>,
    ) {
        if !self.take_merging(step, attempt) || self.files_now().as_ref() != Some(onto) {
            return;
        }
        match outcome {
            MergeOutcome::Merged { files } => self.part_is_merged(step, files),
            MergeOutcome::Collided { paths } => self.queue_again(step, paths, effects),
        }
    }

    pub(super) fn merge_failed(
        &mut self,
        at: Timestamp,
        step: &StepId,
        attempt: u32,
        error: Error,
        effects: &mut Vec<Effect>,
    ) {
        if !self.take_merging(step, attempt) {
            return;
        }
        if error.lacks_space() {
            self.halt(at, &error, effects);
        } else {
            self.end(Ending::Failed, Some(error), effects);
        }
    }

    /// Whether this merge was waited for; it is not any more.
    fn take_merging(&mut self, step: &StepId, attempt: u32) -> bool {
        let awaited = self
            .merging
            .as_ref()
            .is_some_and(|merging| merging.step == *step && merging.attempt == attempt);
        if awaited {
            self.merging = None;
        }
        awaited
            && self
                .step(step)
                .is_some_and(|record| record.status == StepStatus::Merging && record.attempts == attempt)
    }

    fn queue_again(&mut self, id: &StepId, paths: Vec<String>, effects: &mut Vec<Effect>) {
        let Some(step) = self.step_mut(id) else { return };
        let fresh = step.fresh;
        step.reset();
        step.fresh = fresh;
        let place = paths.join(", ");
        step.collided_in = if paths.is_empty() {
            vec!["?".to_owned()]
        } else {
            paths
        };
        effects.push(Effect::Publish {
            event: RunEvent::Alert {
                code: "resultsCollided".to_owned(),
                message: format!(
                    "step `{id}` changed the same lines as another Developer ({place}); it is done again on top of their result"
                ),
            },
        });
    }

    /// A step whose parts are all done is done itself.
    fn join_parts(&mut self, at: Timestamp, effects: &mut Vec<Effect>) {
        let joined: Vec<StepId> = self
            .steps
            .iter()
            .filter(|step| step.division == Division::Divided && !step.is_settled())
            .filter(|step| self.parts_of(&step.spec.id).all(StepRecord::is_settled))
            .map(|step| step.spec.id.clone())
            .collect();
        for id in joined {
            let titles: Vec<String> = self
                .parts_of(&id)
                .filter_map(|step| step.spec.part.as_ref())
                .map(|part| part.title.clone())
                .collect();
            let output = StepOutput {
                summary: format!(
                    "{} parts are done and merged: {}",
                    titles.len(),
                    titles.join("; ")
                ),
                files: self.result.clone(),
                ..StepOutput::default()
            };
            let Some(step) = self.step_mut(&id) else { continue };
            step.status = StepStatus::Finished;
            step.division = Division::Joined;
            step.fresh = false;
            step.ended_at = Some(at);
            step.error = None;
            let (agent, summary) = (step.spec.agent.clone(), output.summary.clone());
            step.output = Some(output);
            effects.push(Effect::Publish {
                event: RunEvent::StepFinished {
                    step_id: id,
                    agent,
                    status: "finished".to_owned(),
                    cached: false,
                    summary,
                    error: None,
                },
            });
        }
    }
}

fn part_id(whole: &StepId, part: &StepId) -> StepId {
    StepId::new(format!("{whole}.{part}"))
}

fn part_spec(whole: &StepSpec, part: &PlanPart) -> StepSpec {
    let id = part_id(&whole.id, &part.step);
    let of_parts = part.needs.iter().map(|need| part_id(&whole.id, need));
    StepSpec {
        needs: whole.needs.iter().cloned().chain(of_parts).collect(),
        when: None,
        part: Some(Part {
            of: whole.id.clone(),
            plan_step: part.step.clone(),
            title: part.title.clone(),
        }),
        id,
        ..whole.clone()
    }
}
