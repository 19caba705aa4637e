"""Reading files of meters and loggers for `./power import`, in the order of the work.

`text` decodes, `records` finds the rows, `layout` the separator and the header, `columns` and `units` what the columns
mean, `stamps` and `numbers` what the cells mean, `table` joins these for one part of the file, `zones` turns local time
into UTC, `doubts` refuses what cannot be decided, `series` makes the readings, `report` describes them.
"""
