-- Enrolment: a machine that was never accepted waits until an operator or a token accepts it.
ALTER TABLE nodes ADD COLUMN accepted INTEGER;          -- when; NULL: never, or not any more
ALTER TABLE nodes ADD COLUMN accepted_by TEXT;          -- 'open', 'operator' or 'token N'
ALTER TABLE nodes ADD COLUMN refused INTEGER;           -- when an operator refused it; it waits until one accepts it

-- Until now every machine was let in; one in dispute was a node as well, and stays held until that is settled.
UPDATE nodes SET accepted = first_seen, accepted_by = 'open';

CREATE INDEX nodes_not_accepted ON nodes (coalesce(last_checkin, first_seen)) WHERE accepted IS NULL AND refused IS NULL;

CREATE TABLE enrolment_tokens (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,         -- never reused
    digest  TEXT NOT NULL UNIQUE,                      -- SHA-256 of the token, which itself is kept nowhere
    note    TEXT NOT NULL,
    at      INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    uses    INTEGER NOT NULL,                          -- machines that it lets in
    used    INTEGER NOT NULL DEFAULT 0 CHECK (used <= uses),
    revoked INTEGER                                    -- when; NULL: it is good
) STRICT;
