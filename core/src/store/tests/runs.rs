//! Runs, fences, signals, events, contents and checkpoints in one process.

use std::os::unix::fs::PermissionsExt;

use futures::future::join_all;

use super::support::{NOW, Place, create, finish, named_run, new_run, transition};
use crate::id::{BlobId, StepId};
use crate::store::{
    BLOB_INLINE_BYTES_MAX, Created, FIRST_FENCE, Finished, NewRun, RunFilter, SignalId, Transition, blob_id,
};

#[tokio::test]
async fn a_run_comes_back_as_it_was_created() {
    let place = Place::new();
    let store = place.open().await;
    let mut wish = new_run("one");
    wish.events = vec!["\"a\"".to_owned(), "\"b\"".to_owned()];
    wish.blobs = vec![b"prompt".to_vec()];

    let created = store.create_run(wish.clone()).await.unwrap();

    let row = store.run(&wish.id).await.unwrap().unwrap();
    assert_eq!(
        created,
        Created::New {
            row: Box::new(row.clone()),
            seqs: vec![1, 2]
        }
    );
    assert_eq!(
        (row.title, row.state, row.folder),
        (wish.title, wish.state, wish.folder)
    );
    assert_eq!((row.owner, row.fence, row.finished), (Some(wish.owner), 1, false));
    assert_eq!(store.blob(&blob_id(b"prompt")).await.unwrap(), b"prompt");
    assert_eq!(store.run(&"other".into()).await.unwrap(), None);
}

#[tokio::test]
async fn only_a_named_task_that_is_alive_and_the_same_is_found_again() {
    let place = Place::new();
    let store = place.open().await;
    let first = create(&store, named_run("first", "task", "same")).await;

    let again = store
        .create_run(named_run("second", "task", "same"))
        .await
        .unwrap();
    assert!(matches!(again, Created::Existing(row) if row.id == first));
    let other = store
        .create_run(named_run("third", "task", "other"))
        .await
        .unwrap_err();
    assert_eq!(other.code, "taskIdInUse");
    create(
        &store,
        NewRun {
            force: true,
            ..named_run("forced", "task", "same")
        },
    )
    .await;
    create(
        &store,
        NewRun {
            explicit: false,
            ..named_run("unnamed", "task", "other")
        },
    )
    .await;
    create(
        &store,
        NewRun {
            repository: "elsewhere".into(),
            ..named_run("elsewhere", "task", "other")
        },
    )
    .await;
}

#[tokio::test]
async fn a_finished_run_does_not_stand_in_the_way_and_is_found_by_its_task() {
    let place = Place::new();
    let store = place.open().await;
    let first = create(&store, named_run("first", "task", "same")).await;
    finish(&store, &first, "tree-of-the-snapshot").await;

    let second = create(&store, named_run("second", "task", "other")).await;

    let filter = RunFilter {
        task_id: Some("task".into()),
        ..RunFilter::default()
    };
    let found = store.runs(filter).await.unwrap();
    let names: Vec<_> = found
        .iter()
        .map(|row| (&row.id, row.finished, row.reuse.as_str()))
        .collect();
    assert_eq!(
        names,
        [(&second, false, ""), (&first, true, "tree-of-the-snapshot")]
    );
    let revived = store.commit(transition(&first, 1, "{}")).await.unwrap_err();
    assert_eq!(
        revived.code, "taskIdInUse",
        "two runs of one task are never alive"
    );
}

#[tokio::test]
async fn two_editors_that_start_the_same_task_at_once_get_one_run() {
    let place = Place::new();
    let (one, other) = (place.open().await, place.open().await);

    let answers = join_all((0..10).map(|number| {
        let store = if number % 2 == 0 { &one } else { &other };
        store.create_run(named_run(&format!("run-{number}"), "task", "same"))
    }))
    .await;

    let new = answers
        .iter()
        .filter(|answer| matches!(answer, Ok(Created::New { .. })))
        .count();
    assert_eq!(new, 1, "{answers:?}");
    assert!(answers.iter().all(Result::is_ok));
}

#[tokio::test]
async fn lists_are_newest_first_and_filtered() {
    let place = Place::new();
    let store = place.open().await;
    for name in ["a", "b", "c"] {
        create(&store, new_run(name)).await;
    }
    create(
        &store,
        NewRun {
            repository: "elsewhere".into(),
            ..new_run("d")
        },
    )
    .await;
    finish(&store, &"b".into(), "").await;

    let listed = async |filter| {
        let rows = store.runs(filter).await.unwrap();
        rows.iter()
            .map(|row| row.id.as_str().to_owned())
            .collect::<String>()
    };

    assert_eq!(listed(RunFilter::default()).await, "dcba");
    assert_eq!(
        listed(RunFilter {
            unfinished_only: true,
            ..RunFilter::default()
        })
        .await,
        "dca"
    );
    assert_eq!(
        listed(RunFilter {
            repository: Some("repository".into()),
            limit: 2,
            ..RunFilter::default()
        })
        .await,
        "cb"
    );
    assert_eq!(
        listed(RunFilter {
            ids: Some(vec!["a".into(), "d".into()]),
            ..RunFilter::default()
        })
        .await,
        "da"
    );
    assert_eq!(
        listed(RunFilter {
            ids: Some(Vec::new()),
            ..RunFilter::default()
        })
        .await,
        ""
    );
}

#[tokio::test]
async fn a_transition_stores_state_journal_events_signals_and_contents_together() {
    let place = Place::new();
    let store = place.open().await;
    let run = create(&store, new_run("run")).await;
    let signal = store
        .send_signal(&run, "approve-1", "\"yes\"".to_owned(), NOW)
        .await
        .unwrap();

    let committed = store
        .commit(Transition {
            consumed: vec![(signal, "\"approved\"".to_owned())],
            blobs: vec![b"transcript".to_vec()],
            events: vec!["1".to_owned(), "2".to_owned()],
            finished: Finished::Yes {
                reuse: "tree".to_owned(),
            },
            ..transition(&run, 1, "\"after\"")
        })
        .await
        .unwrap();

    assert_eq!(committed.seqs, [1, 2]);
    let row = store.run(&run).await.unwrap().unwrap();
    assert_eq!(
        (row.state.as_str(), row.finished, row.reuse.as_str()),
        ("\"after\"", true, "tree")
    );
    assert_eq!(row.updated_at, NOW.plus_ms(1));
    assert_eq!(store.pending_signals(&run, FIRST_FENCE).await.unwrap(), []);
    assert_eq!(
        store.signal_outcome(signal).await.unwrap().as_deref(),
        Some("\"approved\"")
    );
    assert_eq!(store.blob(&blob_id(b"transcript")).await.unwrap(), b"transcript");
    assert_eq!(store.journal(&run, 0, 10).await.unwrap().len(), 1);
    let events = store.events(&run, 1, 10).await.unwrap();
    assert_eq!(
        events
            .iter()
            .map(|event| (event.seq, event.body.as_str()))
            .collect::<Vec<_>>(),
        [(2, "2")]
    );
}

#[tokio::test]
async fn a_transition_that_cannot_be_stored_whole_leaves_nothing() {
    let place = Place::new();
    let store = place.open().await;
    let run = create(&store, new_run("run")).await;

    let unknown_signal = vec![(SignalId(99), "\"\"".to_owned())];
    let failed = store
        .commit(Transition {
            consumed: unknown_signal,
            ..transition(&run, 1, "\"after\"")
        })
        .await;

    assert_eq!(failed.unwrap_err().code, "unknownSignal");
    assert_eq!(store.run(&run).await.unwrap().unwrap().state, r#"{"step":0}"#);
    assert_eq!(store.events(&run, 0, 10).await.unwrap(), []);
    assert_eq!(store.journal(&run, 0, 10).await.unwrap(), []);
}

#[tokio::test]
async fn of_writes_that_wait_together_only_the_refused_ones_leave_nothing() {
    let place = Place::new();
    let store = place.open().await;
    let mut runs = Vec::new();
    for number in 0..30 {
        runs.push(create(&store, new_run(&format!("run-{number}"))).await);
    }

    // Every third is fenced off, every third names a signal that is unknown after writing much else.
    let answers = join_all(runs.iter().zip([0, 1, 2].into_iter().cycle()).map(|(run, kind)| {
        let consumed = if kind == 2 {
            vec![(SignalId(99), String::new())]
        } else {
            Vec::new()
        };
        store.commit(Transition {
            consumed,
            ..transition(run, if kind == 1 { 7 } else { 1 }, "\"after\"")
        })
    }))
    .await;

    let codes: Vec<_> = answers
        .iter()
        .map(|answer| answer.as_ref().map_or_else(|error| &*error.code, |_| "stored"))
        .collect();
    assert_eq!(codes, ["stored", "fenced", "unknownSignal"].repeat(10));
    for (run, code) in runs.iter().zip(codes) {
        let stored = store.run(run).await.unwrap().unwrap().state == "\"after\"";
        let events = store.events(run, 0, 10).await.unwrap().len();
        assert_eq!(
            (stored, events),
            (code == "stored", usize::from(code == "stored")),
            "{run}"
        );
    }
}

#[tokio::test]
async fn of_several_that_take_a_run_over_one_wins_and_the_old_owner_is_fenced() {
    let place = Place::new();
    let (old, one, other) = (place.open().await, place.open().await, place.open().await);
    let run = create(&old, new_run("run")).await;

    let (a, b) = (&"a".into(), &"b".into());
    let (first, second) = futures::join!(one.adopt(&run, 1, a), other.adopt(&run, 1, b));
    let won = [first.unwrap(), second.unwrap()];

    let fences: Vec<i64> = won.iter().flatten().map(|row| row.fence).collect();
    assert_eq!(fences, [2], "{won:?}");
    let late = old.commit(transition(&run, 1, "\"late\"")).await.unwrap_err();
    assert_eq!(late.code, "fenced");
    assert_eq!(old.release(&run, 1).await.unwrap_err().code, "fenced");
    let saved = old
        .save_checkpoint(&run, &"s".into(), 1, None, blob_id(b""), String::new(), NOW)
        .await;
    assert_eq!(saved.unwrap_err().code, "fenced");
    assert_eq!(old.run(&run).await.unwrap().unwrap().state, r#"{"step":0}"#);
    one.commit(transition(&run, 2, "\"new\"")).await.unwrap();
    one.release(&run, 2).await.unwrap();
    assert_eq!(old.run(&run).await.unwrap().unwrap().owner, None);
}

#[tokio::test]
async fn an_owner_that_looks_for_signals_hears_that_its_run_was_taken_over() {
    let place = Place::new();
    let store = place.open().await;
    let run = create(&store, new_run("run")).await;
    let signal = store
        .send_signal(&run, "pause", "\"pause\"".to_owned(), NOW)
        .await
        .unwrap();

    let waiting = store.pending_signals(&run, FIRST_FENCE).await.unwrap();
    assert_eq!(waiting.iter().map(|row| row.id).collect::<Vec<_>>(), [signal]);
    let adopted = store.adopt(&run, FIRST_FENCE, &"other".into()).await.unwrap();

    let refused = store.pending_signals(&run, FIRST_FENCE).await.unwrap_err();
    assert_eq!(refused.code, "fenced");
    assert_eq!(
        store.pending_signals(&run, adopted.unwrap().fence).await.unwrap(),
        waiting
    );
    let unknown = store.pending_signals(&"nobody".into(), 1).await.unwrap_err();
    assert_eq!(unknown.code, "unknownPipeline");
}

#[tokio::test]
async fn who_takes_a_run_over_gets_it_as_it_is_then() {
    let place = Place::new();
    let store = place.open().await;
    let run = create(&store, new_run("run")).await;
    let seen = store.run(&run).await.unwrap().unwrap();

    // The owner that is taken for dead writes once more.
    let late = transition(&run, FIRST_FENCE, "\"late\"");
    store.commit(late).await.unwrap();
    let adopted = store.adopt(&run, seen.fence, &"other".into()).await.unwrap();

    let adopted = adopted.expect("it is ours");
    assert_eq!(adopted.state, "\"late\"");
    assert_eq!(Some(adopted), store.run(&run).await.unwrap());
}

#[tokio::test]
async fn runs_that_have_not_ended_are_found_without_their_states() {
    let place = Place::new();
    let store = place.open().await;
    let ended = create(&store, new_run("ended")).await;
    finish(&store, &ended, "").await;
    let driven = create(&store, new_run("driven")).await;
    let left = create(&store, new_run("left")).await;
    store.release(&left, FIRST_FENCE).await.unwrap();
    let repository = store.run(&left).await.unwrap().unwrap().repository;

    let found = store.unfinished(&repository).await.unwrap();

    let found: Vec<_> = found.into_iter().map(|run| (run.id, run.owner)).collect();
    let owner = store.run(&driven).await.unwrap().unwrap().owner;
    assert!(owner.is_some());
    assert_eq!(found, [(left, None), (driven, owner)]);
    assert_eq!(store.unfinished(&"elsewhere".into()).await.unwrap(), []);
}

#[tokio::test]
async fn the_same_signal_sent_twice_is_one_signal() {
    let place = Place::new();
    let (one, other) = (place.open().await, place.open().await);
    let run = create(&one, new_run("run")).await;

    let ids = join_all((0..10).map(|number| {
        let store = if number % 2 == 0 { &one } else { &other };
        store.send_signal(&run, "approve-1", format!("\"{number}\""), NOW)
    }))
    .await;
    let ids: Vec<_> = ids.into_iter().map(Result::unwrap).collect();
    let next = one
        .send_signal(&run, "approve-2", "\"next\"".to_owned(), NOW)
        .await
        .unwrap();

    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let pending = one.pending_signals(&run, FIRST_FENCE).await.unwrap();
    assert_eq!(
        pending.iter().map(|signal| signal.id).collect::<Vec<_>>(),
        [ids[0], next]
    );
    assert_eq!(one.signal_outcome(next).await.unwrap(), None);
    let nobody = one
        .send_signal(&"nobody".into(), "d", String::new(), NOW)
        .await
        .unwrap_err();
    assert_eq!(nobody.code, "unknownPipeline");
}

#[tokio::test]
async fn what_came_of_a_signal_first_stays() {
    let place = Place::new();
    let store = place.open().await;
    let run = create(&store, new_run("run")).await;
    let signal = store
        .send_signal(&run, "d", "\"\"".to_owned(), NOW)
        .await
        .unwrap();

    for outcome in ["\"first\"", "\"second\""] {
        let consumed = vec![(signal, outcome.to_owned())];
        store
            .commit(Transition {
                consumed,
                ..transition(&run, 1, "{}")
            })
            .await
            .unwrap();
    }

    assert_eq!(
        store.signal_outcome(signal).await.unwrap().as_deref(),
        Some("\"first\"")
    );
}

#[tokio::test]
async fn contents_small_and_large_come_back_and_are_stored_once() {
    let place = Place::new();
    let store = place.open().await;
    for size in [0, 1, BLOB_INLINE_BYTES_MAX, BLOB_INLINE_BYTES_MAX + 1, 3_000_000] {
        let bytes: Vec<u8> = (0..size)
            .map(|index| u8::try_from(index % 251).unwrap())
            .collect();
        let id = store.put_blob(bytes.clone()).await.unwrap();
        assert_eq!(store.put_blob(bytes.clone()).await.unwrap(), id);
        assert_eq!(store.blob(&id).await.unwrap(), bytes, "{size} bytes");
        let file = place
            .state
            .join("blobs")
            .join(&id.as_str()[..2])
            .join(id.as_str());
        assert_eq!(file.exists(), size > BLOB_INLINE_BYTES_MAX, "{size} bytes");
        if file.exists() {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
    assert_eq!(
        store.blob(&BlobId::new("0".repeat(64))).await.unwrap_err().code,
        "unknownBlob"
    );
    assert!(store.size_bytes().await > 3_000_000);
}

#[tokio::test]
async fn a_checkpoint_is_replaced_and_needs_its_transcript() {
    let place = Place::new();
    let store = place.open().await;
    let run = create(&store, new_run("run")).await;
    let step = StepId::new("developer");
    let missing = store
        .save_checkpoint(&run, &step, 1, None, blob_id(b"never stored"), String::new(), NOW)
        .await;
    assert_eq!(missing.unwrap_err().code, "unknownBlob");
    assert_eq!(store.checkpoint(&run, &step).await.unwrap(), None);

    for turn in ["first", "second"] {
        let transcript = store.put_blob(turn.as_bytes().to_vec()).await.unwrap();
        store
            .save_checkpoint(
                &run,
                &step,
                1,
                Some(turn.into()),
                transcript,
                turn.to_owned(),
                NOW,
            )
            .await
            .unwrap();
    }

    let checkpoint = store.checkpoint(&run, &step).await.unwrap().unwrap();
    assert_eq!(
        (checkpoint.files, checkpoint.transcript),
        (Some("second".into()), blob_id(b"second"))
    );
}

#[tokio::test]
async fn only_an_ended_run_is_deleted_with_all_that_belongs_to_it() {
    let place = Place::new();
    let store = place.open().await;
    let run = create(&store, new_run("run")).await;
    let signal = store
        .send_signal(&run, "d", "\"\"".to_owned(), NOW)
        .await
        .unwrap();
    assert_eq!(store.delete_run(&run).await.unwrap_err().code, "runNotEnded");
    finish(&store, &run, "").await;

    store.delete_run(&run).await.unwrap();

    assert_eq!(store.run(&run).await.unwrap(), None);
    assert_eq!(store.events(&run, 0, 10).await.unwrap(), []);
    assert_eq!(
        store.signal_outcome(signal).await.unwrap_err().code,
        "unknownSignal"
    );
    assert_eq!(store.delete_run(&run).await.unwrap_err().code, "unknownPipeline");
    create(&store, new_run("run")).await;
}
