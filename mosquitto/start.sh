#!/bin/sh
# Starts the broker of docker-compose.yml. At the first start it gets the users that `./power init` made; from then on
# the file in its data is the one that counts, because `./power ship` changes it.
set -eu

users=/mosquitto/data/mosquitto_users.json
if [ ! -e "$users" ]; then
    (umask 077 && cp /run/secrets/mosquitto_users "$users.part" && mv "$users.part" "$users")
fi
[ "$(id -u)" != 0 ] || chown -R mosquitto: /mosquitto/data
exec mosquitto -c /mosquitto/config/mosquitto.conf
