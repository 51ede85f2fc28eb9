#!/bin/bash
# One cohort on any number of machines that share a disk: a Dask scheduler here, workers elsewhere.
#   BIDS=/data/study OUT=/data/out WORKERS="node1 node2" deploy/dask_cluster.sh
# Anything that starts Dask workers serves as well: dask-jobqueue, dask-mpi, Dask on Kubernetes; give the app
# the address (--scheduler) or the file (--scheduler-file) of their scheduler. Each worker takes one scan at a time.
set -euo pipefail
: "${BIDS:?name the BIDS dataset}" "${OUT:?name the output folder}" "${WORKERS:?name the machines}"
START_ON="${START_ON:-ssh}"         # START_ON NODE COMMAND ... runs a command there
METSATLAS="${METSATLAS:-metsatlas}" # and DASK are the same installation on every machine
DASK="${DASK:-dask}"
THREADS="${THREADS:-4}"
mkdir -p "$OUT/logs"
file="$OUT/logs/scheduler_$$.json"
trap 'kill $(jobs -p) 2> /dev/null || true; rm -f "$file"' EXIT
$DASK scheduler --scheduler-file "$file" --port 0 --no-dashboard &
until [ -s "$file" ]; do sleep 0.2; done
for node in $WORKERS; do
  $START_ON "$node" env OMP_NUM_THREADS="$THREADS" NUMBA_NUM_THREADS="$THREADS" \
    "$DASK" worker --scheduler-file "$file" --nthreads 1 --no-dashboard --local-directory /tmp &
done
# not quoted: it is a command with its arguments
$METSATLAS "$BIDS" "$OUT" participant --scheduler-file "$file" --omp-nthreads "$THREADS" "$@"
