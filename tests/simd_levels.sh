#!/bin/sh
# Which encoders and filters give other bytes with other instructions of the
# processor: each step of a job once for each level, as a table. Levels above
# what this machine has are what it has.
#
#     tests/simd_levels.sh [FFMPEG]
set -eu
ffmpeg=${1:-ffmpeg}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

run() {
    "$ffmpeg" -nostdin -v error "$@"
}
# row NAME: reads a level and a digest a line, and says how many differ.
row() {
    sort -k2 | awk -v name="$1" '
        { if (!($2 in seen)) { seen[$2] = ""; kinds++ } seen[$2] = seen[$2] " " $1 }
        END {
            printf "| %s | ", name
            if (kinds == 1) { print "the same |"; exit }
            for (digest in seen) printf "%s:%s; ", substr(digest, 1, 8), seen[digest]
            print "|"
        }'
}
digest() {
    run "$@" -flags +bitexact -fflags +bitexact -f md5 - 2>/dev/null | sed 's/MD5=//' || echo failed
}

# The same for all levels: noisy pictures, and sound at both rates.
run -f lavfi -i testsrc2=size=320x180:rate=25:duration=3 -vf noise=alls=12:allf=t,format=yuv420p \
    -c:v ffv1 -g 1 "$folder/film.mkv"
for rate in 44100 48000; do
    run -f lavfi -i "sine=frequency=440:beep_factor=4:sample_rate=$rate:duration=8" \
        -c:a aac "$folder/$rate.m4a"
done
film="-threads 1 -i $folder/film.mkv -filter_threads 1 -sws_flags bicubic+accurate_rnd+bitexact"

echo "| step | levels |"
echo "|---|---|"
for asm in sse2 ssse3 sse4.2 avx2 avx512; do
    # shellcheck disable=SC2086 # options
    echo "$asm $(digest $film -c:v libx264 -x264-params cpu-independent=1:asm=$asm -threads 1)"
done | row "H.264, libx264"
for asm in sse2 ssse3 sse4 avx2 avx512; do
    # shellcheck disable=SC2086
    echo "$asm $(digest $film -c:v libx265 -x265-params pools=none:frame-threads=1:info=0:log-level=none:asm=$asm)"
done | row "HEVC, libx265"
for caps in sse2=0x7 ssse3=0x1f sse4.1=0x3f avx2=0xff all=0xfff; do
    export VPX_SIMD_CAPS="${caps#*=}"
    # shellcheck disable=SC2086
    echo "${caps%=*} $(digest $film -c:v libvpx-vp9 -b:v 0 -crf 31 -cpu-used 4 -row-mt 0 -threads 1)"
    unset VPX_SIMD_CAPS
done | row "VP9, libvpx"
for asm in sse2 ssse3 sse4_1 avx2 avx512; do
    # shellcheck disable=SC2086
    echo "$asm $(digest $film -c:v libsvtav1 -preset 8 -crf 35 -svtav1-params lp=1:asm=$asm)"
done 2>/dev/null | row "AV1, SVT-AV1"
levels="sse2 sse2+ssse3 sse2+ssse3+sse4.2 sse2+ssse3+sse4.2+avx sse2+ssse3+sse4.2+avx+fma3 sse2+ssse3+sse4.2+avx+fma3+avx2 all"
# levels NAME ARGUMENTS…: a step of ffmpeg's own.
levels() {
    name=$1
    shift
    for flags in $levels; do
        if [ "$flags" = all ]; then
            echo "all $(digest "$@")"
        else
            echo "${flags##*+} $(digest -cpuflags "$flags" "$@")"
        fi
    done | row "$name"
}
# shellcheck disable=SC2086
{
    levels "FFV1" $film -c:v ffv1 -level 3 -slices 4 -g 1 -threads 1
    levels "scale" $film -vf scale=w=178:h=100:flags=bicubic+accurate_rnd+bitexact,format=yuv420p -c:v rawvideo
    levels "bwdif" $film -vf bwdif=mode=send_frame:parity=auto:deint=all -c:v rawvideo
    levels "vaguedenoiser" $film -vf vaguedenoiser=threshold=3:method=garrote:nsteps=6 -c:v rawvideo
    levels "lutyuv" $film -vf "lutyuv=y='(val-16)*1.1+16.5'" -c:v rawvideo
    levels "premultiply" $film -vf format=yuva444p,premultiply=inplace=1,format=yuv420p -c:v rawvideo
    for rate in 44100 48000; do
        levels "AAC at $rate Hz to AAC" -i "$folder/$rate.m4a" -c:a aac -b:a 128000
        levels "AAC at $rate Hz to Opus" -i "$folder/$rate.m4a" -c:a libopus -b:a 128000
        levels "AAC at $rate Hz to FLAC" -i "$folder/$rate.m4a" -c:a flac
    done
    levels "volume and limiter" -i "$folder/48000.m4a" -af volume=6dB,alimiter=limit=0.9:level=false -c:a pcm_s16le
}
