INSERT INTO webhooks (url, cursor, delivered) VALUES ('http://127.0.0.1:9/', '0', 7);
INSERT INTO adopted (node, at, hw_info, hostname) VALUES (3, 7, '["mac=00-11-22-33-44-03"]', 'node3.example');
