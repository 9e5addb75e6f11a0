//! `clode.pipeline.approve`: a person's answer to a gate.

use clode_core::engine::Engine;
use clode_core::id::{ApprovalId, PipelineId};
use clode_core::pipeline::{Answer, Gate, GateKind};
use clode_core::{Error, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use crate::lsp::command::options::amount;
use crate::lsp::command::target::{self, Fits, Named};
use crate::lsp::command::{Invocation, arguments, instruction};
use crate::lsp::edit::{self, Selection};
use crate::lsp::session::Session;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Options {
    pipeline_id: Option<String>,
    approval_id: Option<ApprovalId>,
    gate: Option<GateKind>,
    /// May be missing only where the person is asked.
    approved: Option<bool>,
    /// Ask the person for the words of a no, or of the answer to a question.
    #[serde(default)]
    ask: bool,
    /// The comment line that the words were taken from.
    instruction: Option<InstructionLine>,
    comment: Option<String>,
    plan: Option<String>,
    choice: Option<String>,
    max_cost: Option<f64>,
    entries: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct InstructionLine {
    uri: Url,
    text: String,
}

pub(in crate::lsp::command) fn run(
    session: &Session,
    invocation: Invocation,
) -> BoxFuture<'_, Result<Value>> {
    async move {
        let options: Options = arguments::read(invocation.options)?;
        let max_cost = amount("maxCost", options.max_cost)?;
        if options.approved.is_none() && !options.ask {
            return Err(Error::usage("invalidParams", "approved: missing"));
        }
        let named = Named {
            pipeline: options.pipeline_id,
            approval: options.approval_id.clone(),
        };
        let run = target::resolve(session, &invocation.subject, named, Fits::Asking(options.gate)).await?;
        let engine = session.engine().await?;
        let gate = engine
            .open_gate(&run, options.approval_id.as_ref(), options.gate)
            .await?;
        if options.ask {
            let opened = instruction::ask(session, engine, &run, &gate).await?;
            let mut summary = super::summary(engine, &run).await?;
            if let (Some(uri), Some(fields)) = (opened, summary.as_object_mut()) {
                fields.insert("uri".to_owned(), json!(uri));
            }
            return Ok(summary);
        }
        let answer = Answer {
            approved: options.approved.unwrap_or_default(),
            comment: options.comment,
            plan: options.plan,
            choice: options.choice,
            max_cost,
            entries: options.entries,
        };
        give(session, engine, &run, &gate, answer).await?;
        if let Some(line) = options.instruction {
            edit::take_out_instruction(session, &line.uri, &line.text).await;
        }
        super::summary(engine, &run).await
    }
    .boxed()
}

/// Gives the answer. A yes to a patch is carried out here, through this editor: the gate closes when
/// every hunk is decided.
pub(crate) async fn give(
    session: &Session,
    engine: &Engine,
    run: &PipelineId,
    gate: &Gate,
    mut answer: Answer,
) -> Result<()> {
    if gate.kind == GateKind::Patch && answer.approved {
        let detail =
            json!({"approvalId": gate.id, "gate": gate.kind, "approved": true, "comment": answer.comment});
        engine
            .record(run, "approvalAnswered", &session.answerer(), &detail)
            .await;
        let applied = edit::apply(session, run, &Selection::default()).await?;
        return all_landed(&applied);
    }
    session.drafts().stored().await;
    if gate.kind == GateKind::Plan && answer.approved && answer.plan.is_none() {
        // The draft is read now: one that is no plan leaves the gate open.
        let draft = engine.row(run).await?.machine()?.plan_draft;
        answer.plan = engine.text(draft.as_ref()).await?;
    }
    engine.answer(run, gate, answer, session.answerer()).await
}

/// Whether anything landed; where nothing did the caller is told why.
fn all_landed(applied: &Value) -> Result<()> {
    let files = applied
        .get("files")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let landed = |file: &Value| {
        matches!(
            file.get("result").and_then(Value::as_str),
            Some("applied" | "unconfirmed")
        )
    };
    if files.is_empty() || files.iter().any(landed) {
        return Ok(());
    }
    let code = files
        .iter()
        .find_map(|file| file.get("code").and_then(Value::as_str))
        .unwrap_or("notApplied");
    let names: Vec<&str> = files
        .iter()
        .filter_map(|file| file.get("uri").and_then(Value::as_str))
        .collect();
    Err(Error::state(
        "notApplied",
        format!("no hunk could be applied ({code}): {}", names.join(", ")),
    )
    .hint("`clode.pipeline.apply` says what became of each file; resolve conflicts, then approve again"))
}
