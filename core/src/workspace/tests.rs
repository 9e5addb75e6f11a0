//! Scenarios with real git repositories in temporary directories.

mod hostile;
mod patches;
mod repositories;
mod slots;
mod snapshots;
mod world;
