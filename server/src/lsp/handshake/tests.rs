use serde_json::{Value, json};

use super::*;
use crate::lsp::client::peer::Peer;
use crate::lsp::command::COMMANDS;

/// The answer to `initialize` with these parameters, and the session after it.
fn opened(params: &Value) -> (Value, Session) {
    let (client, _peer) = Peer::connect(&Value::Null);
    client.open(params.clone());
    let session = Session::new(
        client,
        std::sync::Arc::default(),
        std::sync::Arc::new(clode_core::redact::Redactor::new()),
    );
    let answer = initialize(&session).expect("an answer");
    (serde_json::to_value(answer).expect("JSON"), session)
}

#[test]
fn the_answer_advertises_exactly_the_table_of_commands() {
    let (answer, _) = opened(&json!({}));
    let ids: Vec<&str> = COMMANDS.iter().map(|command| command.id).collect();
    assert_eq!(
        answer["capabilities"]["executeCommandProvider"]["commands"],
        json!(ids)
    );
    let clode = &answer["capabilities"]["experimental"]["clode"];
    assert_eq!(clode["version"], 1);
    assert_eq!(clode["commands"], json!(ids));
    assert_eq!(
        clode["gates"],
        json!(["plan", "patch", "budget", "permission", "question", "knowledge"])
    );
    assert!(clode["agents"].is_array());
    assert_eq!(
        answer["serverInfo"],
        json!({"name": "clode-ls", "version": env!("CARGO_PKG_VERSION")})
    );
}

#[test]
fn documents_are_synchronised_by_changes_and_saves_are_told() {
    let (answer, _) = opened(&json!({}));
    let sync = &answer["capabilities"]["textDocumentSync"];
    assert_eq!((&sync["openClose"], &sync["change"]), (&json!(true), &json!(2)));
    assert!(sync["save"].is_object());
    let actions = &answer["capabilities"]["codeActionProvider"];
    assert_eq!(
        actions["codeActionKinds"],
        json!(["refactor.rewrite.clode", "quickfix.clode", "source.clode"])
    );
    assert_eq!(actions["resolveProvider"], false);
    assert_eq!(
        answer["capabilities"]["workspace"]["workspaceFolders"],
        json!({"supported": true, "changeNotifications": true})
    );
}

#[test]
fn virtual_documents_are_offered_only_to_clients_that_know_them() {
    let (answer, _) = opened(&json!({"capabilities": {"workspace": {"textDocumentContent": {}}}}));
    assert_eq!(
        answer["capabilities"]["workspace"]["textDocumentContent"],
        json!({"schemes": ["clode"]})
    );
    let (answer, _) = opened(&json!({}));
    assert_eq!(
        answer["capabilities"]["workspace"]["textDocumentContent"],
        Value::Null
    );
}

#[test]
fn positions_are_counted_as_the_client_offers_and_in_utf_16_where_it_offers_nothing() {
    let with =
        |encodings: Value| opened(&json!({"capabilities": {"general": {"positionEncodings": encodings}}}));
    for (offered, chosen) in [
        (json!(null), "utf-16"),
        (json!(["utf-16", "utf-8"]), "utf-8"),
        (json!(["utf-32"]), "utf-32"),
    ] {
        let (answer, session) = with(offered);
        assert_eq!(answer["capabilities"]["positionEncoding"], chosen);
        assert_eq!(session.encoding().name(), chosen);
    }
}

#[test]
fn folders_come_from_whichever_field_the_client_knows() {
    let paths = |params: Value| -> Vec<String> {
        let (_, session) = opened(&params);
        session
            .folders()
            .iter()
            .map(|folder| folder.path.display().to_string())
            .collect()
    };
    let folders = json!([{"uri": "file:///a/", "name": "a"}, {"uri": "file:///b%20c", "name": "b"}, {"uri": "untitled:x"}, 7]);
    assert_eq!(
        paths(json!({"workspaceFolders": folders, "rootUri": "file:///old"})),
        ["/a", "/b c"]
    );
    assert_eq!(
        paths(json!({"workspaceFolders": null, "rootUri": "file:///old"})),
        ["/old"]
    );
    assert_eq!(
        paths(json!({"rootUri": "file:///old", "rootPath": "/older"})),
        ["/old"]
    );
    assert_eq!(paths(json!({"rootUri": null, "rootPath": "/older"})), ["/older"]);
    assert!(paths(json!({"workspaceFolders": [], "rootUri": "file:///old"})).is_empty());
    assert!(paths(json!({})).is_empty());
}

#[test]
fn the_opening_may_bring_settings_and_trust_or_nothing_in_any_form() {
    for nothing in [json!(null), json!({}), json!([]), json!("x")] {
        assert_eq!(settings::opening(Some(&nothing)), (None, None), "{nothing}");
    }
    let options = json!({"trusted": "abc", "ui": {"prompts": false}});
    assert_eq!(
        settings::opening(Some(&options)),
        (Some(json!({"ui": {"prompts": false}})), Some(json!("abc")))
    );
}

#[test]
fn the_section_lies_over_the_opening_but_the_smaller_limit_holds() {
    let opening = json!({"limits": {"dailyBudgetUSD": 2, "perExecutionUSD": 9}, "ui": {"prompts": false, "inlayHints": true}});
    let section = json!({"limits": {"dailyBudgetUSD": 5, "perExecutionUSD": 1}, "ui": {"prompts": true}, "routing": []});
    let merged = settings(Some(&opening), Some(&section)).expect("settings");
    assert_eq!(
        merged["limits"],
        json!({"dailyBudgetUSD": 2, "perExecutionUSD": 1})
    );
    assert_eq!(merged["ui"], json!({"prompts": true, "inlayHints": true}));
    assert_eq!(settings(None, None), None);
}

#[tokio::test]
async fn folders_come_and_go_while_the_editor_works() {
    let (_, session) = opened(&json!({"workspaceFolders": [{"uri": "file:///a", "name": "a"}]}));
    let change = json!({"event": {"added": [{"uri": "file:///b/", "name": "b"}], "removed": [{"uri": "file:///a/", "name": "a"}]}});
    did_change_workspace_folders(&session, &change);
    let open: Vec<String> = session
        .folders()
        .iter()
        .map(|folder| folder.uri.to_string())
        .collect();
    assert_eq!(open, ["file:///b"]);
    did_change_workspace_folders(&session, &json!({}));
    assert_eq!(session.folders().len(), 1);
}
