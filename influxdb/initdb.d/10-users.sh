#!/bin/bash
# Runs once, when the image sets up an empty database. InfluxDB 2 chooses the secret of an API token itself, so what
# `./power init` has chosen are passwords of users in the 1.x manner: they count at /write and /query, which is all that
# the services and Grafana ask, and each may do what it has to. Nobody but a person needs the administrator's token.
set -euo pipefail

org=$DOCKER_INFLUXDB_INIT_ORG
bucket=$DOCKER_INFLUXDB_INIT_BUCKET_ID

# let_in NAME --read-bucket ID ...: makes the user whose `user:password` stands in the secret influxdb_NAME_token.
let_in() {
    local user password
    IFS=: read -r user password <"/run/secrets/influxdb_$1_token"
    influx v1 auth create --org "$org" --username "$user" --password "$password" "${@:2}" >/dev/null
    echo "InfluxDB lets in $user"
}

influx v1 dbrp create --org "$org" --bucket-id "$bucket" --db "$DOCKER_INFLUXDB_INIT_BUCKET" --rp autogen --default
let_in worker --read-bucket "$bucket" --write-bucket "$bucket"
let_in query --read-bucket "$bucket"
let_in grafana --read-bucket "$bucket"
