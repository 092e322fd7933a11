# Splits a film at keyframes, encodes the pieces beside each other, and joins
# them again: what one writes in an afternoon. It checks nothing.
# SOURCE OUT FOLDER AT_ONCE FILTER PICTURE_OPTIONS SOUND_OPTIONS
set -eu
source=$1 out=$2 folder=$3 at_once=$4 filter=$5 picture=$6 sound=$7
mkdir -p "$folder"
quiet="ffmpeg -nostdin -v error -y"
$quiet -i "$source" -map 0:v:0 -c copy -f segment -segment_time 10 -reset_timestamps 1 "$folder/in-%05d.mkv"
export quiet picture filter
# shellcheck disable=SC2086
( [ -z "$sound" ] || $quiet -i "$source" -map 0:a:0 -vn $sound "$folder/sound.mp4" ) &
# shellcheck disable=SC2016
ls "$folder"/in-*.mkv | xargs -P "$at_once" -I{} sh -c '
	$quiet -threads 1 -i "$1" -vf "$filter" $picture -threads 1 "${1%/in-*}/out-${1##*/in-}"' sh {}
wait
for piece in "$folder"/out-*.mkv; do echo "file '$piece'"; done >"$folder/list"
with=""
[ ! -e "$folder/sound.mp4" ] || with="-i $folder/sound.mp4"
# shellcheck disable=SC2086
$quiet -f concat -safe 0 -i "$folder/list" $with -c copy -movflags +faststart "$out"
rm -r "$folder"
