-- Nothing pushes configuration yet; the table comes back in the form that pushing needs.
DROP TABLE configs;
