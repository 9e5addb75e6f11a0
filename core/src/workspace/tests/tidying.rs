//! Private repositories stay small, and nothing that anybody needs is lost.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::world::{World, note, numbered, write};
use crate::id::CommitId;
use crate::workspace::tidy::{Thresholds, Tidied, writing};
use crate::workspace::{Repository, Snapshot};

/// Everything is worth tidying.
const EAGER: Thresholds = Thresholds {
    loose_max: 0,
    packs_max: 0,
    refs_worth_a_sweep: 1,
};
const TWO_DAYS: Duration = Duration::from_secs(2 * 24 * 60 * 60);

async fn prepared() -> (World, Repository) {
    let world = World::new().await;
    world.write("a.txt", &numbered(20, "\n"));
    world.write("folder/b.txt", "b\n");
    world.commit_all();
    let repository = world.repository().await;
    (world, repository)
}

fn room(world: &World, repository: &Repository) -> PathBuf {
    world
        .root()
        .join("state/repositories")
        .join(repository.id.as_str())
}

/// A snapshot with one file that the user's repository does not have.
async fn snapshot_with(world: &World, repository: &Repository, text: &str) -> Snapshot {
    world.write("new/file.txt", text);
    world.snapshot(repository).await
}

fn named(snapshots: &[&Snapshot]) -> BTreeSet<CommitId> {
    snapshots.iter().map(|snapshot| snapshot.commit.clone()).collect()
}

async fn tidy(world: &World, needed: &[&Snapshot]) -> Tidied {
    let needed = named(needed);
    world.workspaces.tidy_beyond(Some(&needed), EAGER).await.unwrap()
}

/// As if the snapshots so far had been taken two days ago.
fn age(world: &World, repository: &Repository) {
    for class in ["snapshots", "sealed", "results"] {
        let folder = room(world, repository).join("git/refs/clode").join(class);
        for file in files_below(&folder) {
            let file = std::fs::File::options().append(true).open(file).unwrap();
            let written = file.metadata().unwrap().modified().unwrap();
            file.set_modified(written.checked_sub(TWO_DAYS).unwrap()).unwrap();
        }
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| {
            if path.is_dir() {
                files_below(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// Loose objects and packs in one of our object directories.
fn contents(objects: &Path) -> (usize, usize) {
    let files = files_below(objects);
    let packs = files
        .iter()
        .filter(|file| file.extension().is_some_and(|ending| ending == "pack"));
    let loose = files.iter().filter(|file| {
        let folder = file.parent().and_then(Path::file_name).unwrap();
        folder.len() == 2
    });
    (loose.count(), packs.count())
}

fn is_missing(world: &World, objects: &Path, id: &str) -> bool {
    let git_dir = format!("--git-dir={}", objects.parent().unwrap().display());
    !world.try_git(&world.root(), &[&git_dir, "cat-file", "-e", id]).0
}

#[tokio::test]
async fn many_loose_objects_become_one_pack_and_can_all_be_read() {
    let (world, repository) = prepared().await;
    let objects = room(&world, &repository).join("git/objects");
    let first = snapshot_with(&world, &repository, "one\n").await;
    let second = snapshot_with(&world, &repository, "two\n").await;
    let (before, _) = contents(&objects);
    assert!(before >= 8, "{before}");

    let tidied = world.workspaces.tidy_beyond(None, EAGER).await.unwrap();
    assert_eq!((tidied.packed, tidied.refs, tidied.removed), (before, 0, 0));
    assert_eq!(contents(&objects), (0, 1));
    for (snapshot, text) in [(&first, "one\n"), (&second, "two\n")] {
        let found = world.text_at(&repository, snapshot, "new/file.txt").await;
        assert_eq!(found.as_deref(), Some(text));
    }
    // the next agent begins there, and the next snapshot is the same one
    let slot = world.slot(&repository, &second).await;
    assert_eq!(
        std::fs::read_to_string(slot.root.join("new/file.txt")).unwrap(),
        "two\n"
    );
    assert_eq!(world.snapshot(&repository).await.commit, second.commit);
}

#[tokio::test]
async fn few_loose_objects_are_left_alone() {
    let (world, repository) = prepared().await;
    snapshot_with(&world, &repository, "one\n").await;
    let tidied = world.workspaces.tidy(Some(&BTreeSet::new())).await.unwrap();
    assert_eq!(tidied, Tidied::default());
}

#[tokio::test]
async fn what_the_user_has_too_stays_ours_when_the_user_prunes_it() {
    let (world, repository) = prepared().await;
    let snapshot = snapshot_with(&world, &repository, "precious\n").await;
    // given that the user has committed and packed the very same
    world.git(&["checkout", "-q", "-b", "side"]);
    world.commit_all();
    world.git(&["gc", "-q"]);
    // when we tidy twice, and the user throws it away
    tidy(&world, &[&snapshot]).await;
    tidy(&world, &[&snapshot]).await;
    world.git(&["checkout", "-q", "main"]);
    world.git(&["branch", "-q", "-D", "side"]);
    world.git(&["reflog", "expire", "--expire=now", "--all"]);
    world.git(&["gc", "-q", "--prune=now"]);
    // then it is still there
    let found = world.text_at(&repository, &snapshot, "new/file.txt").await;
    assert_eq!(found.as_deref(), Some("precious\n"));
}

#[tokio::test]
async fn old_snapshots_that_nobody_names_go_with_what_only_they_hold() {
    let (world, repository) = prepared().await;
    let objects = room(&world, &repository).join("git/objects");
    let forgotten = snapshot_with(&world, &repository, "forgotten\n").await;
    let named = snapshot_with(&world, &repository, "named\n").await;
    age(&world, &repository);
    let young = snapshot_with(&world, &repository, "young\n").await;

    let tidied = tidy(&world, &[&named]).await;
    assert_eq!(tidied.refs, 1);
    assert!(tidied.removed >= 3, "{tidied:?}");
    assert!(is_missing(&world, &objects, forgotten.commit.as_str()));
    assert!(is_missing(&world, &objects, forgotten.tree.as_str()));
    for (snapshot, text) in [(&named, "named\n"), (&young, "young\n")] {
        let found = world.text_at(&repository, snapshot, "new/file.txt").await;
        assert_eq!(found.as_deref(), Some(text));
    }
    assert_eq!(contents(&objects), (0, 1));
    // and the same state gives the same snapshot anew
    let again = snapshot_with(&world, &repository, "forgotten\n").await;
    assert_eq!(again.commit, forgotten.commit);
    let found = world.text_at(&repository, &again, "new/file.txt").await;
    assert_eq!(found.as_deref(), Some("forgotten\n"));
}

#[tokio::test]
async fn a_snapshot_that_was_just_taken_again_counts_as_young() {
    let (world, repository) = prepared().await;
    let before = snapshot_with(&world, &repository, "same\n").await;
    age(&world, &repository);
    let again = world.snapshot(&repository).await;
    assert_eq!(before.commit, again.commit);
    assert_eq!(tidy(&world, &[]).await.refs, 0);
}

#[tokio::test]
async fn results_and_what_a_slot_stands_at_are_kept_without_being_named() {
    let (world, repository) = prepared().await;
    let snapshot = snapshot_with(&world, &repository, "base\n").await;
    let slot = world.slot(&repository, &snapshot).await;
    write(&slot.root.join("result.txt"), b"result\n");
    let collected = world
        .workspaces
        .collect(&repository, &slot, &snapshot.commit)
        .await
        .unwrap();
    age(&world, &repository);

    // the result is named, its parent is where the slot stands
    let needed = BTreeSet::from([collected.commit.clone()]);
    let tidied = world.workspaces.tidy_beyond(Some(&needed), EAGER).await.unwrap();
    assert_eq!(tidied.refs, 0);
    let patch = world
        .workspaces
        .patch(&repository, &snapshot.commit, &collected.commit)
        .await
        .unwrap();
    assert_eq!(patch.files.len(), 1);
    let again = world
        .workspaces
        .collect(&repository, &slot, &snapshot.commit)
        .await
        .unwrap();
    assert_eq!(again.commit, collected.commit);
}

#[tokio::test]
async fn a_result_keeps_the_commits_of_ours_that_it_stands_on() {
    let (world, repository) = prepared().await;
    let snapshot = snapshot_with(&world, &repository, "base\n").await;
    let slot = world.slot(&repository, &snapshot).await;
    write(&slot.root.join("result.txt"), b"result\n");
    let collected = world
        .workspaces
        .collect(&repository, &slot, &snapshot.commit)
        .await
        .unwrap();
    world.workspaces.release(slot).await;
    world.sweep_every_slot().await;
    age(&world, &repository);

    let needed = BTreeSet::from([collected.commit.clone()]);
    let tidied = world.workspaces.tidy_beyond(Some(&needed), EAGER).await.unwrap();
    assert_eq!(tidied.refs, 1);
    let patch = world
        .workspaces
        .patch(&repository, &snapshot.commit, &collected.commit)
        .await
        .unwrap();
    assert_eq!(patch.files.len(), 1);
}

#[tokio::test]
async fn secret_files_stay_with_their_snapshot_and_out_of_reach_of_agents() {
    let (world, repository) = prepared().await;
    world.write(".env", "TOKEN=very-secret\n");
    let snapshot = snapshot_with(&world, &repository, "open\n").await;
    assert_eq!(snapshot.withheld, [".env"]);
    age(&world, &repository);

    assert_eq!(tidy(&world, &[&snapshot]).await.refs, 0);
    let room = room(&world, &repository);
    assert_eq!(contents(&room.join("sealed")), (0, 1));
    let found = world.text_at(&repository, &snapshot, ".env").await;
    assert_eq!(found.as_deref(), Some("TOKEN=very-secret\n"));
    let secret = world.git(&["hash-object", ".env"]);
    assert!(is_missing(&world, &room.join("git/objects"), secret.trim()));
    // an agent gets the side that it may see
    let slot = world.slot(&repository, &snapshot).await;
    assert!(slot.root.join("new/file.txt").exists() && !slot.root.join(".env").exists());
    drop(slot);

    world.sweep_every_slot().await;
    assert_eq!(tidy(&world, &[]).await.refs, 2);
    assert_eq!(contents(&room.join("sealed")), (0, 0));
}

#[tokio::test]
async fn nothing_is_removed_while_somebody_writes() {
    let (world, repository) = prepared().await;
    snapshot_with(&world, &repository, "old\n").await;
    age(&world, &repository);
    let writer = writing(&room(&world, &repository)).await.unwrap();
    let tidied = tidy(&world, &[]).await;
    assert_eq!((tidied.busy, tidied.refs, tidied.removed), (1, 0, 0));
    drop(writer);
    assert_eq!(tidy(&world, &[]).await.refs, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_and_results_go_on_beside_eager_tidying() {
    let (world, repository) = prepared().await;
    let mut snapshots = Vec::new();
    let tidying = async {
        let mut rounds = 0;
        for _ in 0..12 {
            // everything that was taken so far is young, so all of it has to stay
            world
                .workspaces
                .tidy_beyond(Some(&BTreeSet::new()), EAGER)
                .await
                .unwrap();
            rounds += 1;
        }
        rounds
    };
    let working = async {
        for round in 0..6 {
            let text = format!("round {round}\n");
            let snapshot = snapshot_with(&world, &repository, &text).await;
            let slot = world
                .workspaces
                .acquire(&repository, &snapshot.commit, &note())
                .await
                .unwrap();
            write(&slot.root.join("result.txt"), text.as_bytes());
            let collected = world.workspaces.collect(&repository, &slot, &snapshot.commit);
            let collected = collected.await.unwrap();
            world.workspaces.release(slot).await;
            snapshots.push((snapshot, collected, text));
        }
    };
    let (rounds, ()) = tokio::join!(tidying, working);
    assert_eq!(rounds, 12);
    for (snapshot, collected, text) in &snapshots {
        let found = world.text_at(&repository, snapshot, "new/file.txt").await;
        assert_eq!(found.as_deref(), Some(text.as_str()));
        let patch = world
            .workspaces
            .patch(&repository, &snapshot.commit, &collected.commit)
            .await
            .unwrap();
        assert_eq!(patch.files[0].result_text.as_deref(), Some(text.as_str()));
    }
}
