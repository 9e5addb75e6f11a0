//! Disks that are full or read-only: small file systems of our own, where mounting is allowed.

use std::path::{Path, PathBuf};
use std::process::Command;

use futures::future::join_all;
use tempfile::TempDir;

use super::children;
use super::support::{NOW, create, hold, new_run, settlement, transition, wait_until};
use crate::money::Money;
use crate::store::space::RESERVE_BYTES;
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

    /// Writes a file of so many bytes, or as many as there is room for.
    fn fill(&self, bytes: u64) {
        let mut filler = std::fs::File::create(self.root.join("filler")).unwrap();
        drop(std::io::copy(
            &mut std::io::Read::take(std::io::repeat(7), bytes),
            &mut filler,
        ));
    }

    fn free(&self) {
        std::fs::remove_file(self.root.join("filler")).unwrap();
    }

    fn reserve_bytes(&self) -> u64 {
        std::fs::metadata(self.state().join("reserve")).map_or(0, |found| found.len())
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

    disk.remount("size=128m");

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
async fn on_a_full_disk_what_was_paid_and_what_was_answered_is_written_from_the_reserve() {
    let Some(disk) = Disk::mount("size=128m") else {
        return;
    };
    let store = Store::open(&disk.state()).await.unwrap();
    let run = create(&store, new_run("run")).await;
    let ledger = store.ledger();
    ledger.reserve(hold("paid", 2, 100)).await.unwrap();
    assert_eq!(disk.reserve_bytes(), RESERVE_BYTES);
    disk.fill(u64::MAX);
    let large = format!("\"{}\"", "x".repeat(60_000));
    while store.commit(transition(&run, 1, &large)).await.is_ok() {}
    assert_eq!(disk.reserve_bytes(), 0, "it was given up");

    ledger
        .settle(&"paid".into(), settlement(Money::from_dollars(1)))
        .await
        .unwrap();
    let answer = "\"yes\"".to_owned();
    let signal = store.send_signal(&run, "answer", answer, NOW).await.unwrap();
    let mut taken_in = transition(&run, 1, "\"answered\"");
    taken_in.consumed = vec![(signal, "\"accepted\"".to_owned())];
    store.commit(taken_in).await.unwrap();

    let refused = ledger.reserve(hold("dear", 1, 100)).await.unwrap_err();
    assert_eq!(refused.code, "diskFull");
    assert!(refused.first_hint().is_some_and(|hint| hint.contains("resume")));
    // A process that opens the full disk does what it has to do as well.
    let other = Store::open(&disk.state()).await.unwrap();
    assert_eq!(
        other.ledger().run_totals(&run).await.unwrap().cost,
        Money::from_dollars(1)
    );
    other.close().await;

    disk.free();

    ledger.reserve(hold("dear", 1, 100)).await.unwrap();
    assert_eq!(disk.reserve_bytes(), RESERVE_BYTES, "it is made again");
    store.close().await;
}

#[tokio::test]
async fn below_the_floor_nothing_that_is_paid_begins_and_what_is_under_way_is_written() {
    let Some(disk) = Disk::mount("size=128m") else {
        return;
    };
    let store = Store::open(&disk.state()).await.unwrap();
    let run = create(&store, new_run("run")).await;
    store.room().unwrap();
    disk.fill(118 << 20);

    let refused = store.ledger().reserve(hold("paid", 1, 100)).await.unwrap_err();

    assert_eq!(refused.code, "diskFull");
    assert!(refused.message.contains("KiB are free"), "{refused}");
    assert_eq!(store.room().unwrap_err().code, "diskFull");
    store.commit(transition(&run, 1, "{}")).await.unwrap();
    assert_eq!(disk.reserve_bytes(), RESERVE_BYTES, "it is not needed yet");

    disk.free();

    store.ledger().reserve(hold("paid", 1, 100)).await.unwrap();
    store.close().await;
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
