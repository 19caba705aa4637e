"""The `./power` command: the whole service on one machine, and the tools around it."""
