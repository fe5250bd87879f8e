-- What the list of nodes is sorted and searched by. Triggers keep it, so that whatever changes a node keeps it true.
CREATE TABLE summaries (
    node    INTEGER PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
    product TEXT COLLATE NOCASE,
    serial  TEXT COLLATE NOCASE,
    cpus    INTEGER,
    memory  INTEGER,                                   -- bytes
    words   TEXT NOT NULL                              -- hardware values, names and addresses
) STRICT;

-- Values are cut: a machine may send a megabyte for a serial number.
CREATE VIEW summary AS
SELECT n.id AS node,
       substr(n.facts ->> '$.productname', 1, 100) AS product,
       substr(n.facts ->> '$.serialnumber', 1, 100) AS serial,
       CAST(n.facts ->> '$.processorcount' AS INTEGER) AS cpus,
       CAST(n.facts ->> '$.mk_hw_mem_size_bytes' AS INTEGER) AS memory,
       'node' || n.id || ' ' || substr(n.hw_info, 1, 2000) || ' ' || coalesce(n.dhcp_mac, '') || ' ' || coalesce((
           SELECT substr(group_concat(substr(f.atom, 1, 100), ' '), 1, 4000)
           FROM json_each(n.facts) f
           WHERE f.key IN ('manufacturer', 'productname', 'uuid') OR f.key LIKE '%serial%' OR f.key LIKE '%asset%'
              OR f.key LIKE '%mac%'), '')
       || ' ' || coalesce(substr(n.volatile ->> '$.addresses', 1, 2000), '') AS words
FROM nodes n;

INSERT INTO summaries SELECT * FROM summary;

CREATE TRIGGER summary_of_new AFTER INSERT ON nodes
BEGIN
    INSERT OR REPLACE INTO summaries SELECT * FROM summary WHERE node = new.id;
END;

CREATE TRIGGER summary_of_changed AFTER UPDATE OF facts, hw_info, dhcp_mac ON nodes
BEGIN
    INSERT OR REPLACE INTO summaries SELECT * FROM summary WHERE node = new.id;
END;

CREATE TRIGGER summary_of_moved AFTER UPDATE OF volatile ON nodes
WHEN old.volatile IS NOT new.volatile AND old.volatile ->> '$.addresses' IS NOT new.volatile ->> '$.addresses'
BEGIN
    INSERT OR REPLACE INTO summaries SELECT * FROM summary WHERE node = new.id;
END;

CREATE INDEX summaries_by_product ON summaries (product, node);
CREATE INDEX summaries_by_serial ON summaries (serial, node);
CREATE INDEX summaries_by_cpus ON summaries (cpus, node);
CREATE INDEX summaries_by_memory ON summaries (memory, node);
CREATE INDEX nodes_by_state ON nodes (state, id);
CREATE INDEX nodes_by_checkin ON nodes (last_checkin, id);

-- What happened lately, over all nodes.
CREATE INDEX events_by_time ON events (at);
CREATE INDEX node_log_by_time ON node_log (at);
