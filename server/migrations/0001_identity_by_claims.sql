-- Nodes, what proves which node a machine is, and what was reported. Times are milliseconds since 1970 by the server's
-- clock. JSON columns hold what the API shows.

CREATE TABLE nodes (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,    -- never reused
    first_seen   INTEGER NOT NULL,
    last_checkin INTEGER,
    hw_info      TEXT NOT NULL,                        -- JSON array of "key=value", canonical, as sent
    dhcp_mac     TEXT,                                 -- as sent
    facts        TEXT,                                 -- JSON object without blacklisted facts; NULL: unregistered
    facts_digest TEXT,
    installed    TEXT,                                 -- what is installed, '+protected' for a protected new node
    installed_at INTEGER,
    reboots      INTEGER NOT NULL DEFAULT 0,           -- reboots ordered in a row
    state        TEXT NOT NULL DEFAULT 'normal' CHECK (state IN ('normal', 'held', 'pending')),
    reason       TEXT,                                 -- JSON problem; why the state is not normal
    decision     TEXT NOT NULL,                        -- JSON: the last decision about it, with row and evidence
    report       INTEGER,                              -- newest row in reports
    volatile     TEXT,                                 -- JSON: newest volatile inventory
    agent        TEXT,                                 -- JSON: the agent that spoke last
    boot_id      TEXT                                  -- the boot that spoke last
) STRICT;

-- A claim says that a node has a hardware value. Values are normalised for comparison.
CREATE TABLE claims (
    node     INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    kind     TEXT NOT NULL,                            -- mac, serial, asset, uuid, fact_NAME
    value    TEXT NOT NULL,
    state    TEXT NOT NULL CHECK (state IN ('current', 'former', 'contested')),
    matching INTEGER NOT NULL CHECK (matching IN (0, 1)), -- 1: decides which node a machine is
    since    INTEGER NOT NULL,
    PRIMARY KEY (node, kind, value)
) STRICT, WITHOUT ROWID;
CREATE INDEX claims_by_key ON claims (kind, value);
CREATE UNIQUE INDEX claims_one_holder ON claims (kind, value) WHERE state = 'current' AND matching = 1;

-- A node id that was merged into another goes on answering.
CREATE TABLE aliases (
    alias    INTEGER PRIMARY KEY,
    node     INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    merged   INTEGER NOT NULL,
    decision TEXT NOT NULL,                            -- JSON: row and evidence
    snapshot TEXT NOT NULL                             -- JSON: the node and its claims as they were
) STRICT;
CREATE INDEX aliases_by_node ON aliases (node);

CREATE TABLE boots (
    boot_id    TEXT PRIMARY KEY,
    node       INTEGER REFERENCES nodes (id) ON DELETE CASCADE,
    key        BLOB,                                   -- Ed25519 public key; NULL: unsigned
    seq        INTEGER NOT NULL,
    body       TEXT NOT NULL,                          -- SHA-256 of the last body
    reply      TEXT NOT NULL,                          -- JSON: what was answered to it
    uptime_s   INTEGER,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL
) STRICT;
CREATE INDEX boots_by_node ON boots (node, last_seen);

CREATE TABLE contents (
    digest TEXT PRIMARY KEY,                           -- SHA-256 of the JSON
    bytes  INTEGER NOT NULL,
    zstd   BLOB NOT NULL
) STRICT;

CREATE TABLE reports (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    node     INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    origin   INTEGER NOT NULL,                         -- the node's id when it was written
    kind     TEXT NOT NULL CHECK (kind IN ('inventory', 'facts')),
    digest   TEXT NOT NULL,                            -- the agent's name for it
    content  TEXT NOT NULL REFERENCES contents (digest),
    at       INTEGER NOT NULL,
    boot_id  TEXT,
    uptime_s INTEGER
) STRICT;
CREATE INDEX reports_by_node ON reports (node, id);
CREATE INDEX reports_by_digest ON reports (node, digest);

CREATE TABLE node_log (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    node     INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    origin   INTEGER NOT NULL,                         -- the node's id when it was written
    at       INTEGER NOT NULL,
    severity TEXT NOT NULL,
    entry    TEXT NOT NULL                             -- JSON object
) STRICT;
CREATE INDEX node_log_by_node ON node_log (node, id);

CREATE TABLE events (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,          -- the feed's cursor
    at     INTEGER NOT NULL,
    kind   TEXT NOT NULL,
    node   INTEGER,
    detail TEXT NOT NULL                               -- JSON object
) STRICT;

CREATE TABLE configs (
    version INTEGER PRIMARY KEY AUTOINCREMENT,
    node    INTEGER REFERENCES nodes (id) ON DELETE CASCADE, -- NULL: for all nodes
    at      INTEGER NOT NULL,
    body    TEXT NOT NULL                              -- JSON: wire::config::Config
) STRICT;

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
