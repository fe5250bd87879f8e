-- Starts of the server, each with where the feed ended then. A database that was restored from a copy lacks those that came after
-- the copy was made, so that a cursor of one of them is told from one that the feed goes on from.
CREATE TABLE starts (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    start INTEGER NOT NULL UNIQUE,                     -- random: the same number of two copies is another start
    log   INTEGER NOT NULL,
    event INTEGER NOT NULL
) STRICT;
