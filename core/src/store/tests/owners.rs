//! Who is alive.

use super::children;
use super::support::{Place, wait_until};
use crate::store::Store;

#[tokio::test]
async fn an_owner_lives_as_long_as_its_lock_is_held_also_seen_from_its_own_process() {
    let place = Place::new();
    let (one, other) = (place.open().await, place.open().await);
    let id = "owner-1".into();
    assert!(!one.is_alive(&id), "never registered");

    let lock = one.register_owner(&id, "editor").unwrap();
    assert_eq!(lock.id(), &id);
    assert!(one.is_alive(&id) && other.is_alive(&id));
    assert!(one.is_alive(&id), "asking does not take the lock away");
    assert_eq!(other.register_owner(&id, "").unwrap_err().code, "ownerTaken");

    drop(lock);
    assert!(!one.is_alive(&id) && !other.is_alive(&id));
    assert_eq!(std::fs::read_dir(place.state.join("owners")).unwrap().count(), 0);
}

#[tokio::test]
async fn an_owner_that_was_killed_is_dead_and_its_file_is_cleaned_away() {
    let place = Place::new();
    let store = place.open().await;
    let id = "killed".into();
    let mut child = children::start("holder", "killed", &place.state, "");
    wait_until("the child's lock", || {
        children::reports(&place.state, "killed") == ["holding"]
    });
    assert!(store.is_alive(&id));
    let again = Store::open(&place.state).await.unwrap();
    assert!(again.is_alive(&id), "opening does not clean the living away");

    child.kill();

    assert!(!store.is_alive(&id));
    let path = place.state.join("owners/killed.lock");
    assert!(path.exists());
    drop(Store::open(&place.state).await.unwrap());
    assert!(!path.exists());
}

#[tokio::test]
async fn an_owner_id_cannot_lead_out_of_its_directory() {
    let place = Place::new();
    let store = place.open().await;
    for id in ["../escape", "a/b", "", ".", "a\0b"] {
        assert_eq!(
            store.register_owner(&id.into(), "").unwrap_err().code,
            "internal",
            "{id:?}"
        );
        assert!(!store.is_alive(&id.into()));
    }
}

#[tokio::test]
async fn the_number_of_a_dead_owner_says_nothing_whoever_has_it_now() {
    let place = Place::new();
    let store = place.open().await;
    let id = "the-dead".into();
    let folder = place.state.join("owners");
    std::fs::create_dir_all(&folder).unwrap();
    // As it was left behind; the number in it is that of somebody who lives.
    let note = format!("clode-ls {}", std::process::id());
    std::fs::write(folder.join("the-dead.lock"), note).unwrap();

    assert!(!store.is_alive(&id));
}
