-- Seconds until the next check-in, as the node was told last: what it keeps to until it speaks again, whatever was configured since.
ALTER TABLE nodes ADD COLUMN interval INTEGER;
-- What was told so far is not known. Agents get their own interval, else that of all; without either they have the usual one.
UPDATE nodes SET interval = coalesce(
    (SELECT c.interval FROM configs c WHERE c.node = nodes.id),
    (SELECT c.interval FROM configs c WHERE c.node IS NULL)
) WHERE boot_id IS NOT NULL;
-- The longest interval of all was looked up by it.
DROP INDEX configs_by_interval;
