#!/usr/bin/env bash
# Kills the leader, in containers: runs the cluster of compose.yaml and shows
# that no death and no cut network changes a byte of the output.
#
#   docker/failover.sh [--binary FILE | --image NAME] [--keep]
#
#   --binary FILE  pack this binary instead of building one with cargo
#   --image NAME   use an existing image
#   --keep         keep the images that were made, so that the next run is quicker
#
# Four transcodes of one clip: a calm one; one in which the leader's container
# is killed; one in which the leader is cut off from the network; and one in
# which the leader's process dies and the restart policy has to bring it back.
# The last three must give the same file as the first, to the byte, with a proof
# in which every check holds, and within a time limit; and all three nodes must
# serve again afterwards.
#
# If no registry answers, the base image is made here with debootstrap (as
# root). Everything that is made gets names of its own and is removed.
#
# Exit codes: 0 all checks held, 1 one did not, 77 skipped (and why).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

BASE=debian:bookworm-slim
CLIP_SECONDS=60
# A registry that can't be reached should not hold this up.
PULL_SECONDS_MAX=120
# Until three nodes see one another, at the start and after a failure.
READY_SECONDS_MAX=90
# One transcode, on a slow and busy machine.
RUN_SECONDS_MAX=600
# A run with a failure may take this many times as long as the calm run, and
# some seconds for elections, leases and work that is done again.
SLOWER_TIMES_MAX=3
SLOWER_SECONDS_MAX=30

headline() { printf '\n» %s\n' "$*"; }
note() { printf '  %s\n' "$*"; }
skip() { echo "SKIPPED: $*" >&2; exit 77; }
fail() { echo "FAILED: $*" >&2; exit 1; }

binary="" image="" keep=no
while [ $# -gt 0 ]; do
    case $1 in
        --binary) binary=${2:?--binary wants a file}; shift 2 ;;
        --image) image=${2:?--image wants a name}; shift 2 ;;
        --keep) keep=yes; shift ;;
        -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
        *) echo "error: unknown option $1 (see --help)" >&2; exit 2 ;;
    esac
done

command -v docker >/dev/null || skip "there is no docker here (on Debian: apt-get install docker.io docker-compose)"
docker info >/dev/null 2>&1 || skip "no Docker engine answers (\`docker info\` says why)"
if docker compose version >/dev/null 2>&1; then
    compose_program=(docker compose)
elif command -v docker-compose >/dev/null; then
    compose_program=(docker-compose)
else
    skip "there is no compose here (on Debian: apt-get install docker-compose)"
fi

work=$(mktemp -d)
project=reelraft-failover-$$
made_images=()

clean_up() {
    code=$?
    trap - EXIT
    [ "$code" = 0 ] || [ "$code" = 77 ] || logs_of_nodes
    # By label, because `down` leaves the client's containers alone.
    docker ps -aq --filter "label=com.docker.compose.project=$project" | xargs -r docker rm -f >/dev/null
    docker network ls -q --filter "label=com.docker.compose.project=$project" | xargs -r docker network rm >/dev/null
    docker volume ls -q --filter "label=com.docker.compose.project=$project" | xargs -r docker volume rm >/dev/null
    if [ "$keep" = no ] && [ ${#made_images[@]} -gt 0 ]; then
        docker rmi -f "${made_images[@]}" >/dev/null 2>&1 || true
    fi
    rm -rf "$work"
    exit "$code"
}
logs_of_nodes() {
    local id
    for id in $(docker ps -aq --filter "label=com.docker.compose.project=$project"); do
        echo "--- last lines of $(docker inspect -f '{{.Name}}' "$id")" >&2
        docker logs --tail 30 "$id" >&2 2>&1 || true
    done
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# --- The image ---------------------------------------------------------------

# Debian's archive as this machine is set up to reach it, or the usual one.
mirror() {
    local found
    # shellcheck disable=SC2016 # apt fills these in
    found=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' 2>/dev/null |
        sed -n 's/ bookworm$//p' | head -n 1)
    echo "${found:-http://deb.debian.org/debian/}"
}

# Sets `base` to an image of Debian 12, pulled or made here.
base_image() {
    base=$BASE
    build_network=default
    if docker image inspect "$base" >/dev/null 2>&1; then return; fi
    if timeout "$PULL_SECONDS_MAX" docker pull -q "$base" >/dev/null 2>&1; then return; fi
    base=reelraft-base:bookworm
    # If no registry answers, only the host may have a way out.
    build_network=host
    if docker image inspect "$base" >/dev/null 2>&1; then return; fi
    note "no registry answers: making $base with debootstrap"
    command -v debootstrap >/dev/null ||
        skip "no registry answers, and there is no debootstrap (apt-get install debootstrap)"
    [ "$(id -u)" = 0 ] || skip "no registry answers, and debootstrap needs root"
    local root=$work/root from
    from=$(mirror)
    local include=()
    case $from in https:*) include=(--include=ca-certificates) ;; esac
    debootstrap --variant=minbase "${include[@]}" bookworm "$root" "$from" >"$work/debootstrap.log" 2>&1 ||
        { tail -n 5 "$work/debootstrap.log" >&2; skip "no registry answers, and neither does $from"; }
    # What Debian's slim image leaves out, too.
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* \
        "$root"/usr/share/{doc,info,man,locale,lintian}/*
    # The machine's own way to the packages: its proxies and certificates.
    grep -l '^ *Acquire::' /etc/apt/apt.conf.d/* 2>/dev/null | xargs -r cp -t "$root/etc/apt/apt.conf.d"
    if [ ${#include[@]} -gt 0 ] && [ -r /etc/ssl/certs/ca-certificates.crt ]; then
        cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
    fi
    made_images+=("$base")
    tar -C "$root" -c . | docker import - "$base" >/dev/null
    rm -rf "$root"
}

make_image() {
    if [ -n "$image" ]; then return; fi
    base_image
    image=reelraft:failover-$$
    if [ -z "$binary" ] && command -v cargo >/dev/null; then
        headline "Building the binary"
        (cd "$here/.." && cargo build --release --locked --bin reelraft)
        binary=${CARGO_TARGET_DIR:-$here/../target}/release/reelraft
    fi
    headline "Making the image"
    made_images=("$image" "${made_images[@]}")
    if [ -n "$binary" ]; then
        mkdir "$work/context"
        cp "$binary" "$work/context/reelraft"
        cp "$here/Dockerfile" "$work/context/Dockerfile"
        tar -C "$work/context" -c . |
            docker build -q --network "$build_network" --build-arg "BASE=$base" --target packed -t "$image" - \
                >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; fail "the image can't be built"; }
    else
        docker build -q --network "$build_network" --build-arg "BASE=$base" -f "$here/Dockerfile" \
            -t "$image" "$here/.." || fail "the image can't be built"
    fi
}

# --- The cluster -------------------------------------------------------------

nodes=(1 2 3)
endpoints=node1:7401,node2:7401,node3:7401
declare -A container

compose() { "${compose_program[@]}" -f "$here/compose.yaml" -p "$project" "$@"; }

# Runs a command against the whole cluster, inside the container of node $1.
ask() {
    local from=$1
    shift
    docker exec -e "REELRAFT_ENDPOINTS=$endpoints" "${container[$from]}" reelraft "$@"
}

# The first value of a field in the JSON on standard input. Each document is one
# line and its names are stable, so no parser is needed.
field() { grep -o "\"$1\":[^,}]*" | head -n 1 | sed 's/^[^:]*://; s/"//g'; }

# The leader, asked of node $1; waits through an election.
leader() {
    local deadline=$((SECONDS + READY_SECONDS_MAX)) found
    until found=$(ask "$1" cluster leader -o json 2>/dev/null | field leader_id); do
        [ $SECONDS -lt $deadline ] || fail "no leader for $READY_SECONDS_MAX s"
        sleep 0.2
    done
    echo "$found"
}

other_than() {
    local node
    for node in "${nodes[@]}"; do
        if [ "$node" != "$1" ]; then echo "$node"; return; fi
    done
}

# Waits until three nodes are reachable and one of them leads.
wait_for_all() {
    local deadline=$((SECONDS + READY_SECONDS_MAX)) status
    while :; do
        status=$(ask "$1" cluster status -o json 2>/dev/null || true)
        if [ "$(grep -o '"reachable":true' <<<"$status" | wc -l)" = 3 ] &&
            [ "$(field leader_id <<<"$status")" != null ]; then
            return
        fi
        [ $SECONDS -lt $deadline ] || fail "three nodes do not see one another after $READY_SECONDS_MAX s: $status"
        sleep 0.5
    done
}

# --- One transcode -----------------------------------------------------------

# Tasks of job $2 that run on node $3, asked of node $1.
tasks_on() {
    ask "$1" job tasks "$2" -o json | tr '{' '\n' | grep '"state":"running"' | grep "\"node\":$3," |
        sed 's/.*"number":\([0-9]*\),"kind":"\([a-z]*\)".*/\2 \1/' | sort | paste -sd, || true
}

# Tasks of job $2 that needed more than one attempt, asked of node $1.
done_over() {
    ask "$1" job tasks "$2" -o json | tr '{' '\n' | grep -E '"attempt":([2-9]|[0-9]{2})' |
        sed 's/.*"number":\([0-9]*\),"kind":"\([a-z]*\)".*/\2 \1/' | sort | paste -sd, || true
}

# Transcodes the clip to $1.mp4. When a third of the frames is done, calls
# `$2 LEADER`. Sets job, took_seconds and victim.
transcode() {
    local name=$1 strike=${2:-} started=$SECONDS log=$work/$1.log progress at=1
    compose run --rm -T --no-deps client transcode clip.mp4 "$name.mp4" --width 480 --preset slow \
        --shard-seconds 3 --request-id "$name" >"$log" 2>&1 &
    local client=$! pending="$strike"
    job="" victim=""
    while kill -0 "$client" 2>/dev/null; do
        [ $((SECONDS - started)) -lt $RUN_SECONDS_MAX ] || { cat "$log" >&2; fail "$name took too long"; }
        job=$(sed -n 's/^job \(j[0-9a-f]*\).*/\1/p' "$log" | head -n 1)
        if [ -n "$pending" ] && [ -n "$job" ]; then
            progress=$(ask "$at" job show "$job" -o json 2>/dev/null || true)
            if [ "$(field state <<<"$progress")" = encoding ] &&
                [ $(($(field frames_done <<<"$progress") * 3)) -ge "$(field frames_total <<<"$progress")" ]; then
                victim=$(leader "$at")
                at=$(other_than "$victim")
                note "at frame $(field frames_done <<<"$progress") of $(field frames_total <<<"$progress"), on node $victim: $(tasks_on "$at" "$job" "$victim")"
                "$strike" "$victim"
                pending=""
            fi
        fi
        sleep 0.2
    done
    wait "$client" || { cat "$log" >&2; fail "the transcode to $name.mp4 failed"; }
    took_seconds=$((SECONDS - started))
    [ -z "$pending" ] || fail "$name.mp4 was done before anything could be killed"
    sed -n 's/^\(node [0-9]* leads now.*\)/  client: \1/p' "$log"
}

# Checks that job $2 has a proof in which every check holds, asked of node $1.
prove() {
    local proof frames
    proof=$(ask "$1" job proof "$2" -o json) || fail "job $2 has no proof"
    frames=$(grep -o '"frames":{[^}]*}' <<<"$proof") || fail "the proof names no frames: $proof"
    grep -q '"holds":true' <<<"$proof" || fail "the proof has no checks: $proof"
    if grep -q '"holds":false' <<<"$proof"; then fail "a check of the proof does not hold: $proof"; fi
    if [ "$(field encoded <<<"$frames")" != "$frames_total" ] || [ "$(field muxed <<<"$frames")" != "$frames_total" ]; then
        fail "the proof says $frames, the clip has $frames_total"
    fi
}

# Checks a transcode with a failure: the same bytes, a proof, in time.
compare() {
    local name=$1 at
    at=$(other_than "$victim")
    cmp "$work/media/calm.mp4" "$work/media/$name.mp4" || fail "$name.mp4 differs from calm.mp4"
    prove "$at" "$job"
    note "done over: $(done_over "$at" "$job")"
    note "$took_seconds s, the same bytes, all checks of the proof hold"
    [ $took_seconds -le $((calm_seconds * SLOWER_TIMES_MAX + SLOWER_SECONDS_MAX)) ] ||
        fail "$took_seconds s is too slow: the calm run took $calm_seconds s"
}

kill_container() {
    docker kill "${container[$1]}" >/dev/null
    note "killed the container of node $1"
}

cut_off() {
    docker network disconnect "$network" "${container[$1]}"
    note "cut node $1 off"
}

kill_process() {
    local pid
    pid=$(ask "$1" cluster status -o json | tr '{' '\n' | grep "\"id\":$1," | field pid)
    restarts=$(docker inspect -f '{{.RestartCount}}' "${container[$1]}")
    docker exec "${container[$1]}" sh -c "kill -9 $pid"
    note "killed process $pid of node $1"
}

# --- The four runs -----------------------------------------------------------

started_at=$SECONDS
make_image
REELRAFT_IMAGE=$image
REELRAFT_SECRET=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
REELRAFT_PEER_SECRET=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
REELRAFT_FOLDER=$work/media
REELRAFT_UID=$(id -u)
REELRAFT_GID=$(id -g)
# One encoder per node, so that a fast machine leaves time to kill something.
REELRAFT_SLOTS=1
export REELRAFT_IMAGE REELRAFT_SECRET REELRAFT_PEER_SECRET REELRAFT_FOLDER REELRAFT_UID REELRAFT_GID REELRAFT_SLOTS

mkdir "$work/media"
docker run --rm --user "$REELRAFT_UID:$REELRAFT_GID" -v "$work/media:/media" --entrypoint ffmpeg "$image" \
    -v error -f lavfi -i "testsrc2=size=640x360:rate=25" -f lavfi -i "sine=frequency=440" -t $CLIP_SECONDS \
    -c:v libx264 -preset veryfast -c:a aac clip.mp4
frames_total=$((CLIP_SECONDS * 25))

headline "Starting three containers"
compose up -d --no-build >"$work/up.log" 2>&1 || { cat "$work/up.log" >&2; fail "compose up failed"; }
for node in "${nodes[@]}"; do
    container[$node]=$(compose ps -q "node$node")
done
network=$(docker inspect -f '{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}' "${container[1]}")
wait_for_all 1
# What the clients know the nodes by.
REELRAFT_CA=sha256:$(ask 1 cluster cert show -o json | field authority_sha256)
export REELRAFT_CA
ask 1 cluster status

headline "A calm run"
transcode calm
calm_seconds=$took_seconds
prove 1 "$job"
note "$calm_seconds s, BLAKE3 $(ask 1 job show "$job" -o json | field output_hash)"

headline "The leader's container is killed"
transcode killed kill_container
compare killed
docker start "${container[$victim]}" >/dev/null
wait_for_all "$(other_than "$victim")"
note "node $victim is back"

headline "The leader is cut off from the network"
transcode cut cut_off
compare cut
# Alone it can't know what was decided since, so it must refuse to answer.
code=0
docker exec "${container[$victim]}" reelraft job list --endpoints 127.0.0.1:7401 >/dev/null 2>&1 || code=$?
[ "$code" = 3 ] || fail "node $victim, cut off, ended \`job list\` with $code instead of 3"
note "node $victim, cut off, answers no questions (exit code 3)"
docker network connect --alias "node$victim" "$network" "${container[$victim]}"
wait_for_all "$(other_than "$victim")"
[ "$(docker exec "${container[$victim]}" reelraft job show "$job" --endpoints 127.0.0.1:7401 -o json | field state)" = succeeded ] ||
    fail "node $victim, connected again, does not know that the job is done"
note "node $victim is back, and knows what it missed"

headline "The leader's process dies"
transcode crashed kill_process
compare crashed
wait_for_all "$(other_than "$victim")"
[ "$(docker inspect -f '{{.RestartCount}}' "${container[$victim]}")" -gt "$restarts" ] ||
    fail "the restart policy did not start node $victim again"
note "node $victim was started again by the restart policy"

headline "Four times the same file, to the byte, in $((SECONDS - started_at)) s"
