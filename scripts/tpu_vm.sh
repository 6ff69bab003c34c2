#!/usr/bin/env bash
# Runs a federation on the hosts of a TPU slice: create, install, start (also resumes), collect, delete.
#
#   TPU=name ZONE=zone TYPE=v4-32 BUCKET=gs://bucket/runs/x scripts/tpu_vm.sh COMMAND [ARGUMENTS]
#
# DRY_RUN=1 prints the calls and makes none.
set -euo pipefail

: "${TPU:?name of the slice}" "${ZONE:?zone of the slice}"
VERSION=${VERSION:-tpu-ubuntu2204-base}
WORKDIR=${WORKDIR:-runs/tpu}

call() {
    printf '+'
    printf ' %q' "$@"
    printf '\n'
    [ -n "${DRY_RUN:-}" ] || "$@"
}

on_all_hosts() {
    call gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="$1"
}

create() {
    call gcloud compute tpus tpu-vm create "$TPU" --zone="$ZONE" \
        --accelerator-type="${TYPE:?kind of slice, as in v4-32}" --version="$VERSION"
}

install() {
    local archive
    archive=$(mktemp --suffix=.tar.gz)
    git archive --format=tar.gz --prefix=f3ocus/ -o "$archive" HEAD
    call gcloud compute tpus tpu-vm scp "$archive" "$TPU:f3ocus.tar.gz" --zone="$ZONE" --worker=all
    rm "$archive"
    on_all_hosts "sudo apt-get -qq update && sudo apt-get -qq install -y python3.11-venv &&
        tar xzf f3ocus.tar.gz && cd f3ocus && python3.11 -m venv .venv &&
        .venv/bin/pip install --quiet --constraint requirements.lock --editable '.[tpu]' gcsfs"
}

start() {
    local arguments
    arguments=$(printf ' %q' "$@")
    on_all_hosts "cd f3ocus && .venv/bin/python -m f3ocus_jax.train --workdir=$WORKDIR \
        --config.distributed.coordinator=auto --config.checkpoint.directory=${BUCKET:?folder of the checkpoints}$arguments"
}

collect() {
    call gcloud compute tpus tpu-vm scp --recurse "$TPU:f3ocus/$WORKDIR" "${1:?where to}" \
        --zone="$ZONE" --worker=0
}

delete() {
    call gcloud compute tpus tpu-vm delete "$TPU" --zone="$ZONE"
}

case ${1:-} in
    create | install | start | collect | delete) "$@" ;;
    *)
        echo "usage: scripts/tpu_vm.sh create | install | start ARGUMENTS | collect FOLDER | delete" >&2
        exit 2
        ;;
esac
