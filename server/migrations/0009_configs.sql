-- Configuration that nodes are sent: the keys of all nodes, and of single ones. A change takes the place of its row under a
-- higher version, so that the version of a node, the highest that concerns it, tells whether the node has it.
CREATE TABLE configs (
    version  INTEGER PRIMARY KEY AUTOINCREMENT,        -- never reused
    node     INTEGER UNIQUE REFERENCES nodes (id) ON DELETE CASCADE, -- NULL: all nodes
    at       INTEGER NOT NULL,
    body     TEXT NOT NULL,                            -- JSON object of mk_* keys
    interval INTEGER AS (body ->> '$.mk_checkin_interval')
) STRICT;
CREATE INDEX configs_by_interval ON configs (interval);

-- What the node said of its configuration last: JSON of version in force and refused version.
ALTER TABLE nodes ADD COLUMN config TEXT;
