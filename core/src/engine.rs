//! Owns runs: performs the machine's effects, makes every fact durable first.
