//! What the editor can ask for, method by method.

use lsp_types::{
    InitializeParams, InitializeResult, ServerCapabilities, ServerInfo, TextDocumentSyncKind,
    TextDocumentSyncOptions,
};
use tower_lsp::LanguageServer;
use tower_lsp::jsonrpc::Result;

use super::client::Client;

/// The server's side of the conversation.
#[derive(Debug)]
pub(crate) struct Backend {
    client: Client,
}

impl Backend {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }
}

impl LanguageServer for Backend {
    async fn initialize(&self, _: InitializeParams) -> Result<InitializeResult> {
        let opening = self.client.opening();
        let sync = TextDocumentSyncOptions {
            open_close: Some(true),
            change: Some(TextDocumentSyncKind::Incremental),
            ..TextDocumentSyncOptions::default()
        };
        Ok(InitializeResult {
            capabilities: ServerCapabilities {
                position_encoding: Some(opening.capabilities.position_encoding.into()),
                text_document_sync: Some(sync.into()),
                ..ServerCapabilities::default()
            },
            server_info: Some(ServerInfo {
                name: "clode-ls".to_owned(),
                version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            }),
        })
    }

    async fn shutdown(&self) -> Result<()> {
        Ok(())
    }
}
