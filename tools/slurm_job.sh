#!/usr/bin/env bash
#SBATCH --ntasks-per-node=1
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
# A job of Slurm that goes on until the run is finished. Before its time is up, or if Slurm preempts it,
# the run saves its state and the job is put back into the queue, as Slurm does if it loses a machine.
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

# SIGUSR1 reaches this shell alone: time is nearly up. A signal to srun would kill the run at once, so
# Slurm passes it on.
time_is_up= is_told=
trap 'time_is_up=yes is_told=yes; scancel --signal=TERM "$SLURM_JOB_ID" || true' USR1
# SIGTERM reaches the run as well: the job is cancelled, and this shell waits until the run is saved.
trap is_told=yes TERM
"$SLURM_SUBMIT_DIR/tools/slurm_train.sh" "$SLURM_JOB_PARTITION" "$SLURM_JOB_NAME" "$@" &
run=$!
# A signal ends the wait, and the code is then that of the signal.
while
    is_told='' code=0
    wait "$run" || code=$?
    [ -n "$is_told" ]
do :; done
# If a partition gives the jobs it preempts a time of grace, only the run is told, and Slurm takes a job
# that ends in this time for failed. A job that is cancelled is not RUNNING any more.
if [ "$code" -ne 0 ]; then
    job=$(scontrol --oneliner show job "$SLURM_JOB_ID") || true
    if [[ $job == *' JobState=RUNNING '* && ($time_is_up || $job == *' PreemptTime='[0-9]*) ]]; then
        scontrol requeue "$SLURM_JOB_ID"
    fi
fi
exit "$code"
