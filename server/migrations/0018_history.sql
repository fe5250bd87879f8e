-- What a node is known to have: the report by which changes of its parts were told last, and what that one lacked for the time
-- being, such as disks that come up late and what a silent port was plugged into.
CREATE TABLE settled (
    node    INTEGER PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
    content TEXT NOT NULL REFERENCES contents (digest),
    missing TEXT NOT NULL,                             -- JSON list of parts
    young   INTEGER NOT NULL CHECK (young IN (0, 1)),  -- 1: it was never seen with all its parts up
    awaited INTEGER NOT NULL CHECK (awaited IN (0, 1)) -- 1: what is missing is gone unless it comes while the machine starts
) STRICT;

-- Of the nodes that there are, what they reported last is known.
INSERT INTO settled (node, content, missing, young, awaited)
    SELECT n.id, r.content, '[]', 0, 0 FROM nodes n JOIN reports r ON r.id = n.report WHERE r.kind = 'inventory';

-- Contents that nobody refers to any more are deleted with the reports that did.
CREATE INDEX reports_by_content ON reports (content);
CREATE INDEX settled_by_content ON settled (content);
