use super::world::{World, write};

#[tokio::test]
async fn a_repository_is_found_from_any_folder_in_it_under_one_name() {
    let world = World::new().await;
    world.write("web/src/app.ts", "x\n");
    world.commit_all();
    let top = world.repository().await;
    let below = world
        .workspaces
        .repository(&world.project().join("web/src"))
        .await
        .unwrap();
    assert_eq!(top.id, below.id);
    assert_eq!(top.folder_path, "");
    assert_eq!(below.folder_path, "web/src");
    assert_eq!(below.top_level, world.project());
}

#[tokio::test]
async fn a_linked_worktree_of_the_users_shares_the_name_and_has_its_own_files() {
    let world = World::new().await;
    world.write("a.txt", "a\n");
    world.commit_all();
    world.git(&["worktree", "add", "-q", "../second", "-b", "second"]);
    write(&world.root().join("second/a.txt"), b"changed there\n");
    let before = world.user_git();

    let main = world.repository().await;
    let second = world
        .workspaces
        .repository(&world.root().join("second"))
        .await
        .unwrap();
    let snapshot = world.snapshot(&second).await;

    assert_eq!(main.id, second.id);
    assert_ne!(main.top_level, second.top_level);
    assert_eq!(
        world.text_at(&second, &snapshot, "a.txt").await.unwrap(),
        "changed there\n"
    );
    assert_eq!(world.user_git(), before);
}

#[tokio::test]
async fn outside_a_repository_the_hint_says_git_init() {
    let world = World::new().await;
    let error = world
        .workspaces
        .repository(&world.root().join("home"))
        .await
        .unwrap_err();
    assert_eq!(error.code, "notARepository");
    assert!(error.first_hint().unwrap().contains("git init"));
    let inside = world
        .workspaces
        .repository(&world.project().join(".git"))
        .await
        .unwrap_err();
    assert_eq!(inside.code, "notARepository");
}

#[tokio::test]
async fn a_new_clone_at_the_same_path_is_another_repository() {
    let world = World::new().await;
    world.write("a.txt", "a\n");
    world.commit_all();
    let first = world.repository().await;
    assert_eq!(world.repository().await.id, first.id);
    std::fs::remove_dir_all(world.project()).unwrap();
    std::fs::create_dir(world.project()).unwrap();
    world.git(&["init", "-q", "-b", "main"]);
    world.write("a.txt", "other\n");
    world.commit_all();
    assert_ne!(world.repository().await.id, first.id);
}

#[tokio::test]
async fn a_repository_keeps_its_name_when_it_gets_its_first_commit() {
    let world = World::new().await;
    let before = world.repository().await;
    world.write("a.txt", "a\n");
    world.commit_all();
    assert_eq!(world.repository().await.id, before.id);
}

#[tokio::test]
async fn a_submodule_is_a_repository_of_its_own() {
    let world = World::new().await;
    let library = world.root().join("library");
    std::fs::create_dir(&library).unwrap();
    world.try_git(&library, &["init", "-q", "-b", "main"]);
    write(&library.join("lib.rs"), b"lib\n");
    world.try_git(&library, &["add", "-A"]);
    world.try_git(&library, &["commit", "-qm", "lib"]);
    world.git(&[
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "add",
        "-q",
        library.to_str().unwrap(),
        "lib",
    ]);
    world.commit_all();
    write(&world.project().join("lib/lib.rs"), b"changed\n");
    let before = world.user_git();

    let inner = world
        .workspaces
        .repository(&world.project().join("lib"))
        .await
        .unwrap();
    let outer = world.repository().await;
    let inside = world.snapshot(&inner).await;
    let outside = world.snapshot(&outer).await;

    assert_ne!(inner.id, outer.id);
    assert_eq!(
        world.text_at(&inner, &inside, "lib.rs").await.unwrap(),
        "changed\n"
    );
    assert_eq!(
        world.tree_of(&outer, outside.commit.as_str()).get("lib").unwrap(),
        "160000"
    );
    let slot = world.slot(&outer, &outside).await;
    let collected = world
        .workspaces
        .collect(&outer, &slot, &outside.commit)
        .await
        .unwrap();
    assert_eq!(collected.changed, 0, "{:?}", collected.refused);
    assert_eq!(world.user_git(), before);
}

#[tokio::test]
async fn a_sha256_repository_works_from_snapshot_to_result() {
    let world = World::with_git_init(&["init", "-q", "-b", "main", "--object-format=sha256"]).await;
    world.write("a.txt", "a\n");
    world.commit_all();
    world.write("b.txt", "b\n");
    let repository = world.repository().await;
    let snapshot = world.snapshot(&repository).await;
    let slot = world.slot(&repository, &snapshot).await;
    write(&slot.root.join("a.txt"), b"agent\n");
    let collected = world
        .workspaces
        .collect(&repository, &slot, &snapshot.commit)
        .await
        .unwrap();
    assert_eq!(collected.commit.as_str().len(), 64);
    assert_eq!(collected.changed, 1);
}

#[tokio::test]
async fn a_repository_of_somebody_else_is_refused_as_git_would() {
    let world = World::new().await;
    world.write("a.txt", "a\n");
    world.commit_all();
    let nobody = rustix::fs::Uid::from_raw(65_534);
    if rustix::fs::chown(world.project(), Some(nobody), None).is_err() {
        // only root can give files away; then git itself must agree that it is ours
        assert!(world.workspaces.repository(&world.project()).await.is_ok());
        return;
    }
    let error = world.workspaces.repository(&world.project()).await.unwrap_err();
    assert_eq!(error.code, "dubiousOwnership");
    assert!(error.first_hint().unwrap().contains("safe.directory"));
}
