-- What the first schema kept: a node that reported, one that only booted, one in dispute, and one that was merged.
INSERT INTO nodes (id, first_seen, last_checkin, hw_info, facts, facts_digest, state, reason, decision, boot_id, agent, volatile) VALUES
    (1, 7, 8, '["mac=00-11-22-33-44-01"]', '{"macaddress": "00:11:22:33:44:01", "serialnumber": "S1"}', 'd1', 'normal', NULL,
     '{"row": 2, "verdict": {"create": {"conflict": []}}, "evidence": []}', '00000000-0000-0000-0000-000000000001', '{"version": "0"}', '{}'),
    (2, 7, NULL, '["mac=00-11-22-33-44-02"]', NULL, NULL, 'normal', NULL,
     '{"row": 2, "verdict": {"create": {"conflict": []}}, "evidence": []}', NULL, NULL, NULL),
    (3, 7, 8, '["mac=00-11-22-33-44-03"]', '{"macaddress": "00:11:22:33:44:03"}', 'd3', 'held',
     '{"code": "two_machines", "error": "e", "remedy": "r"}',
     '{"row": 4, "verdict": {"create": {"conflict": [1]}}, "evidence": []}', NULL, NULL, NULL);
INSERT INTO claims VALUES
    (1, 'mac', '00-11-22-33-44-01', 'current', 1, 7), (2, 'mac', '00-11-22-33-44-02', 'current', 1, 7),
    (3, 'mac', '00-11-22-33-44-03', 'current', 1, 7), (1, 'mac', '00-11-22-33-44-09', 'former', 1, 7);
INSERT INTO aliases VALUES (9, 1, 7, '{"row": 6}', '{"node": {}, "claims": []}');
INSERT INTO boots (boot_id, node, key, seq, body, reply, uptime_s, first_seen, last_seen) VALUES
    ('00000000-0000-0000-0000-000000000001', 1, NULL, 3, 'b', '{"action": "none"}', 60, 7, 8);
INSERT INTO reports (id, node, origin, kind, digest, content, at) VALUES (1, 1, 1, 'inventory', 'c1', 'c1', 8);
UPDATE nodes SET report = 1 WHERE id = 1;
INSERT INTO node_log (node, origin, at, severity, entry) VALUES
    (1, 1, 7, 'info', '{"event": "log", "msg": "of before"}'), (3, 3, 7, 'warn', '{"event": "identity", "msg": "x"}');
INSERT INTO events (at, kind, node, detail) VALUES (7, 'node-created', 1, '{}');
INSERT INTO settings VALUES ('match_nodes_on', '["mac"]');
