//! Questions to the person who started a run. Never the only place where they can be answered: no answer,
//! `null`, and a client that picks the first choice by itself all leave the gate open.

use clode_core::engine::Engine;
use clode_core::id::PipelineId;
use clode_core::pipeline::{Answer, Gate, GateKind};
use lsp_types::MessageType;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::lsp::client::Patience;
use crate::lsp::command::{self, instruction};
use crate::lsp::session::Session;

/// The first choice everywhere.
const LATER: &str = "Later";

/// Asks until it is answered, put off, or closed elsewhere.
pub(super) async fn ask(
    session: Session,
    engine: Engine,
    run: PipelineId,
    gate: Gate,
    closed: CancellationToken,
) {
    let answer = match gate.kind {
        GateKind::Question if session.capabilities().clode.is_some_and(|clode| clode.input) => {
            typed(&session, &gate, &closed).await.map(Choice::Give)
        }
        _ => chosen(&session, &gate, &closed).await,
    };
    let done = match answer {
        None => Ok(()),
        Some(Choice::Give(answer)) => command::give_answer(&session, &engine, &run, &gate, answer).await,
        Some(Choice::Write) => instruction::ask(&session, &engine, &run, &gate).await.map(drop),
    };
    if let Err(error) = done {
        let hint = error
            .first_hint()
            .map(|hint| format!(" ({hint})"))
            .unwrap_or_default();
        let message = format!("Clode: {}{hint}", error.message);
        session
            .client()
            .show_message(MessageType::Warning, &message)
            .await;
    }
}

/// What a person chose.
#[derive(Debug)]
enum Choice {
    /// This answer.
    Give(Answer),
    /// To write the answer.
    Write,
}

async fn chosen(session: &Session, gate: &Gate, closed: &CancellationToken) -> Option<Choice> {
    let mut choices: Vec<(String, Choice)> = choices(gate)
        .into_iter()
        .map(|(title, answer)| (title, Choice::Give(answer)))
        .collect();
    if gate.kind == GateKind::Question && session.capabilities().show_document {
        choices.push(("Answer…".to_owned(), Choice::Write));
    }
    let titles: Vec<&str> = std::iter::once(LATER)
        .chain(choices.iter().map(|(title, _)| title.as_str()))
        .collect();
    let summary = if gate.summary.is_empty() {
        String::new()
    } else {
        format!("\n{}", gate.summary)
    };
    let text = format!("Clode: {}{summary}", gate.title);
    let picked = session
        .client()
        .show_message_request(MessageType::Info, &text, &titles, closed)
        .await?;
    choices
        .into_iter()
        .nth(picked.checked_sub(1)?)
        .map(|(_, choice)| choice)
}

async fn typed(session: &Session, gate: &Gate, closed: &CancellationToken) -> Option<Answer> {
    let params = json!({ "title": gate.summary, "multiline": true });
    let answer = session
        .client()
        .custom_request("clode/input", &params, Patience::Until(closed))
        .await
        .ok()?;
    let text = answer.get("value").and_then(Value::as_str)?.trim();
    (!text.is_empty()).then(|| Answer {
        approved: true,
        comment: Some(text.to_owned()),
        ..Answer::default()
    })
}

/// What may be chosen besides "Later", with what it means.
fn choices(gate: &Gate) -> Vec<(String, Answer)> {
    let yes = || Answer {
        approved: true,
        ..Answer::default()
    };
    let with = |choice: &str| Answer {
        choice: Some(choice.to_owned()),
        ..yes()
    };
    let list: Vec<(&str, Answer)> = match gate.kind {
        GateKind::Plan => vec![("Reject", Answer::default()), ("Approve", yes())],
        GateKind::Patch => vec![("Reject all", Answer::default()), ("Accept all", yes())],
        GateKind::Budget => vec![("Stop here", Answer::default()), ("Go on today", with("today"))],
        GateKind::Permission => {
            vec![
                ("Deny", Answer::default()),
                ("Allow once", with("once")),
                ("Allow for this task", with("task")),
            ]
        }
        GateKind::Question => vec![("Let the agent decide", Answer::default())],
        GateKind::Knowledge => vec![("Discard", Answer::default()), ("Keep all", yes())],
    };
    list.into_iter()
        .map(|(title, answer)| (title.to_owned(), answer))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clode_core::clock::Timestamp;

    #[test]
    fn no_gate_offers_a_yes_before_a_no() {
        for kind in GateKind::ALL {
            let gate = Gate::open(kind, &PipelineId::new("pipeline-1"), 1, "x", Timestamp(0));
            let choices = choices(&gate);
            let first = choices.first().expect("a choice");
            assert!(!first.1.approved, "{kind:?}");
        }
    }
}
