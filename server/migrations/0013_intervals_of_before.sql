-- What a node was told before that was kept is not known. Agents get their own interval, else that of all; without either they
-- have the usual one.
UPDATE nodes SET interval = coalesce(
    (SELECT c.interval FROM configs c WHERE c.node = nodes.id),
    (SELECT c.interval FROM configs c WHERE c.node IS NULL)
) WHERE interval IS NULL AND boot_id IS NOT NULL;
