-- What machines are made of, apart from what tells one from the next of its kind: kept once for all nodes that have it, so that the
-- odd ones of a product are found by counting. An area is one side of a machine, such as its memory; a makeup is all of them.
CREATE TABLE areas (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    digest  TEXT NOT NULL UNIQUE,                      -- SHA-256 of the content
    content TEXT NOT NULL,                             -- JSON: parts and what is known of them
    uses    INTEGER NOT NULL                           -- makeups that have it; it goes with the last one
) STRICT;

CREATE TABLE makeups (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,         -- never reused
    digest  TEXT NOT NULL UNIQUE,                      -- SHA-256 of product and areas
    product TEXT NOT NULL,                             -- maker and product: what is compared with each other
    areas   TEXT NOT NULL                              -- JSON: ids of its areas
) STRICT;
CREATE INDEX makeups_by_product ON makeups (product, id);

ALTER TABLE nodes ADD COLUMN makeup INTEGER;            -- by its newest inventory; NULL: it has none, or it was not worked out yet
CREATE INDEX nodes_by_makeup ON nodes (makeup, state, id) WHERE makeup IS NOT NULL;

-- Switch ports that a node's newest inventory has heard, as the expected racks are compared with them.
CREATE TABLE node_ports (
    node INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    port TEXT NOT NULL,                                -- switch and port, normalised for comparison
    PRIMARY KEY (node, port)
) STRICT, WITHOUT ROWID;
CREATE INDEX node_ports_by_port ON node_ports (port, node);

-- Which machines are expected in the racks, at most one row: the operator's file as it was read.
CREATE TABLE racks (
    version INTEGER PRIMARY KEY AUTOINCREMENT,         -- never reused: who has read this version need not read it again
    at      INTEGER NOT NULL,
    rows    BLOB NOT NULL                              -- JSON, compressed
) STRICT;
