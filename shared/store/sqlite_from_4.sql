-- Makes a file of version 4 one of version 5, which packs the readings of past days, and has covariates.

CREATE TABLE packed_readings (
    ship INTEGER NOT NULL,
    first_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL,
    pack BLOB NOT NULL,
    PRIMARY KEY (ship, first_us)
) STRICT;

CREATE INDEX packed_readings_by_last_us ON packed_readings (last_us);

CREATE TABLE covariates (ship INTEGER PRIMARY KEY, sent_at_us INTEGER NOT NULL, content TEXT NOT NULL) STRICT;
