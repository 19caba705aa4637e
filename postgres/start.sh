#!/bin/bash
# Starts one of the two PostgreSQL servers of docker-compose.cluster.yml: as the primary, or as the standby of the other
# one. Which of them is the primary changes only by hand (docs/cluster.md): start.sh never promotes a server.
#
# A timeline's number grows with each promotion. So a server follows a primary with a higher number, and never one with a
# lower one, whose data is older.
set -euo pipefail

peer=$POWER_PEER
secrets=/run/secrets
PGPASSWORD=$(cat "$secrets/postgres_replication_password")
export PGPASSWORD
source="host=$peer user=replicator dbname=postgres connect_timeout=3 application_name=$(hostname)"

# Prints t or f, whether the peer is a primary, and the timeline of a primary; nothing if the peer does not answer. The
# first eight digits of a log file's name are the timeline; pg_control_checkpoint() lags behind a promotion.
ask_peer() {
    psql --no-psqlrc -Atq -F ' ' -d "$source" -c "SELECT NOT pg_is_in_recovery(), CASE WHEN NOT pg_is_in_recovery()
        THEN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END" 2>/dev/null || true
}

own_timeline() {
    pg_controldata -D "$PGDATA" | sed -n "s/^Latest checkpoint's TimeLineID: *//p"
}

# Replaces what is here by a copy of the peer's data; the old data stays until the copy is complete.
copy_peer() {
    echo "copies the data of $peer"
    rm -rf "$PGDATA.new"
    pg_basebackup -d "$source" -D "$PGDATA.new" --write-recovery-conf --wal-method=stream --checkpoint=fast
    rm -rf "$PGDATA"
    mv "$PGDATA.new" "$PGDATA"
}

follow_or_lead() {
    local leads timeline waited
    if [[ ! -e $PGDATA/PG_VERSION ]]; then
        while read -r leads timeline < <(ask_peer) || true; [[ ${leads:-} != t ]]; do
            if [[ $POWER_FIRST == yes && -z ${leads:-} ]]; then
                return 0 # nobody has data yet: the image's script makes a new database
            fi
            echo "has no data, and waits until $peer is a primary"
            sleep 3
        done
        copy_peer
        return 0
    fi
    [[ ! -e $PGDATA/standby.signal ]] || return 0
    # It was the primary. The first server waits a while for what the other one says: it may have been promoted.
    for ((waited = 0; waited < 60; waited += 3)); do
        leads='' timeline=0
        read -r leads timeline < <(ask_peer) || true
        [[ -z $leads && $POWER_FIRST == yes ]] || break
        sleep 3
    done
    if [[ $leads == t ]]; then
        if ((timeline > $(own_timeline))); then
            echo "$peer was promoted meanwhile"
            copy_peer
        else
            echo "$peer is a primary, too, and its data is older: restart it, and it will follow this server" >&2
        fi
    fi
}

follow_or_lead
unset PGPASSWORD
# What the image's script does before the first start must not wait for a standby.
export PGOPTIONS="-c synchronous_commit=local" POSTGRES_PASSWORD_FILE=$secrets/postgres_admin_password
exec docker-entrypoint.sh postgres -c config_file=/etc/postgresql/postgresql.conf -c "cluster_name=$(hostname)"
