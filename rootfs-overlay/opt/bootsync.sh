#!/bin/sh
# Run by the base's own init once the machine is up: starts the agent as a daemon.
/sbin/mk-agent daemon
