use std::os::unix::fs::symlink;

use super::world::{World, buffer, make_executable, write};

/// What `git add -A` in a copy of the user's repository would commit.
fn tree_by_git(world: &World) -> String {
    let index = world.root().join("reference-index");
    std::fs::copy(world.project().join(".git/index"), &index).ok();
    let objects = world.root().join("reference-objects");
    std::fs::create_dir_all(objects.join("info")).unwrap();
    std::fs::write(
        objects.join("info/alternates"),
        format!("{}\n", world.project().join(".git/objects").display()),
    )
    .unwrap();
    let run = |args: &str| {
        let script = format!(
            "GIT_INDEX_FILE='{}' GIT_OBJECT_DIRECTORY='{}' git {args}",
            index.display(),
            objects.display()
        );
        world.git(&["-c", &format!("alias.reference=!{script}"), "reference"])
    };
    run("add -A");
    run("write-tree").trim().to_owned()
}

#[tokio::test]
async fn a_snapshot_is_head_and_staged_and_unstaged_and_untracked_and_buffers() {
    let world = World::new().await;
    for path in [
        "kept",
        "staged",
        "unstaged",
        "deleted",
        "staged-then-changed",
        "open",
    ] {
        world.write(path, "base\n");
    }
    world.write(".gitignore", "*.log\ntarget/\n");
    world.commit_all();
    world.write("staged", "staged\n");
    world.write("staged-then-changed", "staged\n");
    world.git(&["add", "staged", "staged-then-changed"]);
    world.write("staged-then-changed", "then changed\n");
    world.write("unstaged", "unstaged\n");
    std::fs::remove_file(world.project().join("deleted")).unwrap();
    world.write("folder/untracked", "untracked\n");
    world.write("noise.log", "ignored\n");
    world.write("target/x", "ignored\n");
    let (before, index) = (
        world.user_git(),
        std::fs::read(world.project().join(".git/index")).unwrap(),
    );
    let repository = world.repository().await;
    let reference = tree_by_git(&world);

    let plain = world.snapshot(&repository).await;
    let buffers = [
        buffer("open", "unsaved"),
        buffer("new/buffer", "new"),
        buffer("noise.log", "x"),
        buffer(".git/config", "x"),
    ];
    let with_buffers = world.workspaces.snapshot(&repository, &buffers).await.unwrap();

    assert_eq!(plain.tree.as_str(), reference);
    let at = async |path: &str| world.text_at(&repository, &with_buffers, path).await;
    assert_eq!(at("staged-then-changed").await.unwrap(), "then changed\n");
    assert_eq!(at("open").await.unwrap(), "unsaved");
    assert_eq!(at("new/buffer").await.unwrap(), "new");
    assert_eq!(at("folder/untracked").await.unwrap(), "untracked\n");
    for gone in ["deleted", "noise.log", "target/x"] {
        assert_eq!(at(gone).await, None, "{gone}");
    }
    assert_eq!(
        with_buffers.head,
        Some(world.git(&["rev-parse", "HEAD"]).trim().to_owned())
    );
    assert_eq!(world.user_git(), before);
    assert_eq!(std::fs::read(world.project().join(".git/index")).unwrap(), index);
}

#[tokio::test]
async fn the_same_state_gives_the_same_commit() {
    let world = World::new().await;
    world.write("a", "a\n");
    world.commit_all();
    world.write("a", "b\n");
    let repository = world.repository().await;
    assert_eq!(
        world.snapshot(&repository).await,
        world.snapshot(&repository).await
    );
}

#[tokio::test]
async fn a_repository_without_commits_can_be_snapshot() {
    let world = World::new().await;
    world.write("first.txt", "first\n");
    let before = world.user_git();
    let repository = world.repository().await;
    let snapshot = world.snapshot(&repository).await;
    assert_eq!(snapshot.head, None);
    assert_eq!(
        world.text_at(&repository, &snapshot, "first.txt").await.unwrap(),
        "first\n"
    );
    assert_eq!(world.user_git(), before);
}

#[tokio::test]
async fn a_detached_head_and_a_merge_in_progress_can_be_snapshot() {
    let world = World::new().await;
    world.write("a", "base\n");
    world.commit_all();
    world.git(&["checkout", "-qb", "other"]);
    world.write("a", "other\n");
    world.commit_all();
    world.git(&["checkout", "-q", "--detach", "main"]);
    world.write("a", "mine\n");
    world.commit_all();
    let (merged, _) = world.try_git(&world.project(), &["merge", "other"]);
    assert!(!merged);
    let before = world.user_git();
    let repository = world.repository().await;
    let snapshot = world.snapshot(&repository).await;
    assert!(
        world
            .text_at(&repository, &snapshot, "a")
            .await
            .unwrap()
            .contains("<<<<<<<")
    );
    assert_eq!(world.user_git(), before);
}

#[tokio::test]
async fn odd_files_come_through_snapshot_slot_and_result_unchanged() {
    let world = World::new().await;
    world.write("tool.sh", "#!/bin/sh\n");
    make_executable(&world.project().join("tool.sh"));
    world.write("no-final-newline", "one\ntwo");
    world.write("ünï cödé/日本 \"q\".txt", "x\n");
    world.write("empty", "");
    write(&world.project().join("binary"), &[0, 159, 146, 150, 10, 13, 10]);
    symlink("tool.sh", world.project().join("link")).unwrap();
    symlink("/nowhere", world.project().join("dangling")).unwrap();
    world.commit_all();
    world.write("-dash", "x\n");
    world.write("new line\nname", "x\n");
    world.write("new.sh", "#!/bin/sh\n");
    make_executable(&world.project().join("new.sh"));
    let before = world.user_git();
    let repository = world.repository().await;

    let snapshot = world.snapshot(&repository).await;
    let slot = world.slot(&repository, &snapshot).await;
    let collected = world
        .workspaces
        .collect(&repository, &slot, &snapshot.commit)
        .await
        .unwrap();

    assert_eq!(snapshot.tree.as_str(), tree_by_git(&world));
    let modes = world.tree_of(&repository, snapshot.commit.as_str());
    assert_eq!(modes["tool.sh"], "100755");
    assert_eq!(modes["new.sh"], "100755");
    assert_eq!(modes["link"], "120000");
    assert_eq!((collected.changed, collected.refused), (0, vec![]));
    assert_eq!(
        std::fs::read(slot.root.join("binary")).unwrap(),
        [0, 159, 146, 150, 10, 13, 10]
    );
    assert_eq!(
        std::fs::read_link(slot.root.join("link")).unwrap().to_str(),
        Some("tool.sh")
    );
    assert_eq!(world.user_git(), before);
}

#[tokio::test]
async fn line_ends_are_converted_as_the_users_git_would() {
    let world = World::new().await;
    world.git(&["config", "core.autocrlf", "true"]);
    world.write(".gitattributes", "*.bat text eol=crlf\n*.raw -text\n");
    world.write("a.txt", "one\r\ntwo\r\n");
    world.write("b.bat", "one\r\n");
    world.write("c.raw", "one\r\n");
    world.commit_all();
    world.write("a.txt", "one\r\nTWO\r\n");
    let before = world.user_git();
    let repository = world.repository().await;

    let buffers = [buffer("new.txt", "x\r\ny\r\n")];
    let snapshot = world.workspaces.snapshot(&repository, &buffers).await.unwrap();
    let slot = world.slot(&repository, &snapshot).await;
    write(&slot.root.join("a.txt"), b"one\r\nTWO\r\nthree\r\n");
    let collected = world
        .workspaces
        .collect(&repository, &slot, &snapshot.commit)
        .await
        .unwrap();

    assert_eq!(
        world.text_at(&repository, &snapshot, "a.txt").await.unwrap(),
        "one\nTWO\n"
    );
    assert_eq!(
        world.text_at(&repository, &snapshot, "new.txt").await.unwrap(),
        "x\ny\n"
    );
    assert_eq!(
        world.text_at(&repository, &snapshot, "c.raw").await.unwrap(),
        "one\r\n"
    );
    assert_eq!(
        std::fs::read_to_string(slot.root.join("new.txt")).unwrap(),
        "x\r\ny\r\n"
    );
    assert_eq!(
        std::fs::read_to_string(slot.root.join("b.bat")).unwrap(),
        "one\r\n"
    );
    let result = world
        .workspaces
        .file_at(&repository, &collected.commit, "a.txt")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(String::from_utf8(result).unwrap(), "one\nTWO\nthree\n");
    assert_eq!(collected.changed, 1);
    assert_eq!(world.user_git(), before);
}

#[tokio::test]
async fn the_users_own_ignore_rules_outside_the_tree_are_honoured() {
    let world = World::new().await;
    write(&world.root().join("home/.config/git/ignore"), b"*.mine\n");
    write(&world.root().join("home/rules"), b"*.other\n");
    write(&world.project().join(".git/info/exclude"), b"*.local\n");
    for path in ["a.mine", "b.local", "c.txt", "d.other"] {
        world.write(path, "x\n");
    }
    let repository = world.repository().await;
    let snapshot = world.snapshot(&repository).await;
    let paths = |commit: &str| world.tree_of(&repository, commit).into_keys().collect::<Vec<_>>();
    assert_eq!(paths(snapshot.commit.as_str()), ["c.txt", "d.other"]);
    world.git(&["config", "--global", "core.excludesFile", "~/rules"]);
    let snapshot = world.snapshot(&repository).await;
    assert_eq!(paths(snapshot.commit.as_str()), ["a.mine", "c.txt"]);
}

#[tokio::test]
async fn secret_files_are_in_the_snapshot_but_no_agent_can_reach_them() {
    let world = World::new().await;
    world.write("a.txt", "a\n");
    world.commit_all();
    world.write(".env", "TOKEN=geheim\n");
    world.write("deploy/key.pem", "geheim\n");
    world.write("new.txt", "new\n");
    let repository = world.repository().await;
    let unsaved = [buffer(".env.local", "TOKEN=geheim too\n")];
    let snapshot = world.workspaces.snapshot(&repository, &unsaved).await.unwrap();
    let slot = world.slot(&repository, &snapshot).await;

    assert_eq!(snapshot.withheld, [".env", ".env.local", "deploy/key.pem"]);
    assert_eq!(
        world.text_at(&repository, &snapshot, ".env").await.unwrap(),
        "TOKEN=geheim\n"
    );
    assert!(!slot.root.join(".env").exists() && slot.root.join("new.txt").exists());
    let (_, objects) = world.try_git(&slot.root, &["cat-file", "--batch-all-objects", "--batch"]);
    assert!(objects.contains("new\n") && !objects.contains("geheim"));
    let (_, log) = world.try_git(&slot.root, &["log", "--stat"]);
    assert!(!log.contains(".env |"), "{log}");

    write(&slot.root.join(".env"), b"from the agent\n");
    write(&slot.root.join("a.txt"), b"agent\n");
    let collected = world
        .workspaces
        .collect(&repository, &slot, &snapshot.commit)
        .await
        .unwrap();
    assert_eq!(collected.changed, 1);
    assert_eq!(collected.refused[0].path, ".env");
    let next = world
        .workspaces
        .collect(&repository, &slot, &collected.commit)
        .await
        .unwrap();
    assert_eq!((next.changed, next.refused.len()), (0, 1));
}

#[tokio::test]
async fn a_repository_that_another_git_holds_is_busy_and_says_what_to_do() {
    let world = World::new().await;
    world.write("a", "a\n");
    world.commit_all();
    world.write(".git/index.lock", "");
    let repository = world.repository().await;
    let error = world.workspaces.snapshot(&repository, &[]).await.unwrap_err();
    assert_eq!(error.code, "repositoryBusy");
    assert!(error.first_hint().unwrap().contains("index.lock"));
}

#[tokio::test]
async fn what_cannot_be_taken_does_not_stop_the_snapshot() {
    let world = World::new().await;
    world.write("a", "a\n");
    world.commit_all();
    world.try_git(&world.project(), &["init", "-q", "inner"]);
    world.write("inner/file", "x\n");
    let pipe = world.project().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    world.write("b", "b\n");
    let repository = world.repository().await;
    let buffers = [buffer("inner/file", "y"), buffer("../outside", "y")];
    let snapshot = world.workspaces.snapshot(&repository, &buffers).await.unwrap();
    let paths: Vec<String> = world
        .tree_of(&repository, snapshot.commit.as_str())
        .into_keys()
        .collect();
    assert_eq!(paths, ["a", "b"]);
}

#[tokio::test]
async fn a_file_that_becomes_a_folder_and_the_other_way_round() {
    let world = World::new().await;
    world.write("file", "x\n");
    world.write("folder/inner", "x\n");
    world.commit_all();
    std::fs::remove_file(world.project().join("file")).unwrap();
    world.write("file/inner", "y\n");
    std::fs::remove_dir_all(world.project().join("folder")).unwrap();
    world.write("folder", "y\n");
    let repository = world.repository().await;
    let snapshot = world.snapshot(&repository).await;
    assert_eq!(snapshot.tree.as_str(), tree_by_git(&world));
}

#[tokio::test]
async fn a_change_of_the_same_size_in_the_same_moment_is_seen() {
    let world = World::new().await;
    for round in 0..10 {
        world.write("a", &format!("{round}\n"));
        world.git(&["add", "a"]);
        world.write("a", "x\n");
        let repository = world.repository().await;
        let snapshot = world.snapshot(&repository).await;
        assert_eq!(world.text_at(&repository, &snapshot, "a").await.unwrap(), "x\n");
    }
}

#[tokio::test]
async fn a_split_index_is_understood() {
    let world = World::new().await;
    world.write("a", "a\n");
    world.write("b", "b\n");
    world.commit_all();
    world.git(&["update-index", "--split-index"]);
    world.write("b", "changed\n");
    let before = world.user_git();
    let repository = world.repository().await;
    let snapshot = world.snapshot(&repository).await;
    assert_eq!(
        world.text_at(&repository, &snapshot, "b").await.unwrap(),
        "changed\n"
    );
    assert_eq!(world.user_git(), before);
}

#[tokio::test]
async fn a_file_that_git_is_told_not_to_look_at_is_seen() {
    let world = World::new().await;
    world.write("a", "a\n");
    world.commit_all();
    world.git(&["update-index", "--assume-unchanged", "a"]);
    world.write("a", "the user sees this\n");
    let before = world.user_git();
    let repository = world.repository().await;
    let snapshot = world.snapshot(&repository).await;
    assert_eq!(
        world.text_at(&repository, &snapshot, "a").await.unwrap(),
        "the user sees this\n"
    );
    assert_eq!(world.user_git(), before);
}
