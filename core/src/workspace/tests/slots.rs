use super::world::{World, make_executable, note, write};
use crate::workspace::SlotNote;

async fn prepared() -> World {
    let world = World::new().await;
    world.write("src/a.rs", "one\ntwo\n");
    world.write("src/b.rs", "b\n");
    world.write(".gitignore", "target/\n");
    world.commit_all();
    world
}

#[tokio::test]
async fn an_agent_sees_an_ordinary_clean_repository_at_the_snapshot() {
    let world = prepared().await;
    world.write("src/a.rs", "dirty\n");
    world.write("new", "untracked\n");
    let repository = world
        .workspaces
        .repository(&world.project().join("src"))
        .await
        .unwrap();
    let snapshot = world.snapshot(&repository).await;
    let slot = world.slot(&repository, &snapshot).await;
    assert_eq!(slot.folder, slot.root.join("src"));
    assert_eq!(
        std::fs::read_to_string(slot.root.join("src/a.rs")).unwrap(),
        "dirty\n"
    );
    let git = |args: &[&str]| world.try_git(&slot.folder, args);
    assert_eq!(git(&["status", "--porcelain"]), (true, String::new()));
    assert_eq!(git(&["rev-parse", "HEAD"]).1.trim(), snapshot.commit.as_str());
    assert!(git(&["diff", "main", "--stat"]).1.contains("src/a.rs"));
    assert!(git(&["commit", "-q", "--allow-empty", "-m", "mine"]).0);
}

#[tokio::test]
async fn the_result_is_what_the_files_say_and_ignored_build_output_stays_out() {
    let world = prepared().await;
    let repository = world.repository().await;
    let snapshot = world.snapshot(&repository).await;
    let slot = world.slot(&repository, &snapshot).await;
    write(&slot.root.join("src/a.rs"), b"agent\n");
    std::fs::remove_file(slot.root.join("src/b.rs")).unwrap();
    write(&slot.root.join("src/new.sh"), b"new\n");
    make_executable(&slot.root.join("src/new.sh"));
    std::os::unix::fs::symlink("a.rs", slot.root.join("src/link")).unwrap();
    write(&slot.root.join("target/out"), b"build\n");
    write(&slot.root.join(".gitignore"), b"*.tmp\n");
    write(&slot.root.join("x.tmp"), b"x\n");

    let collected = world
        .workspaces
        .collect(&repository, &slot, &snapshot.commit)
        .await
        .unwrap();

    assert_eq!(collected.refused, vec![]);
    assert_eq!(collected.changed, 5);
    let modes = world.tree_of(&repository, collected.commit.as_str());
    let listed: Vec<(&str, &str)> = modes
        .iter()
        .map(|(path, mode)| (path.as_str(), mode.as_str()))
        .collect();
    assert_eq!(
        listed,
        [
            (".gitignore", "100644"),
            ("src/a.rs", "100644"),
            ("src/link", "120000"),
            ("src/new.sh", "100755")
        ]
    );
    let again = world
        .workspaces
        .collect(&repository, &slot, &collected.commit)
        .await
        .unwrap();
    assert_eq!((again.commit, again.changed), (collected.commit, 0));
}

#[tokio::test]
async fn a_slot_is_used_again_and_nothing_of_the_last_agent_is_left() {
    let world = prepared().await;
    let repository = world.repository().await;
    let first = world.snapshot(&repository).await;
    let slot = world.slot(&repository, &first).await;
    let (root, number) = (slot.root.clone(), slot.number);
    write(&slot.root.join("src/a.rs"), b"agent\n");
    write(&slot.root.join("left/over"), b"x\n");
    write(&slot.root.join("target/out"), b"x\n");
    std::fs::remove_file(slot.root.join("src/b.rs")).unwrap();
    world.try_git(&slot.root, &["config", "core.pager", "evil"]);
    world.try_git(&slot.root, &["stash", "-u"]);
    world.workspaces.release(slot).await;
    assert_eq!(world.workspaces.usage().await.unwrap().pooled, 1);

    world.write("src/a.rs", "the user went on\n");
    let second = world.snapshot(&repository).await;
    let slot = world.slot(&repository, &second).await;

    assert_eq!((slot.root.clone(), slot.number), (root, number));
    assert_eq!(
        std::fs::read_to_string(slot.root.join("src/a.rs")).unwrap(),
        "the user went on\n"
    );
    assert!(slot.root.join("src/b.rs").exists());
    assert!(!slot.root.join("left").exists() && !slot.root.join("target").exists());
    assert_eq!(
        world.try_git(&slot.root, &["status", "--porcelain", "--ignored"]),
        (true, String::new())
    );
    assert_eq!(
        world.try_git(&slot.root, &["stash", "list"]),
        (true, String::new())
    );
    assert!(
        !std::fs::read_to_string(slot.git_dir().join("config"))
            .unwrap()
            .contains("evil")
    );
}

#[tokio::test]
async fn build_output_is_kept_only_under_the_same_trust() {
    let world = prepared().await;
    let repository = world.repository().await;
    let snapshot = world.snapshot(&repository).await;
    let trusted = |hash: &str| SlotNote {
        trust: Some(hash.to_owned()),
        ..note()
    };
    let acquire = async |note: &SlotNote| {
        world
            .workspaces
            .acquire(&repository, &snapshot.commit, note)
            .await
            .unwrap()
    };

    let slot = acquire(&trusted("one")).await;
    write(&slot.root.join("target/out"), b"x\n");
    world.workspaces.release(slot).await;
    let slot = acquire(&trusted("one")).await;
    assert!(slot.root.join("target/out").exists());
    world.workspaces.release(slot).await;
    let slot = acquire(&trusted("two")).await;
    assert!(!slot.root.join("target").exists());
}

#[tokio::test]
async fn slots_of_concurrent_agents_are_different_ones() {
    let world = prepared().await;
    let repository = world.repository().await;
    let snapshot = world.snapshot(&repository).await;
    let (one, two) = tokio::join!(
        world.slot(&repository, &snapshot),
        world.slot(&repository, &snapshot)
    );
    assert_ne!(one.root, two.root);
    assert_eq!(world.workspaces.usage().await.unwrap().active, 2);
}

#[tokio::test]
async fn a_slot_whose_owner_died_is_not_handed_out_and_the_janitor_decides() {
    let world = prepared().await;
    let repository = world.repository().await;
    let snapshot = world.snapshot(&repository).await;
    let dead = world.slot(&repository, &snapshot).await;
    let root = dead.root.clone();
    drop(dead);
    let other = world.slot(&repository, &snapshot).await;
    assert_ne!(other.root, root);

    let swept = world.workspaces.janitor(4, |_| true).await.unwrap();
    assert_eq!((swept.removed, root.exists()), (0, true));
    let swept = world.workspaces.janitor(4, |_| false).await.unwrap();
    assert_eq!((swept.removed, root.exists()), (1, false));
    assert!(other.root.exists());
    assert_eq!(swept.kept.len(), 1);
}

#[tokio::test]
async fn a_reset_brings_a_slot_to_a_checkpoint() {
    let world = prepared().await;
    let repository = world.repository().await;
    let snapshot = world.snapshot(&repository).await;
    let mut slot = world.slot(&repository, &snapshot).await;
    write(&slot.root.join("src/a.rs"), b"checkpoint\n");
    let checkpoint = world
        .workspaces
        .collect(&repository, &slot, &snapshot.commit)
        .await
        .unwrap();
    write(&slot.root.join("src/a.rs"), b"lost\n");
    write(&slot.root.join("lost"), b"lost\n");
    world
        .workspaces
        .reset(&repository, &mut slot, &checkpoint.commit)
        .await
        .unwrap();
    assert_eq!(
        std::fs::read_to_string(slot.root.join("src/a.rs")).unwrap(),
        "checkpoint\n"
    );
    assert!(!slot.root.join("lost").exists());
    assert_eq!(
        world.try_git(&slot.root, &["status", "--porcelain"]),
        (true, String::new())
    );
    let collected = world
        .workspaces
        .collect(&repository, &slot, &checkpoint.commit)
        .await
        .unwrap();
    assert_eq!(collected.changed, 0);
}

#[tokio::test]
async fn a_deleted_cache_costs_only_time() {
    let world = prepared().await;
    let repository = world.repository().await;
    let snapshot = world.snapshot(&repository).await;
    let slot = world.slot(&repository, &snapshot).await;
    write(&slot.root.join("src/a.rs"), b"result\n");
    let result = world
        .workspaces
        .collect(&repository, &slot, &snapshot.commit)
        .await
        .unwrap();
    world.workspaces.release(slot).await;
    std::fs::remove_dir_all(world.root().join("cache")).unwrap();
    let slot = world
        .workspaces
        .acquire(&repository, &result.commit, &note())
        .await
        .unwrap();
    assert_eq!(
        std::fs::read_to_string(slot.root.join("src/a.rs")).unwrap(),
        "result\n"
    );
}

#[tokio::test]
async fn many_agents_at_once_do_not_disturb_each_other() {
    let world = prepared().await;
    let before = world.user_git();
    let agent = async |number: usize| {
        let repository = world.repository().await;
        let path = format!("src/file-{number}");
        let unsaved = [crate::workspace::Buffer {
            path: path.clone(),
            text: b"unsaved\n".to_vec(),
        }];
        let snapshot = world.workspaces.snapshot(&repository, &unsaved).await.unwrap();
        let slot = world.slot(&repository, &snapshot).await;
        assert_eq!(
            std::fs::read_to_string(slot.root.join(&path)).unwrap(),
            "unsaved\n"
        );
        write(&slot.root.join(&path), b"agent\n");
        let collected = world
            .workspaces
            .collect(&repository, &slot, &snapshot.commit)
            .await
            .unwrap();
        assert_eq!((collected.changed, collected.refused), (1, vec![]));
        let root = slot.root.clone();
        world.workspaces.release(slot).await;
        root
    };
    let roots = futures::future::join_all((0..8).map(agent)).await;
    assert!(
        roots.iter().all(|root| root.exists()),
        "every slot went back to the pool"
    );
    assert_eq!(world.user_git(), before);
}

#[tokio::test]
async fn the_history_of_a_shallow_clone_can_be_read_in_a_slot() {
    let world = prepared().await;
    world.write("src/a.rs", "second\n");
    world.commit_all();
    let url = format!("file://{}", world.project().display());
    world.try_git(&world.root(), &["clone", "-q", "--depth", "1", &url, "shallow"]);
    let repository = world
        .workspaces
        .repository(&world.root().join("shallow"))
        .await
        .unwrap();
    let snapshot = world.snapshot(&repository).await;
    let slot = world.slot(&repository, &snapshot).await;
    let (ok, log) = world.try_git(&slot.root, &["log", "--oneline"]);
    assert!(ok && log.lines().count() == 2, "{log}");
}

#[tokio::test]
async fn a_forgotten_snapshot_has_no_ref_any_more() {
    let world = prepared().await;
    world.write(".env", "x\n");
    let repository = world.repository().await;
    let snapshot = world.snapshot(&repository).await;
    let git_dir = format!(
        "--git-dir={}",
        world
            .root()
            .join("state/repositories")
            .join(repository.id.as_str())
            .join("git")
            .display()
    );
    let objects = world
        .root()
        .join("state/repositories")
        .join(repository.id.as_str())
        .join("sealed");
    let refs = || {
        let found = world.git(&[
            "-c",
            &format!(
                "alias.ours=!GIT_OBJECT_DIRECTORY='{}' git {git_dir} for-each-ref",
                objects.display()
            ),
            "ours",
        ]);
        found.lines().count()
    };
    assert_eq!(refs(), 2);
    world
        .workspaces
        .forget(&repository, &snapshot.commit)
        .await
        .unwrap();
    assert_eq!(refs(), 0);
}

#[tokio::test]
async fn nobody_else_can_look_into_state_and_cache() {
    use std::os::unix::fs::PermissionsExt;
    let world = prepared().await;
    let repository = world.repository().await;
    let snapshot = world.snapshot(&repository).await;
    let slot = world.slot(&repository, &snapshot).await;
    let id = repository.id.as_str();
    let private = [
        format!("state/repositories/{id}"),
        "state/scratch".to_owned(),
        format!("cache/{id}/slots"),
    ];
    for path in private
        .iter()
        .map(|path| world.root().join(path))
        .chain([slot.root.clone()])
    {
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o700,
            "{}",
            path.display()
        );
    }
}
