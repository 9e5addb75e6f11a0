-- Money. A hold outlives its run: what was spent stays spent when the run is deleted.

CREATE TABLE holds (
    intent             TEXT NOT NULL PRIMARY KEY,
    run                TEXT NOT NULL,
    step               TEXT NOT NULL,
    agent              TEXT NOT NULL,
    provider           TEXT NOT NULL,
    model              TEXT NOT NULL,
    repository         TEXT NOT NULL,
    owner              TEXT NOT NULL,
    day                TEXT NOT NULL,    -- the day of the reservation, which every later number belongs to
    amount             INTEGER NOT NULL CHECK (amount >= 0), -- picodollars
    reserved_at        INTEGER NOT NULL,
    settled_at         INTEGER,          -- NULL: open
    cost               INTEGER NOT NULL CHECK (cost >= 0),
    confirmed          INTEGER NOT NULL,
    input_tokens       INTEGER NOT NULL,
    output_tokens      INTEGER NOT NULL,
    cache_read_tokens  INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    checksum           TEXT NOT NULL
) STRICT;
CREATE INDEX holds_by_run ON holds (run);
CREATE INDEX holds_by_day ON holds (day);
CREATE INDEX holds_open ON holds (owner) WHERE settled_at IS NULL;

-- The sums of `holds` by what has a limit, so that a reservation costs the same on a busy day.
CREATE TABLE tallies (
    scope              TEXT NOT NULL,    -- run, repository, user, provider
    key                TEXT NOT NULL,
    day                TEXT NOT NULL,    -- empty for a run
    cost               INTEGER NOT NULL,
    reserved           INTEGER NOT NULL CHECK (reserved >= 0),
    unconfirmed        INTEGER NOT NULL,
    input_tokens       INTEGER NOT NULL,
    output_tokens      INTEGER NOT NULL,
    cache_read_tokens  INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    calls              INTEGER NOT NULL,
    checksum           TEXT NOT NULL,
    PRIMARY KEY (scope, key, day)
) STRICT, WITHOUT ROWID;
