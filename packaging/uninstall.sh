#!/bin/sh
# Takes away what install.sh has installed. Films and settings stay, unless
# --purge is given.
set -eu
root=${DESTDIR:-}

if [ -z "$root" ] && [ -d /run/systemd/system ] && [ -e /etc/systemd/system/reelraft.service ]; then
    systemctl disable --now reelraft
fi
rm -f "$root/usr/local/bin/reelraft" "$root/etc/systemd/system/reelraft.service"
rm -f "$root/usr/local/share/man/man1/reelraft.1" "$root"/usr/local/share/man/man1/reelraft-*.1
if [ -z "$root" ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
case "${1:-}" in
--purge)
    rm -rf "$root/var/lib/reelraft" "$root/etc/reelraft"
    if [ -z "$root" ] && getent passwd reelraft >/dev/null; then userdel reelraft; fi
    ;;
*) echo "kept: $root/etc/reelraft and $root/var/lib/reelraft (--purge takes them away, films and all)" ;;
esac
