use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{PermissionsExt, symlink};

use super::world::{World, files_of, make_executable, numbered, write};
use crate::workspace::{Applied, FileOutcome, HunkState, Patch, Repository, Slot};

async fn patch_of(world: &World, change: impl FnOnce(&Slot)) -> (Repository, Patch, std::path::PathBuf) {
    let repository = world.repository().await;
    let snapshot = world.snapshot(&repository).await;
    let slot = world.slot(&repository, &snapshot).await;
    change(&slot);
    let collected = world
        .workspaces
        .collect(&repository, &slot, &snapshot.commit)
        .await
        .unwrap();
    let patch = world
        .workspaces
        .patch(&repository, &snapshot.commit, &collected.commit)
        .await
        .unwrap();
    (repository, patch, slot.root.clone())
}

async fn apply_all(world: &World, repository: &Repository, patch: &Patch) -> Vec<FileOutcome> {
    let mut outcomes = Vec::new();
    for file in &patch.files {
        let wanted: BTreeSet<_> = file.hunks.iter().map(|hunk| hunk.id.clone()).collect();
        outcomes.push(
            world
                .workspaces
                .apply_to_disk(repository, file, &BTreeMap::new(), &wanted)
                .await
                .unwrap(),
        );
    }
    outcomes
}

fn results(outcomes: &[FileOutcome]) -> Vec<(&str, Applied)> {
    outcomes
        .iter()
        .map(|outcome| (outcome.path.as_str(), outcome.result))
        .collect()
}

#[tokio::test]
async fn every_kind_of_change_lands_on_disk_and_again_changes_nothing() {
    let world = World::new().await;
    let long = numbered(40, "\n");
    for (path, text) in [
        ("edited", long.as_str()),
        ("folder/moved", &long),
        ("gone/deleted", "x\n"),
        ("mode", "x\n"),
        ("link target", "x\n"),
    ] {
        world.write(path, text);
    }
    write(&world.project().join("image"), &[0, 1, 2]);
    symlink("edited", world.project().join("link")).unwrap();
    world.commit_all();
    let (repository, patch, slot) = patch_of(&world, |slot| {
        let root = &slot.root;
        write(
            &root.join("edited"),
            long.replace("line 3\n", "LINE 3\n").as_bytes(),
        );
        std::fs::remove_file(root.join("folder/moved")).unwrap();
        write(
            &root.join("other/place"),
            long.replace("line 9\n", "nine\n").as_bytes(),
        );
        std::fs::remove_dir_all(root.join("gone")).unwrap();
        make_executable(&root.join("mode"));
        write(&root.join("image"), &[0, 9]);
        write(&root.join("new/file.sh"), b"x\n");
        make_executable(&root.join("new/file.sh"));
        std::fs::remove_file(root.join("link")).unwrap();
        symlink("link target", root.join("link")).unwrap();
    })
    .await;
    let (before, original) = (world.user_git(), files_of(&world.project()));

    let outcomes = apply_all(&world, &repository, &patch).await;

    assert!(
        outcomes.iter().all(|outcome| outcome.result == Applied::Applied),
        "{outcomes:#?}"
    );
    assert!(
        outcomes
            .iter()
            .flat_map(|outcome| &outcome.hunks)
            .all(|placed| placed.state == HunkState::Applied),
        "{outcomes:#?}"
    );
    assert_eq!(files_of(&world.project()), files_of(&slot));
    assert!(!world.project().join("gone").exists() && !world.project().join("folder").exists());
    assert_eq!(world.user_git(), before);
    let again = apply_all(&world, &repository, &patch).await;
    assert_eq!(results(&again), results(&outcomes));
    assert_eq!(files_of(&world.project()), files_of(&slot));

    let back = patch.reversed(|_| true);
    let taken_back = apply_all(&world, &repository, &back).await;
    assert!(
        taken_back
            .iter()
            .all(|outcome| outcome.result == Applied::Applied),
        "{taken_back:#?}"
    );
    assert_eq!(files_of(&world.project()), original);
    assert!(!world.project().join("new").exists() && !world.project().join("other").exists());
    assert_eq!(world.user_git(), before);
    let again = apply_all(&world, &repository, &back).await;
    assert_eq!(results(&again), results(&taken_back));
    assert_eq!(files_of(&world.project()), original);
}

#[tokio::test]
async fn what_was_changed_since_it_was_applied_is_not_taken_back() {
    let world = World::new().await;
    for path in ["merged", "clash", "moved"] {
        world.write(path, &numbered(9, "\n"));
    }
    world.write("deleted", "x\n");
    write(&world.project().join("image"), &[0, 1, 2]);
    world.commit_all();
    let (repository, patch, _) = patch_of(&world, |slot| {
        let changed = numbered(9, "\n").replace("line 3\n", "LINE 3\n");
        for path in ["merged", "clash"] {
            write(&slot.root.join(path), changed.as_bytes());
        }
        std::fs::remove_file(slot.root.join("deleted")).unwrap();
        std::fs::remove_file(slot.root.join("moved")).unwrap();
        write(&slot.root.join("place"), changed.as_bytes());
        write(&slot.root.join("image"), &[0, 9]);
        write(&slot.root.join("new"), b"agent\n");
    })
    .await;
    apply_all(&world, &repository, &patch).await;
    let applied = std::fs::read_to_string(world.project().join("merged")).unwrap();
    world.write("merged", &applied.replace("LINE 3\n", "LINE 3\nmine\n"));
    world.write("clash", &applied.replace("LINE 3\n", "LINE 3 and mine\n"));
    world.write("place", &applied.replace("line 8\n", "eight\n"));
    world.write("deleted", "mine\n");
    world.write("new", "agent\nmine\n");
    write(&world.project().join("image"), &[0, 9, 9]);

    let mut outcomes = apply_all(&world, &repository, &patch.reversed(|_| true)).await;

    outcomes.sort_by(|one, other| one.path.cmp(&other.path));
    let expected = [
        ("clash", Applied::Conflict),
        ("deleted", Applied::Conflict),
        ("image", Applied::Conflict),
        ("merged", Applied::Applied),
        ("moved", Applied::Applied),
        ("new", Applied::Conflict),
    ];
    assert_eq!(results(&outcomes), expected);
    let now = |path: &str| std::fs::read(world.project().join(path)).unwrap();
    assert_eq!(
        now("merged"),
        numbered(9, "\n")
            .replace("line 3\n", "line 3\nmine\n")
            .into_bytes()
    );
    assert_eq!(
        now("moved"),
        numbered(9, "\n").replace("line 8\n", "eight\n").into_bytes()
    );
    assert_eq!(now("deleted"), b"mine\n");
    assert_eq!(now("image"), [0, 9, 9]);
    assert!(!world.project().join("place").exists());
}

#[tokio::test]
async fn what_the_user_typed_meanwhile_is_kept_and_a_conflict_writes_nothing() {
    let world = World::new().await;
    for path in ["merged", "clash", "deleted", "image"] {
        world.write(path, "a\nb\nc\nd\ne\nf\n");
    }
    write(&world.project().join("image"), &[0, 1, 2]);
    world.commit_all();
    let (repository, patch, _) = patch_of(&world, |slot| {
        write(&slot.root.join("merged"), b"a\nb\nc\nd\ne\nF\n");
        write(&slot.root.join("clash"), b"a\nb\nc\nd\ne\nF\n");
        std::fs::remove_file(slot.root.join("deleted")).unwrap();
        write(&slot.root.join("image"), &[0, 9]);
        write(&slot.root.join("new"), b"agent\n");
    })
    .await;
    world.write("merged", "mine\na\nb\nc\nd\ne\nf\n");
    world.write("clash", "a\nb\nc\nd\ne\nmine\n");
    world.write("deleted", "mine\n");
    world.write("new", "mine\n");
    write(&world.project().join("image"), &[0, 7]);
    let mine = files_of(&world.project());

    let outcomes = apply_all(&world, &repository, &patch).await;

    let expected = [
        ("clash", Applied::Conflict),
        ("deleted", Applied::Conflict),
        ("image", Applied::Conflict),
        ("merged", Applied::Applied),
        ("new", Applied::Conflict),
    ];
    assert_eq!(results(&outcomes), expected);
    assert_eq!(
        std::fs::read_to_string(world.project().join("merged")).unwrap(),
        "mine\na\nb\nc\nd\ne\nF\n"
    );
    let now = files_of(&world.project());
    let changed: Vec<_> = now
        .iter()
        .filter(|(path, content)| mine.get(*path) != Some(content))
        .collect();
    assert_eq!(changed.len(), 1, "{changed:?}");
}

#[tokio::test]
async fn the_mode_of_a_file_is_kept_and_links_on_the_way_are_refused() {
    let world = World::new().await;
    world.write("private", "x\n");
    world.write("folder/file", "x\n");
    world.write("was-file", "x\n");
    world.commit_all();
    std::fs::set_permissions(
        world.project().join("private"),
        std::fs::Permissions::from_mode(0o640),
    )
    .unwrap();
    let (repository, patch, _) = patch_of(&world, |slot| {
        for path in ["private", "folder/file", "was-file", "folder/new"] {
            write(&slot.root.join(path), b"agent\n");
        }
    })
    .await;
    let outside = world.root().join("outside");
    write(&outside.join("file"), b"x\n");
    std::fs::remove_dir_all(world.project().join("folder")).unwrap();
    symlink(&outside, world.project().join("folder")).unwrap();
    std::fs::remove_file(world.project().join("was-file")).unwrap();
    symlink(outside.join("file"), world.project().join("was-file")).unwrap();

    let outcomes = apply_all(&world, &repository, &patch).await;

    let expected = [
        ("folder/file", Applied::Failed),
        ("folder/new", Applied::Failed),
        ("private", Applied::Applied),
        ("was-file", Applied::Conflict),
    ];
    assert_eq!(results(&outcomes), expected);
    assert_eq!(outcomes[0].code.as_deref(), Some("refusedPath"));
    assert_eq!(std::fs::read_to_string(outside.join("file")).unwrap(), "x\n");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    let mode = std::fs::metadata(world.project().join("private"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[tokio::test]
async fn one_hunk_at_a_time_lands_as_all_at_once() {
    let world = World::new().await;
    let base = numbered(30, "\r\n");
    world.write("file", &base);
    world.commit_all();
    let wanted = base
        .replace("line 2\r\n", "two\r\n")
        .replace("line 12\r\n", "")
        .replace("line 29\r\n", "line 29\r\nend");
    let (repository, patch, _) =
        patch_of(&world, |slot| write(&slot.root.join("file"), wanted.as_bytes())).await;
    let file = &patch.files[0];
    let mut decided = BTreeMap::new();
    for hunk in file.hunks.iter().rev() {
        let one = BTreeSet::from([hunk.id.clone()]);
        let outcome = world
            .workspaces
            .apply_to_disk(&repository, file, &decided, &one)
            .await
            .unwrap();
        assert_eq!(outcome.result, Applied::Applied);
        decided.insert(hunk.id.clone(), HunkState::Applied);
    }
    assert_eq!(file.hunks.len(), 3);
    assert_eq!(
        std::fs::read_to_string(world.project().join("file")).unwrap(),
        wanted
    );
}
