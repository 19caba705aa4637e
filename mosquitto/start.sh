#!/bin/sh
# Starts the broker of docker-compose.yml. At the first start it gets the users that `./power init` made; from then on
# the file in its data is the one that counts, because `./power ship` changes it.
set -eu

users=/mosquitto/data/mosquitto_users.json
if [ ! -e "$users" ]; then
    (umask 077 && cp /run/secrets/mosquitto_users "$users.part" && mv "$users.part" "$users")
fi
# A flood of messages with long properties that has filled the memory would fill it again: it lies on the disk. Beyond
# this size there is little else in it (mosquitto.conf has the arithmetic).
database=/mosquitto/data/mosquitto.sqlite3
if [ -n "$(find "$database" -size +1048576k 2>/dev/null)" ]; then
    echo "The messages on the disk take more than 1 GiB: they are removed, and senders without a receipt have to repeat." >&2
    rm -f "$database" "$database-wal" "$database-shm"
fi
[ "$(id -u)" != 0 ] || chown -R mosquitto: /mosquitto/data
exec mosquitto -c /mosquitto/config/mosquitto.conf
