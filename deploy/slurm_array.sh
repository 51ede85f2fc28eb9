#!/bin/bash
# One cohort on SLURM: a job array, any number of tasks, one output folder. Give IMAGE, BIDS and OUT:
#   IMAGE=~/metsatlas.sif BIDS=/data/study OUT=/data/study/derivatives/metsatlas sbatch --array=1-20 deploy/slurm_array.sh
# A task that is killed, or runs out of time, loses nothing that is done: submit again and the rest is worked on.
# When all tasks have ended, count the cohort:
#   LEVEL=group sbatch --array=1 --dependency=afterany:JOB deploy/slurm_array.sh
#SBATCH --job-name=metsatlas
#SBATCH --cpus-per-task=4
#SBATCH --mem=4G
#SBATCH --time=08:00:00
#SBATCH --requeue
set -euo pipefail
: "${BIDS:?name the BIDS dataset}" "${OUT:?name the output folder}"
LEVEL="${LEVEL:-participant}"
# for GPUs: add --nv here, and "#SBATCH --gres=gpu:1" above
METSATLAS="${METSATLAS:-apptainer run --cleanenv --containall --bind $BIDS,$OUT ${IMAGE:?name the image}}"
mkdir -p "$OUT"
shard=()
if [ "$LEVEL" = participant ]; then
  if [ "$((SLURM_ARRAY_TASK_MAX - SLURM_ARRAY_TASK_MIN + 1))" != "$SLURM_ARRAY_TASK_COUNT" ]; then
    echo "the array must have no gaps: submit the whole array again, what is done is skipped" >&2
    exit 64
  fi
  shard=(--shard "$((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN + 1))/$SLURM_ARRAY_TASK_COUNT")
fi
# not quoted: it is a command with its arguments
exec $METSATLAS "$BIDS" "$OUT" "$LEVEL" "${shard[@]}" --omp-nthreads "${SLURM_CPUS_PER_TASK:-1}" "$@"
