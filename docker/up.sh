#!/bin/sh
# Starts the three nodes of compose.yaml and waits until they serve. The first
# time it makes docker/.env with two secrets and each node's share of this
# machine, and docker/media for the films, and compose builds the image, which
# takes some minutes.
set -eu
cd "$(dirname "$0")"

# How long the nodes may take to elect a leader and see one another, once they
# are started.
READY_SECONDS_MAX=90
NODES=3

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

new_secret() {
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

# A part of the machine for each node, in MiB and in slots.
memory_share() {
    echo "$(($(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo) / 1024 / NODES))m"
}
slots_share() {
    echo "$((($(nproc) + NODES - 1) / NODES))"
}

if [ ! -e .env ]; then
    # The secrets open the cluster to who reads them. The file is there whole or
    # not at all: a full disk or Ctrl-C leaves no half of it.
    (umask 077 && printf 'COMPOSE_PROJECT_NAME=reelraft\nREELRAFT_SECRET=%s\nREELRAFT_PEER_SECRET=%s\nREELRAFT_UID=%s\nREELRAFT_GID=%s\nREELRAFT_MEMORY=%s\nREELRAFT_SLOTS=%s\n' \
        "$(new_secret)" "$(new_secret)" "$(id -u)" "$(id -g)" "$(memory_share)" "$(slots_share)" >.env.new && mv .env.new .env) ||
        fail "docker/.env can't be written" "see that there is room and that you may write there"
    echo "made docker/.env with two new secrets, and a third of this machine for each node"
fi
if [ -z "${REELRAFT_PEER_SECRET:-}" ] && ! grep -q '^REELRAFT_PEER_SECRET=.' .env; then
    # Made when nodes and clients had one secret between them.
    (umask 077 && { cat .env && printf 'REELRAFT_PEER_SECRET=%s\n' "$(new_secret)"; } >.env.new && mv .env.new .env) ||
        fail "docker/.env can't be written" "see that there is room and that you may write there"
    echo "added a secret of the nodes' own to docker/.env"
fi
if [ -z "${REELRAFT_SECRET:-}" ] && ! grep -q '^REELRAFT_SECRET=.' .env; then
    fail "docker/.env has no REELRAFT_SECRET" "remove the file: this command then makes another with a new secret"
fi
# Docker itself would make it as root, and then the client could not write there.
mkdir -p media

# Built each time, so that the nodes run what lies here; what has not changed is
# in Docker's cache. An image that was named is another's to build.
if [ -z "${REELRAFT_IMAGE:-}" ] && ! grep -q '^REELRAFT_IMAGE=.' .env && ! $compose build node1; then
    docker image inspect reelraft:local >/dev/null 2>&1 || fail "the image can't be built" \
        "where no registry answers, \`docker/failover.sh --keep\` makes one without: name it in REELRAFT_IMAGE (\`docker images reelraft\`)"
    echo "the image can't be built again: going on with reelraft:local as it is" >&2
fi
$compose up -d

# How many nodes a leader hears.
reachable() {
    $compose exec -T node1 reelraft cluster leader --endpoints 127.0.0.1:7401 >/dev/null 2>&1 &&
        $compose exec -T node1 reelraft cluster status -o json --endpoints 127.0.0.1:7401 2>/dev/null |
        grep -o '"reachable":true' | wc -l
}

deadline=$(($(date +%s) + READY_SECONDS_MAX))
until [ "$(reachable)" = "$NODES" ]; do
    [ "$(date +%s)" -lt "$deadline" ] || fail "the nodes do not see one another after $READY_SECONDS_MAX s" \
        "see \`$compose -f docker/compose.yaml logs\`"
    sleep 1
done
$compose exec -T node1 reelraft cluster status

# The nodes' authority, for clients: a new cluster has another one.
authority=$($compose exec -T node1 reelraft cluster cert show -o json --endpoints 127.0.0.1:7401 |
    sed -n 's/^{"authority_sha256":"\([0-9a-f]*\)".*/\1/p')
[ -n "$authority" ] || fail "the nodes have no certificates" "see \`$compose -f docker/compose.yaml logs\`"
if ! grep -qx "REELRAFT_CA=sha256:$authority" .env; then
    (umask 077 && { grep -v '^REELRAFT_CA=' .env; printf 'REELRAFT_CA=sha256:%s\n' "$authority"; } >.env.new && mv .env.new .env) ||
        fail "docker/.env can't be written" "see that there is room and that you may write there"
fi
$compose exec -T node1 reelraft cluster cert ca --endpoints 127.0.0.1:7401 >ca.pem
echo
echo "Put films into docker/media, then for example:"
echo "  $compose -f docker/compose.yaml run --rm client transcode film.mov film.mp4 --width 1280"
echo
echo "The nodes speak HTTPS at ${REELRAFT_PUBLISH:-127.0.0.1}:8401, :8402 and :8403, with the secret in docker/.env and the authority in docker/ca.pem:"
echo "  curl --cacert docker/ca.pem -H \"X-API-Key: \$REELRAFT_SECRET\" -T film.mov 'https://127.0.0.1:8401/api/v1/transcode?width=1280' -o film.mp4"
