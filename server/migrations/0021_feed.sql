-- How far each webhook has been told what happened.
CREATE TABLE webhooks (
    url       TEXT PRIMARY KEY,
    cursor    TEXT NOT NULL,                           -- place in the feed after the last entry that it has acknowledged
    delivered INTEGER                                  -- when it acknowledged last; NULL: never
) STRICT;

-- Nodes that were taken over from a razor-server. A row stays when its node is deleted or merged, so that the same dump does
-- not bring it back.
CREATE TABLE adopted (
    node     INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    hw_info  TEXT NOT NULL,                            -- JSON array of "key=value", canonical, as the dump had it
    hostname TEXT                                      -- what razor-server had given it
) STRICT;
CREATE INDEX adopted_by_hostname ON adopted (node, hostname) WHERE hostname IS NOT NULL;

-- Nodes of one product, in whatever case it is written.
CREATE INDEX summaries_by_any_product ON summaries (lower(product), node);
