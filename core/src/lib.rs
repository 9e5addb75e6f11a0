//! The domain of `clode-ls`: a task becomes a pipeline of agents, a patch, an approved edit.
//!
//! A pure machine ([`pipeline`]) stands in the middle, the [`engine`] drives it, and adapters
//! stand at the walls: [`store`], [`workspace`], [`process`], [`provider`]. Nothing in here knows
//! LSP, prints, or reads the environment outside [`config`].

pub mod agent;
pub mod clock;
pub mod config;
pub mod engine;
pub mod error;
pub mod finish;
pub mod id;
pub mod money;
pub mod pipeline;
pub mod plan;
pub mod process;
pub mod provider;
pub mod redact;
pub mod router;
pub mod store;
pub mod task;
pub mod trust;
pub mod workspace;

pub use error::{Error, Kind, Result};
