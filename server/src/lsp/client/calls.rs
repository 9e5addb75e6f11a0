//! The messages that go out, one method each.

use std::time::Duration;

use lsp_types::{MessageType, Range};
use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::text::plain;
use super::{Applied, Client, NoResult, Outcome, Patience, to_value};

/// An edit may make the editor open files and ask a person.
const APPLY_EDIT_LIMIT_MS: u64 = 30_000;

/// How a document is shown.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ShowDocument {
    pub(crate) take_focus: bool,
    pub(crate) selection: Option<Range>,
}

impl Client {
    /// `workspace/applyEdit`. A yes is the editor's word only.
    pub(crate) async fn apply_edit(&self, label: &str, edit: &impl Serialize) -> Applied {
        if !self.opening().capabilities.edit.apply {
            return Outcome::Unsupported;
        }
        let params = json!({ "label": plain(label), "edit": to_value(edit) });
        let patience = Patience::Limit(Duration::from_millis(APPLY_EDIT_LIMIT_MS));
        match self.request("workspace/applyEdit", &params, patience).await {
            Ok(answer) => yes_if(&answer, "applied", || {
                let reason = answer.get("failureReason").and_then(Value::as_str);
                reason.map_or_else(|| "the editor gives no reason".to_owned(), plain)
            }),
            Err(no_result) => no_result.into(),
        }
    }

    /// `window/showDocument`. A yes about another scheme than `file` does not mean that anything is seen.
    pub(crate) async fn show_document(&self, uri: &Url, how: ShowDocument) -> Outcome {
        if !self.opening().capabilities.show_document {
            return Outcome::Unsupported;
        }
        let mut params = json!({ "uri": uri, "takeFocus": how.take_focus });
        if let (Some(selection), Some(params)) = (how.selection, params.as_object_mut()) {
            params.insert("selection".to_owned(), to_value(&selection));
        }
        match self
            .request("window/showDocument", &params, Patience::default())
            .await
        {
            Ok(answer) => yes_if(&answer, "success", || {
                "the editor did not show the document".to_owned()
            }),
            Err(no_result) => no_result.into(),
        }
    }

    /// `window/showMessageRequest`: the index of the choice, `None` when nothing was chosen. The harmless choice
    /// stands first, for clients that pick the first by themselves. Waits for the person until cancelled.
    pub(crate) async fn show_message_request(
        &self,
        kind: MessageType,
        title: &str,
        actions: &[&str],
        cancelled: &CancellationToken,
    ) -> Option<usize> {
        if !self.opening().capabilities.show_message_request {
            return None;
        }
        let titles: Vec<String> = actions.iter().map(|action| plain(action)).collect();
        let items: Vec<Value> = titles.iter().map(|title| json!({ "title": title })).collect();
        let params = json!({ "type": kind, "message": plain(title), "actions": items });
        let patience = Patience::Until(cancelled);
        let answer = self
            .request("window/showMessageRequest", &params, patience)
            .await
            .ok()?;
        let chosen = answer.get("title")?.as_str()?;
        titles.iter().position(|title| title == chosen)
    }

    /// `window/showMessage`.
    pub(crate) async fn show_message(&self, kind: MessageType, message: &str) {
        self.notify(
            "window/showMessage",
            &json!({ "type": kind, "message": plain(message) }),
        )
        .await;
    }

    /// `workspace/configuration` for one section: an object, or `None` where the editor has nothing to say.
    pub(crate) async fn configuration(&self, section: &str, scope: Option<&Url>) -> Option<Value> {
        if !self.opening().capabilities.configuration {
            return None;
        }
        let item = match scope {
            Some(scope) => json!({ "section": section, "scopeUri": scope }),
            None => json!({ "section": section }),
        };
        let params = json!({ "items": [item] });
        let answer = self
            .request("workspace/configuration", &params, Patience::default())
            .await
            .ok()?;
        answer.get(0).filter(|settings| settings.is_object()).cloned()
    }

    /// `window/workDoneProgress/create`: nothing may be sent under the token unless this was a yes.
    pub(crate) async fn create_progress(&self, token: &str) -> Outcome {
        if !self.opening().capabilities.work_done_progress {
            return Outcome::Unsupported;
        }
        self.request_plain("window/workDoneProgress/create", &json!({ "token": token }))
            .await
    }

    /// `$/progress` under any token. Reports coalesce; see [`super::pump`].
    pub(crate) async fn progress(&self, token: &Value, value: &impl Serialize) {
        let _ = self.outbox().progress(token, &to_value(value)).await;
    }

    /// `textDocument/publishDiagnostics`; the version only for clients that know it.
    pub(crate) async fn publish_diagnostics(
        &self,
        uri: &Url,
        version: Option<i32>,
        diagnostics: &impl Serialize,
    ) {
        let mut params = json!({ "uri": uri, "diagnostics": to_value(diagnostics) });
        let knows_version = self.opening().capabilities.publish_diagnostics.version;
        if let (true, Some(version), Some(params)) = (knows_version, version, params.as_object_mut()) {
            params.insert("version".to_owned(), version.into());
        }
        self.notify("textDocument/publishDiagnostics", &params).await;
    }

    /// `workspace/codeLens/refresh`.
    pub(crate) async fn refresh_code_lenses(&self) -> Outcome {
        let offered = self.opening().capabilities.refresh.code_lens;
        self.refresh(offered, "workspace/codeLens/refresh").await
    }

    async fn refresh(&self, offered: bool, method: &str) -> Outcome {
        if offered {
            self.request_plain(method, &Value::Null).await
        } else {
            Outcome::Unsupported
        }
    }

    /// `workspace/textDocumentContent/refresh`.
    pub(crate) async fn refresh_text_document_content(&self, uri: &Url) -> Outcome {
        if !self.opening().capabilities.refresh.text_document_content {
            return Outcome::Unsupported;
        }
        self.request_plain("workspace/textDocumentContent/refresh", &json!({ "uri": uri }))
            .await
    }

    /// `client/registerCapability` for one method, where it may be registered dynamically.
    pub(crate) async fn register_capability(
        &self,
        id: &str,
        method: &str,
        options: &impl Serialize,
    ) -> Outcome {
        if !self.opening().capabilities.registers(method) {
            return Outcome::Unsupported;
        }
        let registration = json!({ "id": id, "method": method, "registerOptions": to_value(options) });
        self.request_plain(
            "client/registerCapability",
            &json!({ "registrations": [registration] }),
        )
        .await
    }

    /// A `clode/…` notification, to clients that announced them.
    pub(crate) async fn custom_notify(&self, method: &str, params: &impl Serialize) {
        if self.opening().capabilities.clode.is_some() {
            self.notify(method, params).await;
        }
    }

    /// A `clode/…` request, to clients that announced this one.
    pub(crate) async fn custom_request(
        &self,
        method: &str,
        params: &impl Serialize,
        patience: Patience<'_>,
    ) -> Result<Value, NoResult> {
        let announced = self
            .opening()
            .capabilities
            .clode
            .is_some_and(|clode| match method {
                "clode/input" => clode.input,
                "clode/showDiff" => clode.show_diff,
                _ => true,
            });
        if announced {
            self.request(method, params, patience).await
        } else {
            Err(NoResult::Unsupported)
        }
    }
}

fn yes_if(answer: &Value, flag: &str, reason: impl FnOnce() -> String) -> Outcome {
    if answer.get(flag) == Some(&Value::Bool(true)) {
        Outcome::Yes
    } else {
        Outcome::No { reason: reason() }
    }
}
