//! Answers to open gates, in every document of the folder.

use clode_core::id::HunkId;
use clode_core::pipeline::{Gate, GateKind, Status};
use serde_json::{Value, json};
use std::sync::Arc;

use super::{Action, Ask, PIPELINE_KIND, comment, run};
use crate::lsp::command::{edit_plan, instruction};
use crate::lsp::review::{RunReview, is_waiting};
use crate::lsp::session::Session;
use crate::review::address;

const APPROVE: &str = "clode.pipeline.approve";

pub(super) fn actions(session: &Session, ask: &Ask) -> Vec<Action> {
    let mut actions = Vec::new();
    for run in concerned(session, ask) {
        for gate in run.machine.open_gates() {
            actions.extend(answer_by_comment(session, ask, &run, gate));
            actions.extend(
                answers(session, &run, gate)
                    .into_iter()
                    .map(|answer| answer.into_action(&run)),
            );
        }
        if matches!(
            run.machine.status(),
            Status::Running | Status::Queued | Status::Paused
        ) && !ask.automatic
        {
            let arguments = show_arguments(&run);
            actions.push(Action::new(
                format!("Show running task: {}", run.title),
                PIPELINE_KIND,
                "clode.document",
                arguments,
            ));
        }
    }
    actions
}

/// The runs of the folder that the document lies in, or the run whose document it is.
fn concerned(session: &Session, ask: &Ask) -> Vec<Arc<RunReview>> {
    let runs = session.reviews().runs();
    if let Some((id, _)) = address::parse(&ask.uri) {
        return runs.into_iter().filter(|run| run.id == id).collect();
    }
    if let Some(id) = edit_plan::plan_of(session, &ask.uri) {
        return runs.into_iter().filter(|run| run.id == id).collect();
    }
    let path = ask.uri.to_file_path().ok();
    runs.into_iter()
        .filter(|run| path.as_ref().is_some_and(|path| run.concerns(path)))
        .collect()
}

/// One answer to a gate.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) title: String,
    pub(crate) command: &'static str,
    pub(crate) arguments: Value,
}

impl Answer {
    fn into_action(self, run: &RunReview) -> Action {
        let title = match self.title.strip_suffix('…') {
            Some(words) => format!("{words}: {}…", run.title),
            None => format!("{}: {}", self.title, run.title),
        };
        Action::new(title, PIPELINE_KIND, self.command, self.arguments)
    }
}

/// The answer to a question that a comment line of ours under the cursor gives.
fn answer_by_comment(session: &Session, ask: &Ask, run: &RunReview, gate: &Gate) -> Option<Action> {
    if gate.kind != GateKind::Question {
        return None;
    }
    let document = session.document(&ask.uri)?;
    let line = run::line(&document, ask.range.start.line)?;
    let text = comment::instruction(&line)?;
    let arguments = json!({
        "pipelineId": run.id, "approvalId": gate.id, "hunks": [], "approved": true, "comment": text,
        "instruction": {"uri": ask.uri, "text": text},
    });
    let title = format!("Answer the question: {}", run.title);
    Some(Action::new(title, PIPELINE_KIND, APPROVE, arguments))
}

/// Every answer that can be given from a menu. The harmless one is not first here: nothing picks by itself from one.
/// Answers in words are offered where the editor can ask for them.
pub(crate) fn answers(session: &Session, run: &RunReview, gate: &Gate) -> Vec<Answer> {
    let mut answers = plain_answers(run, gate);
    let capabilities = session.capabilities();
    let can_ask = capabilities.show_document || capabilities.clode.is_some_and(|clode| clode.input);
    if can_ask && instruction::takes_words(gate.kind) {
        let title = match gate.kind {
            GateKind::Question => "Write an answer…",
            GateKind::Plan => "Request another plan…",
            _ => "Request changes…",
        };
        answers.push(Answer {
            title: title.to_owned(),
            command: APPROVE,
            arguments: json!({"pipelineId": run.id, "approvalId": gate.id, "hunks": [], "approved": false, "ask": true}),
        });
    }
    answers
}

fn plain_answers(run: &RunReview, gate: &Gate) -> Vec<Answer> {
    let hunks: Vec<HunkId> = match gate.kind {
        GateKind::Patch => run
            .files
            .iter()
            .flat_map(|file| &file.hunks)
            .filter(|now| is_waiting(now.state))
            .map(|now| now.id.clone())
            .collect(),
        _ => Vec::new(),
    };
    let answer = |title: &str, approved: bool, choice: Option<&str>| {
        let mut arguments =
            json!({"pipelineId": run.id, "approvalId": gate.id, "hunks": hunks, "approved": approved});
        if let (Some(choice), Some(fields)) = (choice, arguments.as_object_mut()) {
            fields.insert("choice".to_owned(), json!(choice));
        }
        Answer {
            title: title.to_owned(),
            command: APPROVE,
            arguments,
        }
    };
    match gate.kind {
        GateKind::Plan => {
            let edit = json!({"pipelineId": run.id, "approvalId": gate.id, "hunks": hunks});
            vec![
                answer("Approve plan", true, None),
                answer("Reject plan", false, None),
                Answer {
                    title: "Edit plan".to_owned(),
                    command: "clode.pipeline.editPlan",
                    arguments: edit,
                },
            ]
        }
        GateKind::Patch => vec![
            answer("Approve patch", true, None),
            answer("Reject patch", false, None),
        ],
        GateKind::Budget => vec![
            answer("Approve budget for today", true, Some("today")),
            answer("Reject budget", false, None),
        ],
        GateKind::Permission => vec![
            answer("Approve once", true, Some("once")),
            answer("Approve for this task", true, Some("task")),
            answer("Reject permission", false, None),
        ],
        GateKind::Question => vec![answer("Let the agent decide", false, None)],
        GateKind::Knowledge => vec![
            answer("Approve knowledge", true, None),
            answer("Reject knowledge", false, None),
        ],
    }
}

/// Shows the step that is under way, or the plan.
pub(crate) fn show_arguments(run: &RunReview) -> Value {
    let name = run.machine.current_step().map_or_else(
        || "plan.md".to_owned(),
        |step| format!("steps/{}.md", step.spec.id),
    );
    let approval = run.machine.open_gates().next().map(|gate| gate.id.clone());
    json!({"uri": address::named(&run.id, &name), "show": true, "pipelineId": run.id, "approvalId": approval, "hunks": []})
}
