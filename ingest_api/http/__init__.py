"""The gateway's HTTP interface: routes, schemas, and how bodies are read."""
