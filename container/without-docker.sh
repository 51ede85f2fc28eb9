#!/usr/bin/env bash
# Build and run the image on a machine without Docker and without a registry of images, as root:
#   container/without-docker.sh build                     the real Dockerfile, on a Debian made here
#   container/without-docker.sh size                      of the image, in MiB
#   container/without-docker.sh show FORMAT               what is written about the image (podman inspect)
#   container/without-docker.sh read FILE                 of the image
#   container/without-docker.sh signal NAME NUMBER        to a run that METSATLAS_PODMAN="--name NAME" named so
#   container/without-docker.sh oci IN OUT [ARGUMENT ...]         run it by podman and runc
#   container/without-docker.sh apptainer IN OUT [ARGUMENT ...]   run it as Apptainer would
# Both run as user 12345, without a network, on a read-only root, IN read-only at /data, OUT at /out.
# Images are kept in METSATLAS_IMAGE_STORE (default /var/tmp/metsatlas-images); METSATLAS_PODMAN holds further
# options of podman run.
set -euo pipefail
HERE="$(cd "$(dirname "$0")/.." && pwd)"
STORE="${METSATLAS_IMAGE_STORE:-/var/tmp/metsatlas-images}"
IMAGE="${METSATLAS_IMAGE:-localhost/metsatlas:local}"
BASE=localhost/metsatlas-base:bookworm
RUNC="$(command -v runc || echo /usr/sbin/runc)"
mkdir -p "$STORE"

storage=(--storage-driver overlay --root "$STORE/storage" --runroot "$STORE/run")

buildah_here() { buildah "${storage[@]}" "$@"; }

podman_here() {
  # runc, as crun wants limits that a container in a container may not set
  printf '[containers]\ndefault_ulimits = []\n[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n' > "$STORE/containers.conf"
  CONTAINERS_CONF="$STORE/containers.conf" podman "${storage[@]}" --runtime "$RUNC" --cgroup-manager cgroupfs "$@"
}

make_base() {
  if ! buildah_here images -q "$BASE" 2>/dev/null | grep -q .; then
    mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$STORE/base.tar"
    printf 'FROM scratch\nADD base.tar /\n' > "$STORE/Containerfile"
    buildah_here bud --quiet --isolation chroot -f "$STORE/Containerfile" -t "$BASE" "$STORE"
    rm "$STORE/base.tar"
  fi
}

build() {
  exec 9> "$STORE/lock"
  flock 9 # two builds at a time would both do all the work
  make_base
  # the build reaches package registries the way this machine does; nothing of it stays in the image
  local lent=() folder wheels
  wheels="${PIP_FIND_LINKS:-$(python3 -m pip config get global.find-links 2>/dev/null || true)}"
  for folder in /etc/pip.conf /etc/ssl/certs $wheels; do
    [ -e "$folder" ] && lent+=(--volume "$folder:$folder:ro")
  done
  buildah_here bud --isolation chroot --pull-never --layers "${lent[@]}" \
    --build-arg BASE_IMAGE="$BASE" --build-arg PIP_FIND_LINKS="$wheels" \
    --build-arg PIP_INDEX_URL="${PIP_INDEX_URL:-}" --build-arg PIP_EXTRA_INDEX_URL="${PIP_EXTRA_INDEX_URL:-}" \
    --build-arg VERSION="$(cat "$HERE/version")" --build-arg TAG="$IMAGE" \
    -f "$HERE/Dockerfile" -t "$IMAGE" "$HERE"
}

size() { podman_here image inspect --format '{{.Size}}' "$IMAGE" | awk '{ printf "%.0f\n", $1 / 1048576 }'; }

show() { podman_here image inspect --format "$1" "$IMAGE"; }

read_file() { podman_here run --rm --network none --ulimit host --entrypoint /bin/cat "$IMAGE" "$1"; }

send_signal() { podman_here kill --signal "$2" "$1"; }

oci() {
  local in="$1" out="$2"
  shift 2
  podman_here run --rm ${METSATLAS_PODMAN:-} --network none --ulimit host --read-only \
    --user 12345:12345 \
    --volume "$in:/data:ro" --volume "$out:/out" "$IMAGE" "$@"
}

apptainer() {
  local in="$1" out="$2" container root status=0
  shift 2
  container="$(buildah_here from --pull-never "$IMAGE")"
  root="$(buildah_here mount "$container")"
  # Apptainer keeps the caller's user, mounts /tmp and home, takes the image's environment, and runs its entrypoint
  env -i $(buildah_here inspect --type image --format '{{range .OCIv1.Config.Env}}{{println .}}{{end}}' "$IMAGE") \
    APPTAINER_CONTAINER=/images/metsatlas.sif HOME=/home/someone \
    "$(command -v bwrap)" --unshare-pid --unshare-net --unshare-ipc --die-with-parent \
    --ro-bind "$root" / --dev /dev --proc /proc --perms 1777 --tmpfs /tmp --perms 1777 --tmpfs /home --perms 0755 --tmpfs /mnt \
    --ro-bind "$in" /mnt/data --bind "$out" /mnt/out --chdir /mnt/out \
    -- setpriv --reuid 12345 --regid 12345 --clear-groups --no-new-privs /opt/env/bin/metsatlas "$@" || status=$?
  buildah_here rm "$container" > /dev/null
  return "$status"
}

case "${1:-}" in
  build | size | show | oci | apptainer) "$@" ;;
  read) read_file "$2" ;;
  signal) send_signal "$2" "$3" ;;
  *) sed -n '2,13s/^# //p' "$0"; exit 64 ;;
esac
