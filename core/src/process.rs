//! Everything that we start, and its end.
