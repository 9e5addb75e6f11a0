//! Takes back what was applied, whatever the person did to it since.

use clode_core::pipeline::HunkState::{Applied, Pending, Rejected, Reverted};
use clode_core::pipeline::Status;
use serde_json::json;

use super::{BASE, RESULT, line, two_hunks};
use crate::lsp::edit::{Selection, reject, revert};
use crate::lsp::review::testing::{Manners, World, able, plain};

#[tokio::test(flavor = "multi_thread")]
async fn an_applied_run_that_has_ended_is_taken_back_and_the_message_says_so() {
    let world = two_hunks(&able()).await;
    world.open("a.txt");
    world.apply(&[]).await;
    assert_eq!(world.machine().await.status(), Status::Completed);

    assert_eq!(world.revert(&[]).await, [line("a.txt", "reverted", "")]);

    assert_eq!(world.text("a.txt"), BASE);
    assert_eq!(world.recorded().await, [Reverted, Reverted]);
    assert_eq!(world.shown().await, ["reverted", "reverted"]);
    assert_eq!(world.machine().await.status(), Status::Completed);
    world
        .until("the message is there", |world| world.messages().len() == 2)
        .await;
    assert_eq!(
        world.messages()[1],
        "Clode: 2 hunks taken back; not saved: look at it and save."
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_typed_since_is_kept_and_a_changed_hunk_is_told_and_left_alone() {
    let world = two_hunks(&able()).await;
    world.open("a.txt");
    world.apply(&[]).await;
    let mine = RESULT
        .replace("TWO\n", "TWO\ntyped right below\n")
        .replace("EIGHT", "my own eight");
    world.types("a.txt", &mine);

    assert_eq!(
        world.revert(&[]).await,
        [
            line("a.txt", "conflict", "conflict"),
            line("a.txt", "reverted", "")
        ]
    );

    assert_eq!(world.text("a.txt"), mine.replace("TWO", "two"));
    assert_eq!(world.recorded().await, [Reverted, Applied]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_hunk_goes_back_while_the_others_are_still_decided() {
    let world = two_hunks(&able()).await;
    world.open("a.txt");
    let hunks = world.hunks();
    world.apply(&hunks[..1]).await;

    assert_eq!(world.revert(&hunks[..1]).await, [line("a.txt", "reverted", "")]);

    assert_eq!(world.text("a.txt"), BASE);
    assert_eq!(world.recorded().await, [Reverted, Pending]);
    assert_eq!(world.machine().await.open_gates().count(), 1);
    assert_eq!(
        world.apply(&hunks[..1]).await,
        [line("a.txt", "applied", "")],
        "and may come in again"
    );
    assert_eq!(world.text("a.txt"), BASE.replace("two", "TWO"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_in_the_text_is_taken_back() {
    let world = two_hunks(&able()).await;
    world.open("a.txt");
    let hunks = world.hunks();
    world.apply(&hunks[..1]).await;
    reject(&world.session, &world.run, &hunks[1..], None)
        .await
        .unwrap();
    assert_eq!(
        world.revert(&hunks[1..]).await,
        [line("a.txt", "failed", "notInText")]
    );
    assert_eq!(world.recorded().await, [Applied, Rejected]);
    assert_eq!(world.revert(&[]).await, [line("a.txt", "reverted", "")]);
    assert_eq!(world.revert(&[]).await, [], "a second time there is nothing left");
    assert_eq!(world.text("a.txt"), BASE);
    let unknown = Selection {
        files: Vec::new(),
        hunks: vec![clode_core::id::HunkId::new("unheard-of")],
    };
    let error = revert(&world.session, &world.run, &unknown).await.unwrap_err();
    assert_eq!(error.code, "unknownHunk");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_person_undid_already_counts_as_taken_back() {
    let world = two_hunks(&able()).await;
    world.open("a.txt");
    let hunks = world.hunks();
    world.apply(&[]).await;
    world.types("a.txt", &RESULT.replace("TWO", "two"));
    world.until_recorded(&[Reverted, Applied]).await;
    assert_eq!(world.revert(&hunks).await.len(), 2);
    assert_eq!(world.text("a.txt"), BASE);
    assert_eq!(world.recorded().await, [Reverted, Reverted]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_editor_that_only_says_so_has_taken_nothing_back() {
    let world = two_hunks(&able()).await;
    world.open("a.txt");
    world.apply(&[]).await;
    world.behave(Manners::Lies);
    assert_eq!(world.revert(&[]).await, [line("a.txt", "failed", "notApplied")]);
    assert_eq!(world.recorded().await, [Applied, Applied]);
    world.behave(Manners::Honest);
    assert_eq!(world.revert(&[]).await, [line("a.txt", "reverted", "")]);
    assert_eq!(world.text("a.txt"), BASE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_applies_no_edits_is_sent_to_the_command_line() {
    let world = two_hunks(&json!({})).await;
    std::fs::write(world.folder.join("a.txt"), RESULT).unwrap();
    let answer = revert(&world.session, &world.run, &Selection::default())
        .await
        .unwrap();
    let file = &answer["files"][0];
    assert_eq!(
        (file["result"].as_str(), file["code"].as_str()),
        (Some("failed"), Some("applyUnsupported"))
    );
    let hint = file["hint"].as_str().unwrap();
    assert!(hint.contains("clode-ls pipelines revert "), "{hint}");
    assert_eq!(world.on_disk("a.txt").as_deref(), Some(RESULT));
}

async fn with_files(capabilities: &serde_json::Value) -> World {
    World::new(
        capabilities,
        &[("gone.txt", Some("bye\n")), ("old.txt", Some(BASE))],
        &[
            ("gone.txt", None),
            ("old.txt", None),
            ("new.txt", Some(&RESULT.replace("EIGHT", "eight"))),
            ("fresh.txt", Some("hello\n")),
        ],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_back_go_and_move_back_through_the_editor_and_on_the_disk() {
    for capabilities in [able(), plain()] {
        let world = with_files(&capabilities).await;
        world.apply(&[]).await;
        if let Some(text) = world.hidden("new.txt") {
            world.open_with("new.txt", &text);
        }

        let mut results = world.revert(&[]).await;

        results.sort();
        let expected = ["fresh.txt", "gone.txt", "new.txt"].map(|path| line(path, "reverted", ""));
        assert_eq!(results, expected, "{capabilities:#}");
        assert_eq!(world.on_disk("fresh.txt"), None);
        assert_eq!(world.on_disk("new.txt"), None);
        assert!(world.recorded().await.iter().all(|state| *state == Reverted));
        if capabilities == plain() {
            assert_eq!(world.on_disk("gone.txt").as_deref(), Some("bye\n"));
            assert_eq!(world.on_disk("old.txt").as_deref(), Some(BASE));
        } else {
            assert_eq!(world.text("gone.txt"), "bye\n");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_that_was_changed_since_is_not_removed() {
    let world = with_files(&plain()).await;
    world.apply(&[]).await;
    std::fs::write(world.folder.join("fresh.txt"), "hello\nand mine\n").unwrap();
    let results = world.revert(&[]).await;
    assert!(
        results.contains(&line("fresh.txt", "conflict", "conflict")),
        "{results:?}"
    );
    assert_eq!(world.on_disk("fresh.txt").as_deref(), Some("hello\nand mine\n"));
    assert_eq!(world.on_disk("old.txt").as_deref(), Some(BASE));
}
