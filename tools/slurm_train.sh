#!/usr/bin/env bash
# Trains under Slurm, on one or several machines. srun waits for them, if it is not called in a job.
#
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [arguments of tools/train.py]
#
# Environment variables: GPUS (8 in total), GPUS_PER_NODE (8), CPUS_PER_TASK (for each GPU: 5, and in a
# job what it has), PORT, MAX_RESTARTS as for dist_train.sh, and SRUN_ARGS for further arguments of srun.
set -euo pipefail

if [ $# -lt 4 ]; then
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
partition=$1
job_name=$2
config=$3
work_dir=$4
shift 4
gpus=${GPUS:-8}
gpus_per_node=${GPUS_PER_NODE:-8}
if [ "$gpus" -lt "$gpus_per_node" ]; then
    gpus_per_node=$gpus
fi
if [ $((gpus % gpus_per_node)) -ne 0 ]; then
    echo "GPUS=$gpus is not a multiple of GPUS_PER_NODE=$gpus_per_node." >&2
    exit 2
fi
nodes=$((gpus / gpus_per_node))
# srun refuses more than a job has, and does not ask the job itself. Machines may differ: "40(x2),36".
if [ -n "${CPUS_PER_TASK:-}" ] || [ -z "${SLURM_JOB_CPUS_PER_NODE:-}" ]; then
    cpus=$((${CPUS_PER_TASK:-5} * gpus_per_node))
else
    fewest=$(tr ',' '\n' <<<"$SLURM_JOB_CPUS_PER_NODE" | sed 's/(.*//' | sort -n | sed -n 1p)
    cpus=${SLURM_CPUS_PER_TASK:-$fewest}
fi
tools=$(cd "$(dirname "$0")" && pwd)

# One torchrun on each machine: its processes meet at the first machine of the job.
start='
read -r first < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
exec "$0" -m torch.distributed.run \
    --nnodes="$1" \
    --nproc_per_node="$2" \
    --max-restarts="$3" \
    --rdzv-backend=c10d \
    --rdzv-id="$SLURM_JOB_ID" \
    --rdzv-endpoint="$first:$4" \
    "${@:5}"
'
# SRUN_ARGS holds several words on purpose.
# shellcheck disable=SC2086
exec srun \
    --partition="$partition" \
    --job-name="$job_name" \
    --gres="gpu:$gpus_per_node" \
    --nodes="$nodes" \
    --ntasks="$nodes" \
    --ntasks-per-node=1 \
    --cpus-per-task="$cpus" \
    --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    bash -c "$start" "${PYTHON:-python}" "$nodes" "$gpus_per_node" "${MAX_RESTARTS:-0}" "${PORT:-29500}" \
    "$tools/train.py" "$config" --work-dir "$work_dir" --launcher pytorch "$@"
