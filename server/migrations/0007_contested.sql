-- Values that two nodes have, for the list of conflicts.
CREATE INDEX claims_contested ON claims (node) WHERE state = 'contested' AND matching = 1;
