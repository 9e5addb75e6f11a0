//! What is written down and what is there say the same: a test fails when they part.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a document that cannot be read fails the test"
)]

mod book;
mod command_line;
mod configuration;
mod links;
mod protocol;
mod readme;
mod shapes;
mod sources;

use std::collections::BTreeSet;

/// Fails with what only one of the two has.
#[track_caller]
fn assert_same(what: &str, written: &BTreeSet<String>, there: &BTreeSet<String>) {
    let missing: Vec<&String> = there.difference(written).collect();
    let stale: Vec<&String> = written.difference(there).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "{what}: not written down: {missing:?}; written down, but not there: {stale:?}"
    );
    assert!(!there.is_empty(), "{what}: nothing was found at all");
}
