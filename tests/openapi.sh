#!/usr/bin/env bash
# Tries the HTTP port by its own description: schemathesis makes requests from the
# OpenAPI document, right ones and wrong ones, and compares each answer with it.
#
#   tests/openapi.sh BINARY [SECONDS]
#
# No answer may be an error of the server or one that is not described: another
# status, type, body or header. Streams of events have no end, and are left out.
#
# schemathesis comes from PyPI into a temporary folder; SCHEMATHESIS=PROGRAM takes
# one that is there. Only processes started here are ended. Needs ffmpeg.
#
# Exit codes: 0 all of it is true, 1 something is not, 2 wrong usage, 77 skipped.
set -euo pipefail

# How long a node may take to answer, on a slow and busy machine.
START_SECONDS_MAX=120
# A film that is waited for is made of a few random bytes, and so refused soon.
ANSWER_SECONDS_MAX=60
CHECKS=not_a_server_error,status_code_conformance,content_type_conformance
CHECKS+=,response_headers_conformance,response_schema_conformance

skip() { echo "SKIPPED: $*" >&2; exit 77; }

if [ $# -lt 1 ] || [ ! -x "$1" ]; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2
    exit 2
fi
binary=$(realpath "$1")
seconds=${2:-600}
command -v ffmpeg >/dev/null || skip "there is no ffmpeg (apt-get install ffmpeg)"
command -v curl >/dev/null || skip "there is no curl (apt-get install curl)"

work=$(mktemp -d)
supervisor=""
clean_up() {
    code=$?
    trap - EXIT
    if [ -n "$supervisor" ]; then
        kill "$supervisor" 2>/dev/null || true
        wait "$supervisor" 2>/dev/null || true
    fi
    if [ "$code" = 1 ]; then tail -n 30 "$work/dev.log" >&2 || true; fi
    rm -rf "$work"
    exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

schemathesis=${SCHEMATHESIS:-}
if [ -z "$schemathesis" ]; then
    python3 -m venv "$work/venv" >/dev/null 2>&1 || skip "there is no venv of Python (apt-get install python3-venv)"
    "$work/venv/bin/pip" install -q schemathesis || skip "schemathesis can't be had from PyPI"
    schemathesis=$work/venv/bin/schemathesis
fi

# Below the ports that Linux gives to outgoing connections.
base=$((20000 + ($$ * 37) % 10000))
"$binary" dev --nodes 1 --data "$work/data" --base-port "$base" >"$work/dev.log" 2>&1 &
supervisor=$!
url=http://127.0.0.1:$((base + 1000))
until curl -fsS "$url/readyz" >/dev/null 2>&1; do
    if [ "$SECONDS" -gt "$START_SECONDS_MAX" ]; then
        echo "FAILED: the node is not ready in time" >&2
        exit 1
    fi
    sleep 1
done

cd "$work"
# A source larger than the disks is asked for, too, and its refusal is 507.
cat >schemathesis.toml <<'END'
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", "507"]
END
cat >bodies.py <<'END'
import schemathesis
from hypothesis import strategies as st

schemathesis.openapi.media_type("application/offset+octet-stream", st.binary())
END
SCHEMATHESIS_HOOKS=bodies PYTHONPATH=$work "$schemathesis" run "$url/api/v1/openapi.json" --url "$url" \
    --checks "$CHECKS" --max-time "$seconds" --continue-on-failure \
    --request-timeout "$ANSWER_SECONDS_MAX" --workers 1 --warnings off \
    --exclude-operation-id events --exclude-operation-id job_events
