-- Operators from elsewhere: tokens, and sessions of browsers. Of both there are only digests.
CREATE TABLE operator_tokens (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,       -- never reused
    digest    TEXT NOT NULL UNIQUE,                    -- SHA-256 of the token, which itself is kept nowhere
    note      TEXT NOT NULL,
    read_only INTEGER NOT NULL CHECK (read_only IN (0, 1)),
    at        INTEGER NOT NULL,
    expires   INTEGER,                                 -- NULL: it has no end
    revoked   INTEGER                                  -- when; NULL: it is good
) STRICT;
CREATE INDEX operator_tokens_good ON operator_tokens (expires) WHERE revoked IS NULL;

CREATE TABLE sessions (
    digest  TEXT PRIMARY KEY,                          -- SHA-256 of the cookie
    token   INTEGER NOT NULL REFERENCES operator_tokens (id) ON DELETE CASCADE,
    expires INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_by_token ON sessions (token, expires);
