#!/usr/bin/env bash
#SBATCH --ntasks-per-node=1
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@120
# A job of Slurm that goes on until the run is finished. Before its time is up, the run saves its state,
# and the job is put back into the queue, as Slurm does if it preempts the job or loses a machine.
#
#   sbatch --partition=PARTITION --nodes=2 --gres=gpu:8 --cpus-per-task=40 --time=4:00:00 \
#       tools/slurm_job.sh CONFIG WORK_DIR [arguments of tools/train.py]
#
# To be submitted in the folder that has tools/. Environment variables: as for slurm_train.sh.
set -euo pipefail

if [ $# -lt 2 ] || [ -z "${SLURM_JOB_ID:-}" ]; then
    sed -n '6,12s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
export GPUS_PER_NODE=${GPUS_PER_NODE:-${SLURM_GPUS_ON_NODE:-8}}
export GPUS=$((SLURM_JOB_NUM_NODES * GPUS_PER_NODE))

told=
trap 'told=yes; kill -TERM "$run" 2>/dev/null || true' TERM
"$SLURM_SUBMIT_DIR/tools/slurm_train.sh" "$SLURM_JOB_PARTITION" "$SLURM_JOB_NAME" "$@" &
run=$!
code=0
wait "$run" || code=$?
# The signal ends the wait, but not yet the run.
while kill -0 "$run" 2>/dev/null; do
    code=0
    wait "$run" || code=$?
done
if [ -n "$told" ] && [ "$code" -ne 0 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
