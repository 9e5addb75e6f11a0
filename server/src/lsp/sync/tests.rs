use lsp_types::{Position, Range};
use serde_json::json;

use super::*;
use crate::lsp::lab::Lab;

fn change(uri: &Url, version: i32, changes: &Value) -> Value {
    json!({"textDocument": {"uri": uri, "version": version}, "contentChanges": changes})
}

fn range(start: (u32, u32), end: (u32, u32)) -> Range {
    let position = |(line, character)| Position { line, character };
    Range {
        start: position(start),
        end: position(end),
    }
}

/// An editor that has opened this text as version 1.
fn with(text: &str) -> (Lab, Url) {
    let lab = Lab::open(&json!({}));
    let uri = lab.uri("src/sum.rs");
    did_open(
        &lab.session,
        &json!({"textDocument": {"uri": uri, "languageId": "rust", "version": 1, "text": text}}),
    );
    (lab, uri)
}

#[tokio::test]
async fn a_document_is_what_its_changes_make_of_it_until_it_is_closed() {
    let (lab, uri) = with("one\ntwo\n");
    let changes = json!([
        {"range": range((0, 0), (0, 3)), "text": "1"},
        {"range": range((1, 0), (1, 3)), "rangeLength": 3, "text": "2"},
    ]);
    did_change(&lab.session, &change(&uri, 2, &changes));
    let document = lab.session.document(&uri).expect("open");
    assert_eq!((document.text().as_str(), document.version), ("1\n2\n", 2));
    did_change(&lab.session, &change(&uri, 3, &json!([{"text": "whole"}])));
    assert_eq!(lab.session.document(&uri).expect("open").text(), "whole");
    did_close(&lab.session, &json!({"textDocument": {"uri": uri}}));
    assert!(lab.session.document(&uri).is_none());
}

#[tokio::test]
async fn messages_that_make_no_sense_are_passed_over() {
    let (lab, uri) = with("one\n");
    for nonsense in [
        json!(null),
        json!([]),
        json!({"textDocument": {"uri": 7}}),
        json!({"textDocument": {"uri": "not an address"}}),
    ] {
        did_open(&lab.session, &nonsense);
        did_change(&lab.session, &nonsense);
        did_save(&lab.session, &nonsense);
        did_close(&lab.session, &nonsense);
        did_change_watched_files(&lab.session, &nonsense);
    }
    did_change(&lab.session, &change(&uri, 2, &json!([7, {"text": "two\n"}])));
    did_change(
        &lab.session,
        &change(&lab.uri("never/opened"), 2, &json!([{"text": "x"}])),
    );
    assert_eq!(lab.session.document(&uri).expect("open").text(), "two\n");
}

#[tokio::test]
async fn a_range_of_an_earlier_version_is_carried_to_the_text_of_now() {
    let (lab, uri) = with("one\ntwo\n");
    let two = range((1, 0), (1, 3));
    did_change(
        &lab.session,
        &change(
            &uri,
            2,
            &json!([{"range": range((0, 0), (0, 0)), "text": "zero\n"}]),
        ),
    );
    did_change(
        &lab.session,
        &change(&uri, 3, &json!([{"text": "zero\none!\ntwo\n"}])),
    );
    let document = lab.session.document(&uri).expect("open");
    let carried = lab.session.history().carry(&document, 1, two);
    assert_eq!(carried, Carried::To(document.bytes_of(range((2, 0), (2, 3)))));
}

#[tokio::test]
async fn a_range_whose_text_was_changed_or_whose_version_is_unknown_is_lost() {
    let (lab, uri) = with("one\ntwo\n");
    did_change(
        &lab.session,
        &change(&uri, 2, &json!([{"range": range((0, 2), (1, 1)), "text": ""}])),
    );
    let document = lab.session.document(&uri).expect("open");
    let history = lab.session.history();
    assert_eq!(history.carry(&document, 1, range((1, 0), (1, 3))), Carried::Lost);
    assert_eq!(history.carry(&document, 7, range((0, 0), (0, 1))), Carried::Lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_configuration_with_an_error_shows_it_and_the_last_good_one_stays_in_force() {
    let mut lab = Lab::open(&json!({}));
    let file = lab.folder.join(WORKSPACE_FILE);
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    std::fs::write(&file, "limits:\n  perExecutionUSD: 2\n").expect("written");
    assert!(check_configuration(&lab.session).await.is_empty());
    std::fs::write(&file, "limits:\n  perExecutionUSD: much\n").expect("written");
    did_save(
        &lab.session,
        &json!({"textDocument": {"uri": lab.uri(WORKSPACE_FILE)}}),
    );
    let told = lab
        .sent_until(|message| message["method"] == "textDocument/publishDiagnostics")
        .await;
    let shown = &told.last().expect("one")["params"];
    assert_eq!(shown["uri"], json!(lab.uri(WORKSPACE_FILE)));
    let diagnostic = &shown["diagnostics"][0];
    assert_eq!(
        (&diagnostic["source"], &diagnostic["severity"]),
        (&json!("clode"), &json!(1))
    );
    assert_eq!(diagnostic["range"], json!(range((1, 19), (1, 23))));
    assert!(
        diagnostic["code"].is_string() && diagnostic["message"].is_string(),
        "{diagnostic}"
    );
    let repository = lab.session.find_repositories().await.pop().expect("a repository");
    let configured = lab
        .session
        .engine()
        .await
        .expect("open")
        .configuration(&repository)
        .await
        .expect("read");
    assert_eq!(
        configured.loaded.config.limits.per_execution,
        Some(clode_core::money::Money::from_dollars(2))
    );
    std::fs::write(&file, "limits:\n  perExecutionUSD: 1\n").expect("written");
    assert!(check_configuration(&lab.session).await.is_empty());
    let told = lab
        .sent_until(|message| message["method"] == "textDocument/publishDiagnostics")
        .await;
    assert_eq!(told.last().expect("one")["params"]["diagnostics"], json!([]));
}
