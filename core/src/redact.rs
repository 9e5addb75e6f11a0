//! Keeps secrets out of what leaves the process.
