-- What a node is known to have: the report by which changes of its parts were told last, and what that one lacked for the time
-- being, such as disks that come up late and what a silent port was plugged into.
CREATE TABLE settled (
    node BIGINT PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
    content TEXT COLLATE "C" NOT NULL REFERENCES contents (digest),
    missing TEXT COLLATE "C" NOT NULL,
    young BIGINT NOT NULL CHECK (young IN (0, 1)),
    awaited BIGINT NOT NULL CHECK (awaited IN (0, 1))
);

-- Of the nodes that there are, what they reported last is known.
INSERT INTO settled (node, content, missing, young, awaited)
    SELECT n.id, r.content, '[]', 0, 0 FROM nodes n JOIN reports r ON r.id = n.report WHERE r.kind = 'inventory';

-- Contents that nobody refers to any more are deleted with the reports that did.
CREATE INDEX reports_by_content ON reports (content);
CREATE INDEX settled_by_content ON settled (content);
