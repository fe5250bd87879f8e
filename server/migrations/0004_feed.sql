-- Events of one node, for its page.
CREATE INDEX events_by_node ON events (node, id);
