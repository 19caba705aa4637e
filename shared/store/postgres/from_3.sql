-- Brings tables of version 3 to version 4, which has covariates.

CREATE TABLE covariates (
    partition integer NOT NULL,
    ship bigint NOT NULL,
    sent_at_us bigint NOT NULL,
    content text NOT NULL,
    PRIMARY KEY (partition, ship)
);
