//! The opening: what the editor says about itself, what we say about us, and what starts after it.

mod folders;
mod settings;
mod startup;

#[cfg(test)]
mod tests;

use clode_core::agent::AGENTS;
use clode_core::pipeline::GateKind;
use clode_core::{Error, Result};
use lsp_types::InitializeResult;
use serde_json::{Value, json};
use url::Url;

pub(crate) use settings::settings;
pub(in crate::lsp) use startup::left_behind;

use super::command::COMMANDS;
use super::session::Session;

/// Version of our own messages.
const PROTOCOL_VERSION: u32 = 1;
/// Section of the editor's settings that is ours.
pub(crate) const SECTION: &str = "clode";
/// Kinds of our code actions.
const ACTION_KINDS: [&str; 3] = ["refactor.rewrite.clode", "quickfix.clode", "source.clode"];

/// Answers `initialize`; opens nothing.
pub(crate) fn initialize(session: &Session) -> Result<InitializeResult> {
    let opening = session.client().opening();
    session.set_encoding(opening.capabilities.position_encoding);
    session.set_folders(folders::opened(&opening.params));
    let (settings, trusted) = settings::opening(opening.params.get("initializationOptions"));
    session.set_opening_settings(settings, trusted);
    serde_json::from_value(answer(session))
        .map_err(|error| Error::internal(format!("the answer to `initialize` cannot be written: {error}")))
}

fn answer(session: &Session) -> Value {
    let capabilities = session.capabilities();
    let commands: Vec<&str> = COMMANDS.iter().map(|command| command.id).collect();
    let agents: Vec<&str> = AGENTS.iter().map(|agent| agent.id()).collect();
    let gates = GateKind::ALL.map(GateKind::as_str);
    let mut workspace = json!({ "workspaceFolders": { "supported": true, "changeNotifications": true } });
    if capabilities.text_document_content
        && let Some(workspace) = workspace.as_object_mut()
    {
        workspace.insert("textDocumentContent".to_owned(), json!({ "schemes": ["clode"] }));
    }
    json!({
        "serverInfo": { "name": "clode-ls", "version": env!("CARGO_PKG_VERSION") },
        "capabilities": {
            "positionEncoding": capabilities.position_encoding.name(),
            "textDocumentSync": { "openClose": true, "change": 2, "save": { "includeText": false } },
            "executeCommandProvider": { "commands": commands, "workDoneProgress": true },
            "codeActionProvider": { "codeActionKinds": ACTION_KINDS, "resolveProvider": false },
            "codeLensProvider": { "resolveProvider": false },
            "hoverProvider": true,
            "workspace": workspace,
            "experimental": { "clode": {
                "version": PROTOCOL_VERSION, "commands": commands, "agents": agents, "gates": gates,
            } },
        },
    })
}

/// Starts what waits for the editor to be ready.
pub(crate) fn initialized(session: &Session) {
    let session = session.clone();
    tokio::spawn(async move { startup::run(&session).await });
}

/// Takes over changed settings.
pub(crate) fn did_change_configuration(session: &Session, params: &Value) {
    let session = session.clone();
    let pushed = params
        .pointer("/settings/clode")
        .filter(|section| section.is_object())
        .cloned();
    tokio::spawn(async move {
        settings::take_over(&session, pushed).await;
        super::sync::check_configuration(&session).await;
    });
}

/// Takes over opened and closed folders.
pub(crate) fn did_change_workspace_folders(session: &Session, params: &Value) {
    let uris = |field: &str| folders::uris(params.pointer(&format!("/event/{field}")));
    let (added, removed) = (uris("added"), uris("removed"));
    let mut open: Vec<Url> = session.folders().into_iter().map(|folder| folder.uri).collect();
    open.retain(|uri| !removed.contains(uri));
    open.extend(added);
    open.sort();
    open.dedup();
    session.set_folders(open);
    let session = session.clone();
    tokio::spawn(async move { startup::folders_changed(&session).await });
}
