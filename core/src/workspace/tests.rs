//! Scenarios with real git repositories in temporary directories.

mod hostile;
mod repositories;
mod slots;
mod snapshots;
mod world;
