-- Who was let in, and by what.
UPDATE nodes SET accepted = 7, accepted_by = 'open' WHERE id <> 2;
INSERT INTO enrolment_tokens (digest, note, at, expires, uses) VALUES ('t', 'hall 3', 7, 9007199254740991, 5);
