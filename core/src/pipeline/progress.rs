//! Steps as they end: what a result, a verdict or a failure leads to.

use super::event::{Effect, RunEvent};
use super::gate::GateKind;
use super::spec::StepRole;
use super::state::{Ending, Machine};
use super::step::{StepFailure, StepFailureClass, StepOutput, StepRecord, StepStatus, TestRun, Verdict};
use super::version::Rules;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::StepId;

/// Test runs of earlier rounds that are kept.
const EARLIER_RUNS_MAX: usize = 50;
/// What is kept of the output of such a run (characters).
const EARLIER_OUTPUT_CHARS_MAX: usize = 4_000;

impl Machine {
    /// The record of a step that runs this very attempt; late words of an earlier one are ignored.
    pub(super) fn running(&mut self, step: &StepId, attempt: u32) -> Option<&mut StepRecord> {
        self.step_mut(step)
            .filter(|record| record.status == StepStatus::Running && record.attempts == attempt)
    }

    pub(super) fn step_finished(
        &mut self,
        at: Timestamp,
        step: &StepId,
        attempt: u32,
        output: StepOutput,
        effects: &mut Vec<Effect>,
    ) {
        let Some(record) = self.running(step, attempt) else {
            return;
        };
        record.status = if record.spec.part.is_some() {
            StepStatus::Merging
        } else {
            StepStatus::Finished
        };
        record.ended_at = Some(at);
        record.error = None;
        record.failures = 0;
        // A part whose result collides is done again.
        record.fresh &= record.spec.part.is_some();
        let spec = record.spec.clone();
        record.output = Some(output.clone());
        effects.push(Effect::Publish {
            event: RunEvent::StepFinished {
                step_id: step.clone(),
                agent: spec.agent.clone(),
                status: "finished".to_owned(),
                summary: output.summary.clone(),
                cached: output.saved.is_some(),
                error: None,
            },
        });
        self.drop_questions_of(step);
        match spec.role {
            StepRole::Brief => self.brief = output.document,
            StepRole::Plan => {
                self.plan.clone_from(&output.document);
                self.plan_draft = None;
                self.take_parts(output.parts.clone(), effects);
                self.open_plan_gate(at, step, &output, effects);
            }
            StepRole::Change if spec.part.is_some() => {}
            StepRole::Change => self.result = output.files.or_else(|| self.result.take()),
            StepRole::Verify => self.judged(step, &output, effects),
            StepRole::Learn => self.open_knowledge_gate(at, step, &output, effects),
        }
    }

    pub(super) fn judged(&mut self, step: &StepId, output: &StepOutput, effects: &mut Vec<Effect>) {
        if output.verdict != Some(Verdict::Failed) {
            self.findings = None;
            return;
        }
        self.findings.clone_from(&output.document);
        match self.is_sent_back_to(step) {
            Some(change) if self.round <= self.spec.rounds_max => {
                self.round += 1;
                self.remember(&output.test_runs);
                for id in self.downstream(&change) {
                    if let Some(record) = self.step_mut(&id) {
                        record.reset();
                    }
                }
            }
            Some(_) => {
                let error = Error::new(crate::Kind::State, "qaFailed", format!("QA is not satisfied after {} rounds: {}", self.round, output.summary))
                    .hint("read the findings and the patch (`clode-ls pipelines show`), then retry, or take the patch as it is");
                if let Some(record) = self.step_mut(step) {
                    record.status = StepStatus::Failed;
                    record.error = Some(error.clone());
                }
                self.end(Ending::Failed, Some(error), effects);
            }
            None => {}
        }
    }

    /// Who repairs what this step found: whoever changed files last before it.
    fn is_sent_back_to(&self, verify: &StepId) -> Option<StepId> {
        let changes = self
            .steps
            .iter()
            .filter(|step| step.spec.role == StepRole::Change && step.spec.part.is_none());
        let leads_to_it = |step: &&StepRecord| self.downstream(&step.spec.id).contains(verify);
        let last = changes.clone().rev().find(leads_to_it);
        let found = match self.rules() {
            Rules::First => self.step_with_role(StepRole::Change),
            Rules::Present => last.or_else(|| changes.clone().next()),
        };
        found.map(|step| step.spec.id.clone())
    }

    /// Keeps what was tested in a round that goes back, so that it can still be looked at.
    fn remember(&mut self, runs: &[TestRun]) {
        let short = runs.iter().map(|run| TestRun {
            output: run.output.chars().take(EARLIER_OUTPUT_CHARS_MAX).collect(),
            ..run.clone()
        });
        self.earlier_test_runs.extend(short);
        let above = self.earlier_test_runs.len().saturating_sub(EARLIER_RUNS_MAX);
        self.earlier_test_runs.drain(..above);
    }

    pub(super) fn step_failed(
        &mut self,
        at: Timestamp,
        step: &StepId,
        attempt: u32,
        failure: StepFailure,
        effects: &mut Vec<Effect>,
    ) {
        let (attempts_max, initial, longest) = (
            self.spec.attempts_max,
            self.spec.retry_initial_ms,
            self.spec.retry_max_ms,
        );
        let seed = self.spec.pipeline.as_str().to_owned();
        let rules = self.rules();
        let Some(record) = self.running(step, attempt) else {
            return;
        };
        record.ended_at = Some(at);
        record.error = Some(failure.error.clone());
        let optional = record.spec.role == StepRole::Learn;
        if failure.class == StepFailureClass::NeedsPerson && rules >= Rules::Present && !optional {
            self.wait_for_a_person(step, failure.error, effects);
            return;
        }
        let attempts_max = record.spec.attempts_max.unwrap_or(attempts_max);
        let may_pass = matches!(
            failure.class,
            StepFailureClass::Transient | StepFailureClass::OutcomeUnknown
        );
        let again = may_pass && record.failures + 1 < attempts_max;
        if again {
            record.failures += 1;
            record.status = StepStatus::Backoff;
            let wait = backoff_ms(
                initial,
                longest,
                record.failures,
                &format!("{seed}/{step}/{attempt}"),
            );
            record.not_before = Some(at.plus_ms(wait));
            effects.push(Effect::SetTimer { at: at.plus_ms(wait) });
        } else {
            record.status = StepStatus::Failed;
        }
        effects.push(Effect::Publish {
            event: RunEvent::StepFinished {
                step_id: step.clone(),
                agent: record.spec.agent.clone(),
                status: if again { "retrying" } else { "failed" }.to_owned(),
                summary: failure.error.message.clone(),
                cached: false,
                error: Some(failure.error.clone()),
            },
        });
        self.drop_questions_of(step);
        if !again && optional {
            if let Some(record) = self.step_mut(step) {
                record.status = StepStatus::Skipped;
            }
        } else if !again {
            self.end(Ending::Failed, Some(failure.error), effects);
        }
    }

    /// Nothing is lost and nothing goes on until somebody has mended what is wrong and resumes the run.
    fn wait_for_a_person(&mut self, step: &StepId, error: Error, effects: &mut Vec<Effect>) {
        let Some(record) = self.step_mut(step) else { return };
        record.status = StepStatus::Pending;
        record.started_at = None;
        effects.push(Effect::Publish {
            event: RunEvent::StepFinished {
                step_id: step.clone(),
                agent: record.spec.agent.clone(),
                status: "waiting".to_owned(),
                cached: false,
                summary: error.message.clone(),
                error: Some(error.clone()),
            },
        });
        self.drop_questions_of(step);
        self.paused = true;
        self.status_reason = Some(error.message);
    }

    /// A step that ended asks nothing any more.
    pub(super) fn drop_questions_of(&mut self, step: &StepId) {
        self.gates.retain(|gate| {
            !(gate.is_open()
                && gate.step.as_ref() == Some(step)
                && gate.kind != GateKind::Plan
                && gate.kind != GateKind::Knowledge)
        });
    }

    pub(super) fn asks(&self, step: &StepId) -> bool {
        self.open_gates()
            .any(|gate| gate.step.as_ref() == Some(step) && gate.kind.holds_the_run())
    }
}

/// Exponential backoff with full jitter: uniform in `0..=min(longest, initial·2^(n-1))`, from the seed.
fn backoff_ms(initial: i64, longest: i64, failures: u32, seed: &str) -> i64 {
    let ceiling = initial
        .saturating_mul(1_i64 << failures.saturating_sub(1).min(30))
        .clamp(0, longest.max(0));
    let hash = blake3::hash(seed.as_bytes());
    let random = hash
        .as_bytes()
        .iter()
        .take(7)
        .fold(0_i64, |number, byte| (number << 8) | i64::from(*byte));
    random % (ceiling + 1)
}
