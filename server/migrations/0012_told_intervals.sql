-- Seconds until the next check-in, as the node was told last: what it keeps to until it speaks again, whatever was configured since.
ALTER TABLE nodes ADD COLUMN interval INTEGER;
-- The longest interval of all was looked up by it.
DROP INDEX configs_by_interval;
