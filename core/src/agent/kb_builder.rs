//! Proposes what the team should remember. A person decides.

use futures::future::BoxFuture;
use serde_json::Value;

use super::assignment::Assignment;
use super::prompt::Prompt;
use super::{Agent, answer, briefing};
use crate::engine::StepContext;
use crate::pipeline::{KnowledgeEntry, StepFailure, StepOutput, StepRole};
use crate::redact::Redactor;

/// Most output tokens of the answer.
const ANSWER_TOKENS_MAX: u32 = 3_000;
/// Most proposals of one run.
const ENTRIES_MAX: usize = 5;
/// Longest claim, scope or evidence (characters).
const TEXT_CHARS_MAX: usize = 500;

/// The agent.
#[derive(Debug)]
pub(super) struct KbBuilder;

impl Agent for KbBuilder {
    fn id(&self) -> &'static str {
        "kbBuilder"
    }

    fn title(&self) -> &'static str {
        "KB Builder"
    }

    fn step_id(&self) -> &'static str {
        "kb-builder"
    }

    fn role(&self) -> StepRole {
        StepRole::Learn
    }

    fn run<'a>(&'a self, context: &'a StepContext) -> BoxFuture<'a, Result<StepOutput, StepFailure>> {
        Box::pin(work(context))
    }
}

async fn work(context: &StepContext) -> Result<StepOutput, StepFailure> {
    if !context.config.knowledge.enabled {
        return Ok(StepOutput {
            summary: "Knowledge is switched off.".to_owned(),
            ..StepOutput::default()
        });
    }
    context.say("draws lessons");
    let assignment = Assignment::gather(context).await?;
    let order = &context.order;
    let patch = if let Some(patch) = &assignment.patch {
        patch.clone()
    } else {
        context
            .services()
            .workspaces
            .patch(&context.repository, &order.base, &order.files)
            .await?
            .to_unified()
    };
    let patch = context.services().redactor.redact(&patch).into_owned();
    let told = format!(
        "{}{}\n# What was changed\n{}",
        briefing::task(&assignment, &assignment.tests),
        briefing::so_far(&Assignment {
            patch: None,
            ..assignment.clone()
        }),
        briefing::quoted_patch(&patch),
    );
    let request = answer::request(
        &context.config,
        Prompt::KbBuilder,
        briefing::opening(String::new(), told),
        ANSWER_TOKENS_MAX,
    );
    let (text, spoken) = answer::ask_or_recall(context, request).await?;
    let knowledge = entries(&text, &context.services().redactor);
    let summary = match knowledge.len() {
        0 => "Nothing worth remembering.".to_owned(),
        1 => "Proposes one thing to remember.".to_owned(),
        count => format!("Proposes {count} things to remember."),
    };
    let document = Some(context.put_text(&document(&knowledge)).await?);
    Ok(spoken.sign(StepOutput {
        summary,
        document,
        knowledge,
        ..StepOutput::default()
    }))
}

fn document(entries: &[KnowledgeEntry]) -> String {
    if entries.is_empty() {
        return "Nothing worth remembering.\n".to_owned();
    }
    let lines = entries
        .iter()
        .map(|entry| format!("- {} ({}): {}\n", entry.claim, entry.scope, entry.evidence));
    lines.collect()
}

/// The entries in an answer, however it is wrapped; what is no entry is passed over.
fn entries(answer: &str, redactor: &Redactor) -> Vec<KnowledgeEntry> {
    let Some(value) = json_in(answer) else {
        return Vec::new();
    };
    let list = match value {
        Value::Array(list) => list,
        Value::Object(ref fields) => match fields.get("entries").and_then(Value::as_array) {
            Some(list) => list.clone(),
            None => vec![value],
        },
        _ => Vec::new(),
    };
    let text = |entry: &Value, name: &str| {
        let text = entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let short: String = line.chars().take(TEXT_CHARS_MAX).collect();
        crate::redact::neutralise(&redactor.redact(&short)).into_owned()
    };
    let claims = list
        .iter()
        .filter(|entry| !text(entry, "claim").is_empty())
        .take(ENTRIES_MAX);
    let entries = claims.enumerate().map(|(index, entry)| KnowledgeEntry {
        id: format!("k{}", index + 1),
        claim: text(entry, "claim"),
        scope: Some(text(entry, "scope"))
            .filter(|scope| !scope.is_empty())
            .unwrap_or_else(|| "repository".to_owned()),
        evidence: text(entry, "evidence"),
    });
    entries.collect()
}

/// The first JSON list or object in a text.
fn json_in(text: &str) -> Option<Value> {
    text.char_indices()
        .filter(|(_, c)| matches!(c, '[' | '{'))
        .take(64)
        .find_map(|(at, _)| {
            let mut values = serde_json::Deserializer::from_str(text.get(at..)?).into_iter::<Value>();
            let value = values.next()?.ok()?;
            (value.is_object()
                || value
                    .as_array()
                    .is_some_and(|list| list.iter().all(Value::is_object)))
            .then_some(value)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_however_they_are_wrapped() {
        let entry = r#"{"claim": "Run `make gen` after a change of api.yaml.", "scope": "api", "evidence": "Makefile"}"#;
        for answer in [
            format!("[{entry}]"),
            entry.to_owned(),
            format!("Here [1] it is:\n```json\n{{\"entries\": [{entry}, 5, {{}}]}}\n```\n"),
        ] {
            let found = entries(&answer, &Redactor::new());
            assert_eq!(found.len(), 1, "{answer}");
            assert_eq!((found[0].id.as_str(), found[0].scope.as_str()), ("k1", "api"));
        }
    }

    #[test]
    fn nothing_and_nonsense_are_no_entries() {
        for answer in ["[]", "Nothing.", "", "[1, 2]", "{\"claim\": 5}", "[[["] {
            assert!(entries(answer, &Redactor::new()).is_empty(), "{answer}");
        }
    }
}
