"""Reading files of meters and loggers for `./power import`, in the order of the work.

`text` decodes, `layout` finds separator and header, `records` the rows, `columns` (with `names`, `intervals`, `units`)
what the columns mean. `table` reads the rows in parts (`frames`: pandas; `part`, `stamps`, `numbers`: the cells), and
`series` makes the readings (`local`, `zones`: UTC; `lost`: unknown ones). `reading` is all of this. `doubts` says why a
file is refused, `report` what it contains, and `parcels` cuts it into batches.
"""
