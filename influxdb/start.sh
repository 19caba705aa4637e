#!/bin/bash
# Starts the InfluxDB of docker-compose.yml. The first start sets it up with the secrets that `./power init` created. The
# image's own setup passes the administrator's password and token on a command line, which every user of the machine can
# read. Here secrets go through stdin and the environment.
set -euo pipefail

data=/var/lib/influxdb2
secrets=/run/secrets
unfinished=$data/setup-unfinished

# let_in SECRET --read-bucket ID ...: creates a user. InfluxDB 2 chooses the secrets of API tokens itself, so these are
# 1.x-style users: their passwords work at /write and /query, which is all that the services and Grafana use. The secret
# is `user:password` for the services, or only the password for Grafana; its user is named in
# grafana/provisioning/datasources/power.yml.
let_in() {
    local user=grafana password
    password=$(cat "$secrets/$1")
    if [[ $password == *:* ]]; then
        user=${password%%:*} password=${password#*:}
    fi
    influx v1 auth create --org power --username "$user" "${@:2}" >/dev/null <<<"$password"
    echo "InfluxDB lets in $user"
}

# Runs InfluxDB on a port that only this container can reach, until everything is created.
set_up() (
    INFLUXD_HTTP_BIND_ADDRESS=127.0.0.1:9999 /entrypoint.sh influxd &
    server=$!
    # The client writes the token to its configuration, here in /tmp, which is in memory.
    folder=$(mktemp -d)
    export INFLUX_HOST=http://127.0.0.1:9999 INFLUX_CONFIGS_PATH=$folder/configs INFLUX_TOKEN
    INFLUX_TOKEN=$(cat "$secrets/influxdb_admin_token")
    until influx ping >/dev/null 2>&1; do
        kill -0 "$server"
        sleep 1
    done

    # It asks for the password and a confirmation.
    printf '%s\ny\n' "$(cat "$secrets/influxdb_admin_password")" |
        influx setup --username admin --org power --bucket power --retention 0 >/dev/null
    bucket=$(influx bucket list --org power --name power --hide-headers | cut -f 1)
    influx v1 dbrp create --org power --bucket-id "$bucket" --db power --rp autogen --default
    let_in influxdb_worker_token --read-bucket "$bucket" --write-bucket "$bucket"
    let_in influxdb_query_token --read-bucket "$bucket"
    let_in influxdb_grafana_password --read-bucket "$bucket"

    rm -r "$folder"
    kill -INT "$server"  # SIGTERM would end it as a crash does
    wait "$server"
)

# The mark says that what is here comes from a setup that was cut short: nobody has written to it yet.
if [[ -e $unfinished ]]; then
    rm -rf "$data/influxd.bolt" "$data/influxd.sqlite" "$data/engine"
fi
if [[ ! -e $data/influxd.bolt ]]; then
    touch "$unfinished"
    set_up
fi
rm -f "$unfinished"
exec /entrypoint.sh influxd
