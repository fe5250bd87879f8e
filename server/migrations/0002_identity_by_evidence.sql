-- What tells machines apart beyond match keys, and what was learned about values.

-- What is known of a node by groups: uuid, serial, board, chassis, tpm, dimm, disk, nic. A group that a report does not
-- speak of keeps what was known.
CREATE TABLE evidence (
    node  INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    kind  TEXT NOT NULL,
    value TEXT NOT NULL,                               -- normalised for comparison
    PRIMARY KEY (node, kind, value)
) STRICT, WITHOUT ROWID;
CREATE INDEX evidence_by_value ON evidence (kind, value);

-- MACs of USB ports, BMCs and virtual interfaces, as full reports told: no evidence, wherever they turn up.
CREATE TABLE foreign_macs (
    value TEXT PRIMARY KEY,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Original clients have no boot id: who spoke as a node, and when last.
CREATE TABLE legacy_speakers (
    node      INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    hw_id     TEXT NOT NULL,
    last_seen INTEGER NOT NULL,
    PRIMARY KEY (node, hw_id)
) STRICT, WITHOUT ROWID;

-- An operator's word that two nodes are different machines; one < other.
CREATE TABLE distinct_nodes (
    one   INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    other INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    since INTEGER NOT NULL,
    PRIMARY KEY (one, other)
) STRICT, WITHOUT ROWID;
