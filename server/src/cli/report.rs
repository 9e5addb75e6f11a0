//! What a run tells: lines of JSON for scripts, lines for people.

use clode_core::id::PipelineId;
use clode_core::pipeline::RunEvent;
use clode_core::redact::neutralise;
use clode_core::store::EventRow;
use serde_json::{Map, Value, json};

use super::desk::by_command_line;
use super::output::Colour;
use super::render::{Style, paint};

/// An event as a line of JSON: `{seq, pipelineId, type, ...}`.
pub(super) fn wire(run: &PipelineId, row: &EventRow) -> Value {
    let mut object = Map::from_iter([
        ("seq".to_owned(), json!(row.seq)),
        ("pipelineId".to_owned(), json!(run)),
    ]);
    if let Ok(Value::Object(body)) = serde_json::from_str(&row.body) {
        object.extend(body);
    }
    Value::Object(object)
}

/// The line that a person sees; what the progress shows anyway has none.
pub(super) fn line(row: &EventRow, colour: Colour) -> Option<String> {
    words(&serde_json::from_str(&row.body).ok()?, colour)
}

fn words(event: &RunEvent, colour: Colour) -> Option<String> {
    match event {
        RunEvent::StepFinished {
            agent,
            status,
            summary,
            cached,
            error,
            ..
        } => {
            let who = clode_core::agent::find(agent.as_str()).map_or(agent.as_str(), |agent| agent.title());
            let mark = match status.as_str() {
                "finished" => paint("✓", Style::Green, colour),
                "retrying" => paint("↻", Style::Yellow, colour),
                _ => paint("✗", Style::Red, colour),
            };
            let hint = error
                .as_ref()
                .and_then(|error| error.first_hint())
                .map(|hint| format!(" ({hint})"));
            let words = summary.split_whitespace().collect::<Vec<_>>().join(" ");
            let cached = if *cached { " (cached)" } else { "" };
            Some(format!(
                "{mark} {who}{cached}: {}{}",
                neutralise(&words),
                neutralise(&hint.unwrap_or_default())
            ))
        }
        RunEvent::Alert { message, .. } => Some(format!(
            "{} {}",
            paint("!", Style::Yellow, colour),
            neutralise(message)
        )),
        RunEvent::ApprovalResolved {
            gate, approved, by, ..
        } if *by != by_command_line().surface => {
            let word = if *approved { "approved" } else { "rejected" };
            Some(paint(
                &format!("  {} {word} by {}", gate.as_str(), neutralise(by)),
                Style::Dim,
                colour,
            ))
        }
        _ => None,
    }
}
