-- The whole schema as the SQLite migrations up to 0017 leave it; what the tables and columns mean is said there. Texts are
-- compared byte by byte, integers have 64 bits, flags are 0 or 1.

-- What queries use that SQLite has and PostgreSQL lacks, so that each query has one text. What a function uses is bound when it is
-- made, so that a dump can be put back, which is done without a search path.

-- The newest number of each table that counts by itself. Unlike a sequence it goes back with a transaction that is taken back, so
-- that no number is left out, and whoever reads it has all that has a lower number.
CREATE TABLE sqlite_sequence (
    name TEXT COLLATE "C" PRIMARY KEY,
    seq  BIGINT NOT NULL
) WITH (fillfactor = 10);

CREATE FUNCTION next_number(counted TEXT) RETURNS BIGINT LANGUAGE sql
BEGIN ATOMIC
    INSERT INTO sqlite_sequence AS s (name, seq) VALUES (counted, 1)
    ON CONFLICT (name) DO UPDATE SET seq = s.seq + 1 RETURNING seq;
END;

-- A path is '$.name.name' or a name.
CREATE FUNCTION json_names(path TEXT) RETURNS TEXT[] LANGUAGE sql IMMUTABLE STRICT
RETURN string_to_array(CASE WHEN starts_with(path, '$.') THEN substr(path, 3) ELSE path END, '.');
CREATE FUNCTION json_text_at(document TEXT, path TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE STRICT
RETURN CAST(document AS JSON) #>> json_names(path);
CREATE FUNCTION json_at(document TEXT, path TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE STRICT
RETURN CAST(CAST(document AS JSON) #> json_names(path) AS TEXT);
CREATE OPERATOR ->> (LEFTARG = TEXT, RIGHTARG = TEXT, FUNCTION = json_text_at);
CREATE OPERATOR -> (LEFTARG = TEXT, RIGHTARG = TEXT, FUNCTION = json_at);

-- The values of a JSON array.
CREATE FUNCTION json_each(document TEXT) RETURNS TABLE (value TEXT) LANGUAGE sql IMMUTABLE STRICT ROWS 8
BEGIN ATOMIC
    SELECT e #>> '{}' FROM json_array_elements(CAST(document AS JSON)) e;
END;

CREATE FUNCTION min(one BIGINT, other BIGINT) RETURNS BIGINT LANGUAGE sql IMMUTABLE STRICT RETURN least(one, other);
CREATE FUNCTION max(one BIGINT, other BIGINT) RETURNS BIGINT LANGUAGE sql IMMUTABLE STRICT RETURN greatest(one, other);

-- The number that a text begins with, as SQLite casts it.
CREATE FUNCTION leading_number(text TEXT) RETURNS BIGINT LANGUAGE sql IMMUTABLE STRICT
RETURN coalesce(CAST(substring(text FROM '^\s*([+-]?[0-9]{1,18})') AS BIGINT), 0);

CREATE TABLE nodes (
    id BIGINT PRIMARY KEY DEFAULT next_number('nodes'),
    first_seen BIGINT NOT NULL,
    last_checkin BIGINT,
    hw_info TEXT COLLATE "C" NOT NULL,
    dhcp_mac TEXT COLLATE "C",
    facts TEXT COLLATE "C",
    facts_digest TEXT COLLATE "C",
    installed TEXT COLLATE "C",
    installed_at BIGINT,
    reboots BIGINT NOT NULL DEFAULT 0,
    state TEXT COLLATE "C" NOT NULL DEFAULT 'normal' CHECK (state IN ('normal', 'held', 'pending')),
    reason TEXT COLLATE "C",
    decision TEXT COLLATE "C" NOT NULL,
    report BIGINT,
    volatile TEXT COLLATE "C",
    agent TEXT COLLATE "C",
    boot_id TEXT COLLATE "C",
    config TEXT COLLATE "C",
    doubt TEXT COLLATE "C",
    assured TEXT COLLATE "C",
    interval BIGINT,
    accepted BIGINT,
    accepted_by TEXT COLLATE "C",
    refused BIGINT
);
CREATE INDEX nodes_by_state ON nodes (state, id);
CREATE INDEX nodes_by_checkin ON nodes (last_checkin, id);
CREATE INDEX nodes_not_accepted ON nodes (coalesce(last_checkin, first_seen)) WHERE accepted IS NULL AND refused IS NULL;

CREATE TABLE claims (
    node BIGINT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    kind TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('current', 'former', 'contested')),
    matching BIGINT NOT NULL CHECK (matching IN (0, 1)),
    since BIGINT NOT NULL,
    PRIMARY KEY (node, kind, value)
);
CREATE INDEX claims_by_key ON claims (kind, value);
CREATE UNIQUE INDEX claims_one_holder ON claims (kind, value) WHERE state = 'current' AND matching = 1;
CREATE INDEX claims_contested ON claims (node) WHERE state = 'contested' AND matching = 1;

CREATE TABLE aliases (
    alias BIGINT PRIMARY KEY,
    node BIGINT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    merged BIGINT NOT NULL,
    decision TEXT COLLATE "C" NOT NULL,
    snapshot TEXT COLLATE "C" NOT NULL
);
CREATE INDEX aliases_by_node ON aliases (node);

CREATE TABLE boots (
    boot_id TEXT COLLATE "C" PRIMARY KEY,
    node BIGINT REFERENCES nodes (id) ON DELETE CASCADE,
    key BYTEA,
    seq BIGINT NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    reply TEXT COLLATE "C" NOT NULL,
    uptime_s BIGINT,
    first_seen BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    card TEXT COLLATE "C"
);
CREATE INDEX boots_by_node ON boots (node, last_seen);

CREATE TABLE contents (
    digest TEXT COLLATE "C" PRIMARY KEY,
    bytes BIGINT NOT NULL,
    zstd BYTEA NOT NULL
);

CREATE TABLE reports (
    id BIGINT PRIMARY KEY DEFAULT next_number('reports'),
    node BIGINT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    origin BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('inventory', 'facts')),
    digest TEXT COLLATE "C" NOT NULL,
    content TEXT COLLATE "C" NOT NULL REFERENCES contents (digest),
    at BIGINT NOT NULL,
    boot_id TEXT COLLATE "C",
    uptime_s BIGINT
);
CREATE INDEX reports_by_node ON reports (node, id);
CREATE INDEX reports_by_digest ON reports (node, digest);

CREATE TABLE node_log (
    id BIGINT PRIMARY KEY DEFAULT next_number('node_log'),
    node BIGINT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    origin BIGINT NOT NULL,
    at BIGINT NOT NULL,
    severity TEXT COLLATE "C" NOT NULL,
    entry TEXT COLLATE "C" NOT NULL,
    decided BIGINT NOT NULL DEFAULT 0 CHECK (decided IN (0, 1)),
    times BIGINT NOT NULL DEFAULT 1,
    since BIGINT
);
CREATE INDEX node_log_by_node ON node_log (node, id);
CREATE INDEX node_log_by_time ON node_log (at);
CREATE INDEX node_log_by_ring ON node_log (node, decided, id);

CREATE TABLE events (
    id BIGINT PRIMARY KEY DEFAULT next_number('events'),
    at BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    node BIGINT,
    detail TEXT COLLATE "C" NOT NULL
);
CREATE INDEX events_by_time ON events (at);
CREATE INDEX events_by_node ON events (node, id);

CREATE TABLE settings (
    name TEXT COLLATE "C" PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL
);

CREATE TABLE evidence (
    node BIGINT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    kind TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (node, kind, value)
);
CREATE INDEX evidence_by_value ON evidence (kind, value);

CREATE TABLE foreign_macs (
    value TEXT COLLATE "C" PRIMARY KEY,
    since BIGINT NOT NULL
);

CREATE TABLE legacy_speakers (
    node BIGINT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    hw_id TEXT COLLATE "C" NOT NULL,
    last_seen BIGINT NOT NULL,
    PRIMARY KEY (node, hw_id)
);

CREATE TABLE distinct_nodes (
    one BIGINT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    other BIGINT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    since BIGINT NOT NULL,
    PRIMARY KEY (one, other)
);

CREATE TABLE summaries (
    node BIGINT PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
    product TEXT COLLATE "C",
    serial TEXT COLLATE "C",
    cpus BIGINT,
    memory BIGINT,
    words TEXT COLLATE "C" NOT NULL
);
CREATE INDEX summaries_by_product ON summaries (product, node);
CREATE INDEX summaries_by_serial ON summaries (serial, node);
CREATE INDEX summaries_by_cpus ON summaries (cpus, node);
CREATE INDEX summaries_by_memory ON summaries (memory, node);

CREATE TABLE configs (
    version BIGINT PRIMARY KEY DEFAULT next_number('configs'),
    node BIGINT UNIQUE REFERENCES nodes (id) ON DELETE CASCADE,
    at BIGINT NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    interval BIGINT GENERATED ALWAYS AS (leading_number(body ->> '$.mk_checkin_interval')) STORED
);

CREATE TABLE provisional (
    node BIGINT PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
    at BIGINT NOT NULL,
    before TEXT COLLATE "C" NOT NULL
);

CREATE TABLE starts (
    id BIGINT PRIMARY KEY DEFAULT next_number('starts'),
    start BIGINT NOT NULL UNIQUE,
    log BIGINT NOT NULL,
    event BIGINT NOT NULL
);

CREATE TABLE commands (
    id BIGINT PRIMARY KEY DEFAULT next_number('commands'),
    node BIGINT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('reboot', 'poweroff', 'refresh', 'doctor', 'collect-logs', 'identify', 'load-extension')),
    args TEXT COLLATE "C" NOT NULL DEFAULT '{}',
    at BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    sent BIGINT,
    boot_id TEXT COLLATE "C",
    UNIQUE (node, kind)
);
CREATE INDEX commands_by_expiry ON commands (expires);

CREATE TABLE bundles (
    command BIGINT PRIMARY KEY,
    node BIGINT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    at BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    sha256 TEXT COLLATE "C" NOT NULL
);
CREATE INDEX bundles_by_node ON bundles (node, command);

CREATE TABLE enrolment_tokens (
    id BIGINT PRIMARY KEY DEFAULT next_number('enrolment_tokens'),
    digest TEXT COLLATE "C" NOT NULL UNIQUE,
    note TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    uses BIGINT NOT NULL,
    used BIGINT NOT NULL DEFAULT 0 CHECK (used <= uses),
    revoked BIGINT
);

-- What the list of nodes is sorted and searched by, in small letters.
CREATE VIEW summary AS
SELECT n.id AS node,
       lower(substr(n.facts ->> '$.productname', 1, 100)) AS product,
       lower(substr(n.facts ->> '$.serialnumber', 1, 100)) AS serial,
       leading_number(n.facts ->> '$.processorcount') AS cpus,
       leading_number(n.facts ->> '$.mk_hw_mem_size_bytes') AS memory,
       lower('node' || n.id || ' ' || substr(n.hw_info, 1, 2000) || ' ' || coalesce(n.dhcp_mac, '') || ' ' || coalesce((
           SELECT substr(string_agg(substr(f.value #>> '{}', 1, 100), ' '), 1, 4000)
           FROM pg_catalog.json_each(CAST(n.facts AS JSON)) f
           WHERE json_typeof(f.value) NOT IN ('object', 'array')
             AND (f.key IN ('manufacturer', 'productname', 'uuid') OR f.key ILIKE '%serial%' OR f.key ILIKE '%asset%'
                  OR f.key ILIKE '%mac%')), '')
       || ' ' || coalesce(substr(n.volatile ->> '$.addresses', 1, 2000), '')) AS words
FROM nodes n;

CREATE FUNCTION summarise() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO summaries (node, product, serial, cpus, memory, words)
    SELECT node, product, serial, cpus, memory, words FROM summary WHERE node = new.id
    ON CONFLICT (node) DO UPDATE SET product = excluded.product, serial = excluded.serial, cpus = excluded.cpus,
        memory = excluded.memory, words = excluded.words;
    RETURN NULL;
END $$;

CREATE TRIGGER summary_of_new AFTER INSERT ON nodes FOR EACH ROW EXECUTE FUNCTION summarise();
CREATE TRIGGER summary_of_changed AFTER UPDATE OF facts, hw_info, dhcp_mac ON nodes FOR EACH ROW
WHEN ((old.facts, old.hw_info, old.dhcp_mac) IS DISTINCT FROM (new.facts, new.hw_info, new.dhcp_mac))
EXECUTE FUNCTION summarise();
CREATE TRIGGER summary_of_moved AFTER UPDATE OF volatile ON nodes FOR EACH ROW
WHEN (old.volatile IS DISTINCT FROM new.volatile
      AND (old.volatile ->> '$.addresses') IS DISTINCT FROM (new.volatile ->> '$.addresses'))
EXECUTE FUNCTION summarise();
