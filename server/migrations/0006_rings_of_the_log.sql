-- A node's log has two rings: what the server decided, and what machines and anybody else may say as often as they like.
-- The second cannot push out the first. An entry that comes again lately is counted.
ALTER TABLE node_log ADD COLUMN decided INTEGER NOT NULL DEFAULT 0 CHECK (decided IN (0, 1));
ALTER TABLE node_log ADD COLUMN times INTEGER NOT NULL DEFAULT 1;
ALTER TABLE node_log ADD COLUMN since INTEGER;         -- when it came first; NULL: it came once

UPDATE node_log SET decided = 1 WHERE entry ->> '$.action' IS NOT NULL
    OR entry ->> '$.event' IN ('identity', 'operator', 'reboot-loop', 'reinstall', 'rejoined', 'two-machines', 'hardware-moved');

CREATE INDEX node_log_by_ring ON node_log (node, decided, id);
