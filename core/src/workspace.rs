//! The user's files, read only; our snapshots, slots and patches.
