//! Gates as they open and are answered.

use super::event::{Effect, RunEvent};
use super::gate::{
    Answer, Answerer, BudgetAsk, Choice, Gate, GateKind, GateRequest, PermissionAsk, Resolution,
};
use super::spec::GatePolicy;
use super::state::Machine;
use super::step::{StepOutput, StepStatus};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{ApprovalId, BlobId, StepId};
use crate::plan::PlanPart;

impl Machine {
    pub(super) fn asked(
        &mut self,
        at: Timestamp,
        step: StepId,
        request: GateRequest,
        effects: &mut Vec<Effect>,
    ) {
        let asks_for_nobody = self
            .step(&step)
            .is_none_or(|record| record.status != StepStatus::Running);
        if asks_for_nobody || self.ending.is_some() {
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

    pub(super) fn open_plan_gate(
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

    pub(super) fn open_knowledge_gate(
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

    /// The open gate that an answer means: the one with this id, or the only one (of this kind).
    pub(crate) fn find_gate(
        &self,
        approval: Option<ApprovalId>,
        kind: Option<GateKind>,
    ) -> Result<ApprovalId> {
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

    pub(super) fn answered(
        &mut self,
        at: Timestamp,
        id: &ApprovalId,
        answer: Answer,
        plan: Option<(BlobId, Vec<PlanPart>)>,
        by: &Answerer,
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
        effects.push(resolved(&gate, answer.approved, by));
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
        self.count_waiting(at, &gate, effects);
        match gate.kind {
            GateKind::Plan => self.plan_answered(at, &gate, &answer, plan, by, effects),
            GateKind::Patch => self.patch_answered(at, &answer, by, effects),
            GateKind::Budget if !answer.approved => self.cancel(at, by, effects)?,
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
    pub(super) fn deliver(&mut self, gate: &Gate, answer: Answer, effects: &mut Vec<Effect>) {
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

    pub(super) fn plan_answered(
        &mut self,
        at: Timestamp,
        gate: &Gate,
        answer: &Answer,
        edited: Option<(BlobId, Vec<PlanPart>)>,
        by: &Answerer,
        effects: &mut Vec<Effect>,
    ) {
        if answer.approved {
            self.plan_draft = None;
            if let Some((plan, parts)) = edited {
                self.plan = Some(plan);
                self.take_parts(parts, effects);
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
            "An agent asks".clone_into(&mut gate.title);
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
