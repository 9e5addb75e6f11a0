-- Which documents hold unsaved text in which living process: somebody else's apply leaves them alone.
-- Rows of dead owners mean nothing; they are removed when somebody opens the store.

CREATE TABLE unsaved_documents (
    owner    TEXT NOT NULL,
    path     TEXT NOT NULL, -- absolute, without symbolic links
    client   TEXT NOT NULL, -- as a person knows the editor
    checksum TEXT NOT NULL,
    PRIMARY KEY (owner, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX unsaved_documents_by_path ON unsaved_documents (path);
