#!/bin/sh
# Installs a node as a service on a machine whose packages are not Debian's:
#
#   packaging/install.sh target/release/reelraft
#
# The program goes to /usr/local/bin, settings to /etc/reelraft/node.toml (those
# that are there stay), films to /var/lib/reelraft. Run again, it installs the
# given program in the place of the one before and restarts the service.
# DESTDIR puts it all below another folder, and touches no users and no services.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=${DESTDIR:-}

fail() {
    echo "error: $1" >&2
    echo "hint: $2" >&2
    exit 1
}

if [ $# -ne 1 ] || [ ! -x "$1" ]; then
    fail "name the program to install" "packaging/install.sh target/release/reelraft"
fi
[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "only root can install a service" "sudo packaging/install.sh $1"
if ! command -v ffmpeg >/dev/null || ! command -v ffprobe >/dev/null; then
    fail "there is no ffmpeg here, with which a node encodes" "install ffmpeg, 5.1 or newer, by the packages of this system"
fi

install -D -m 0755 "$1" "$root/usr/local/bin/reelraft.new"
mv "$root/usr/local/bin/reelraft.new" "$root/usr/local/bin/reelraft"
install -d -m 0755 "$root/etc/systemd/system" "$root/usr/local/share/man/man1"
sed 's|/usr/bin/reelraft|/usr/local/bin/reelraft|' "$here/reelraft.service" >"$root/etc/systemd/system/reelraft.service"
"$root/usr/local/bin/reelraft" man "$root/usr/local/share/man/man1"
if [ -z "$root" ] && ! getent passwd reelraft >/dev/null; then
    useradd --system --user-group --no-create-home --home-dir /var/lib/reelraft \
        --shell /usr/sbin/nologin reelraft
fi
if [ ! -e "$root/etc/reelraft/node.toml" ]; then
    install -D -m 0640 "$here/node.toml" "$root/etc/reelraft/node.toml"
fi
if [ -z "$root" ]; then
    chown root:reelraft /etc/reelraft /etc/reelraft/node.toml
    chmod 0750 /etc/reelraft
    install -d -o reelraft -g reelraft -m 0700 /var/lib/reelraft
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload
        systemctl enable reelraft
        systemctl restart reelraft
        systemctl --no-pager status reelraft
    else
        echo "systemd does not run here: start it with \`reelraft node --config /etc/reelraft/node.toml\` as the user reelraft"
    fi
fi
