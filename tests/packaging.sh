#!/bin/sh
# The files of packaging/ and docker/, read by what knows them: shellcheck, systemd,
# and Kubernetes' own schemas. What is not there is said, and skipped.
#
#   tests/packaging.sh target/debug/reelraft
set -eu
cd "$(dirname "$0")/.."
program=$(realpath "$1")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

has() {
    command -v "$1" >/dev/null 2>&1 || {
        echo "skipped: there is no $1 here"
        return 1
    }
}

if has shellcheck; then
    shellcheck -e SC1091 packaging/*.sh packaging/debian/* docker/*.sh tests/*.sh
    echo "the scripts are sound"
fi
if has systemd-analyze; then
    sed "s|/usr/bin/reelraft|$program|" packaging/reelraft.service >"$folder/reelraft.service"
    said=$(systemd-analyze verify --man=no "$folder/reelraft.service" 2>&1)
    [ -z "$said" ] || {
        echo "$said"
        exit 1
    }
    echo "systemd has no complaint of the unit"
fi
# A package of Python that brings the schemas with it.
if has python3 && python3 -m venv "$folder/python" 2>/dev/null &&
    "$folder/python/bin/pip" -q install kubernetes-validate 2>/dev/null; then
    "$folder/python/bin/kubernetes-validate" --strict packaging/kubernetes.yaml
else
    echo "skipped: kubernetes-validate can't be had"
fi
# A node speaks by TLS alone beyond loopback: a probe by http would find it dead for ever.
manifest=packaging/kubernetes.yaml
plain=$(grep -n httpGet: $manifest | grep -v 'scheme: HTTPS' || true)
[ -z "$plain" ] || {
    echo "a probe that speaks no HTTPS: $plain"
    exit 1
}
# Its settings are a node's, and the Service's name is one that certificates have.
settings=$(sed -n 's/^ *- {name: \(REELRAFT_[A-Z_]*\), value: "*\([^"}]*\)"*}$/\1=\2/p' $manifest |
    sed 's/\$(POD_NAME)/reelraft-1/; s/\$(POD_NAMESPACE)/films/')
# shellcheck disable=SC2086 # A word each.
env $settings REELRAFT_SECRET=0123456789abcdef REELRAFT_DATA="$folder/data" "$program" config show >"$folder/settings"
grep -q '^tls  *true' "$folder/settings"
grep -q '^http_public  *https://reelraft.films.svc:8401' "$folder/settings"
echo "Kubernetes' probes speak as the nodes do"
# Settings that the package ships are settings that a node takes.
REELRAFT_DATA="$folder/data" "$program" config show --config packaging/node.toml >"$folder/settings"
grep -q 127.0.0.1:7401 "$folder/settings"
DESTDIR="$folder/root" packaging/install.sh "$program" >/dev/null
[ -x "$folder/root/usr/local/bin/reelraft" ]
[ -s "$folder/root/usr/local/share/man/man1/reelraft-node.1" ]
DESTDIR="$folder/root" packaging/uninstall.sh --purge
left=$(find "$folder/root" -type f)
[ -z "$left" ] || {
    echo "left behind: $left"
    exit 1
}
echo "installed and taken away without a trace"
