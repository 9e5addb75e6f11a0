use std::os::unix::fs::symlink;

use super::world::{World, make_executable, write};

async fn prepared() -> World {
    let world = World::new().await;
    world.write("a.txt", "a\n");
    world.write("b.txt", "b\n");
    world.commit_all();
    world.git(&["branch", "wip"]);
    world.git(&["remote", "add", "origin", "../elsewhere"]);
    world.write("a.txt", "stashed\n");
    world.git(&["stash"]);
    world.write("a.txt", "dirty\n");
    world
}

#[tokio::test]
async fn git_commands_of_an_agent_change_nothing_of_the_users() {
    let world = prepared().await;
    let before = world.user_git();
    let repository = world.repository().await;
    let snapshot = world.snapshot(&repository).await;
    let slot = world.slot(&repository, &snapshot).await;
    let attacks: &[&[&str]] = &[
        &["branch", "-D", "wip"],
        &["stash", "drop"],
        &["stash", "clear"],
        &["update-ref", "refs/heads/main", "HEAD"],
        &["update-ref", "-d", "refs/heads/wip"],
        &["config", "user.email", "evil@example.invalid"],
        &["config", "core.bare", "true"],
        &["config", "--unset", "core.bare"],
        &["remote", "set-url", "origin", "evil"],
        &["tag", "v1"],
        &["commit", "-qam", "agent"],
        &["reflog", "expire", "--expire=now", "--all"],
        &["gc", "-q", "--prune=now"],
        &["repack", "-adq"],
        &["prune", "--expire=now"],
        &["worktree", "prune", "--expire=now"],
        &["push", "origin", "HEAD:main"],
        &["checkout", "-qf", "main"],
        &["clean", "-fdxq"],
    ];
    for attack in attacks {
        world.try_git(&slot.root, attack);
    }
    assert_eq!(world.user_git(), before);
    assert_eq!(
        std::fs::read_to_string(world.project().join("a.txt")).unwrap(),
        "dirty\n"
    );
    let collected = world
        .workspaces
        .collect(&repository, &slot, &snapshot.commit)
        .await
        .unwrap();
    assert_eq!(collected.refused, vec![]);
    world.workspaces.release(slot).await;
    assert_eq!(world.user_git(), before);
}

/// A program that leaves a mark when it runs.
fn trap(world: &World) -> (String, std::path::PathBuf) {
    let (program, mark) = (world.root().join("trap"), world.root().join("sprung"));
    write(
        &program,
        format!("#!/bin/sh\ntouch '{}'\ncat\n", mark.display()).as_bytes(),
    );
    make_executable(&program);
    (program.display().to_string(), mark)
}

#[tokio::test]
async fn hooks_monitors_filters_and_drivers_of_the_users_repository_do_not_run() {
    let world = World::new().await;
    let (program, mark) = trap(&world);
    world.write(".gitattributes", "*.txt filter=evil diff=evil merge=evil\n");
    world.write("a.txt", "a\n");
    world.commit_all();
    for key in [
        "core.fsmonitor",
        "filter.evil.clean",
        "filter.evil.smudge",
        "filter.evil.process",
        "diff.evil.textconv",
        "diff.external",
        "core.sshCommand",
        "core.pager",
        "core.editor",
        "gpg.program",
        "core.alternateRefsCommand",
    ] {
        world.git(&["config", key, &program]);
    }
    for hook in [
        "post-index-change",
        "reference-transaction",
        "post-checkout",
        "pre-commit",
        "post-commit",
        "fsmonitor-watchman",
    ] {
        std::fs::create_dir_all(world.project().join(".git/hooks")).unwrap();
        std::fs::copy(&program, world.project().join(".git/hooks").join(hook)).unwrap();
    }
    world.write("a.txt", "dirty\n");
    world.write("b.txt", "new\n");
    let before = world.user_git();

    let repository = world.repository().await;
    let snapshot = world.snapshot(&repository).await;
    let slot = world.slot(&repository, &snapshot).await;
    write(&slot.root.join("a.txt"), b"agent\n");
    world
        .workspaces
        .collect(&repository, &slot, &snapshot.commit)
        .await
        .unwrap();
    world.workspaces.release(slot).await;

    assert!(!mark.exists());
    assert_eq!(world.user_git(), before);
    world.try_git(&world.project(), &["status"]);
    assert!(mark.exists(), "the trap works: plain git springs it");
}

#[tokio::test]
async fn a_swapped_git_file_and_an_evil_git_directory_of_the_agent_are_not_followed() {
    let world = prepared().await;
    let (program, mark) = trap(&world);
    let repository = world.repository().await;
    let snapshot = world.snapshot(&repository).await;
    let slot = world.slot(&repository, &snapshot).await;
    // the agent's own git directory
    for key in ["core.fsmonitor", "filter.evil.clean", "diff.external"] {
        world.try_git(&slot.root, &["config", key, &program]);
    }
    world.try_git(
        &slot.root,
        &[
            "config",
            "core.hooksPath",
            slot.git_dir().join("hooks").to_str().unwrap(),
        ],
    );
    write(
        &slot.git_dir().join("hooks/post-index-change"),
        &std::fs::read(&program).unwrap(),
    );
    make_executable(&slot.git_dir().join("hooks/post-index-change"));
    // another one inside the tree, named by the `.git` file
    let evil = slot.root.join("evil");
    std::fs::create_dir(&evil).unwrap();
    world.try_git(&evil, &["init", "-q", "--bare", "."]);
    world.try_git(&evil, &["config", "core.fsmonitor", &program]);
    world.try_git(&evil, &["config", "core.bare", "false"]);
    write(
        &slot.root.join(".git"),
        format!("gitdir: {}\n", evil.display()).as_bytes(),
    );
    write(&slot.root.join(".gitattributes"), b"* filter=evil\n");
    write(&slot.root.join("a.txt"), b"agent\n");
    world.try_git(&slot.root, &["status"]);
    assert!(mark.exists(), "the trap works: plain git springs it");
    std::fs::remove_file(&mark).unwrap();

    let collected = world
        .workspaces
        .collect(&repository, &slot, &snapshot.commit)
        .await
        .unwrap();
    assert!(!mark.exists());
    assert_eq!(collected.refused[0].path, ".git");
    assert!(
        std::fs::read_to_string(slot.root.join(".git"))
            .unwrap()
            .contains("/slots/")
    );

    symlink(&evil, slot.root.join("swap")).unwrap();
    std::fs::rename(slot.root.join("swap"), slot.root.join(".git")).unwrap();
    let root = slot.root.clone();
    world.workspaces.release(slot).await;
    assert!(!mark.exists());
    assert!(!root.exists(), "a slot with a swapped .git must not be pooled");
}

#[tokio::test]
async fn what_is_no_file_and_what_leads_out_is_refused_and_never_opened() {
    let world = prepared().await;
    world.write("folder/inner.txt", "x\n");
    world.commit_all();
    let repository = world.repository().await;
    let snapshot = world.snapshot(&repository).await;
    let slot = world.slot(&repository, &snapshot).await;
    let outside = world.root().join("outside");
    write(&outside.join("inner.txt"), b"geheim\n");
    let pipe = |path: &std::path::Path| {
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
    };
    // a tracked file becomes a pipe, a tracked folder becomes a link out of the tree
    std::fs::remove_file(slot.root.join("a.txt")).unwrap();
    pipe(&slot.root.join("a.txt"));
    pipe(&slot.root.join("pipe"));
    std::fs::remove_dir_all(slot.root.join("folder")).unwrap();
    symlink(&outside, slot.root.join("folder")).unwrap();
    std::fs::create_dir(slot.root.join("embedded")).unwrap();
    world.try_git(&slot.root.join("embedded"), &["init", "-q"]);
    write(&slot.root.join("sub/.GIT/config"), b"x\n");
    write(&slot.root.join("git~1"), b"x\n");

    let collected = world
        .workspaces
        .collect(&repository, &slot, &snapshot.commit)
        .await
        .unwrap();

    let refused: Vec<&str> = collected
        .refused
        .iter()
        .map(|refusal| refusal.path.as_str())
        .collect();
    assert_eq!(refused, ["a.txt", "embedded", "git~1", "pipe", "sub"]);
    let modes = world.tree_of(&repository, collected.commit.as_str());
    assert_eq!(
        modes["folder"], "120000",
        "the link itself is a change, what it names is not read"
    );
    assert!(modes.contains_key("a.txt") && !modes.contains_key("folder/inner.txt"));
    let root = slot.root.clone();
    world.workspaces.release(slot).await;
    assert!(!root.exists());
    assert_eq!(std::fs::read(outside.join("inner.txt")).unwrap(), b"geheim\n");
}

#[tokio::test]
async fn closed_folders_and_links_do_not_stop_the_trash_nor_lead_it_out() {
    use std::os::unix::fs::PermissionsExt;
    let world = prepared().await;
    let repository = world.repository().await;
    let snapshot = world.snapshot(&repository).await;
    let slot = world.slot(&repository, &snapshot).await;
    let outside = world.root().join("outside");
    write(&outside.join("keep"), b"x\n");
    symlink(&outside, slot.root.join("way-out")).unwrap();
    write(&slot.root.join("closed/deep/file"), b"x\n");
    std::fs::hard_link(slot.root.join("b.txt"), slot.root.join("second-name")).unwrap();
    std::fs::set_permissions(
        slot.root.join("closed/deep"),
        std::fs::Permissions::from_mode(0o000),
    )
    .unwrap();
    let (root, trash) = (
        slot.root.clone(),
        world
            .root()
            .join("cache")
            .join(repository.id.as_str())
            .join("trash"),
    );
    world.workspaces.release(slot).await;
    assert!(!root.exists());
    assert_eq!(std::fs::read_dir(trash).unwrap().count(), 0);
    assert!(outside.join("keep").exists());
}
