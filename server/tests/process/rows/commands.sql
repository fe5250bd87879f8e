-- Commands with arguments, and bundles.
INSERT INTO commands (id, node, kind, args, at, expires) VALUES (4, 1, 'identify', '{"seconds": 5}', 7, 9007199254740991);
INSERT INTO bundles VALUES (3, 1, 7, 10, 'ab');
