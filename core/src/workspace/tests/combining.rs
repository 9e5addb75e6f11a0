//! Two agents' results that began from the same files, brought together.

use super::world::{World, make_executable, numbered, write};
use crate::id::CommitId;
use crate::workspace::{Combined, Repository, Snapshot};

/// What an agent leaves behind that does this in its working directory.
async fn result(
    world: &World,
    repository: &Repository,
    snapshot: &Snapshot,
    work: impl FnOnce(&std::path::Path),
) -> CommitId {
    let slot = world.slot(repository, snapshot).await;
    work(&slot.root);
    let collected = world
        .workspaces
        .collect(repository, &slot, &snapshot.commit)
        .await
        .unwrap();
    world.workspaces.release(slot).await;
    collected.commit
}

async fn text(world: &World, repository: &Repository, commit: &CommitId, path: &str) -> Option<String> {
    let bytes = world
        .workspaces
        .file_at(repository, commit, path)
        .await
        .unwrap()?;
    Some(String::from_utf8(bytes).unwrap())
}

#[tokio::test]
async fn changes_of_both_sides_are_in_the_combined_files() {
    let world = World::new().await;
    world.write("shared.txt", &numbered(20, "\n"));
    world.write("gone.txt", "gone\n");
    world.write("tool.sh", "run\n");
    world.commit_all();
    let before = world.user_git();
    let repository = world.repository().await;
    let base = world.snapshot(&repository).await;
    let one = result(&world, &repository, &base, |root| {
        let changed = numbered(20, "\n").replace("line 2\n", "line two\n");
        write(&root.join("shared.txt"), changed.as_bytes());
        write(&root.join("one.txt"), b"one\n");
        std::fs::remove_file(root.join("gone.txt")).unwrap();
    });
    let one = one.await;
    let other = result(&world, &repository, &base, |root| {
        let changed = numbered(20, "\n").replace("line 17\n", "line seventeen\n");
        write(&root.join("shared.txt"), changed.as_bytes());
        write(&root.join("folder/other.txt"), b"other\n");
        make_executable(&root.join("tool.sh"));
    });
    let other = other.await;

    let combined = world
        .workspaces
        .combine(&repository, &base.commit, &one, &other)
        .await
        .unwrap();

    let Combined::Files(files) = combined else {
        panic!("{combined:?}");
    };
    let shared = text(&world, &repository, &files, "shared.txt").await.unwrap();
    assert!(
        shared.contains("line two\n") && shared.contains("line seventeen\n"),
        "{shared}"
    );
    let tree = world.tree_of(&repository, files.as_str());
    let paths: Vec<&str> = tree.keys().map(String::as_str).collect();
    assert_eq!(paths, ["folder/other.txt", "one.txt", "shared.txt", "tool.sh"]);
    assert_eq!(tree["tool.sh"], "100755");
    assert_eq!(world.user_git(), before);
}

#[tokio::test]
async fn a_place_that_both_changed_is_named_and_nothing_is_combined() {
    let world = World::new().await;
    world.write("same.txt", "a\n");
    world.write("deleted.txt", "a\n");
    world.write("blob.bin", "a\0b\n");
    world.commit_all();
    let repository = world.repository().await;
    let base = world.snapshot(&repository).await;
    let one = result(&world, &repository, &base, |root| {
        write(&root.join("same.txt"), b"one\n");
        write(&root.join("new.txt"), b"one\n");
        write(&root.join("blob.bin"), b"one\0\n");
        std::fs::remove_file(root.join("deleted.txt")).unwrap();
    });
    let one = one.await;
    let other = result(&world, &repository, &base, |root| {
        write(&root.join("same.txt"), b"other\n");
        write(&root.join("new.txt"), b"other\n");
        write(&root.join("blob.bin"), b"other\0\n");
        write(&root.join("deleted.txt"), b"changed\n");
    });
    let other = other.await;

    let combined = world
        .workspaces
        .combine(&repository, &base.commit, &one, &other)
        .await
        .unwrap();

    let paths = ["blob.bin", "deleted.txt", "new.txt", "same.txt"];
    assert_eq!(combined, Combined::Collision(paths.map(str::to_owned).to_vec()));
}

#[tokio::test]
async fn the_same_change_on_both_sides_is_no_collision_and_a_folder_in_the_way_of_a_file_is() {
    let world = World::new().await;
    world.write("a.txt", "a\n");
    world.commit_all();
    let repository = world.repository().await;
    let base = world.snapshot(&repository).await;
    let one = result(&world, &repository, &base, |root| {
        write(&root.join("a.txt"), b"the same\n");
        write(&root.join("thing"), b"a file\n");
    });
    let one = one.await;
    let same = result(&world, &repository, &base, |root| {
        write(&root.join("a.txt"), b"the same\n");
        write(&root.join("more.txt"), b"more\n");
    });
    let same = same.await;
    let folder = result(&world, &repository, &base, |root| {
        write(&root.join("thing/in.txt"), b"a folder\n");
    });
    let folder = folder.await;
    let combine = |other: CommitId| {
        let (world, repository, base, one) = (&world, &repository, &base, &one);
        async move {
            let combined = world
                .workspaces
                .combine(repository, &base.commit, one, &other)
                .await;
            combined.unwrap()
        }
    };

    assert!(matches!(combine(same).await, Combined::Files(_)));
    assert_eq!(
        combine(folder).await,
        Combined::Collision(vec!["thing/in.txt".to_owned()])
    );
}
