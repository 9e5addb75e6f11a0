//! What the editor can ask for, method by method: a few lines each, the work is done elsewhere.
//!
//! Methods take raw JSON: the typed forms of the protocol refuse what real editors send.

use lsp_types::{InitializeParams, InitializeResult};
use serde_json::Value;
use tower_lsp::jsonrpc::Result;
use tower_lsp::{LanguageServer, LspService};

use super::answer::to_jsonrpc;
use super::session::Session;
use super::{action, command, handshake, hover, lens, preview, sync};

/// The server's side of the conversation.
#[derive(Debug)]
pub(crate) struct Backend {
    session: Session,
}

/// The service with every method that there is.
pub(crate) fn service(session: Session) -> LspService<Backend> {
    let (service, _) = LspService::build_with_lifecycle_methods(|_| Backend { session })
        .custom_method("textDocument/didOpen", Backend::did_open)
        .custom_method("textDocument/didChange", Backend::did_change)
        .custom_method("textDocument/didSave", Backend::did_save)
        .custom_method("textDocument/didClose", Backend::did_close)
        .custom_method(
            "workspace/didChangeConfiguration",
            Backend::did_change_configuration,
        )
        .custom_method(
            "workspace/didChangeWorkspaceFolders",
            Backend::did_change_workspace_folders,
        )
        .custom_method(
            "workspace/didChangeWatchedFiles",
            Backend::did_change_watched_files,
        )
        .custom_method("window/workDoneProgress/cancel", Backend::progress_cancel)
        .custom_method("workspace/executeCommand", Backend::execute_command)
        .custom_method("textDocument/codeAction", Backend::code_action)
        .custom_method("textDocument/codeLens", Backend::code_lens)
        .custom_method("textDocument/hover", Backend::hover)
        .custom_method("workspace/textDocumentContent", Backend::text_document_content)
        .finish();
    service
}

impl LanguageServer for Backend {
    async fn initialize(&self, _: InitializeParams) -> Result<InitializeResult> {
        handshake::initialize(&self.session).map_err(|error| to_jsonrpc(&error))
    }

    async fn initialized(&self, _: lsp_types::InitializedParams) {
        handshake::initialized(&self.session);
    }

    async fn shutdown(&self) -> Result<()> {
        Ok(())
    }
}

#[expect(clippy::unused_async, reason = "a service has asynchronous methods only")]
impl Backend {
    async fn did_open(&self, params: Value) {
        sync::did_open(&self.session, &params);
    }

    async fn did_change(&self, params: Value) {
        sync::did_change(&self.session, &params);
    }

    async fn did_save(&self, params: Value) {
        sync::did_save(&self.session, &params);
    }

    async fn did_close(&self, params: Value) {
        sync::did_close(&self.session, &params);
    }

    async fn did_change_configuration(&self, params: Value) {
        handshake::did_change_configuration(&self.session, &params);
    }

    async fn did_change_workspace_folders(&self, params: Value) {
        handshake::did_change_workspace_folders(&self.session, &params);
    }

    async fn did_change_watched_files(&self, params: Value) {
        sync::did_change_watched_files(&self.session, &params);
    }

    async fn progress_cancel(&self, params: Value) {
        super::notices::progress_cancelled(&self.session, &params);
    }

    async fn execute_command(&self, params: Value) -> Result<Value> {
        command::execute(&self.session, params).await
    }

    async fn code_action(&self, params: Value) -> Result<Value> {
        action::actions(&self.session, params).map_err(|error| to_jsonrpc(&error))
    }

    async fn code_lens(&self, params: Value) -> Result<Value> {
        lens::lenses(&self.session, params).map_err(|error| to_jsonrpc(&error))
    }

    async fn hover(&self, params: Value) -> Result<Value> {
        hover::hover(&self.session, params).map_err(|error| to_jsonrpc(&error))
    }

    async fn text_document_content(&self, params: Value) -> Result<Value> {
        preview::content(&self.session, params)
            .await
            .map_err(|error| to_jsonrpc(&error))
    }
}
