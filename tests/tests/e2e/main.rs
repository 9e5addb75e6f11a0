//! End-to-end tests: the real binary, from outside.

mod framing;
