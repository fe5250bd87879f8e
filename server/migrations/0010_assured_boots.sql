-- What network boots showed that a node's own reports do not have: a boot is sent to the node's own disk only where nothing
-- of it may be another machine's. JSON lists of group and value.
ALTER TABLE nodes ADD COLUMN doubt TEXT;               -- shown by the newest boot; its check-in decides
ALTER TABLE nodes ADD COLUMN assured TEXT;             -- shown by a boot that a check-in found to be the node
