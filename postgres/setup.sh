#!/bin/bash
# Run by the image once, before the first start of a new database: makes the users and the service's database. The worker
# makes the tables.
set -euo pipefail

password_of() { # postgresql://USER:PASSWORD@HOST/DATABASE
    local url
    url=$(cat "/run/secrets/$1")
    url=${url#*://*:}
    echo "${url%%@*}"
}

POWER_REPLICATION=$(cat /run/secrets/postgres_replication_password) POWER_GRAFANA=$(cat /run/secrets/postgres_grafana_password) \
    POWER_WORKER=$(password_of postgres_worker_url) POWER_QUERY=$(password_of postgres_query_url) \
    psql -v ON_ERROR_STOP=1 --no-psqlrc -U postgres -d postgres <<'SQL'
\getenv replication POWER_REPLICATION
\getenv worker POWER_WORKER
\getenv query POWER_QUERY
\getenv grafana POWER_GRAFANA
CREATE ROLE replicator LOGIN REPLICATION PASSWORD :'replication';
CREATE ROLE worker LOGIN PASSWORD :'worker';
CREATE ROLE query LOGIN PASSWORD :'query';
CREATE ROLE grafana LOGIN PASSWORD :'grafana';
ALTER ROLE grafana SET statement_timeout = '30s';
ALTER ROLE grafana SET default_transaction_read_only = on;
CREATE DATABASE power OWNER worker;
REVOKE ALL ON DATABASE power FROM PUBLIC;
GRANT CONNECT ON DATABASE power TO query, grafana;
\connect power
ALTER DEFAULT PRIVILEGES FOR ROLE worker GRANT SELECT ON TABLES TO query, grafana;
SQL
echo 'host replication replicator all scram-sha-256' >>"$PGDATA/pg_hba.conf"
