#!/bin/sh
# Starts a RabbitMQ node of docker-compose.cluster.yml, with the administrator and the cookie that `./power init --cluster`
# created. The administrator is made by the first start of the cluster; `./power cluster declare` makes the other users.
set -eu

login=$(cat /run/secrets/rabbitmq_admin_url) # http://admin:PASSWORD@HOST:PORT
login=${login#http://}
login=${login%@*}
export RABBITMQ_DEFAULT_USER="${login%%:*}" RABBITMQ_DEFAULT_PASS="${login#*:}"
# Nodes that share the cookie trust each other, and rabbitmqctl in this container needs it, too.
(umask 077 && cat /run/secrets/rabbitmq_erlang_cookie >"$HOME/.erlang.cookie")
# RabbitMQ itself would take its share of the machine's memory, not of the container's (cgroups version 2, or 1).
limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes)
[ "$limit" = max ] || echo "total_memory_available_override_value = $limit" >/tmp/memory.conf
export RABBITMQ_CONFIG_FILES='/tmp/*.conf'
exec docker-entrypoint.sh rabbitmq-server
