#!/bin/sh
# Starts the broker of docker-compose.yml. The first start copies the users that `./power init` created. From then on the
# copy in its data counts, because `./power ship` changes it.
set -eu

users=/mosquitto/data/mosquitto_users.json
if [ ! -e "$users" ]; then
    (umask 077 && cp /run/secrets/mosquitto_users "$users.part" && mv "$users.part" "$users")
fi
# Messages with long properties that have filled the memory are on the disk, too, and would fill it again. Above this size
# the file contains little else (see mosquitto.conf).
database=/mosquitto/data/mosquitto.sqlite3
if [ -n "$(find "$database" -size +1048576k 2>/dev/null)" ]; then
    echo "The messages on the disk take more than 1 GiB: they are removed, and senders without a receipt have to repeat." >&2
    rm -f "$database" "$database-wal" "$database-shm"
fi
[ "$(id -u)" != 0 ] || chown -R mosquitto: /mosquitto/data
exec mosquitto -c /mosquitto/config/mosquitto.conf
