-- Commands to nodes that wait to be carried out; at most one for each node. What became of a command is in the node's log.
CREATE TABLE commands (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,         -- never reused: agents carry out each id once
    node    INTEGER NOT NULL UNIQUE REFERENCES nodes (id) ON DELETE CASCADE,
    kind    TEXT NOT NULL CHECK (kind IN ('reboot', 'poweroff')),
    at      INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    sent    INTEGER,                                   -- when it was first sent; NULL: it waits for a check-in
    boot_id TEXT                                       -- the boot that it was sent to
) STRICT;
CREATE INDEX commands_by_expiry ON commands (expires);
