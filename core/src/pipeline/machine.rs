//! `next`: one event in, effects out, or a rejection that changes nothing.

use super::event::{Effect, Event, RunEvent, Transitioned};
use super::gate::{
    Answer, Answerer, BudgetAsk, Choice, Gate, GateKind, GateRequest, PermissionAsk, Resolution,
};
use super::patch::PatchStage;
use super::spec::{GatePolicy, StepRole};
use super::state::{Ending, Machine, SnapshotStage};
use super::step::{StepFailure, StepFailureClass, StepOutput, StepRecord, StepStatus, Verdict};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{ApprovalId, BlobId, CommitId, StepId, TreeId};

impl Machine {
    /// Takes in what happened at `at`. An error rejects the event: nothing has changed then.
    pub fn next(&mut self, at: Timestamp, event: Event) -> Result<Transitioned> {
        let mut changed = self.clone();
        let mut effects = Vec::new();
        changed.take_in(at, event, &mut effects)?;
        changed.advance(at, &mut effects);
        changed.raise_progress();
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
                withheld,
            } => self.snapshot_taken(commit, tree, withheld),
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
                by,
            } => {
                let id = self.find_gate(approval, gate)?;
                self.answered(at, &id, answer, plan_document, by, effects)?;
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
            Event::PatchPrepared { prepared } => self.patch_prepared(at, *prepared, effects),
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
            Event::Resumed => self.resume()?,
            Event::Cancelled { by } => self.cancel(at, &by, effects)?,
            Event::Retried { from, steps } => self.retry(from, steps, effects)?,
            Event::TimeReached => self.time_reached(at, effects),
        }
        Ok(())
    }

    /// The owner died: what was under way is begun again under a new attempt, except what waits for
    /// a person; gates stay open.
    fn recover(&mut self, at: Timestamp, effects: &mut Vec<Effect>) {
        if self.ending.is_some() {
            return;
        }
        if self.snapshot == SnapshotStage::Running {
            self.snapshot = SnapshotStage::Todo;
        }
        match self.patch_stage {
            PatchStage::Preparing => self.patch_stage = PatchStage::None,
            PatchStage::Applying => self.patch_stage = PatchStage::Ready,
            _ => {}
        }
        for step in &mut self.steps {
            if step.status == StepStatus::Running {
                step.status = StepStatus::Pending;
                step.started_at = None;
            }
        }
        if let Some(wake) = self
            .steps
            .iter()
            .filter_map(|step| step.not_before)
            .filter(|time| *time > at)
            .min()
        {
            effects.push(Effect::SetTimer { at: wake });
        }
    }

    fn snapshot_taken(&mut self, commit: CommitId, tree: TreeId, withheld: Vec<String>) {
        if self.snapshot == SnapshotStage::Running {
            self.snapshot = SnapshotStage::Done;
            self.base = Some(commit);
            self.base_tree = Some(tree);
            self.withheld = withheld;
        }
    }

    /// The record of a step that runs this very attempt; late words of an earlier one are ignored.
    fn running(&mut self, step: &StepId, attempt: u32) -> Option<&mut StepRecord> {
        self.step_mut(step)
            .filter(|record| record.status == StepStatus::Running && record.attempts == attempt)
    }

    fn step_finished(
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
        record.status = StepStatus::Finished;
        record.ended_at = Some(at);
        record.error = None;
        record.failures = 0;
        let spec = record.spec.clone();
        record.output = Some(output.clone());
        effects.push(Effect::Publish {
            event: RunEvent::StepFinished {
                step_id: step.clone(),
                agent: spec.agent.clone(),
                status: "finished".to_owned(),
                summary: output.summary.clone(),
                error: None,
            },
        });
        self.drop_questions_of(step);
        match spec.role {
            StepRole::Brief => self.brief = output.document,
            StepRole::Plan => {
                self.plan.clone_from(&output.document);
                self.plan_draft = None;
                self.open_plan_gate(at, step, &output, effects);
            }
            StepRole::Change => self.result = output.files.or_else(|| self.result.take()),
            StepRole::Verify => self.judged(step, &output, effects),
            StepRole::Learn => self.open_knowledge_gate(at, step, &output, effects),
        }
    }

    fn judged(&mut self, step: &StepId, output: &StepOutput, effects: &mut Vec<Effect>) {
        if output.verdict != Some(Verdict::Failed) {
            self.findings = None;
            return;
        }
        self.findings.clone_from(&output.document);
        let changed = self
            .step_with_role(StepRole::Change)
            .map(|record| record.spec.id.clone());
        match changed {
            Some(change) if self.round <= self.spec.rounds_max => {
                self.round += 1;
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

    fn step_failed(
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
        let Some(record) = self.running(step, attempt) else {
            return;
        };
        record.ended_at = Some(at);
        record.error = Some(failure.error.clone());
        let again = failure.class == StepFailureClass::Transient && record.failures + 1 < attempts_max;
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
                error: Some(failure.error.clone()),
            },
        });
        self.drop_questions_of(step);
        let optional = self
            .step(step)
            .is_some_and(|record| record.spec.role == StepRole::Learn);
        if !again && optional {
            if let Some(record) = self.step_mut(step) {
                record.status = StepStatus::Skipped;
            }
        } else if !again {
            self.end(Ending::Failed, Some(failure.error), effects);
        }
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

    fn asked(&mut self, at: Timestamp, step: StepId, request: GateRequest, effects: &mut Vec<Effect>) {
        if self
            .step(&step)
            .is_none_or(|record| record.status != StepStatus::Running)
        {
            return;
        }
        if let Some(gate) = self
            .gates
            .iter_mut()
            .find(|gate| gate.answers_again(&step, &request))
        {
            gate.handed_over = true;
            let answer = gate
                .resolution
                .as_ref()
                .map(|resolution| resolution.answer.clone())
                .unwrap_or_default();
            effects.push(Effect::DeliverAnswer {
                step,
                approval: gate.id.clone(),
                answer,
            });
            return;
        }
        self.asked += 1;
        let content = serde_json::to_string(&(&step, &request, self.asked)).unwrap_or_default();
        let mut gate = Gate::open(request.kind(), &self.spec.pipeline, self.round, &content, at);
        gate.step = Some(step);
        gate.asked = Some(request.clone());
        describe(&mut gate, request);
        self.open(gate, effects);
    }

    pub(super) fn open(&mut self, gate: Gate, effects: &mut Vec<Effect>) {
        effects.push(Effect::Publish {
            event: RunEvent::ApprovalRequested {
                approval: gate.wire(),
            },
        });
        self.gates.push(gate);
    }

    fn open_plan_gate(
        &mut self,
        at: Timestamp,
        step: &StepId,
        output: &StepOutput,
        effects: &mut Vec<Effect>,
    ) {
        let follows = self.steps.iter().any(|record| record.spec.needs.contains(step));
        if !follows {
            return;
        }
        let content = format!(
            "{}/{}",
            output.document.as_ref().map_or("", |blob| blob.as_str()),
            self.step(step).map_or(0, |record| record.attempts)
        );
        let mut gate = Gate::open(GateKind::Plan, &self.spec.pipeline, self.round, &content, at);
        gate.step = Some(step.clone());
        gate.title = format!("Approve the plan: {}", self.spec.shown_title());
        gate.summary.clone_from(&output.summary);
        gate.document = Some(self.document_uri("plan.md"));
        gate.estimate.clone_from(&output.estimate);
        gate.choices = vec![choice("reject", "Reject"), choice("approve", "Approve")];
        if !self.withheld.is_empty() {
            gate.detail = format!(
                "Not given to the agents, because they look like secrets: {}",
                self.withheld.join(", ")
            );
        }
        match self.spec.plan_gate {
            GatePolicy::Ask => self.open(gate, effects),
            GatePolicy::Skip => self.record_policy_answer(at, gate, effects),
        }
    }

    pub(super) fn record_policy_answer(&mut self, at: Timestamp, mut gate: Gate, effects: &mut Vec<Effect>) {
        let by = Answerer {
            surface: "policy".to_owned(),
            detail: "skipApprovals".to_owned(),
        };
        effects.push(resolved(&gate, true, &by));
        gate.resolution = Some(Resolution {
            answer: Answer {
                approved: true,
                ..Answer::default()
            },
            by,
            at,
        });
        self.gates.push(gate);
    }

    fn open_knowledge_gate(
        &mut self,
        at: Timestamp,
        step: &StepId,
        output: &StepOutput,
        effects: &mut Vec<Effect>,
    ) {
        if output.knowledge.is_empty() {
            return;
        }
        let content = serde_json::to_string(&output.knowledge).unwrap_or_default();
        let mut gate = Gate::open(GateKind::Knowledge, &self.spec.pipeline, self.round, &content, at);
        gate.step = Some(step.clone());
        gate.title = format!("Keep what was learned: {}", self.spec.shown_title());
        gate.summary = output
            .knowledge
            .iter()
            .map(|entry| entry.claim.as_str())
            .collect::<Vec<_>>()
            .join("; ");
        gate.entries = Some(output.knowledge.clone());
        gate.choices = vec![choice("discard", "Discard"), choice("approve", "Approve")];
        self.open(gate, effects);
    }

    fn find_gate(&self, approval: Option<ApprovalId>, kind: Option<GateKind>) -> Result<ApprovalId> {
        if let Some(id) = approval {
            return match self.open_gates().find(|gate| gate.id == id) {
                Some(gate) if kind.is_none_or(|kind| kind == gate.kind) => Ok(id),
                Some(gate) => Err(Error::usage(
                    "invalidParams",
                    format!("approval `{id}` is a {} gate", gate.kind.as_str()),
                )),
                None => Err(
                    Error::state("approvalClosed", format!("approval `{id}` is not open any more"))
                        .hint("`clode.pipeline.get` shows what is open now"),
                ),
            };
        }
        let open: Vec<&Gate> = self
            .open_gates()
            .filter(|gate| kind.is_none_or(|kind| kind == gate.kind))
            .collect();
        match open.as_slice() {
            [] => Err(Error::state("approvalClosed", "no approval is open")
                .hint("`clode.pipeline.get` shows what is open now")),
            [gate] if matches!(gate.kind, GateKind::Budget | GateKind::Permission) => Err(Error::usage(
                "approvalIdNeeded",
                format!(
                    "a {} approval is answered by its `approvalId` only: `{}`",
                    gate.kind.as_str(),
                    gate.id
                ),
            )),
            [gate] => Ok(gate.id.clone()),
            several => {
                let ids: Vec<&str> = several.iter().map(|gate| gate.id.as_str()).collect();
                Err(Error::usage(
                    "approvalIdNeeded",
                    format!(
                        "several approvals are open, name one by `approvalId`: {}",
                        ids.join(", ")
                    ),
                ))
            }
        }
    }

    fn answered(
        &mut self,
        at: Timestamp,
        id: &ApprovalId,
        answer: Answer,
        plan: Option<BlobId>,
        by: Answerer,
        effects: &mut Vec<Effect>,
    ) -> Result<()> {
        let Some(gate) = self
            .gates
            .iter()
            .find(|gate| gate.id == *id && gate.is_open())
            .cloned()
        else {
            return Err(Error::internal("an approval vanished while it was answered"));
        };
        check_answer(&gate, &answer)?;
        effects.push(resolved(&gate, answer.approved, &by));
        if let Some(stored) = self
            .gates
            .iter_mut()
            .find(|gate| gate.id == *id && gate.is_open())
        {
            stored.resolution = Some(Resolution {
                answer: answer.clone(),
                by: by.clone(),
                at,
            });
        }
        match gate.kind {
            GateKind::Plan => self.plan_answered(at, &gate, &answer, plan, &by, effects),
            GateKind::Patch => self.patch_answered(at, &answer, &by, effects),
            GateKind::Budget if !answer.approved => self.cancel(at, &by, effects)?,
            GateKind::Budget => {
                if let Some(limit) = answer.max_cost {
                    self.max_cost = Some(limit);
                }
                if answer.choice.as_deref() == Some("today") {
                    self.daily_limits_waived_at = Some(at);
                }
                self.deliver(&gate, answer, effects);
            }
            GateKind::Permission | GateKind::Question => self.deliver(&gate, answer, effects),
            GateKind::Knowledge => {}
        }
        Ok(())
    }

    /// Hands the answer to the step if it still runs; else it is kept until the step asks again.
    fn deliver(&mut self, gate: &Gate, answer: Answer, effects: &mut Vec<Effect>) {
        let Some(step) = gate.step.clone() else { return };
        if self
            .step(&step)
            .is_some_and(|record| record.status == StepStatus::Running)
        {
            if let Some(stored) = self.gates.iter_mut().rev().find(|stored| stored.id == gate.id) {
                stored.handed_over = true;
            }
            effects.push(Effect::DeliverAnswer {
                step,
                approval: gate.id.clone(),
                answer,
            });
        }
    }

    fn plan_answered(
        &mut self,
        at: Timestamp,
        gate: &Gate,
        answer: &Answer,
        plan: Option<BlobId>,
        by: &Answerer,
        effects: &mut Vec<Effect>,
    ) {
        if answer.approved {
            let edited = plan.or_else(|| self.plan_draft.take());
            self.plan_draft = None;
            if edited.is_some() {
                self.plan = edited;
            }
        } else if let (Some(comment), Some(step)) = (non_blank(answer.comment.as_deref()), gate.step.as_ref())
        {
            if let Some(record) = self.step_mut(step) {
                record.reset();
                record.comment = Some(comment.to_owned());
            }
        } else {
            self.end_cancelled(at, by, effects);
        }
    }

    fn time_reached(&mut self, at: Timestamp, effects: &mut Vec<Effect>) {
        let late: Vec<(StepId, u32)> = self
            .steps
            .iter()
            .filter(|step| step.status == StepStatus::Running && !self.asks(&step.spec.id))
            .filter(|step| {
                step.started_at
                    .is_some_and(|start| start.plus_ms(step.spec.time_limit_ms) <= at)
            })
            .map(|step| (step.spec.id.clone(), step.attempts))
            .collect();
        for (step, attempt) in late {
            effects.push(Effect::AbortStep { step: step.clone() });
            let error = Error::new(
                crate::Kind::Provider,
                "stepTimedOut",
                format!("step `{step}` took longer than its time limit"),
            )
            .hint("retry it, or give it a smaller task");
            self.step_failed(at, &step, attempt, StepFailure::transient(error), effects);
        }
    }

    fn asks(&self, step: &StepId) -> bool {
        self.open_gates()
            .any(|gate| gate.step.as_ref() == Some(step) && gate.kind.holds_the_run())
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

pub(super) fn non_blank(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

pub(super) fn choice(id: &str, title: &str) -> Choice {
    Choice {
        id: id.to_owned(),
        title: title.to_owned(),
    }
}

pub(super) fn resolved(gate: &Gate, approved: bool, by: &Answerer) -> Effect {
    Effect::Publish {
        event: RunEvent::ApprovalResolved {
            approval_id: gate.id.clone(),
            gate: gate.kind,
            approved,
            by: by.surface.clone(),
        },
    }
}

fn check_answer(gate: &Gate, answer: &Answer) -> Result<()> {
    match gate.kind {
        GateKind::Budget if answer.approved => {
            let today = answer.choice.as_deref() == Some("today");
            let enough = answer
                .max_cost
                .zip(gate.budget.as_ref())
                .is_none_or(|(limit, ask)| limit > ask.limit || ask.scope != "run");
            match (answer.max_cost, today) {
                (None, false) => Err(Error::usage(
                    "maxCostNeeded",
                    "a budget is raised by `maxCost` (this run) or `choice: \"today\"`",
                )),
                (Some(_), _) if !enough => Err(Error::usage(
                    "maxCostTooLow",
                    "`maxCost` is not above the limit that was reached",
                )),
                _ => Ok(()),
            }
        }
        GateKind::Permission if answer.approved => match answer.choice.as_deref() {
            None | Some("once" | "task") => Ok(()),
            Some(other) => Err(Error::usage(
                "invalidParams",
                format!("choice `{other}` is none of: once, task"),
            )),
        },
        GateKind::Question if answer.approved && non_blank(answer.comment.as_deref()).is_none() => Err(
            Error::usage("invalidParams", "a question is answered by `comment`"),
        ),
        _ => Ok(()),
    }
}

fn describe(gate: &mut Gate, request: GateRequest) {
    match request {
        GateRequest::Budget(ask) => describe_budget(gate, ask),
        GateRequest::Permission(ask) => describe_permission(gate, ask),
        GateRequest::Question { text } => {
            gate.title = "An agent asks".to_owned();
            gate.summary = text;
            gate.choices = vec![
                choice("decide", "Let the agent decide"),
                choice("answer", "Answer"),
            ];
        }
    }
}

fn describe_budget(gate: &mut Gate, ask: BudgetAsk) {
    gate.title = format!("Budget reached: {} of {}", ask.spent, ask.limit);
    gate.summary = format!(
        "The next request may cost {} more; limit `{}` allows {}.",
        ask.needed, ask.scope, ask.limit
    );
    gate.choices = vec![
        choice("stop", "Stop here"),
        choice("today", "Go on today"),
        choice("maxCost", "Raise this run's limit"),
    ];
    gate.budget = Some(ask);
}

fn describe_permission(gate: &mut Gate, ask: PermissionAsk) {
    gate.title = format!("Allow {}?", ask.tool);
    gate.summary = ask.command.clone().unwrap_or_else(|| ask.paths.join(", "));
    gate.choices = vec![
        choice("deny", "Deny"),
        choice("once", "Allow once"),
        choice("task", "Allow for this task"),
    ];
    gate.request = Some(ask);
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
