//! A service with handlers that wait, panic, flood and ask back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lsp_types::{InitializeParams, InitializeResult};
use serde_json::{Value, json};
use tower_lsp::jsonrpc::Result;
use tower_lsp::{LanguageServer, LspService};

use super::Client;
use crate::lsp::progress::WorkDone;

pub(super) struct Lab {
    client: Client,
    /// What handlers noted, in the order in which they did.
    notes: Mutex<Vec<Value>>,
    /// Lets the waiting handlers go.
    released: Arc<tokio::sync::Notify>,
}

impl Lab {
    pub(super) fn service(client: Client) -> LspService<Self> {
        let lab = Self {
            client,
            notes: Mutex::default(),
            released: Arc::default(),
        };
        LspService::build_with_lifecycle_methods(|_| lab)
            .custom_method("lab/echo", Self::echo)
            .custom_method("lab/wait", Self::wait)
            .custom_method("lab/release", Self::release)
            .custom_method("lab/note", Self::note)
            .custom_method("lab/noteAfterAwait", Self::note_after_await)
            .custom_method("lab/noteAndWait", Self::note_and_wait)
            .custom_method("lab/notes", Self::notes)
            .custom_method("lab/panic", Self::panic)
            .custom_method("lab/panicLater", Self::panic_later)
            .custom_method("lab/panicInNotification", Self::panic_in_notification)
            .custom_method("lab/stuckNotification", Self::stuck_notification)
            .custom_method("lab/slow", Self::slow)
            .custom_method("lab/ask", Self::ask)
            .custom_method("lab/flood", Self::flood)
            .custom_method("lab/progress", Self::progress)
            .custom_method("window/workDoneProgress/cancel", Self::progress_cancel)
            .finish()
            .0
    }
}

#[expect(clippy::unused_async, reason = "the service takes handlers that are async")]
impl Lab {
    async fn echo(&self, params: Value) -> Result<Value> {
        Ok(params)
    }

    async fn wait(&self, params: Value) -> Result<Value> {
        self.released.notified().await;
        Ok(params)
    }

    async fn release(&self, _: Value) {
        self.released.notify_waiters();
    }

    async fn note(&self, params: Value) {
        self.notes.lock().unwrap().push(params);
    }

    async fn note_after_await(&self, params: Value) {
        tokio::task::yield_now().await;
        self.notes.lock().unwrap().push(params);
    }

    async fn note_and_wait(&self, params: Value) -> Result<Value> {
        self.notes.lock().unwrap().push(params.clone());
        tokio::task::yield_now().await;
        Ok(params)
    }

    async fn notes(&self, _: Value) -> Result<Value> {
        Ok(json!(*self.notes.lock().unwrap()))
    }

    async fn panic(&self, _: Value) -> Result<Value> {
        panic!("on purpose, before any await")
    }

    async fn panic_later(&self, _: Value) -> Result<Value> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        panic!("on purpose, after an await")
    }

    async fn panic_in_notification(&self, _: Value) {
        panic!("on purpose, in a notification")
    }

    async fn stuck_notification(&self, _: Value) {
        std::future::pending::<()>().await;
    }

    /// Slow in the allowed way: not on the loop.
    async fn slow(&self, params: Value) -> Result<Value> {
        let _ = tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_secs(1))).await;
        Ok(params)
    }

    async fn ask(&self, _: Value) -> Result<Value> {
        Ok(self.client.configuration("clode", None).await.unwrap_or_default())
    }

    async fn flood(&self, params: Value) -> Result<Value> {
        let bytes = usize::try_from(params["bytes"].as_u64().unwrap()).unwrap();
        let padding = "x".repeat(bytes);
        for seq in 0..params["messages"].as_u64().unwrap() {
            self.client
                .notify("lab/drop", &json!({ "seq": seq, "padding": padding }))
                .await;
        }
        Ok(Value::Null)
    }

    async fn progress(&self, params: Value) -> Result<Value> {
        let mut progress =
            WorkDone::new(self.client.clone(), "lab", "Lab").under(params["workDoneToken"].clone());
        progress.begin("begin", 0).await;
        for percentage in 1..=100 {
            progress.report("on", percentage).await;
        }
        progress.end("end").await;
        Ok(Value::Null)
    }

    async fn progress_cancel(&self, params: Value) {
        self.notes.lock().unwrap().push(params);
    }
}

impl LanguageServer for Lab {
    async fn initialize(&self, _: InitializeParams) -> Result<InitializeResult> {
        Ok(InitializeResult::default())
    }

    async fn shutdown(&self) -> Result<()> {
        Ok(())
    }
}
