-- A node as it was before a report that lacked a group of parts and showed others in the rest: disks may come up after the
-- first check-in, and then it is judged anew whether the machine is the node.
CREATE TABLE provisional (
    node   INTEGER PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
    at     INTEGER NOT NULL,                           -- when that report came
    before TEXT NOT NULL                               -- JSON: evidence, claims, hardware, facts and newest report of before
) STRICT;
