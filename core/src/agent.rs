//! The team: each agent is one file and one line in the roster.
