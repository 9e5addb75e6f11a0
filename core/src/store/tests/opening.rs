//! Opening: creating, bringing an older file forward, refusing a newer or damaged one.

use std::os::unix::fs::PermissionsExt;

use super::support::{NOW, Place, create, new_run, raw, transition};
use crate::store::{Store, StoreMode, connection, migrations, runs};

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

#[tokio::test]
async fn a_file_of_version_1_is_brought_forward_with_what_is_in_it() {
    let place = Place::new();
    std::fs::create_dir_all(&place.state).unwrap();
    let mut old = raw(&place.state);
    migrations::migrate(&mut old, 1).unwrap();
    runs::insert(&old, &runs::first_row(new_run("old"))).unwrap();
    assert_eq!(migrations::version(&old).unwrap(), 1);
    assert!(
        old.prepare("SELECT * FROM holds").is_err(),
        "version 1 has no ledger"
    );
    drop(old);

    let store = place.open().await;

    assert_eq!(
        migrations::version(&raw(&place.state)).unwrap(),
        migrations::latest()
    );
    let row = store.run(&"old".into()).await.unwrap().unwrap();
    assert_eq!(row.title, "Add a test");
    store.commit(transition(&row.id, 1, "\"goes on\"")).await.unwrap();
    store.set_setting("key", Some("value".to_owned())).await.unwrap();
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
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let place = Place::new();
    std::fs::create_dir_all(&place.state).unwrap();
    let path = place.state.join("clode.db");
    let text = "this is not a database ".repeat(1000);
    std::fs::write(&path, &text).unwrap();

    let error = Store::open(&place.state).await.unwrap_err();

    assert_eq!(error.code, "storeCorrupt");
    assert!(error.first_hint().is_some());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_database_whose_pages_are_damaged_is_refused() {
    let place = Place::new();
    let store = place.open().await;
    for number in 0..200 {
        create(&store, new_run(&format!("run-{number}"))).await;
    }
    store.close().await;
    let path = place.state.join("clode.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let tail = bytes.len() - 8 * 4096;
    bytes[tail..].fill(0xA5);
    std::fs::write(&path, bytes).unwrap();

    let error = Store::open(&place.state).await.unwrap_err();

    assert_eq!(error.code, "storeCorrupt", "{error}");
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
