"""The gateway's HTTP interface: routes, schemas, and reading what is posted."""
