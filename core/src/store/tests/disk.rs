//! Disks that are full or read-only: small file systems of our own, where mounting is allowed.

use std::path::{Path, PathBuf};
use std::process::Command;

use futures::future::join_all;
use tempfile::TempDir;

use super::children;
use super::support::{create, hold, new_run, transition, wait_until};
use crate::store::{Limits, Store, StoreMode};

/// A file system in memory with the state directory in it.
struct Disk {
    _folder: TempDir,
    root: PathBuf,
}

impl Disk {
    /// Mounts one, or says loudly that this machine does not allow it.
    fn mount(options: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("disk");
        std::fs::create_dir(&root).unwrap();
        if run("mount", &["-t", "tmpfs", "-o", options, "tmpfs"], &root) {
            return Some(Self {
                _folder: folder,
                root,
            });
        }
        #[expect(
            clippy::print_stderr,
            reason = "a skipped scenario must not look like one that passed"
        )]
        {
            eprintln!("SKIPPED: this machine does not let the test mount a tmpfs");
        }
        None
    }

    fn remount(&self, options: &str) {
        assert!(
            run("mount", &["-o", &format!("remount,{options}")], &self.root),
            "remount {options}"
        );
    }

    fn state(&self) -> PathBuf {
        self.root.join("state")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if !run("umount", &[], &self.root) {
            run("umount", &["-l"], &self.root);
        }
    }
}

fn run(program: &str, args: &[&str], place: &Path) -> bool {
    #[expect(clippy::disallowed_methods, reason = "mounting is not for the product to do")]
    let mut command = Command::new(program);
    command
        .args(args)
        .arg(place)
        .output()
        .is_ok_and(|output| output.status.success())
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_with_space_again_it_goes_on() {
    let Some(disk) = Disk::mount("size=2m") else {
        return;
    };
    let store = Store::open(&disk.state()).await.unwrap();
    let run = create(&store, new_run("run")).await;
    let large = format!("\"{}\"", "x".repeat(60_000));
    let mut acknowledged = 0;
    let full = loop {
        match store
            .commit(transition(&run, 1, &format!("[{},{large}]", acknowledged + 1)))
            .await
        {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 1_000, "the disk never filled");
    };
    assert_eq!(full.code, "diskFull", "{full}");
    assert!(
        full.first_hint()
            .is_some_and(|hint| hint.contains("free some disk space"))
    );
    let content = store.put_blob(vec![1; 1_500_000]).await.unwrap_err();
    assert_eq!(content.code, "diskFull", "{content}");
    let row = store.run(&run).await.unwrap().unwrap();
    assert!(
        row.state.starts_with(&format!("[{acknowledged},")),
        "the last acknowledged state is there"
    );

    disk.remount("size=32m");

    let next = store.commit(transition(&run, 1, "\"goes on\"")).await.unwrap();
    assert_eq!(next.seqs, [acknowledged + 1], "no gap and nothing twice");
    store.put_blob(vec![1; 1_500_000]).await.unwrap();
    store.ledger().reserve(hold("paid", 1, 100)).await.unwrap();
    store.close().await;
    let again = Store::open(&disk.state()).await.unwrap();
    assert_eq!(again.run(&run).await.unwrap().unwrap().state, "\"goes on\"");
    again.close().await;
}

#[tokio::test]
async fn when_writes_side_by_side_fill_the_disk_exactly_the_acknowledged_ones_are_there() {
    let Some(disk) = Disk::mount("size=2m") else {
        return;
    };
    let store = Store::open(&disk.state()).await.unwrap();
    let mut runs = Vec::new();
    for number in 0..10 {
        runs.push(create(&store, new_run(&format!("run-{number}"))).await);
    }
    let large = format!("\"{}\"", "x".repeat(20_000));
    let mut acknowledged = vec![0; runs.len()];
    for _ in 0..60 {
        let answers = join_all(runs.iter().map(|run| store.commit(transition(run, 1, &large)))).await;
        for (count, answer) in acknowledged.iter_mut().zip(answers) {
            match answer {
                Ok(_) => *count += 1,
                Err(error) => assert_eq!(error.code, "diskFull", "{error}"),
            }
        }
    }
    assert!(
        acknowledged.iter().any(|count| *count < 60),
        "the disk never filled"
    );

    disk.remount("size=32m");

    for (run, count) in runs.iter().zip(acknowledged) {
        assert_eq!(store.events(run, 0, 100).await.unwrap().len(), count, "{run}");
        store.commit(transition(run, 1, "{}")).await.unwrap();
    }
    store.close().await;
}

#[tokio::test]
async fn a_disk_that_is_full_from_the_start_is_named_and_is_no_damage() {
    let Some(disk) = Disk::mount("size=64k") else {
        return;
    };
    let error = Store::open(&disk.state()).await.unwrap_err();
    assert_eq!(error.code, "diskFull", "{error}");

    disk.remount("size=16m");

    let store = Store::open(&disk.state()).await.unwrap();
    create(&store, new_run("run")).await;
    store.close().await;
}

#[tokio::test]
async fn on_a_read_only_disk_an_existing_store_is_read_and_a_missing_one_is_an_error() {
    let Some(disk) = Disk::mount("size=16m") else {
        return;
    };
    let store = Store::open(&disk.state()).await.unwrap();
    let run = create(&store, new_run("run")).await;
    store.close().await;
    disk.remount("ro");

    let store = Store::open(&disk.state()).await.unwrap();
    assert!(matches!(store.mode(), StoreMode::ReadOnly { reason } if reason.code == "stateReadOnly"));
    assert_eq!(store.run(&run).await.unwrap().unwrap().title, "Add a test");
    assert!(store.data_version().await.is_ok());
    let refused = store.commit(transition(&run, 1, "{}")).await.unwrap_err();
    assert_eq!(refused.code, "stateReadOnly");
    assert!(
        refused
            .first_hint()
            .is_some_and(|hint| hint.contains("CLODE_STATE_DIR")),
        "{refused:?}"
    );
    assert_eq!(
        store.ledger().reserve(hold("paid", 1, 9)).await.unwrap_err().code,
        "stateReadOnly"
    );
    assert_eq!(
        store.register_owner(&"owner".into(), "").unwrap_err().code,
        "stateReadOnly"
    );
    store.close().await;

    let missing = Store::open(&disk.root.join("elsewhere")).await.unwrap_err();
    assert_eq!(missing.code, "stateReadOnly", "{missing}");
}

#[tokio::test]
async fn what_a_killed_process_committed_is_read_from_a_disk_that_became_read_only() {
    let Some(disk) = Disk::mount("size=16m") else {
        return;
    };
    let mut child = children::start("committer", "killed", &disk.state(), "");
    wait_until("some commits", || {
        children::reports(&disk.state(), "killed").len() >= 5
    });
    child.kill();
    let acknowledged = children::reports(&disk.state(), "killed").len();
    disk.remount("ro");

    let store = Store::open(&disk.state()).await.unwrap();

    assert!(matches!(store.mode(), StoreMode::ReadOnly { .. }));
    let events = store.events(&"killed".into(), 0, 10_000).await.unwrap();
    assert!(events.len() >= acknowledged, "{} of {acknowledged}", events.len());
    store.close().await;
}
