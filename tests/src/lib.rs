//! The rig of the end-to-end tests: repositories, empty homes, the binary, its processes, the real programs
//! it is tried with, a scripted model provider, and a client of the protocol. Nothing in here knows how
//! `clode-ls` works inside.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a rig that cannot be set up fails the test, and the message says what was missing"
)]

pub mod cli;
pub mod component;
pub mod editors;
pub mod fixture;
pub mod lsp_client;
pub mod processes;
pub mod scripted_api;
pub mod skip;
pub mod stage;
pub mod text_editor;
