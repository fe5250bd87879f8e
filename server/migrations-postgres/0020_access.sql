-- Operators from elsewhere: tokens, and sessions of browsers. Of both there are only digests.
CREATE TABLE operator_tokens (
    id BIGINT PRIMARY KEY DEFAULT next_number('operator_tokens'),
    digest TEXT COLLATE "C" NOT NULL UNIQUE,
    note TEXT COLLATE "C" NOT NULL,
    read_only BIGINT NOT NULL CHECK (read_only IN (0, 1)),
    at BIGINT NOT NULL,
    expires BIGINT,
    revoked BIGINT
);
CREATE INDEX operator_tokens_good ON operator_tokens (expires) WHERE revoked IS NULL;

CREATE TABLE sessions (
    digest TEXT COLLATE "C" PRIMARY KEY,
    token BIGINT NOT NULL REFERENCES operator_tokens (id) ON DELETE CASCADE,
    expires BIGINT NOT NULL
);
CREATE INDEX sessions_by_token ON sessions (token, expires);
