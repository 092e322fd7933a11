#!/bin/sh
# Starts the three nodes of compose.yaml and waits until they serve. The first
# time it makes docker/.env with a secret, and docker/media for the films, and
# compose builds the image, which takes some minutes.
set -eu
cd "$(dirname "$0")"

# How long three nodes may take to elect a leader, once they are started.
READY_SECONDS_MAX=90

fail() {
    echo "error: $1" >&2
    echo "hint: $2" >&2
    exit 1
}

command -v docker >/dev/null 2>&1 || fail "there is no docker here" \
    "install it (on Debian: apt-get install docker.io docker-compose)"
docker info >/dev/null 2>&1 || fail "no Docker engine answers" \
    "start it, or join the group docker: \`docker info\` says which it is"
if docker compose version >/dev/null 2>&1; then
    compose="docker compose"
elif command -v docker-compose >/dev/null 2>&1; then
    compose="docker-compose"
else
    fail "there is no compose here" "install it (on Debian: apt-get install docker-compose)"
fi

if [ ! -e .env ]; then
    secret=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
    # The secret opens the cluster to who reads it.
    (umask 077 && printf 'COMPOSE_PROJECT_NAME=reelraft\nREELRAFT_SECRET=%s\nREELRAFT_UID=%s\nREELRAFT_GID=%s\n' \
        "$secret" "$(id -u)" "$(id -g)" >.env)
    echo "made docker/.env with a new secret"
fi
# Docker itself would make it as root, and then the client could not write there.
mkdir -p media

$compose up -d

waited=0
until $compose exec -T node1 reelraft cluster leader --endpoints 127.0.0.1:7401 >/dev/null 2>&1; do
    waited=$((waited + 1))
    [ "$waited" -lt "$READY_SECONDS_MAX" ] || fail "no leader after $waited tries" \
        "see \`$compose -f docker/compose.yaml logs\`"
    sleep 1
done
$compose exec -T node1 reelraft cluster status
echo
echo "Put films into docker/media, then for example:"
echo "  $compose -f docker/compose.yaml run --rm client transcode film.mov film.mp4 --width 1280"
