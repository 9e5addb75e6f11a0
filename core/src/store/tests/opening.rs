//! Opening: creating, bringing an older file forward, refusing a newer or damaged one.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::support::{DAY, NOW, Place, create, hold, new_run, raw, transition};
use crate::store::{
    AuditRecord, DayScope, Limits, StoreMode, audit, connection, event, ledger, migrations, runs, setting,
};

#[tokio::test]
async fn what_is_created_is_for_the_owner_only() {
    let place = Place::new();
    let store = place.open().await;
    create(&store, new_run("run")).await;

    let mode = |name: &str| place.state.join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(""), 0o700);
    for name in ["clode.db", "clode.db-wal", "clode.db-shm"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    assert_eq!(store.path(), place.state.join(connection::FILE_NAME));
    assert_eq!(store.mode(), StoreMode::ReadWrite);
}

#[tokio::test]
async fn an_empty_directory_is_closed_to_others_and_one_with_other_things_in_it_keeps_its_mode() {
    for (other_thing, expected) in [(None, 0o700), (Some("letters"), 0o755)] {
        let place = Place::new();
        std::fs::create_dir_all(&place.state).unwrap();
        std::fs::set_permissions(&place.state, std::fs::Permissions::from_mode(0o755)).unwrap();
        if let Some(name) = other_thing {
            std::fs::create_dir(place.state.join(name)).unwrap();
        }

        place.open().await.close().await;

        let mode = |name: &str| place.state.join(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(""), mode("clode.db")), (expected, 0o600));
    }
}

#[tokio::test]
async fn commits_are_synced_to_the_disk() {
    let place = Place::new();
    let store = place.open().await;
    let settings = store
        .shared
        .writer
        .as_ref()
        .unwrap()
        .run(|connection| {
            let ask = |pragma: &str| {
                connection.pragma_query_value(None, pragma, |row| row.get::<_, rusqlite::types::Value>(0))
            };
            Ok([
                ask("synchronous")?,
                ask("foreign_keys")?,
                ask("busy_timeout")?,
                ask("journal_mode")?,
            ])
        })
        .await
        .unwrap();
    let (full, on, five_seconds) = (2.into(), 1.into(), 5_000.into());
    assert_eq!(settings, [full, on, five_seconds, "wal".to_owned().into()]);
}

/// What a program of this version would have left: every table that it knew has something in it.
fn leave(state: &Path, version: i64) {
    std::fs::create_dir_all(state).unwrap();
    let mut old = raw(state);
    migrations::migrate(&mut old, version).unwrap();
    assert_eq!(migrations::version(&old).unwrap(), version);
    runs::insert(&old, &runs::first_row(new_run("old"))).unwrap();
    event::append(&old, &"old".into(), NOW, &["{}".to_owned()]).unwrap();
    if version >= 2 {
        ledger::reserve(&old, hold("call", 2, 100)).unwrap();
    }
    if version >= 3 {
        setting::set(&old, "key", "value").unwrap();
        audit::append(&old, record()).unwrap();
    }
    let unknown = ["holds", "settings", "unsaved_documents", "step_cache", "life"]
        [usize::try_from(version).unwrap() - 1];
    assert!(
        old.prepare(&format!("SELECT * FROM {unknown}")).is_err(),
        "version {version} has no {unknown}"
    );
}

fn record() -> AuditRecord {
    AuditRecord {
        at: NOW,
        run: None,
        actor: "a person".to_owned(),
        action: "approval".to_owned(),
        detail: "{}".to_owned(),
    }
}

#[tokio::test]
async fn a_file_of_every_older_version_is_brought_forward_with_what_is_in_it() {
    for version in 1..migrations::latest() {
        let place = Place::new();
        leave(&place.state, version);

        let store = place.open().await;

        let found = migrations::version(&raw(&place.state)).unwrap();
        assert_eq!(found, migrations::latest());
        let row = store.run(&"old".into()).await.unwrap().unwrap();
        assert_eq!(row.title, "Add a test");
        assert_eq!(store.events(&row.id, 0, 10).await.unwrap().len(), 1);
        let totals = store.ledger().day_totals(DAY, &DayScope::User).await.unwrap();
        assert_eq!(totals.calls, u64::from(version >= 2), "version {version}");
        let kept = store.setting("key").await.unwrap();
        assert_eq!(kept.is_some(), version >= 3, "version {version}");
        let audited = store.audit_records(None, None, 10).await.unwrap().len();
        assert_eq!(audited, usize::from(version >= 3), "version {version}");
        store.commit(transition(&row.id, 1, "\"goes on\"")).await.unwrap();
        store.ledger().reserve(hold("next", 1, 100)).await.unwrap();
        store.set_setting("key", Some("new".to_owned())).await.unwrap();
        store.audit(record()).await.unwrap();
        assert_eq!(store.restored_runs().await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_newer_file_is_only_read() {
    let place = Place::new();
    let store = place.open().await;
    let run = create(&store, new_run("run")).await;
    store.close().await;
    raw(&place.state)
        .pragma_update(None, "user_version", migrations::latest() + 1)
        .unwrap();

    let store = place.open().await;

    assert!(matches!(store.mode(), StoreMode::ReadOnly { reason } if reason.code == "storeNewer"));
    assert!(store.run(&run).await.unwrap().is_some());
    assert_eq!(
        store.commit(transition(&run, 1, "{}")).await.unwrap_err().code,
        "storeNewer"
    );
    assert_eq!(
        store.register_owner(&"owner".into(), "").unwrap_err().code,
        "storeNewer"
    );
    assert_eq!(store.put_blob(vec![1]).await.unwrap_err().code, "storeNewer");
}

#[tokio::test]
async fn a_program_that_is_running_stops_writing_when_a_newer_one_brings_the_file_forward() {
    let place = Place::new();
    let store = place.open().await;
    let run = create(&store, new_run("run")).await;
    raw(&place.state)
        .pragma_update(None, "user_version", migrations::latest() + 1)
        .unwrap();

    let refused = store.commit(transition(&run, 1, "\"late\"")).await.unwrap_err();

    assert_eq!(refused.code, "storeNewer", "{refused}");
    assert!(
        refused
            .first_hint()
            .is_some_and(|hint| hint.contains("update clode-ls"))
    );
    assert_eq!(store.writable().unwrap_err().code, "storeNewer");
    let paid = store.ledger().reserve(hold("paid", 1, 100)).await.unwrap_err();
    assert_eq!(paid.code, "storeNewer");
    let row = store.run(&run).await.unwrap().unwrap();
    assert_eq!(
        row.state, r#"{"step":0}"#,
        "reading goes on and nothing was written"
    );
}

#[tokio::test]
async fn a_closed_store_says_so_and_leaves_one_file() {
    let place = Place::new();
    let store = place.open().await;
    let run = create(&store, new_run("run")).await;

    store.close().await;

    assert_eq!(store.run(&run).await.unwrap_err().code, "storeClosed");
    assert_eq!(
        store.commit(transition(&run, 1, "{}")).await.unwrap_err().code,
        "storeClosed"
    );
    assert!(
        !place.state.join("clode.db-wal").exists(),
        "the log went into the file"
    );
    assert!(place.open().await.run(&run).await.unwrap().is_some());
}

#[tokio::test]
async fn the_data_version_changes_when_another_wrote_and_only_then() {
    let place = Place::new();
    let (one, other) = (place.open().await, place.open().await);
    let run = create(&one, new_run("run")).await;
    let before = one.data_version().await.unwrap();

    one.commit(transition(&run, 1, "\"own\"")).await.unwrap();
    assert_eq!(one.data_version().await.unwrap(), before);
    other
        .send_signal(&run, "d", "\"\"".to_owned(), NOW)
        .await
        .unwrap();
    let after = one.data_version().await.unwrap();

    assert_ne!(after, before);
    assert_eq!(one.data_version().await.unwrap(), after);
}

#[tokio::test]
async fn a_lock_that_another_process_keeps_is_reported_and_not_waited_for_for_ever() {
    let place = Place::new();
    let store = place.open().await;
    let other = raw(&place.state);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    let error = store.create_run(new_run("run")).await.unwrap_err();
    assert_eq!(error.code, "storeBusy");
    assert_eq!(store.run(&"run".into()).await.unwrap(), None, "reading goes on");

    other.execute_batch("ROLLBACK").unwrap();
    create(&store, new_run("run")).await;
}
