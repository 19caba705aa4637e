#!/bin/bash
# Runs once, when the image sets up an empty database. InfluxDB 2 chooses the secret of an API token itself, so what
# `./power init` has chosen are passwords of users in the 1.x manner: they count at /write and /query, which is all that
# the services and Grafana ask, and each may do what it has to. Nobody but a person needs the administrator's token.
set -euo pipefail

org=$DOCKER_INFLUXDB_INIT_ORG
bucket=$DOCKER_INFLUXDB_INIT_BUCKET_ID

# let_in SECRET --read-bucket ID ...: makes a user. The secret has `user:password`, as our services take it, or, for
# Grafana, the password alone; then the user is the one that grafana/provisioning/datasources/power.yml names.
let_in() {
    local user=grafana password
    password=$(cat "/run/secrets/$1")
    if [[ $password == *:* ]]; then
        user=${password%%:*} password=${password#*:}
    fi
    influx v1 auth create --org "$org" --username "$user" --password "$password" "${@:2}" >/dev/null
    echo "InfluxDB lets in $user"
}

influx v1 dbrp create --org "$org" --bucket-id "$bucket" --db "$DOCKER_INFLUXDB_INIT_BUCKET" --rp autogen --default
let_in influxdb_worker_token --read-bucket "$bucket" --write-bucket "$bucket"
let_in influxdb_query_token --read-bucket "$bucket"
let_in influxdb_grafana_password --read-bucket "$bucket"
