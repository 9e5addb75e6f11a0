//! What real editors declare in `initialize`, reduced to what a server may look at.

use serde_json::{Value, json};

/// Nothing at all.
pub fn bare() -> Value {
    json!({})
}

/// VS Code 1.139 with its client library 11, without our extension.
pub fn vscode() -> Value {
    json!({
        "general": { "positionEncodings": ["utf-16"] },
        "window": {
            "workDoneProgress": true,
            "showDocument": { "support": true },
            "showMessage": { "messageActionItem": { "additionalPropertiesSupport": true } },
        },
        "workspace": {
            "applyEdit": true,
            "configuration": true,
            "workspaceFolders": true,
            "workspaceEdit": {
                "documentChanges": true,
                "resourceOperations": ["create", "rename", "delete"],
                "failureHandling": "textOnlyTransactional",
                "normalizesLineEndings": true,
                "changeAnnotationSupport": { "groupsOnLabel": true },
                "metadataSupport": true,
                "snippetEditSupport": true,
            },
            "executeCommand": { "dynamicRegistration": true },
            "didChangeConfiguration": { "dynamicRegistration": true },
            "didChangeWatchedFiles": { "dynamicRegistration": true, "relativePatternSupport": true },
            "codeLens": { "refreshSupport": true },
            "diagnostics": { "refreshSupport": true },
            "inlayHint": { "refreshSupport": true },
            "textDocumentContent": { "dynamicRegistration": true },
        },
        "textDocument": {
            "synchronization": { "dynamicRegistration": true, "didSave": true },
            "publishDiagnostics": { "versionSupport": true, "dataSupport": true, "relatedInformation": true },
            "diagnostic": { "dynamicRegistration": true },
            "codeLens": { "dynamicRegistration": true, "resolveSupport": { "properties": ["command"] } },
            "codeAction": {
                "dynamicRegistration": true,
                "isPreferredSupport": true,
                "disabledSupport": true,
                "dataSupport": true,
                "honorsChangeAnnotations": true,
                "resolveSupport": { "properties": ["edit", "command"] },
                "codeActionLiteralSupport": {
                    "codeActionKind": { "valueSet": ["", "quickfix", "refactor", "refactor.rewrite", "source"] },
                },
                "documentationSupport": true,
                "tagSupport": { "valueSet": [1] },
            },
        },
    })
}

/// VS Code with an extension of ours.
pub fn vscode_with_extension() -> Value {
    let mut capabilities = vscode();
    capabilities["experimental"] =
        json!({ "clode": { "version": 1, "input": true, "documents": true, "showDiff": true } });
    capabilities
}

/// Neovim 0.11: resource operations without `documentChanges`, no watched files on Linux, no refresh.
pub fn neovim() -> Value {
    json!({
        "general": { "positionEncodings": ["utf-8", "utf-16", "utf-32"] },
        "window": {
            "workDoneProgress": true,
            "showDocument": { "support": true },
            "showMessage": { "messageActionItem": { "additionalPropertiesSupport": true } },
        },
        "workspace": {
            "applyEdit": true,
            "configuration": true,
            "workspaceFolders": true,
            "workspaceEdit": { "resourceOperations": ["rename", "create", "delete"] },
            "didChangeWatchedFiles": { "dynamicRegistration": false, "relativePatternSupport": true },
            "inlayHint": { "refreshSupport": true },
        },
        "textDocument": {
            "publishDiagnostics": { "dataSupport": true, "relatedInformation": true },
            "codeAction": {
                "dynamicRegistration": true,
                "isPreferredSupport": true,
                "dataSupport": true,
                "resolveSupport": { "properties": ["edit", "command"] },
                "codeActionLiteralSupport": { "codeActionKind": { "valueSet": ["", "quickfix", "refactor", "source"] } },
            },
        },
    })
}

/// Eglot 1.9: UTF-16, no progress, no resolve, edits without resource operations.
pub fn eglot_1_9() -> Value {
    json!({
        "workspace": {
            "applyEdit": true,
            "configuration": true,
            "workspaceFolders": true,
            "executeCommand": { "dynamicRegistration": false },
            "workspaceEdit": { "documentChanges": true },
            "didChangeWatchedFiles": { "dynamicRegistration": true },
        },
        "textDocument": {
            "publishDiagnostics": { "relatedInformation": false },
            "codeAction": {
                "codeActionLiteralSupport": { "codeActionKind": { "valueSet": ["quickfix", "refactor", "source"] } },
                "isPreferredSupport": true,
            },
        },
        "experimental": [],
    })
}

/// vim-lsp: no resource operations, no `showDocument`, and it never answers what it does not know.
pub fn vim_lsp() -> Value {
    json!({
        "window": { "workDoneProgress": true },
        "workspace": { "applyEdit": true, "configuration": true, "workspaceFolders": true },
        "textDocument": {
            "codeAction": {
                "codeActionLiteralSupport": { "codeActionKind": { "valueSet": ["", "quickfix", "refactor", "source"] } },
            },
            "publishDiagnostics": { "relatedInformation": true },
        },
    })
}

/// Helix: the singular `diagnostic` for the refresh, no code lenses, no annotations.
pub fn helix() -> Value {
    json!({
        "general": { "positionEncodings": ["utf-8", "utf-32", "utf-16"] },
        "window": { "workDoneProgress": true, "showDocument": { "support": true } },
        "workspace": {
            "applyEdit": true,
            "configuration": true,
            "workspaceFolders": true,
            "executeCommand": { "dynamicRegistration": false },
            "workspaceEdit": {
                "documentChanges": true,
                "resourceOperations": ["create", "rename", "delete"],
                "failureHandling": "abort",
                "normalizesLineEndings": false,
            },
            "didChangeWatchedFiles": { "dynamicRegistration": true, "relativePatternSupport": false },
            "diagnostic": { "refreshSupport": true },
            "inlayHint": { "refreshSupport": false },
        },
        "textDocument": {
            "publishDiagnostics": { "versionSupport": true },
            "codeAction": {
                "dataSupport": true,
                "disabledSupport": true,
                "isPreferredSupport": true,
                "resolveSupport": { "properties": ["edit", "command"] },
                "codeActionLiteralSupport": { "codeActionKind": { "valueSet": ["", "quickfix", "refactor", "source"] } },
            },
        },
    })
}

/// Clode Studio's own language support: documents and diagnostics, nothing that a server could ask.
pub fn clode_studio() -> Value {
    json!({
        "textDocument": { "completion": {}, "hover": {}, "publishDiagnostics": { "relatedInformation": true } },
        "workspace": { "workspaceFolders": true },
    })
}
