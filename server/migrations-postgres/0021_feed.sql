-- How far each webhook has been told what happened.
CREATE TABLE webhooks (
    url TEXT COLLATE "C" PRIMARY KEY,
    cursor TEXT COLLATE "C" NOT NULL,
    delivered BIGINT
);

-- Nodes that were taken over from a razor-server. A row stays when its node is deleted or merged, so that the same dump does
-- not bring it back.
CREATE TABLE adopted (
    node BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    hw_info TEXT COLLATE "C" NOT NULL,
    hostname TEXT COLLATE "C"
);
CREATE INDEX adopted_by_hostname ON adopted (node) WHERE hostname IS NOT NULL;

-- Nodes of one product, in whatever case it is written.
CREATE INDEX summaries_by_any_product ON summaries (lower(product), node);
