-- What machines are made of, the switch ports that they hear, and which machines are expected; the SQLite migration says more.
CREATE TABLE areas (
    id BIGINT PRIMARY KEY DEFAULT next_number('areas'),
    digest TEXT COLLATE "C" NOT NULL UNIQUE,
    content TEXT COLLATE "C" NOT NULL,
    uses BIGINT NOT NULL
);

CREATE TABLE makeups (
    id BIGINT PRIMARY KEY DEFAULT next_number('makeups'),
    digest TEXT COLLATE "C" NOT NULL UNIQUE,
    product TEXT COLLATE "C" NOT NULL,
    areas TEXT COLLATE "C" NOT NULL
);
CREATE INDEX makeups_by_product ON makeups (product, id);

ALTER TABLE nodes ADD COLUMN makeup BIGINT;
CREATE INDEX nodes_by_makeup ON nodes (makeup, state, id) WHERE makeup IS NOT NULL;

CREATE TABLE node_ports (
    node BIGINT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    port TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (node, port)
);
CREATE INDEX node_ports_by_port ON node_ports (port, node);

CREATE TABLE racks (
    version BIGINT PRIMARY KEY DEFAULT next_number('racks'),
    at BIGINT NOT NULL,
    rows BYTEA NOT NULL
);
