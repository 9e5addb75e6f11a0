//! Applies through editors that are honest, lie, hide, refuse, and stay silent.

mod revert;

use clode_core::pipeline::HunkState::{Applied, Failed, Pending, Rejected, Reverted, Unconfirmed};
use clode_core::task::ApplyMode;
use serde_json::{Value, json};

use super::{Selection, port, workspace_edit};
use crate::lsp::command;
use crate::lsp::review::testing::{Manners, World, able, plain};

const BASE: &str = "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n";
const RESULT: &str = "one\nTWO\nthree\nfour\nfive\nsix\nseven\nEIGHT\nnine\n";

fn line(path: &str, result: &str, code: &str) -> (String, String, String) {
    (path.to_owned(), result.to_owned(), code.to_owned())
}

async fn two_hunks(capabilities: &Value) -> World {
    World::new(capabilities, &[("a.txt", Some(BASE))], &[("a.txt", Some(RESULT))]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_hunks_are_in_the_buffer_recorded_and_not_saved() {
    let world = two_hunks(&able()).await;
    world.open("a.txt");
    let hunks = world.hunks();
    assert_eq!(world.apply(&hunks[..1]).await, [line("a.txt", "applied", "")]);
    assert_eq!(world.text("a.txt"), BASE.replace("two", "TWO"));
    assert_eq!(world.recorded().await, [Applied, Pending]);
    assert_eq!(world.on_disk("a.txt").as_deref(), Some(BASE));
    world
        .until("the message is there", |world| !world.messages().is_empty())
        .await;
    assert_eq!(
        world.messages(),
        ["Clode: 1 hunk applied; not saved: look at it and save."]
    );
    let sent = world.sent("workspace/applyEdit");
    let change = &sent[0]["edit"]["documentChanges"][0];
    assert_eq!(change["textDocument"]["version"], 1);
    let edit = json!({"range": {"start": {"line": 1, "character": 0}, "end": {"line": 2, "character": 0}}, "newText": "TWO\n"});
    assert_eq!(change["edits"], json!([edit]));
    assert!(sent[0].get("metadata").is_none() && change["edits"][0].get("annotationId").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_whose_request_is_taken_back_halfway_is_carried_out_to_its_end() {
    let world = World::new(
        &plain(),
        &[("a.txt", Some(BASE)), ("gone.txt", Some("bye\n"))],
        &[("a.txt", Some(RESULT)), ("gone.txt", None)],
    )
    .await;
    world.open("a.txt");
    let params = json!({"command": "clode.pipeline.apply", "arguments": [{"pipelineId": world.run}]});

    tokio::select! {
        biased;
        () = world.until("the editor is asked", |world| !world.sent("workspace/applyEdit").is_empty()) => {}
        answer = command::execute(&world.session, params) => panic!("it answered: {answer:?}"),
    }

    world.until_recorded(&[Applied, Applied, Applied]).await;
    assert_eq!(
        (world.text("a.txt").as_str(), world.on_disk("gone.txt")),
        (RESULT, None)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn when_every_hunk_is_applied_the_gate_closes_and_the_run_ends() {
    let world = two_hunks(&able()).await;
    world.open("a.txt");
    assert_eq!(world.apply(&[]).await, [line("a.txt", "applied", "")]);
    assert_eq!(world.text("a.txt"), RESULT);
    let machine = world.machine().await;
    assert_eq!(machine.status(), clode_core::pipeline::Status::Completed);
    assert_eq!(machine.open_gates().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_editor_that_only_says_so_has_applied_nothing() {
    let world = two_hunks(&able()).await;
    world.open("a.txt");
    world.behave(Manners::Lies);
    assert_eq!(world.apply(&[]).await, [line("a.txt", "failed", "notApplied")]);
    assert_eq!(world.recorded().await, [Failed, Failed]);
    assert!(
        world.machine().await.open_gates().count() == 1,
        "the gate stays open"
    );
    world.behave(Manners::Honest);
    assert_eq!(
        world.apply(&[]).await,
        [line("a.txt", "applied", "")],
        "a failed apply can be repeated"
    );
    assert_eq!(world.text("a.txt"), RESULT);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_is_typed_meanwhile_makes_the_edit_stale_and_is_kept_by_the_next_one() {
    let world = two_hunks(&able()).await;
    world.open("a.txt");
    world.behave(Manners::IsTypedInto);
    assert_eq!(world.apply(&[]).await, [line("a.txt", "applied", "")]);
    assert_eq!(world.text("a.txt"), format!("typed meanwhile\n{RESULT}"));
    assert_eq!(world.sent("workspace/applyEdit").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_open_is_asked_for_first() {
    let world = two_hunks(&able()).await;
    assert_eq!(world.apply(&[]).await, [line("a.txt", "applied", "")]);
    assert_eq!(world.text("a.txt"), RESULT);
    let shown = &world.sent("window/showDocument")[0];
    assert_eq!(
        (shown["uri"].as_str().unwrap(), &shown["takeFocus"]),
        (world.uri("a.txt").as_str(), &json!(false))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_stays_unseen_is_unconfirmed_until_it_is_opened() {
    let world = two_hunks(&able()).await;
    world.behave(Manners::Hides);
    assert_eq!(world.apply(&[]).await, [line("a.txt", "unconfirmed", "")]);
    let sent = world.sent("workspace/applyEdit");
    assert_eq!(sent.len(), 1, "all hunks in one edit");
    assert_eq!(
        sent[0]["edit"]["documentChanges"][0]["edits"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        sent[0]["edit"]["documentChanges"][0]["textDocument"]["version"],
        Value::Null
    );
    assert_eq!(world.recorded().await, [Unconfirmed, Unconfirmed]);
    assert_eq!(world.shown().await, ["unconfirmed", "unconfirmed"]);
    let hidden = world.hidden("a.txt").unwrap();
    world.open_with("a.txt", &hidden);
    world.until_recorded(&[Applied, Applied]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unconfirmed_hunk_whose_file_opens_without_it_waits_again() {
    let world = two_hunks(&able()).await;
    world.behave(Manners::Hides);
    world.apply(&[]).await;
    world.open("a.txt");
    world.until_recorded(&[Pending, Pending]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unconfirmed_hunk_is_applied_when_the_disk_shows_it() {
    let world = two_hunks(&able()).await;
    world.behave(Manners::Hides);
    world.apply(&[]).await;
    std::fs::write(world.folder.join("a.txt"), RESULT).unwrap();
    crate::lsp::review::document_changed(&world.session, &world.uri("a.txt"));
    world.until_recorded(&[Applied, Applied]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_document_changes_gets_the_old_form() {
    let world = two_hunks(&plain()).await;
    world.open("a.txt");
    assert_eq!(world.apply(&[]).await, [line("a.txt", "applied", "")]);
    assert_eq!(world.text("a.txt"), RESULT);
    let edit = &world.sent("workspace/applyEdit")[0]["edit"];
    assert!(edit.get("documentChanges").is_none() && edit["changes"][world.uri("a.txt").as_str()].is_array());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_applies_no_edits_is_told_so_and_nothing_is_touched() {
    let world = two_hunks(&json!({})).await;
    world.open("a.txt");
    assert_eq!(
        world.apply(&[]).await,
        [line("a.txt", "failed", "applyUnsupported")]
    );
    assert_eq!(
        (world.text("a.txt"), world.on_disk("a.txt").unwrap()),
        (BASE.to_owned(), BASE.to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_shown_and_the_rest_is_applied() {
    let world = two_hunks(&able()).await;
    world.open("a.txt");
    let mine = BASE.replace("two", "my own two");
    world.types("a.txt", &mine);
    assert_eq!(
        world.apply(&[]).await,
        [
            line("a.txt", "conflict", "conflict"),
            line("a.txt", "applied", "")
        ]
    );
    assert_eq!(world.text("a.txt"), mine.replace("eight", "EIGHT"));
    let files = super::files(&world.session, &world.run).await.unwrap();
    let hunk = &files[0]["hunks"][0];
    assert_eq!(hunk["state"], "conflict");
    assert_eq!(
        hunk["conflict"],
        json!({"base": "two\n", "mine": "my own two\n", "theirs": "TWO\n"})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_ends_and_the_missing_final_one_of_the_buffer_are_kept() {
    let world = two_hunks(&able()).await;
    let windows = |text: &str| text.replace('\n', "\r\n").trim_end().to_owned();
    world.open_with("a.txt", &windows(BASE));
    assert_eq!(world.apply(&[]).await, [line("a.txt", "applied", "")]);
    assert_eq!(world.text("a.txt"), windows(RESULT));
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_makes_a_hunk_wait_again_and_redo_applies_it_again() {
    let world = two_hunks(&able()).await;
    world.open("a.txt");
    let hunks = world.hunks();
    world.apply(&hunks[..1]).await;
    let applied = world.text("a.txt");
    world.types("a.txt", BASE);
    world.until_recorded(&[Pending, Pending]).await;
    world.types("a.txt", &applied);
    world.until_recorded(&[Applied, Pending]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_after_the_gate_was_closed_is_a_reversal() {
    let world = two_hunks(&able()).await;
    world.open("a.txt");
    world.apply(&[]).await;
    world.types("a.txt", BASE);
    world.until_recorded(&[Reverted, Reverted]).await;
    assert_eq!(world.shown().await, ["reverted", "reverted"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buffer_that_is_closed_unsaved_is_judged_against_the_disk() {
    let world = two_hunks(&able()).await;
    world.open("a.txt");
    let hunks = world.hunks();
    world.apply(&hunks[1..]).await;
    world.close("a.txt");
    world.until_recorded(&[Pending, Pending]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_go_and_move_through_an_editor_that_declares_it() {
    let world = World::new(
        &able(),
        &[
            ("gone.txt", Some("bye\n")),
            ("old.txt", Some(BASE)),
            ("a.txt", Some(BASE)),
        ],
        &[
            ("gone.txt", None),
            ("old.txt", None),
            ("new.txt", Some(&RESULT.replace("EIGHT", "eight"))),
            ("fresh.txt", Some("hello\n")),
            ("a.txt", Some(RESULT)),
        ],
    )
    .await;
    let mut results = world.apply(&[]).await;
    results.sort();
    let expected = ["a.txt", "fresh.txt", "gone.txt", "old.txt"].map(|path| line(path, "applied", ""));
    assert_eq!(results, expected);
    assert_eq!(world.text("fresh.txt"), "hello\n");
    assert_eq!(world.on_disk("gone.txt"), None);
    assert_eq!(world.on_disk("old.txt"), None);
    assert_eq!(world.text("new.txt"), RESULT.replace("EIGHT", "eight"));
    let sent = world.sent("workspace/applyEdit");
    assert_eq!(sent.len(), 2, "text first, files last: {sent:#?}");
    let kinds = |sent: &Value| {
        sent["edit"]["documentChanges"]
            .as_array()
            .unwrap()
            .iter()
            .map(|change| change["kind"].clone())
            .collect::<Vec<_>>()
    };
    assert!(kinds(&sent[0]).iter().all(Value::is_null));
    assert!(kinds(&sent[1]).iter().any(|kind| kind == "rename"));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_go_and_move_on_the_disk_where_the_editor_declares_nothing() {
    let world = World::new(
        &plain(),
        &[("gone.txt", Some("bye\n")), ("old.txt", Some(BASE))],
        &[
            ("gone.txt", None),
            ("old.txt", None),
            ("new.txt", Some(&RESULT.replace("EIGHT", "eight"))),
            ("fresh.txt", Some("hello\n")),
        ],
    )
    .await;
    let results = world.apply(&[]).await;
    assert!(
        results.iter().all(|(_, result, _)| result == "applied"),
        "{results:?}"
    );
    assert_eq!(world.on_disk("fresh.txt").as_deref(), Some("hello\n"));
    assert_eq!(
        (world.on_disk("gone.txt"), world.on_disk("old.txt")),
        (None, None)
    );
    assert_eq!(world.on_disk("new.txt"), Some(RESULT.replace("EIGHT", "eight")));
    assert_eq!(world.sent("workspace/applyEdit").len(), 0);
    assert_eq!(
        world.machine().await.status(),
        clode_core::pipeline::Status::Completed
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_unsaved_text_is_not_moved_on_the_disk() {
    let changed = RESULT.replace("EIGHT", "eight");
    let world = World::new(
        &plain(),
        &[("old.txt", Some(BASE))],
        &[("old.txt", None), ("new.txt", Some(&changed))],
    )
    .await;
    world.open_with("old.txt", &format!("{BASE}ten\n"));
    assert_eq!(world.apply(&[]).await, [line("old.txt", "failed", "unsavedText")]);
    assert_eq!(world.on_disk("old.txt").as_deref(), Some(BASE));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_of_a_file_whose_move_fails_is_taken_back() {
    let changed = RESULT.replace("EIGHT", "eight");
    let world = World::new(
        &able(),
        &[("old.txt", Some(BASE))],
        &[("old.txt", None), ("new.txt", Some(&changed))],
    )
    .await;
    world.open("old.txt");
    world.behave(Manners::FailsMoves);
    assert_eq!(world.apply(&[]).await, [line("old.txt", "failed", "editRefused")]);
    assert_eq!(world.text("old.txt"), BASE);
    assert_eq!(world.recorded().await, [Failed]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_hunk_keeps_the_comment_and_can_be_taken_by_name() {
    let world = two_hunks(&able()).await;
    world.open("a.txt");
    let hunks = world.hunks();
    super::reject(
        &world.session,
        &world.run,
        &hunks[..1],
        Some("not like this".to_owned()),
    )
    .await
    .unwrap();
    assert_eq!(world.recorded().await, [Rejected, Pending]);
    assert_eq!(
        world.machine().await.hunks[0].comment.as_deref(),
        Some("not like this")
    );
    assert_eq!(world.apply(&hunks[..1]).await, [line("a.txt", "applied", "")]);
    assert_eq!(world.recorded().await, [Applied, Pending]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_hunk_or_file_is_the_callers_mistake() {
    let world = two_hunks(&able()).await;
    let hunk = Selection {
        hunks: vec!["nothing".into()],
        ..Selection::default()
    };
    let file = Selection {
        files: vec![world.uri("b.txt")],
        ..Selection::default()
    };
    for (selection, code) in [(hunk, "unknownHunk"), (file, "unknownFile")] {
        let error = super::apply(&world.session, &world.run, &selection)
            .await
            .unwrap_err();
        assert_eq!((error.kind, &*error.code), (clode_core::Kind::Usage, code));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_asking_only_what_is_clean_and_allowed_is_applied() {
    let world = World::with_spec(
        &able(),
        &[("a.txt", Some(BASE)), (".vscode/tasks.json", Some("one\n"))],
        &[("a.txt", Some(RESULT)), (".vscode/tasks.json", Some("two\n"))],
        |spec| spec.options.apply = ApplyMode::Direct,
    )
    .await;
    world.open_with("a.txt", &BASE.replace("eight", "my eight"));
    let outcomes = port(&world.session).apply_pending(&world.run).await;
    assert_eq!(
        world.text("a.txt"),
        BASE.replace("eight", "my eight").replace("two", "TWO")
    );
    let of = |path: &str| {
        world
            .patch
            .files
            .iter()
            .find(|file| file.path == path)
            .unwrap()
            .hunks[0]
            .id
            .clone()
    };
    assert!(
        outcomes
            .iter()
            .any(|outcome| outcome.id == of("a.txt") && outcome.state == Applied)
    );
    assert!(
        !outcomes
            .iter()
            .any(|outcome| outcome.id == of(".vscode/tasks.json")),
        "it waits for a person"
    );
    assert_eq!(world.on_disk(".vscode/tasks.json").as_deref(), Some("one\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_edit_can_be_had_without_being_applied() {
    let world = two_hunks(&able()).await;
    world.open("a.txt");
    let hunks = world.hunks();
    let answer = workspace_edit(
        &world.session,
        &world.run,
        &Selection {
            hunks: hunks[1..].to_vec(),
            ..Selection::default()
        },
    )
    .await
    .unwrap();
    let change = &answer["edit"]["documentChanges"][0];
    assert_eq!(change["edits"][0]["newText"], "EIGHT\n");
    assert_eq!(world.text("a.txt"), BASE);
    assert_eq!(world.recorded().await, [Pending, Pending]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_count_in_the_encoding_of_the_client() {
    for (encoding, column) in [("utf-8", 4), ("utf-16", 2), ("utf-32", 1)] {
        let mut capabilities = able();
        capabilities["general"] = json!({"positionEncodings": [encoding]});
        // the replaced text is the last line, which has no end: the range ends within it
        let world = World::new(
            &capabilities,
            &[("a.txt", Some("x\n🦀"))],
            &[("a.txt", Some("x\n🦀🦀"))],
        )
        .await;
        world.open("a.txt");
        let files = super::files(&world.session, &world.run).await.unwrap();
        let expected = json!({"start": {"line": 1, "character": 0}, "end": {"line": 1, "character": column}});
        assert_eq!(files[0]["hunks"][0]["range"], expected, "{encoding}");
        assert_eq!(files[0]["hunks"][0]["baseRange"], expected, "{encoding}");
        assert_eq!(world.apply(&[]).await, [line("a.txt", "applied", "")]);
        assert_eq!(world.text("a.txt"), "x\n🦀🦀");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_lands_in_the_wrong_place_is_taken_back_and_made_anew() {
    let world = two_hunks(&plain()).await;
    world.open("a.txt");
    world.behave(Manners::IgnoresVersions);
    assert_eq!(world.apply(&[]).await, [line("a.txt", "applied", "")]);
    assert_eq!(world.text("a.txt"), format!("typed meanwhile\n{RESULT}"));
    assert_eq!(
        world.sent("workspace/applyEdit").len(),
        3,
        "the edit, its reversal, and the edit anew"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hunk_with_the_mark_of_a_secret_is_refused() {
    let marked = BASE.replace("two", "«redacted:github-token:0a1b2c»");
    let world = World::new(&able(), &[("a.txt", Some(BASE))], &[("a.txt", Some(&marked))]).await;
    world.open("a.txt");
    assert_eq!(world.apply(&[]).await, [line("a.txt", "failed", "redactionMark")]);
    assert_eq!(world.text("a.txt"), BASE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yes_at_the_patch_gate_applies_all_that_waits_and_ends_the_run() {
    let world = World::new(
        &able(),
        &[("a.txt", Some(BASE)), (".vscode/tasks.json", Some("one\n"))],
        &[("a.txt", Some(RESULT)), (".vscode/tasks.json", Some("two\n"))],
    )
    .await;
    world.open("a.txt");
    world.open(".vscode/tasks.json");
    let engine = world.session.engine().await.unwrap();
    engine.set_editor(port(&world.session));
    let answer = clode_core::pipeline::Answer {
        approved: true,
        ..Default::default()
    };
    let by = crate::lsp::review::answerer(&world.session);
    let yes = clode_core::engine::Signal::Answer {
        approval: None,
        gate: None,
        answer,
        by,
    };
    engine.signal(&world.run, yes).await.unwrap();
    world.until_recorded(&[Applied, Applied, Applied]).await;
    assert_eq!(
        (world.text("a.txt"), world.text(".vscode/tasks.json")),
        (RESULT.to_owned(), "two\n".to_owned())
    );
    assert_eq!(
        world.machine().await.status(),
        clode_core::pipeline::Status::Completed
    );
}
