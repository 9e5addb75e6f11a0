//! Scenarios with real git repositories in temporary directories.

mod combining;
mod disk;
mod hostile;
mod patches;
mod repositories;
mod slots;
mod snapshots;
mod tidying;
mod world;
