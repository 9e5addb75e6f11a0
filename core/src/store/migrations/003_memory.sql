-- What is remembered beside the runs: answers inside steps, settings, and who did what.

CREATE TABLE answers (
    run      TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    question TEXT NOT NULL, -- hash of the question's content
    answer   TEXT NOT NULL,
    at       INTEGER NOT NULL,
    checksum TEXT NOT NULL,
    PRIMARY KEY (run, question)
) STRICT, WITHOUT ROWID;

CREATE TABLE settings (
    key      TEXT NOT NULL PRIMARY KEY,
    value    TEXT NOT NULL,
    checksum TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    at     INTEGER NOT NULL,
    run    TEXT,            -- no reference: the record stays when the run is deleted
    actor  TEXT NOT NULL,
    action TEXT NOT NULL,
    detail TEXT NOT NULL,
    chain  TEXT NOT NULL    -- over the chain of the record before and this record
) STRICT;
CREATE INDEX audit_by_run ON audit (run, id);

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE (ABORT, 'the audit is append-only');
END;
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
BEGIN
    SELECT RAISE (ABORT, 'the audit is append-only');
END;
