//! The step cache: what is found, by whom, and what goes.

use super::support::{NOW, Place, create, finish, new_run, raw, transition};
use crate::clock::Timestamp;
use crate::id::{CommitId, PipelineId, RepositoryId, StepKey};
use crate::money::Money;
use crate::store::{CACHE_ENTRY_BYTES_MAX, CacheEntry, CacheScope, CacheTrim, Store, Swept};

fn entry(run: &PipelineId, key: &str, answer: &str) -> CacheEntry {
    CacheEntry {
        repository: "repository".into(),
        lineage: format!("run {run}"),
        key: key.into(),
        variant: String::new(),
        run: run.clone(),
        step: "architect".into(),
        grounds: "{}".to_owned(),
        answer: answer.to_owned(),
        cost: Money::from_dollars(2),
        used_at: NOW,
    }
}

async fn put(store: &Store, entry: CacheEntry) {
    store.cache_put(entry, 1).await.unwrap();
}

/// The answers under a key, as the repository or one lineage finds them.
async fn found(store: &Store, key: &str, scope: CacheScope) -> Vec<String> {
    let repository: RepositoryId = "repository".into();
    let entries = store
        .cache_find(&repository, &StepKey::new(key), scope)
        .await
        .unwrap();
    entries.into_iter().map(|entry| entry.answer).collect()
}

fn lineage(of: &str) -> CacheScope {
    CacheScope::Lineage(format!("run {of}"))
}

#[tokio::test]
async fn a_result_is_found_by_its_own_lineage_by_the_whole_repository_and_after_a_restart() {
    let place = Place::new();
    let store = place.open().await;
    let (one, other) = (
        create(&store, new_run("one")).await,
        create(&store, new_run("other")).await,
    );
    put(&store, entry(&one, "k", "of one")).await;
    put(&store, entry(&other, "k", "of the other")).await;
    put(
        &store,
        CacheEntry {
            repository: "elsewhere".into(),
            ..entry(&one, "k", "of another repository")
        },
    )
    .await;
    store.close().await;

    let store = place.open().await;

    assert_eq!(found(&store, "k", lineage("one")).await, ["of one"]);
    assert_eq!(
        found(&store, "k", CacheScope::Repository).await,
        ["of the other", "of one"],
        "the newest first"
    );
    assert!(found(&store, "another", CacheScope::Repository).await.is_empty());
}

#[tokio::test]
async fn variants_stand_side_by_side_and_the_same_one_is_replaced() {
    let place = Place::new();
    let store = place.open().await;
    let run = create(&store, new_run("run")).await;
    for (variant, answer) in [("a", "first"), ("b", "second"), ("a", "third")] {
        put(
            &store,
            CacheEntry {
                variant: variant.to_owned(),
                ..entry(&run, "k", answer)
            },
        )
        .await;
    }
    assert_eq!(found(&store, "k", lineage("run")).await, ["third", "second"]);
}

#[tokio::test]
async fn a_stale_owner_keeps_nothing_and_too_large_a_result_is_not_kept() {
    let place = Place::new();
    let store = place.open().await;
    let run = create(&store, new_run("run")).await;

    let refused = store.cache_put(entry(&run, "k", "late"), 0).await.unwrap_err();
    assert_eq!(refused.code, "fenced");
    put(&store, entry(&run, "k", &"x".repeat(CACHE_ENTRY_BYTES_MAX))).await;

    assert!(found(&store, "k", CacheScope::Repository).await.is_empty());
}

#[tokio::test]
async fn what_a_transition_rejects_is_forgotten_whoever_made_it() {
    let place = Place::new();
    let store = place.open().await;
    let (one, other) = (
        create(&store, new_run("one")).await,
        create(&store, new_run("other")).await,
    );
    for run in [&one, &other] {
        put(&store, entry(run, "rejected", "x")).await;
        put(&store, entry(run, "kept", "y")).await;
    }
    let mut rejecting = transition(&one, 1, "\"rejected\"");
    rejecting.rejected = vec!["rejected".into(), "unknown".into()];
    store.commit(rejecting).await.unwrap();
    assert!(found(&store, "rejected", CacheScope::Repository).await.is_empty());
    assert_eq!(found(&store, "kept", CacheScope::Repository).await.len(), 2);
}

#[tokio::test]
async fn results_go_with_the_run_that_made_them_and_all_at_once_when_cleared() {
    let place = Place::new();
    let store = place.open().await;
    let (one, other) = (
        create(&store, new_run("one")).await,
        create(&store, new_run("other")).await,
    );
    put(&store, entry(&one, "k", "of one")).await;
    put(&store, entry(&other, "k", "of the other")).await;
    finish(&store, &one, "").await;
    store.delete_run(&one).await.unwrap();
    assert_eq!(found(&store, "k", CacheScope::Repository).await, ["of the other"]);

    let bytes = ("{}".len() + "of the other".len()) as u64;
    assert_eq!(store.cache_clear().await.unwrap(), Swept { removed: 1, bytes });
    assert_eq!(store.cache_clear().await.unwrap(), Swept::default());
    assert!(found(&store, "k", CacheScope::Repository).await.is_empty());
}

#[tokio::test]
async fn the_least_recently_used_goes_first_and_what_nobody_used_for_long_goes_anyway() {
    let place = Place::new();
    let store = place.open().await;
    let run = create(&store, new_run("run")).await;
    let at = |day: i64| Timestamp(NOW.0 + day * 86_400_000);
    for (key, day) in [("old", 0), ("first", 10), ("second", 11), ("third", 12)] {
        let answer = "12345678";
        put(
            &store,
            CacheEntry {
                used_at: at(day),
                ..entry(&run, key, answer)
            },
        )
        .await;
    }
    let first = store
        .cache_find(&"repository".into(), &"first".into(), CacheScope::Repository)
        .await;
    store.cache_touch(&first.unwrap()[0], at(13)).await.unwrap();

    let keep = CacheTrim {
        bytes_max: 20,
        unused_since: at(5),
    };
    let swept = store.cache_trim(keep).await.unwrap();

    assert_eq!(
        swept,
        Swept {
            removed: 2,
            bytes: 20
        }
    );
    for (key, expected) in [("old", 0), ("first", 1), ("second", 0), ("third", 1)] {
        assert_eq!(
            found(&store, key, CacheScope::Repository).await.len(),
            expected,
            "{key}"
        );
    }
    assert_eq!(store.cache_trim(keep).await.unwrap(), Swept::default());
}

#[tokio::test]
async fn a_damaged_result_counts_as_missing_and_is_replaced() {
    let place = Place::new();
    let store = place.open().await;
    let run = create(&store, new_run("run")).await;
    put(&store, entry(&run, "k", "right")).await;
    raw(&place.state)
        .execute("UPDATE step_cache SET answer = 'wrong'", [])
        .unwrap();
    assert!(found(&store, "k", lineage("run")).await.is_empty());
    put(&store, entry(&run, "k", "right")).await;
    assert_eq!(found(&store, "k", lineage("run")).await, ["right"]);
}

#[tokio::test]
async fn the_files_of_a_result_are_named_as_long_as_it_is_there() {
    let place = Place::new();
    let store = place.open().await;
    let run = create(&store, new_run("run")).await;
    let files = "0123456789abcdef0123456789abcdef01234567";
    put(
        &store,
        CacheEntry {
            grounds: format!("{{\"files\":\"{files}\"}}"),
            ..entry(&run, "k", "x")
        },
    )
    .await;
    assert!(
        store
            .named_commits()
            .await
            .unwrap()
            .contains(&CommitId::new(files))
    );
    store.cache_clear().await.unwrap();
    assert!(
        !store
            .named_commits()
            .await
            .unwrap()
            .contains(&CommitId::new(files))
    );
}
