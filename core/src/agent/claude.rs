//! Drives the program Claude Code over its stream of JSON lines: starts it, speaks with it, meters it,
//! asks before each of its tools, ends it.
//!
//! The program is a guest: it gets an environment of ours, no settings of the repository, and a hook
//! before every tool. A hook is never answered with an error, because the program then goes ahead.

pub(crate) mod launch;
pub(crate) mod meter;
pub(crate) mod outcome;
pub(crate) mod provider;
pub(crate) mod session;
mod wire;

#[cfg(test)]
pub(crate) mod tests;
