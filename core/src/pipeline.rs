//! The pure machine of a run: events in, effects out; no clock, no I/O.
