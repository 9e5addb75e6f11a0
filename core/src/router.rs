//! Which provider and model a call takes, what it may cost, and what happens when it fails.
