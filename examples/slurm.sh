#!/usr/bin/env bash
# Trains one run on several nodes: sbatch examples/slurm.sh, from a shell that finds torchrun and unpool. DATA, RUN and
# the Python environment lie on a file system that all nodes see at the same path.
#
# Three minutes before the time limit the run is saved and the job goes back into the queue, where it goes on later.
#SBATCH --job-name=unpool
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1             # one torchrun, which starts the processes of its node
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@180             # to this script alone, which then stops torchrun on every node
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=unpool-%j.log

set -euo pipefail

RECIPE="${RECIPE:-camvid_unet}"
DATA="${DATA:-/shared/data/camvid}"
RUN="${RUN:-/shared/runs/camvid_unet}"  # fixed, so that a restart and the next job find what was saved
PROCESSES="${PROCESSES:-2}"             # of each node; train.batch is that of all processes of all nodes
WORKERS="${WORKERS:-2}"                 # of each process, which read and augment
PORT="${PORT:-29500}"                   # free on the first node

threads=$((SLURM_CPUS_PER_TASK / PROCESSES - WORKERS))
export OMP_NUM_THREADS=$((threads > 0 ? threads : 1))
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"  # srun does not take it from sbatch by itself
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=150         # seconds in which a run is saved; 30 with torch before 2.12
# export GLOO_SOCKET_IFNAME=ib0                   # where the name of a node is not the address that the others reach

hosts="$(scontrol show hostnames "$SLURM_JOB_NODELIST")"
first="${hosts%%$'\n'*}"

# every node gets the same words: whether the run has begun is asked here, once
if [ -f "$RUN/recipe.yaml" ]; then
  words=(train --resume "$RUN")
else
  words=(train "$RECIPE" "data.root=$DATA" "data.workers=$WORKERS" model.sync_batch_norm=true --run-dir "$RUN")
fi

is_over=no
# scancel stops torchrun on each node; srun, asked by a signal of its own, may end them at once
trap 'is_over=yes; scancel --signal=TERM "$SLURM_JOB_ID"' USR1

srun torchrun \
  --nnodes="$SLURM_JOB_NUM_NODES" \
  --nproc-per-node="$PROCESSES" \
  --rdzv-backend=c10d \
  --rdzv-id="$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}" \
  --rdzv-endpoint="$first:$PORT" \
  --max-restarts=3 \
  -m unpool "${words[@]}" &
steps=$!

code=0
wait "$steps" || code=$?
while kill -0 "$steps" 2>/dev/null; do  # a signal ends `wait`, not srun
  code=0
  wait "$steps" || code=$?
done

if [ "$is_over" = yes ] && [ "$code" -ne 0 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
