-- Runs and everything that belongs to one run. Payload columns hold text that only the caller
-- interprets; `checksum` covers every other column of its row.

CREATE TABLE blobs (
    id      TEXT NOT NULL PRIMARY KEY, -- blake3 of the bytes, 64 hexadecimal digits
    ordinal INTEGER NOT NULL,          -- grows with every put: tells old from new without a clock
    size    INTEGER NOT NULL,
    bytes   BLOB                       -- NULL: in a file of its own
) STRICT;
CREATE INDEX blobs_by_ordinal ON blobs (ordinal);

CREATE TABLE runs (
    ordinal       INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT NOT NULL UNIQUE,
    repository    TEXT NOT NULL,
    top_level     TEXT NOT NULL,
    folder        TEXT NOT NULL,
    task_id       TEXT NOT NULL,
    explicit      INTEGER NOT NULL,
    force         INTEGER NOT NULL,
    identity_hash TEXT NOT NULL,
    title         TEXT NOT NULL,
    owner         TEXT,
    fence         INTEGER NOT NULL,
    status        TEXT NOT NULL,
    finished      INTEGER NOT NULL,
    reuse         TEXT NOT NULL,
    state         TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    checksum      TEXT NOT NULL
) STRICT;
CREATE INDEX runs_by_task ON runs (repository, task_id);
CREATE INDEX runs_unfinished ON runs (repository) WHERE finished = 0;

CREATE TABLE journal (
    ordinal  INTEGER PRIMARY KEY AUTOINCREMENT,
    run      TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    fence    INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    body     TEXT NOT NULL,
    checksum TEXT NOT NULL
) STRICT;
CREATE INDEX journal_by_run ON journal (run, ordinal);

CREATE TABLE events (
    run      TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    seq      INTEGER NOT NULL, -- from 1, without gaps
    at       INTEGER NOT NULL,
    body     TEXT NOT NULL,
    checksum TEXT NOT NULL,
    PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE signals (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    run      TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    dedup    TEXT NOT NULL,
    at       INTEGER NOT NULL,
    payload  TEXT NOT NULL,
    outcome  TEXT,             -- NULL: not yet consumed
    checksum TEXT NOT NULL,
    UNIQUE (run, dedup)
) STRICT;
CREATE INDEX signals_pending ON signals (run, id) WHERE outcome IS NULL;

CREATE TABLE checkpoints (
    run        TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    step       TEXT NOT NULL,
    fence      INTEGER NOT NULL,
    files      TEXT,
    transcript TEXT NOT NULL REFERENCES blobs (id),
    note       TEXT NOT NULL,
    at         INTEGER NOT NULL,
    checksum   TEXT NOT NULL,
    PRIMARY KEY (run, step)
) STRICT, WITHOUT ROWID;
CREATE INDEX checkpoints_by_transcript ON checkpoints (transcript);
