#!/usr/bin/env bash
# A run on whole nodes of a Slurm cluster: Ray starts on each, the command runs on the first, Ray ends.
#
#     sbatch --nodes=2 --gpus-per-node=4 cluster/slurm.sh \
#         python jobs/train.py --config configs/runs/my-run.yaml --set resources.num_workers=8
#
# Five minutes before the time limit the run commits a checkpoint; it is queued again and goes on from there.
#SBATCH --job-name=asr-ray
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@300
set -euo pipefail
[ $# -gt 0 ] || { printf 'no command\n  fix: sbatch cluster/slurm.sh python jobs/train.py --config FILE\n' >&2; exit 2; }

# This folder and .venv in it are on storage that all nodes see.
cd "${SLURM_SUBMIT_DIR:?submit this script with sbatch}"
export PATH="$PWD/.venv/bin:$PATH" RAY_USAGE_STATS_ENABLED=0

# `ray symmetric-run` ends with `ray stop`, which ends all Ray of this user on the node: hence --exclusive.
# One token for this job, readable by its owner only; other users of the network find the ports as well.
state=$(mktemp -d "$PWD/.slurm-$SLURM_JOB_ID-XXXXXX")
trap 'rm -rf "$state"' EXIT
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$state/token"
(umask 077 && python -c 'import secrets; print(secrets.token_hex(32), end="")' >"$RAY_AUTH_TOKEN_PATH")

read -r head < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
port=$((20000 + SLURM_JOB_ID % 20000))
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300 # nodes start when Python has come over the network

# The batch script runs on the first node, which is the head: it can tell the run to commit and stop.
requeue=no
trap 'requeue=yes; kill -TERM "$(cat "$state/pid")" || true' USR1

# shellcheck disable=SC2016  # the inner shell expands these
srun ray symmetric-run --address "$head:$port" --min-nodes "$SLURM_JOB_NUM_NODES" \
    --num-cpus "$SLURM_CPUS_ON_NODE" --num-gpus "${SLURM_GPUS_ON_NODE:-0}" --disable-usage-stats -- \
    env RAY_ADDRESS="$head:$port" STATE="$state" bash -c 'echo $$ >"$STATE/pid"; exec "$@"' run "$@" &
run=$!
# A signal ends `wait`, not the run; bash still knows how the run ended.
while kill -0 "$run" 2>/dev/null; do wait "$run" || true; done
code=0
wait "$run" || code=$?

# 6: interrupted, and the same command goes on (asr_ray/errors.py).
if [ "$requeue" = yes ] && [ "$code" -eq 6 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
