INSERT INTO operator_tokens (id, digest, note, read_only, at, expires, revoked) VALUES (2, 'ot', 'of before', 0, 7, NULL, NULL);
INSERT INTO sessions (digest, token, expires) VALUES ('s', 2, 9007199254740991);
