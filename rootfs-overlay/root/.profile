# Read by root's log-in shells. Tiny Core's own would make each of them one of its user tc.
