//! What the editor can do, read once and tolerantly from the raw `initialize` parameters.
//!
//! The typed form of the protocol is too strict for what editors send (`[]` where an object is meant, `diagnostic`
//! for `diagnostics`, no `window` at all). Whatever cannot be understood counts as "cannot". Nothing here looks at the
//! client's name.

use serde_json::Value;

use super::encoding::PositionEncoding;

/// What the editor can do.
#[expect(clippy::struct_excessive_bools, reason = "each is one flag of the protocol")]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ClientCapabilities {
    pub(crate) position_encoding: PositionEncoding,
    /// `window/workDoneProgress/create`.
    pub(crate) work_done_progress: bool,
    pub(crate) show_document: bool,
    pub(crate) show_message_request: bool,
    /// `workspace/configuration`.
    pub(crate) configuration: bool,
    /// `workspace/textDocumentContent`.
    pub(crate) text_document_content: bool,
    pub(crate) workspace_folders: bool,
    pub(crate) watched_files_dynamic: bool,
    pub(crate) publish_diagnostics: PublishDiagnostics,
    pub(crate) edit: EditCapabilities,
    pub(crate) code_action: CodeActionCapabilities,
    pub(crate) refresh: RefreshCapabilities,
    /// `experimental.clode`: the client knows our own messages.
    pub(crate) clode: Option<ClodeCapabilities>,
    raw: Value,
}

/// `workspace.applyEdit` and `workspace.workspaceEdit`.
#[expect(clippy::struct_excessive_bools, reason = "each is one flag of the protocol")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct EditCapabilities {
    pub(crate) apply: bool,
    /// Declared, or implied by resource operations.
    pub(crate) document_changes: bool,
    pub(crate) create: bool,
    pub(crate) rename: bool,
    pub(crate) delete: bool,
    pub(crate) change_annotations: bool,
    pub(crate) metadata: bool,
    pub(crate) snippets: bool,
}

/// `textDocument.codeAction`.
#[expect(clippy::struct_excessive_bools, reason = "each is one flag of the protocol")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CodeActionCapabilities {
    /// `CodeAction` literals; without them only commands may be offered.
    pub(crate) literals: bool,
    /// `codeAction/resolve` fills in `edit`.
    pub(crate) resolves_edit: bool,
    pub(crate) data: bool,
    pub(crate) disabled: bool,
    pub(crate) honors_change_annotations: bool,
    /// The tag "made by a language model".
    pub(crate) llm_generated_tag: bool,
}

/// Refresh requests that the client answers.
#[expect(clippy::struct_excessive_bools, reason = "each is one flag of the protocol")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RefreshCapabilities {
    pub(crate) code_lens: bool,
    pub(crate) diagnostics: bool,
    pub(crate) inlay_hint: bool,
    pub(crate) text_document_content: bool,
}

/// `textDocument.publishDiagnostics`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PublishDiagnostics {
    pub(crate) version: bool,
    pub(crate) data: bool,
    pub(crate) related_information: bool,
}

/// `experimental.clode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ClodeCapabilities {
    pub(crate) version: u64,
    /// `clode/input`.
    pub(crate) input: bool,
    /// The client opens `clode:` documents itself.
    pub(crate) documents: bool,
    /// `clode/showDiff`.
    pub(crate) show_diff: bool,
}

impl ClientCapabilities {
    /// Reads `initialize.params`.
    pub(crate) fn from_initialize(params: &Value) -> Self {
        let raw = params.get("capabilities").cloned().unwrap_or_default();
        let has = |pointer: &str| raw.pointer(pointer).is_some_and(is_offered);
        let is = |pointer: &str| raw.pointer(pointer) == Some(&Value::Bool(true));
        let lists = |pointer: &str, item: &str| {
            raw.pointer(pointer)
                .and_then(Value::as_array)
                .is_some_and(|items| items.iter().any(|it| it == item))
        };
        let encodings = raw
            .pointer("/general/positionEncodings")
            .and_then(Value::as_array);
        let encodings: Vec<&str> = encodings
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let resource = |kind| lists("/workspace/workspaceEdit/resourceOperations", kind);
        let llm_generated = Value::from(1);
        Self {
            position_encoding: PositionEncoding::choose(&encodings),
            work_done_progress: is("/window/workDoneProgress"),
            show_document: is("/window/showDocument/support"),
            show_message_request: has("/window/showMessage"),
            configuration: is("/workspace/configuration"),
            text_document_content: has("/workspace/textDocumentContent"),
            workspace_folders: is("/workspace/workspaceFolders"),
            watched_files_dynamic: is("/workspace/didChangeWatchedFiles/dynamicRegistration"),
            publish_diagnostics: PublishDiagnostics {
                version: is("/textDocument/publishDiagnostics/versionSupport"),
                data: is("/textDocument/publishDiagnostics/dataSupport"),
                related_information: is("/textDocument/publishDiagnostics/relatedInformation"),
            },
            edit: EditCapabilities {
                apply: is("/workspace/applyEdit"),
                document_changes: is("/workspace/workspaceEdit/documentChanges")
                    || ["create", "rename", "delete"].into_iter().any(resource),
                create: resource("create"),
                rename: resource("rename"),
                delete: resource("delete"),
                change_annotations: has("/workspace/workspaceEdit/changeAnnotationSupport"),
                metadata: is("/workspace/workspaceEdit/metadataSupport"),
                snippets: is("/workspace/workspaceEdit/snippetEditSupport"),
            },
            code_action: CodeActionCapabilities {
                literals: has("/textDocument/codeAction/codeActionLiteralSupport"),
                resolves_edit: lists("/textDocument/codeAction/resolveSupport/properties", "edit"),
                data: is("/textDocument/codeAction/dataSupport"),
                disabled: is("/textDocument/codeAction/disabledSupport"),
                honors_change_annotations: is("/textDocument/codeAction/honorsChangeAnnotations"),
                llm_generated_tag: raw
                    .pointer("/textDocument/codeAction/tagSupport/valueSet")
                    .and_then(Value::as_array)
                    .is_some_and(|tags| tags.contains(&llm_generated)),
            },
            refresh: RefreshCapabilities {
                code_lens: is("/workspace/codeLens/refreshSupport"),
                // The specification says `diagnostics`; several clients send `diagnostic`.
                diagnostics: is("/workspace/diagnostics/refreshSupport")
                    || is("/workspace/diagnostic/refreshSupport"),
                inlay_hint: is("/workspace/inlayHint/refreshSupport"),
                text_document_content: has("/workspace/textDocumentContent"),
            },
            clode: raw
                .pointer("/experimental/clode")
                .and_then(ClodeCapabilities::from_value),
            raw,
        }
    }

    /// Whether this method may be registered dynamically.
    pub(crate) fn registers(&self, method: &str) -> bool {
        let place = match method {
            "textDocument/didOpen"
            | "textDocument/didChange"
            | "textDocument/didSave"
            | "textDocument/didClose"
            | "textDocument/willSave"
            | "textDocument/willSaveWaitUntil" => "/textDocument/synchronization",
            "workspace/didChangeWorkspaceFolders" => return self.workspace_folders,
            "workspace/willCreateFiles"
            | "workspace/didCreateFiles"
            | "workspace/willRenameFiles"
            | "workspace/didRenameFiles"
            | "workspace/willDeleteFiles"
            | "workspace/didDeleteFiles" => "/workspace/fileOperations",
            _ => &format!("/{method}"),
        };
        self.raw.pointer(&format!("{place}/dynamicRegistration")) == Some(&Value::Bool(true))
    }

    /// The capabilities as the client sent them, for what has no name here.
    pub(crate) fn raw(&self) -> &Value {
        &self.raw
    }
}

impl ClodeCapabilities {
    fn from_value(value: &Value) -> Option<Self> {
        if !is_offered(value) {
            return None;
        }
        let is = |key| value.get(key) == Some(&Value::Bool(true));
        Some(Self {
            version: value.get("version").and_then(Value::as_u64).unwrap_or(1),
            input: is("input"),
            documents: is("documents"),
            show_diff: is("showDiff"),
        })
    }
}

/// An object, the `[]` that Lua makes of an empty one, or a plain `true`.
fn is_offered(value: &Value) -> bool {
    match value {
        Value::Bool(offered) => *offered,
        Value::Object(_) => true,
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
