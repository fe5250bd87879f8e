-- Further kinds of commands, some with arguments; one of each kind may wait for a node. The check of the kinds cannot be
-- altered, so that the table is made anew. Ids go on where they were: agents carry out each once.
CREATE TABLE commands_anew (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    node    INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    kind    TEXT NOT NULL CHECK (kind IN
            ('reboot', 'poweroff', 'refresh', 'doctor', 'collect-logs', 'identify', 'load-extension')),
    args    TEXT NOT NULL DEFAULT '{}',                -- JSON object
    at      INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    sent    INTEGER,                                   -- when it was first sent; NULL: it waits for a check-in
    boot_id TEXT,                                      -- the boot that it was sent to
    UNIQUE (node, kind)
) STRICT;
INSERT INTO sqlite_sequence (name, seq) SELECT 'commands_anew', seq FROM sqlite_sequence WHERE name = 'commands';
INSERT INTO commands_anew (id, node, kind, at, expires, sent, boot_id)
    SELECT id, node, kind, at, expires, sent, boot_id FROM commands;
DROP TABLE commands;
ALTER TABLE commands_anew RENAME TO commands;
CREATE INDEX commands_by_expiry ON commands (expires);

-- Logs and state that nodes were told to collect. The files are beside the database, each named by its command.
CREATE TABLE bundles (
    command INTEGER PRIMARY KEY,
    node    INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    at      INTEGER NOT NULL,
    bytes   INTEGER NOT NULL,
    sha256  TEXT NOT NULL
) STRICT;
CREATE INDEX bundles_by_node ON bundles (node, command);
