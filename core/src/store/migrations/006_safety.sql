-- What keeps an older process, or an older file, from being written to by mistake.

CREATE TABLE life (
    one         INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    incarnation INTEGER NOT NULL, -- grows when a damaged database is replaced
    log         INTEGER NOT NULL  -- number of the safety log that is written to now; grows with each backup
) STRICT;
INSERT INTO life (one, incarnation, log) VALUES (1, 1, 1);

-- Runs that came back from a backup and have not been paused yet.
CREATE TABLE restored (
    run      TEXT NOT NULL PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
    reason   TEXT NOT NULL,
    checksum TEXT NOT NULL
) STRICT, WITHOUT ROWID;
