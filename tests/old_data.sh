#!/usr/bin/env bash
# Data that an older reelraft wrote is opened by a newer one, and nothing of it
# is lost or done differently.
#
#   tests/old_data.sh OLD_BINARY NEW_BINARY
#
# The old program gets three jobs in a cluster of three nodes: one that
# finishes, one whose client is killed half-way through the upload, and one that
# is being encoded when everything is killed with SIGKILL. The new program then
# starts on the same folder, and all three must come out as the old program
# alone makes them, without doing again what was done. Where the new one is
# another encoder build (`RECIPE` was raised, say), what was not finished is
# planned anew, and must come out as the new program alone makes it.
#
# Everything is in a temporary folder, and only processes started here are
# ended. Needs ffmpeg and jq.
#
# Exit codes: 0 all of it is true, 1 something is not, 2 wrong usage, 77 skipped.
set -euo pipefail

# Long enough for a few seconds of upload and of encoding on a fast machine.
UPLOAD_FRAMES=600
ENCODE_SECONDS=60
# The data of one home that shows that the upload is under way, in KiB.
UPLOADED_KIB=30000
# One job, and the start of a cluster, on a slow and busy machine.
JOB_PATIENCE=600s
START_SECONDS_MAX=60
# Looks at something that is about to change, ten a second.
LOOKS_MAX=1200

say() { printf '\n» %s\n' "$*"; }
skip() { echo "SKIPPED: $*" >&2; exit 77; }
# For what makes it pointless to go on.
stop() { echo "FAILED: $*" >&2; exit 1; }

if [ $# -ne 2 ] || [ ! -x "$1" ] || [ ! -x "$2" ]; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2
    exit 2
fi
old=$(realpath "$1")
new=$(realpath "$2")
command -v ffmpeg >/dev/null || skip "there is no ffmpeg (apt-get install ffmpeg)"
command -v jq >/dev/null || skip "there is no jq (apt-get install jq)"

work=$(mktemp -d)
supervisor="" client="" differences=0

clean_up() {
    code=$?
    trap - EXIT
    kill_cluster
    if [ -n "$client" ]; then kill -9 "$client" 2>/dev/null || true; fi
    if [ "$code" = 1 ]; then
        echo "--- the nodes' last lines" >&2
        tail -n 30 "$work"/*.log >&2 || true
    fi
    rm -rf "$work"
    exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# --- Checks ------------------------------------------------------------------

# same WHAT EXPECTED FOUND
same() {
    if [ "$2" = "$3" ]; then
        local first=${3%%$'\n'*}
        echo "  ok   $1${first:+: ${first:0:64}}"
    else
        echo "  NOT  $1: expected $2, found $3"
        differences=$((differences + 1))
    fi
}

# holds WHAT COMMAND…
holds() {
    local what=$1
    shift
    if "$@"; then
        echo "  ok   $what"
    else
        echo "  NOT  $what"
        differences=$((differences + 1))
    fi
}

# --- Clusters ----------------------------------------------------------------

# start_cluster PROGRAM FOLDER NODES; what `reelraft` runs from then on.
start_cluster() {
    binary=$1
    local folder=$2 nodes=$3 try first
    for try in 1 2 3 4 5; do
        # Below the ports that Linux gives to outgoing connections.
        first=$((20000 + ($$ * 37 + try * 1009) % 12000))
        export REELRAFT_ENDPOINTS=127.0.0.1:$first,127.0.0.1:$((first + 1)),127.0.0.1:$((first + 2))
        if [ "$nodes" = 1 ]; then REELRAFT_ENDPOINTS=127.0.0.1:$first; fi
        "$binary" dev --nodes "$nodes" --data "$folder" --base-port "$first" >>"$folder.log" 2>&1 &
        supervisor=$!
        if wait_for_nodes "$nodes"; then return; fi
        kill_cluster
    done
    stop "no cluster of $binary came up"
}

wait_for_nodes() {
    local start=$SECONDS up
    while [ $((SECONDS - start)) -lt "$START_SECONDS_MAX" ]; do
        # It ends at once if a port is taken.
        kill -0 "$supervisor" 2>/dev/null || return 1
        up=$(reelraft cluster status -o json 2>/dev/null |
            jq 'select(.leader_id > 0) | [.nodes[] | select(.reachable)] | length') || up=""
        if [ "${up:-0}" = "$1" ]; then return 0; fi
        sleep 0.1
    done
    return 1
}

# The supervisor, its nodes and their encoders.
family() {
    local parent=$1 child
    echo "$parent"
    local children=()
    read -ra children 2>/dev/null <"/proc/$parent/task/$parent/children" || true
    for child in "${children[@]}"; do family "$child"; done
}

# Kills all of the cluster at one moment, as a power cut would.
kill_cluster() {
    if [ -z "$supervisor" ]; then return; fi
    local all
    mapfile -t all < <(family "$supervisor")
    kill -9 "${all[@]}" 2>/dev/null || true
    wait "$supervisor" 2>/dev/null || true
    for pid in "${all[@]}"; do
        # Its children are no longer ours to wait for. One that has ended has
        # no program, even where nobody collects it.
        while [ -e "/proc/$pid/exe" ]; do sleep 0.05; done
    done
    supervisor=""
}

reelraft() { "$binary" "$@"; }

# --- Jobs --------------------------------------------------------------------

options_finished=(--container mp4 --preset ultrafast --shard-seconds 2)
options_encoding=(--container mp4 --preset slow --shard-seconds 2)
options_uploading=(--container mkv --preset ultrafast --width 160)

# submit NAME FILE OPTION…: the same request each time; prints the job's id.
submit() {
    local name=$1 file=$2
    shift 2
    reelraft job submit --detach -o json --request-id "$name" "$@" "$file" 2>>"$work/$name.client" |
        jq -r .job.id
}

# field ID NAME
field() { reelraft job show "$1" -o json | jq -r ".$2"; }

# The tasks of a job that are done, with the attempt that did them: each a line.
tasks_done() {
    reelraft job shards "$1" -o json |
        jq -r '(.tasks // .shards)[] | select(.state == "done") | "\(.kind) \(.number) \(.attempt) \(.hash)"'
}

# look WHAT COMMAND…: until the command is true.
look() {
    local what=$1 looks
    shift
    for ((looks = 0; looks < LOOKS_MAX; looks++)); do
        if "$@"; then return; fi
        sleep 0.1
    done
    stop "$what did not come"
}

calm_run() {
    local name=$1
    shift
    id=$(submit "$name" "$@")
    reelraft job wait "$id" --timeout "$JOB_PATIENCE" >/dev/null 2>&1 || stop "the calm $name failed"
    reelraft job fetch "$id" "$work/$name.calm" >/dev/null 2>&1 || stop "the calm $name can't be fetched"
}

note_calm_hashes() {
    for id in $(reelraft job list -o json | jq -r '.jobs[].id'); do
        calm_hash[$(field "$id" request_id)]=$(field "$id" output_hash)
    done
}

# check_output NAME ID: waits, and holds the output against the calm run's.
check_output() {
    local name=$1 id=$2
    holds "$name: ends well" quiet reelraft job wait "$id" --timeout "$JOB_PATIENCE"
    holds "$name: the output can be fetched" quiet reelraft job fetch "$id" "$work/$name.out"
    same "$name: BLAKE3 of the output" "${calm_hash[$name]}" "$(field "$id" output_hash)"
    holds "$name: the bytes are the calm run's" cmp "$work/$name.calm" "$work/$name.out"
    same "$name: the proof's checks that fail" 0 \
        "$(reelraft job proof "$id" -o json | jq '[.checks[] | select(.holds | not)] | length')"
    same "$name: BLAKE3 in the proof" "${calm_hash[$name]}" \
        "$(reelraft job proof "$id" -o json | jq -r .output_blake3)"
}

quiet() { "$@" >/dev/null 2>&1; }

# --- The story ---------------------------------------------------------------

say "Making two films"
make_film() {
    ffmpeg -nostdin -v error -f lavfi -i "testsrc2=size=$1:rate=25" \
        -f lavfi -i sine=frequency=440:sample_rate=48000 -t "$2" "${@:3}" -c:a pcm_s16le
}
make_film 640x360 "$ENCODE_SECONDS" -c:v libx264 -preset ultrafast -g 50 "$work/short.mkv"
# Uncompressed: much to upload, and little to do.
make_film 640x360 $((UPLOAD_FRAMES / 25)) -c:v rawvideo -pix_fmt yuv420p "$work/large.mkv"

say "What the old program makes of them, undisturbed"
declare -A calm_hash
start_cluster "$old" "$work/calm" 1
calm_run finished "$work/short.mkv" "${options_finished[@]}"
calm_run encoding "$work/short.mkv" "${options_encoding[@]}"
calm_run uploading "$work/large.mkv" "${options_uploading[@]}"
note_calm_hashes
old_build=$(field "$id" build)
kill_cluster

say "Whether the new program makes the same"
start_cluster "$new" "$work/calm-new" 1
calm_run uploading "$work/large.mkv" "${options_uploading[@]}"
same_build=yes
if [ "$(field "$id" build)" != "$old_build" ]; then
    same_build=no
    echo "  it is another encoder build"
    calm_run encoding "$work/short.mkv" "${options_encoding[@]}"
fi
note_calm_hashes
kill_cluster

say "The old program, three nodes: one job finishes"
start_cluster "$old" "$work/data" 3
finished=$(submit finished "$work/short.mkv" "${options_finished[@]}")
reelraft job wait "$finished" --timeout "$JOB_PATIENCE" >/dev/null 2>&1 || stop "the first job failed"
proof=$(reelraft job proof "$finished" -o json)
spec=$(reelraft job show "$finished" -o json | jq -c .spec)
created=$(field "$finished" created_unix_ms)
tasks=$(tasks_done "$finished")

say "One upload is broken off"
kib_at_start=$(du -sk "$work/data" | cut -f1)
rm -f "$work/uploading.client"
"$old" job submit --detach --request-id uploading "${options_uploading[@]}" \
    "$work/large.mkv" >"$work/uploading.id" 2>"$work/uploading.client" &
client=$!
is_under_way() { [ $(($(du -sk "$work/data" | cut -f1) - kib_at_start)) -ge $((2 * UPLOADED_KIB)) ]; }
look "the upload" is_under_way
kill -9 "$client"
wait "$client" 2>/dev/null || true
client=""
uploading=$(head -n 1 "$work/uploading.id")
same "uploading: state after its client's end" uploading "$(field "$uploading" state)"
same "uploading: sealed" null "$(field "$uploading" source_root)"

say "One job is being encoded when everything is killed"
encoding=$(submit encoding "$work/short.mkv" "${options_encoding[@]}")
is_half_way() { [ "$(field "$encoding" shards_done)" -ge 3 ]; }
look "the third shard" is_half_way
tasks_before=$(tasks_done "$encoding")
kill_cluster
[ -n "$tasks_before" ] || stop "no task was done"
echo "  $(wc -l <<<"$tasks_before") tasks were done"

say "The new program on the same folder"
start_cluster "$new" "$work/data" 3
same "listed jobs" "encoding finished uploading" \
    "$(reelraft job list --all -o json | jq -r '[.jobs[].request_id] | sort | join(" ")')"
same "finished: state" succeeded "$(field "$finished" state)"
same "uploading: state" uploading "$(field "$uploading" state)"
if [ "$same_build" = yes ]; then
    same "encoding: state" encoding "$(field "$encoding" state)"
    missing=$(comm -23 <(sort <<<"$tasks_before") <(tasks_done "$encoding" | sort))
    same "encoding: tasks done before that are not done now" "" "$missing"
fi

say "The finished job"
check_output finished "$finished"
same "finished: the proof" "$proof" "$(reelraft job proof "$finished" -o json)"
# A newer program may know of more options.
same "finished: options that differ" "" "$(reelraft job show "$finished" -o json |
    jq -r --argjson old "$spec" '.spec as $new | $old | to_entries[] | select($new[.key] != .value) | .key')"
same "finished: made at" "$created" "$(field "$finished" created_unix_ms)"
same "finished: the tasks" "$tasks" "$(tasks_done "$finished")"
same "finished: the request finds it" "$finished" \
    "$(submit finished "$work/short.mkv" "${options_finished[@]}")"

say "The half encoded job"
check_output encoding "$encoding"
if [ "$same_build" = yes ]; then
    missing=$(comm -23 <(sort <<<"$tasks_before") <(tasks_done "$encoding" | sort))
    same "encoding: tasks done before that were done again" "" "$missing"
else
    note=$(field "$encoding" plan_note)
    holds "encoding: is planned anew: $note" [ "$note" != null ]
fi

say "The half uploaded job"
# The homes held this much each, of which a few chunks were not acknowledged yet.
least_kib=$((UPLOADED_KIB / 2))
: >"$work/uploading.client"
same "uploading: the request finds it" "$uploading" \
    "$(submit uploading "$work/large.mkv" "${options_uploading[@]}")"
# The client says how much the cluster holds: as what it compares with its own
# file, or as the first state of the upload.
held=$(sed -nE 's/^comparing .* of ([0-9.]+) MiB$/\1/p' "$work/uploading.client" | head -n 1)
[ -n "$held" ] || held=$(sed -nE 's/^uploading .*% +([0-9.]+) (B|KiB|MiB) of .*/\1 \2/p' \
    "$work/uploading.client" | head -n 1 | awk '$2 == "MiB" { print $1 }')
held_kib=$(awk -v mib="${held:-0}" 'BEGIN { print int(mib * 1024) }')
holds "uploading: goes on from $held_kib KiB, which is $least_kib or more" \
    [ "$held_kib" -ge "$least_kib" ]
check_output uploading "$uploading"

if [ "$differences" -gt 0 ]; then
    stop "$differences differences"
fi
say "Everything that the old program wrote is as it was"
