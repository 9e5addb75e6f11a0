//! The one SQLite file: journal, blobs, ledger; the only SQL.
