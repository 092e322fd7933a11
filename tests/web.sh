#!/usr/bin/env bash
# The page in a real browser, over a real cluster of three.
#
#   tests/web.sh BINARY [--screenshots FOLDER]
#   tests/web.sh --prepare
#
# The second form fetches what the first one needs, and ends.
#
# First its types are checked, by what its comments say of them, and its rules,
# without a browser. Chromium and Node.js come from Debian by their package names,
# and what the tests use from npm by its lock. Where no browser can be had this is
# skipped. Needs ffmpeg.
#
# Exit codes: 0 all is well, 1 something is not, 2 wrong usage, 77 skipped.
set -euo pipefail

skip() { echo "SKIPPED: $*" >&2; exit 77; }

prepare=""
if [ "$*" = --prepare ]; then
    prepare=1
    set --
elif [ $# -lt 1 ] || [ ! -x "$1" ]; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2
    exit 2
fi
if [ -z "$prepare" ]; then
    binary=$(realpath "$1")
    shift
fi
arguments=()
while [ $# -gt 0 ]; do
    case "$1" in
        --screenshots) mkdir -p "$2"; arguments+=(--screenshots "$(realpath "$2")"); shift 2 ;;
        *) echo "what is $1?" >&2; exit 2 ;;
    esac
done
command -v ffmpeg >/dev/null || skip "there is no ffmpeg (apt-get install ffmpeg)"

missing=""
command -v chromium >/dev/null || [ -n "${CHROMIUM:-}" ] || missing="$missing chromium"
command -v node >/dev/null || missing="$missing nodejs"
command -v npm >/dev/null || missing="$missing npm"
if [ -n "$missing" ]; then
    command -v apt-get >/dev/null || skip "please install:$missing"
    as_root=""
    [ "$(id -u)" = 0 ] || as_root=sudo
    echo "Installing$missing with: $as_root apt-get install -y --no-install-recommends$missing"
    # shellcheck disable=SC2086 # a list of package names
    { $as_root apt-get update -q && $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends $missing; } || skip "$missing can't be installed"
fi

cd "$(dirname "$0")/web"
# Anew only where the lock has changed.
if ! cmp -s package-lock.json node_modules/.of-lock; then
    npm ci --no-audit --no-fund || skip "the packages of package-lock.json can't be had from npm"
    cp package-lock.json node_modules/.of-lock
fi
[ -z "$prepare" ] || exit 0
node_modules/.bin/tsc -p .
# Older ones take no file for a module that no package calls one; Debian 12 has 18.
if node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)'; then
    node --test ./*.test.mjs
else
    echo "SKIPPED: the tests without a browser, which need Node.js 20.19" >&2
fi
node run.mjs "$binary" "${arguments[@]}"
