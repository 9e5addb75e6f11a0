//! Sweeping contents away and copying the database.

use std::os::unix::fs::PermissionsExt;

use super::support::{NOW, Place, create, finish, new_run, transition};
use crate::id::{BlobId, CommitId};
use crate::store::{Store, Swept, Transition};

async fn is_there(store: &Store, id: &BlobId) -> bool {
    match store.blob(id).await {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.code, "unknownBlob");
            false
        }
    }
}

#[tokio::test]
async fn a_sweep_removes_what_nothing_names_and_spares_what_is_named_even_by_a_content() {
    let place = Place::new();
    let store = place.open().await;
    let run = create(&store, new_run("run")).await;
    let leaf = store.put_blob(vec![1; 100_000]).await.unwrap();
    let index = store
        .put_blob(format!("{{\"leaf\":\"{leaf}\"}}").into_bytes())
        .await
        .unwrap();
    let small_garbage = store.put_blob(b"garbage".to_vec()).await.unwrap();
    let large_garbage = store.put_blob(vec![2; 100_000]).await.unwrap();
    store
        .commit(transition(&run, 1, &format!("{{\"index\":\"{index}\"}}")))
        .await
        .unwrap();

    assert_eq!(
        store.sweep_blobs().await.unwrap(),
        Swept::default(),
        "all of it is newer than the last sweep"
    );
    let late = store
        .put_blob(b"put after the first sweep".to_vec())
        .await
        .unwrap();
    let swept = store.sweep_blobs().await.unwrap();

    assert_eq!(
        swept,
        Swept {
            removed: 2,
            bytes: 100_007
        }
    );
    for (id, expected) in [
        (&leaf, true),
        (&index, true),
        (&late, true),
        (&small_garbage, false),
        (&large_garbage, false),
    ] {
        assert_eq!(is_there(&store, id).await, expected);
    }
    assert!(
        !place
            .state
            .join("blobs")
            .join(&large_garbage.as_str()[..2])
            .join(large_garbage.as_str())
            .exists()
    );
    assert_eq!(store.put_blob(vec![2; 100_000]).await.unwrap(), large_garbage);
    assert!(is_there(&store, &large_garbage).await);
}

#[tokio::test]
async fn what_is_put_again_counts_as_new() {
    let place = Place::new();
    let store = place.open().await;
    let id = store.put_blob(b"twice".to_vec()).await.unwrap();
    store.sweep_blobs().await.unwrap();
    store.put_blob(b"twice".to_vec()).await.unwrap();
    assert_eq!(store.sweep_blobs().await.unwrap().removed, 0);
    assert_eq!(store.sweep_blobs().await.unwrap().removed, 1);
    assert!(!is_there(&store, &id).await);
}

#[tokio::test]
async fn transcripts_of_replaced_checkpoints_and_of_deleted_runs_go() {
    let place = Place::new();
    let store = place.open().await;
    let run = create(&store, new_run("run")).await;
    let mut transcripts = Vec::new();
    for turn in 0..5 {
        let transcript = store.put_blob(format!("turn {turn}").into_bytes()).await.unwrap();
        transcripts.push(transcript.clone());
        store
            .save_checkpoint(&run, &"step".into(), 1, None, transcript, String::new(), NOW)
            .await
            .unwrap();
    }
    store.sweep_blobs().await.unwrap();

    assert_eq!(store.sweep_blobs().await.unwrap().removed, 4);
    assert!(is_there(&store, &transcripts[4]).await);
    finish(&store, &run, "").await;
    store.delete_run(&run).await.unwrap();
    assert_eq!(store.sweep_blobs().await.unwrap().removed, 1);
}

#[tokio::test]
async fn a_copy_holds_what_was_committed_and_can_take_the_place_of_a_damaged_file() {
    let place = Place::new();
    let store = place.open().await;
    let run = create(&store, new_run("run")).await;
    for state in ["\"first\"", "\"second\""] {
        store
            .commit(Transition {
                blobs: vec![state.into()],
                ..transition(&run, 1, state)
            })
            .await
            .unwrap();
        store.back_up().await.unwrap();
    }
    store
        .commit(transition(&run, 1, "\"after the copy\""))
        .await
        .unwrap();
    store.close().await;
    let copy = place.state.join("backup/clode.db");
    assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        std::fs::read_dir(copy.parent().unwrap()).unwrap().count(),
        1,
        "one copy, nothing unfinished"
    );
    std::fs::write(place.state.join("clode.db"), "damaged".repeat(1000)).unwrap();
    std::fs::copy(&copy, place.state.join("clode.db")).unwrap();

    let store = place.open().await;
    assert_eq!(store.run(&run).await.unwrap().unwrap().state, "\"second\"");
    store.commit(transition(&run, 1, "\"goes on\"")).await.unwrap();
}

#[tokio::test]
async fn of_two_processes_that_make_a_backup_at_once_one_steps_back() {
    let place = Place::new();
    let store = place.open().await;
    let held = std::fs::File::create(place.state.join("backup.lock")).unwrap();
    held.lock().unwrap();
    assert_eq!(store.back_up().await.unwrap_err().code, "storeBusy");
    drop(held);
    store.back_up().await.unwrap();
}

#[tokio::test]
async fn every_commit_that_a_run_names_anywhere_is_found_and_no_other_digits() {
    let place = Place::new();
    let store = place.open().await;
    let run = create(&store, new_run("run")).await;
    let commit = |digit: &str| digit.repeat(40);
    let long = "e".repeat(64);
    let state = format!(
        r#"{{"base":"{}","long":"{long}","no":"{}","short":"{}"}}"#,
        commit("a"),
        "9".repeat(41),
        "8".repeat(39)
    );
    store
        .commit(Transition {
            journal: format!(r#"{{"files":"{}"}}"#, commit("b")),
            events: vec![format!(r#"{{"result":"{}"}}"#, commit("c"))],
            ..transition(&run, 1, &state)
        })
        .await
        .unwrap();
    let transcript = store.put_blob(b"said".to_vec()).await.unwrap();
    let (step, files) = ("developer".into(), CommitId::new(commit("d")));
    store
        .save_checkpoint(
            &run,
            &step,
            1,
            Some(files),
            transcript.clone(),
            String::new(),
            NOW,
        )
        .await
        .unwrap();

    let named = store.named_commits().await.unwrap();
    let expected = ["a", "b", "c", "d"].map(commit).into_iter();
    let expected = expected.chain([long, transcript.as_str().to_owned()]);
    assert_eq!(named, expected.map(CommitId::new).collect());

    finish(&store, &run, "").await;
    store.delete_run(&run).await.unwrap();
    assert_eq!(
        store.named_commits().await.unwrap(),
        std::collections::BTreeSet::new()
    );
}
