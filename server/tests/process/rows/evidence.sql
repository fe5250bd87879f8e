-- What the second schema added.
INSERT INTO evidence VALUES (1, 'serial', 's1'), (1, 'nic', '00-11-22-33-44-01');
INSERT INTO foreign_macs VALUES ('00-11-22-33-44-ff', 7);
INSERT INTO legacy_speakers VALUES (1, 'h', 7);
INSERT INTO distinct_nodes VALUES (2, 3, 7);
