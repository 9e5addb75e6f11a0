//! Transactions and parts of them whose statements stay prepared: SQLite would parse `BEGIN` and `COMMIT` anew
//! around each of the many small pieces of work.
//!
//! What is not kept is undone when the scope ends, whichever way it ends.

use rusqlite::Connection;

use super::failure::Outcome;

/// What a kind of scope says to SQLite.
#[derive(Debug)]
struct Words {
    open: &'static str,
    keep: &'static str,
    undo: &'static [&'static str],
}

const VIEW: Words = Words {
    open: "BEGIN DEFERRED",
    keep: "COMMIT",
    undo: &["ROLLBACK"],
};
const TRANSACTION: Words = Words {
    open: "BEGIN IMMEDIATE",
    keep: "COMMIT",
    undo: &["ROLLBACK"],
};
const PART: Words = Words {
    open: "SAVEPOINT part",
    keep: "RELEASE part",
    undo: &["ROLLBACK TO part", "RELEASE part"],
};

/// See the module.
#[derive(Debug)]
pub(super) struct Scope<'connection> {
    connection: &'connection Connection,
    words: &'static Words,
    is_open: bool,
}

impl<'connection> Scope<'connection> {
    /// One consistent view of the database.
    pub(super) fn view(connection: &'connection Connection) -> Outcome<Self> {
        Self::open(connection, &VIEW)
    }

    /// A transaction that holds the write lock from its beginning.
    pub(super) fn transaction(connection: &'connection Connection) -> Outcome<Self> {
        Self::open(connection, &TRANSACTION)
    }

    /// A part of a transaction that can be undone by itself.
    pub(super) fn part(transaction: &'connection Connection) -> Outcome<Self> {
        Self::open(transaction, &PART)
    }

    fn open(connection: &'connection Connection, words: &'static Words) -> Outcome<Self> {
        connection.prepare_cached(words.open)?.execute([])?;
        Ok(Self {
            connection,
            words,
            is_open: true,
        })
    }

    /// Ends it and keeps what was done in it.
    pub(super) fn keep(mut self) -> Outcome<()> {
        // Where this fails everything is undone on the way out.
        self.connection.prepare_cached(self.words.keep)?.execute([])?;
        self.is_open = false;
        Ok(())
    }
}

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        // SQLite may have undone all of it already, as where the disk is full.
        if !self.is_open || self.connection.is_autocommit() {
            return;
        }
        for undo in self.words.undo {
            let undone = self
                .connection
                .prepare_cached(undo)
                .and_then(|mut statement| statement.execute([]));
            if let Err(error) = undone {
                tracing::warn!(%error, "`{undo}` failed");
            }
        }
    }
}
