use serde_json::json;

use super::*;

fn capabilities(capabilities: &Value) -> ClientCapabilities {
    ClientCapabilities::from_initialize(&json!({ "capabilities": capabilities }))
}

#[test]
fn a_client_that_declares_nothing_can_nothing_and_counts_in_utf_16() {
    for params in [
        json!({}),
        json!({ "capabilities": null }),
        json!({ "capabilities": [] }),
        json!([]),
        json!(7),
    ] {
        let capabilities = ClientCapabilities::from_initialize(&params);
        assert_eq!(
            ClientCapabilities {
                raw: Value::Null,
                ..capabilities
            },
            ClientCapabilities::default(),
            "{params}"
        );
    }
}

#[test]
fn nonsense_in_one_place_does_not_hide_what_stands_elsewhere() {
    let capabilities = capabilities(&json!({
        "window": 5,
        "general": { "positionEncodings": "utf-8" },
        "workspace": { "applyEdit": true, "workspaceEdit": { "resourceOperations": [1, "create"] } },
        "textDocument": [],
    }));
    assert!(capabilities.edit.apply && capabilities.edit.create && !capabilities.edit.delete);
    assert_eq!(capabilities.position_encoding, PositionEncoding::Utf16);
}

#[test]
fn document_changes_follow_from_resource_operations() {
    let edit =
        capabilities(&json!({ "workspace": { "workspaceEdit": { "resourceOperations": ["rename"] } } })).edit;
    assert!(edit.document_changes && edit.rename);
    let edit = capabilities(&json!({ "workspace": { "workspaceEdit": { "documentChanges": true } } })).edit;
    assert!(edit.document_changes && !edit.rename);
    let edit = capabilities(&json!({ "workspace": { "workspaceEdit": { "resourceOperations": [] } } })).edit;
    assert!(!edit.document_changes);
}

#[test]
fn both_spellings_of_the_diagnostics_refresh_count() {
    for name in ["diagnostics", "diagnostic"] {
        assert!(
            capabilities(&json!({ "workspace": { name: { "refreshSupport": true } } }))
                .refresh
                .diagnostics
        );
    }
    assert!(
        !capabilities(&json!({ "workspace": { "diagnostics": {} } }))
            .refresh
            .diagnostics
    );
}

#[test]
fn the_cheapest_position_encoding_is_chosen() {
    let chosen = |offered: Value| {
        capabilities(&json!({ "general": { "positionEncodings": offered } })).position_encoding
    };
    assert_eq!(chosen(json!(["utf-16", "utf-8"])), PositionEncoding::Utf8);
    assert_eq!(chosen(json!(["utf-16", "utf-32"])), PositionEncoding::Utf32);
    assert_eq!(chosen(json!([])), PositionEncoding::Utf16);
}

#[test]
fn our_own_messages_are_announced_by_true_or_by_an_object() {
    let clode = |value: Value| capabilities(&json!({ "experimental": { "clode": value } })).clode;
    let plain = ClodeCapabilities {
        version: 1,
        ..ClodeCapabilities::default()
    };
    assert_eq!(clode(json!(true)), Some(plain));
    assert_eq!(clode(json!([])), Some(plain));
    assert_eq!(
        clode(json!({ "version": 1, "input": true, "showDiff": true, "documents": false })),
        Some(ClodeCapabilities {
            version: 1,
            input: true,
            documents: false,
            show_diff: true
        })
    );
    for no in [json!(false), json!(null), json!(1), json!("yes")] {
        assert_eq!(clode(no), None);
    }
}

#[test]
fn an_empty_object_means_offered_where_the_protocol_has_no_flag() {
    for offered in [json!({}), json!([])] {
        let capabilities = capabilities(&json!({
            "window": { "showMessage": offered },
            "workspace": { "textDocumentContent": offered },
        }));
        assert!(capabilities.show_message_request && capabilities.text_document_content);
    }
}

#[test]
fn dynamic_registration_is_asked_for_by_method() {
    let capabilities = capabilities(&json!({
        "workspace": { "executeCommand": { "dynamicRegistration": true }, "didChangeWatchedFiles": {} },
        "textDocument": { "synchronization": { "dynamicRegistration": true } },
    }));
    assert!(capabilities.registers("workspace/executeCommand"));
    assert!(capabilities.registers("textDocument/didOpen"));
    assert!(!capabilities.registers("workspace/didChangeWatchedFiles"));
    assert!(!capabilities.registers("textDocument/codeLens"));
    assert!(capabilities.raw()["workspace"].is_object());
}

#[test]
fn the_name_of_the_client_changes_nothing() {
    let named = |name: &str| {
        ClientCapabilities::from_initialize(&json!({ "clientInfo": { "name": name }, "capabilities": {} }))
    };
    assert_eq!(named("Visual Studio Code"), named("vim"));
}
