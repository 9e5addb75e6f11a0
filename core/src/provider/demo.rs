//! The offline demonstration. It is no model and says so: it follows fixed rules, so that the whole
//! way from a task to an approved edit can be tried without a key, and tested without a network.
//!
//! It gets what every model gets. The system prompt begins with a line `clode-agent: <agent id>`;
//! the user's turns hold what [`briefing`] reads: labelled lines (`origin`, `touches`, `target
//! files`, `tests`, `title`), a list of files, and file contents. With tools it works through them.

mod body;
mod briefing;
mod change;
mod comment;
mod developer;
mod language;
mod spot;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::failure::{CallFailure, Sent};
use super::http::Http;
use super::message::{Content, Delta, Request, Response, Stop, Usage};
use super::settings::{ModelSettings, ProviderKind, ProviderSettings};
use super::{Events, Provider};
use crate::Result;
use crate::config::Price;
use briefing::Briefing;

const KIND: &str = ProviderKind::Demo.as_str();
/// The name of its only model, which is none.
pub const MODEL: &str = "demo";

/// The settings of the demonstration: one model, and it costs nothing.
pub fn settings() -> ProviderSettings {
    let model = ModelSettings {
        price: Some(Price::default()),
        context_window: None,
        max_output: None,
    };
    ProviderSettings {
        models: BTreeMap::from([(MODEL.to_owned(), model)]),
        ..ProviderSettings::new(KIND, ProviderKind::Demo)
    }
}

/// The demonstration.
pub fn build(_settings: &ProviderSettings, _http: &Http) -> Result<Arc<dyn Provider>> {
    Ok(Arc::new(Demo))
}

#[derive(Debug)]
struct Demo;

impl Provider for Demo {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn call<'a>(
        &'a self,
        request: &'a Request,
        events: Events<'a>,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Response, CallFailure>> {
        Box::pin(async move {
            if cancel.is_cancelled() {
                return Err(CallFailure::cancelled(Sent::Nothing));
            }
            let turn = respond(request);
            let mut content = vec![Content::Text(turn.text.clone())];
            events(Delta::Text(turn.text));
            let stop = if turn.call.is_some() {
                Stop::ToolUse
            } else {
                Stop::EndTurn
            };
            if let Some((name, input)) = turn.call {
                let id = format!("demo-{}", tool_calls_so_far(request) + 1);
                events(Delta::ToolUse {
                    id: id.clone(),
                    name: name.clone(),
                });
                content.push(Content::ToolUse { id, name, input });
            }
            // No model, no tokens.
            Ok(Response {
                content,
                stop,
                usage: Usage::default(),
                model: MODEL.to_owned(),
                request_id: None,
            })
        })
    }
}

/// What the demonstration says, and the tool that it asks for.
struct Turn {
    text: String,
    call: Option<(String, serde_json::Value)>,
}

impl Turn {
    fn say(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            call: None,
        }
    }

    fn call(text: impl Into<String>, tool: &str, input: serde_json::Value) -> Self {
        Self {
            text: text.into(),
            call: Some((tool.to_owned(), input)),
        }
    }
}

fn respond(request: &Request) -> Turn {
    let briefing = Briefing::read(request);
    match agent(request) {
        Some("taskMaster") => Turn::say(writer::brief(&briefing)),
        Some("architect") => Turn::say(writer::plan(&briefing)),
        Some("developer") => developer::respond(request, &briefing),
        Some("qa") => writer::verdict(request, &briefing),
        Some("kbBuilder") => Turn::say(writer::knowledge(&briefing)),
        _ => Turn::say("ready. This is the demo provider of clode-ls: no model, only fixed rules."),
    }
}

fn agent(request: &Request) -> Option<&str> {
    let first_line = request.system.first()?.text.lines().next()?;
    first_line.trim().strip_prefix("clode-agent:").map(str::trim)
}

fn tool_calls_so_far(request: &Request) -> usize {
    let content = request.messages.iter().flat_map(|message| &message.content);
    content
        .filter(|content| matches!(content, Content::ToolUse { .. }))
        .count()
}

#[cfg(test)]
mod tests;
