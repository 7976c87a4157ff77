#!/usr/bin/env bash
# A Ray cluster on this machine, as a rehearsal of a real one: a head without training resources and some
# workers, each with its share of the CPUs and GPUs. Runs until Ctrl-C and ends what it started, nothing else.
#
#     cluster/local.sh                          # a head and one worker
#     WORKERS=2 CPUS=2 cluster/local.sh
#
# A token protects it, because Ray's ports are open to the network on every interface: RAY_AUTH_TOKEN_PATH,
# or ~/.ray/auth_token, which is made where it is missing.
set -euo pipefail

WORKERS=${WORKERS:-1}
PORT=${PORT:-6379}
DASHBOARD_PORT=${DASHBOARD_PORT:-8265}
machine_gpus=$(nvidia-smi --list-gpus 2>/dev/null | wc -l || true)
CPUS=${CPUS:-$(($(nproc) > WORKERS ? $(nproc) / WORKERS : 1))} # of each worker
GPUS=${GPUS:-$((machine_gpus / WORKERS))}                     # of each worker
MEMORY=${MEMORY:-}                                           # bytes of each node's object store
HOST=${HOST:-$(hostname -I | cut -d' ' -f1)}

export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
export RAY_JOB_STOP_WAIT_TIME_S=300            # `ray job stop`: a run commits a checkpoint first
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0 # all nodes end together: nowhere to move work to
if [ -z "${RAY_AUTH_TOKEN:-}" ]; then
    export RAY_AUTH_TOKEN_PATH=${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}
    if [ ! -s "$RAY_AUTH_TOKEN_PATH" ]; then
        mkdir -p "$(dirname "$RAY_AUTH_TOKEN_PATH")"
        (umask 077 && python -c 'import secrets; print(secrets.token_hex(32), end="")' >"$RAY_AUTH_TOKEN_PATH")
    fi
fi

# Ports of one node only: several nodes share this machine. 0 lets the system choose.
free_port() { python -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])'; }

logs=$(mktemp -d)
pids=()
stop() {
    trap - EXIT INT TERM
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do # the head last
        kill -TERM "${pids[i]}" 2>/dev/null || true
        wait "${pids[i]}" 2>/dev/null || true
    done
    rm -rf "$logs"
}
trap stop EXIT
trap 'exit 0' INT TERM

# One node after the other: two that start at once choose the same names for their sockets. Each has a folder
# of its own: in a shared one, each would unpack the files of a submitted job over those that another node runs.
start() {
    local log=$logs/${#pids[@]}
    : >"$log"
    ray start --block --disable-usage-stats --min-worker-port=0 --max-worker-port=0 \
        --dashboard-agent-listen-port="$(free_port)" ${MEMORY:+--object-store-memory="$MEMORY"} "$@" \
        >"$log" 2>&1 &
    pids+=($!)
    until grep -q 'Ray runtime started' "$log"; do
        kill -0 "${pids[-1]}" 2>/dev/null || { cat "$log" >&2; exit 4; }
        sleep 0.2
    done
}

start --head --node-ip-address="$HOST" --port="$PORT" --dashboard-host=127.0.0.1 \
    --dashboard-port="$DASHBOARD_PORT" --ray-client-server-port="$(free_port)" \
    --num-cpus=1 --num-gpus=0 --labels=pool=head
for ((n = 0; n < WORKERS; n++)); do
    devices=$(seq -s, $((n * GPUS)) $(((n + 1) * GPUS - 1)))
    CUDA_VISIBLE_DEVICES=$devices start --address="$HOST:$PORT" --num-cpus="$CPUS" --num-gpus="$GPUS" \
        --labels=pool=worker --temp-dir="${RAY_TMPDIR:-/tmp}/ray-worker$n"
done

cat <<TEXT
head $HOST:$PORT, $WORKERS workers of $CPUS CPUs and $GPUS GPUs each; Ctrl-C ends them

    export RAY_AUTH_MODE=token RAY_API_SERVER_ADDRESS=http://127.0.0.1:$DASHBOARD_PORT
    ray job submit --working-dir . -- python jobs/doctor.py
TEXT
wait -n "${pids[@]}"
