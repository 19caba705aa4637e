-- Makes a file of version 4 one of version 5, which has covariates.

CREATE TABLE covariates (ship INTEGER PRIMARY KEY, sent_at_us INTEGER NOT NULL, content TEXT NOT NULL) STRICT;
