-- Results of steps that may stand for later ones. An entry costs only money when it is lost, and goes
-- with the run that made it.

CREATE TABLE step_cache (
    ordinal    INTEGER PRIMARY KEY AUTOINCREMENT, -- tells old from new without a clock
    repository TEXT NOT NULL,
    lineage    TEXT NOT NULL,    -- whose: one run, or every run of a task that its caller named
    key        TEXT NOT NULL,    -- hash of all that the step was asked
    variant    TEXT NOT NULL,    -- tells apart what the same question led to on other files
    run        TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    step       TEXT NOT NULL,
    grounds    TEXT NOT NULL,    -- JSON: under what the result holds
    answer     TEXT NOT NULL,    -- JSON
    cost       INTEGER NOT NULL, -- picodollars
    bytes      INTEGER NOT NULL,
    used_at    INTEGER NOT NULL, -- when it was made or last used; not in the checksum: only the order of eviction
    checksum   TEXT NOT NULL,
    UNIQUE (repository, lineage, key, variant)
) STRICT;
CREATE INDEX step_cache_by_key ON step_cache (repository, key);
CREATE INDEX step_cache_by_use ON step_cache (used_at);
CREATE INDEX step_cache_by_run ON step_cache (run);
