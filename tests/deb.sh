#!/bin/sh
# Installs the package on a bare Debian 12, starts the node as its unit does,
# transcodes a clip, upgrades under a running node, removes and purges: nothing
# is left. As root, with debootstrap; elsewhere it is skipped (77).
#
#   tests/deb.sh PACKAGE [FOLDER]
#
# FOLDER keeps the Debian for the next time.
set -eu
package=$1
root=${2:-$(mktemp -d)/debian}
PORT=7461

skip() {
    echo "skipped: $1"
    exit 77
}
[ "$(id -u)" = 0 ] || skip "only root makes a Debian"
command -v debootstrap >/dev/null || skip "there is no debootstrap here"

node=
ended() {
    [ -z "$node" ] || kill "$node" 2>/dev/null || true
    umount "$root/proc" 2>/dev/null || true
    [ -n "${kept:-}" ] || rm -rf "$(dirname "$root")"
}
[ $# -lt 2 ] || kept=yes
trap ended EXIT

if [ ! -e "$root/etc/debian_version" ]; then
    mkdir -p "$root"
    debootstrap --variant=minbase bookworm "$root" >/dev/null
fi
# Where packages come from, and by which way, is the same inside.
cp -rL /etc/apt/sources.list* /etc/apt/apt.conf.d /etc/apt/trusted.gpg.d "$root/etc/apt/" 2>/dev/null || true
cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
mount -t proc proc "$root/proc"
inside() {
    chroot "$root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"
}

# The same program as another version, for the upgrade.
newer() {
    dpkg-deb -R "$package" "$root/newer"
    sed -i 's/^Version: .*/&+newer/' "$root/newer/DEBIAN/control"
    dpkg-deb --root-owner-group -b "$root/newer" "$root/newer.deb" >/dev/null
    rm -r "$root/newer"
}

# As the unit starts it: its user, its command; there is no systemd in here.
start() {
    command=$(sed -n 's/^ExecStart=//p' "$root/lib/systemd/system/reelraft.service" "$root/usr/lib/systemd/system/reelraft.service" 2>/dev/null | head -n 1)
    # shellcheck disable=SC2086
    chroot "$root" setpriv --reuid reelraft --regid reelraft --clear-groups --no-new-privs \
        $command --listen 127.0.0.1:$PORT --http 127.0.0.1:$((PORT + 1)) 2>"$root/log" &
    node=$!
    for _ in $(seq 120); do
        ! inside reelraft cluster leader --endpoints 127.0.0.1:$PORT >/dev/null 2>&1 || return 0
        sleep 1
    done
    cat "$root/log"
    echo "the node does not serve"
    exit 1
}
stop() {
    kill "$node"
    wait "$node" || true
    node=
}
transcode() {
    inside reelraft transcode --endpoints 127.0.0.1:$PORT --overwrite /clip.mp4 "/$1" --preset ultrafast 2>/dev/null
    [ -s "$root/$1" ]
}

inside apt-get update -q >/dev/null
cp "$package" "$root/one.deb"
inside apt-get install -y -q --no-install-recommends /one.deb >/dev/null
inside ffmpeg -v error -f lavfi -i testsrc2=duration=4:size=320x180 -f lavfi -i sine=duration=4 -y /clip.mp4
start
transcode one.mp4
echo "installed, started, transcoded"

newer
inside apt-get install -y -q /newer.deb >/dev/null
transcode two.mp4
stop
start
inside reelraft job list --endpoints 127.0.0.1:$PORT | grep -q succeeded
transcode three.mp4
cmp "$root/one.mp4" "$root/three.mp4"
echo "upgraded: the same jobs, the same bytes"

stop
inside apt-get remove -y -q reelraft >/dev/null
[ -d "$root/var/lib/reelraft/table" ] || [ -n "$(ls -A "$root/var/lib/reelraft")" ]
inside apt-get purge -y -q reelraft >/dev/null
left=$(find "$root/usr" "$root/etc" "$root/var/lib" "$root/lib" -iname '*reelraft*' -not -path '*/dpkg/*' 2>/dev/null)
[ -z "$left" ] || {
    echo "left behind: $left"
    exit 1
}
if inside getent passwd reelraft; then
    echo "the user is left behind"
    exit 1
fi
echo "removed with the films kept, purged without a trace"
rm -f "$root"/one.deb "$root"/newer.deb "$root"/*.mp4 "$root/log"
