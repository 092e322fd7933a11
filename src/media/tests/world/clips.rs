//! Clips from ffmpeg's own test sources. Each is made once for all tests and
//! kept in cargo's target folder under a hash of what made it.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use reelraft_media::Tools;

/// Recipes of the clips that are made here, all from ffmpeg's test sources.
pub fn recipe(name: &str) -> String {
    let picture = "-f lavfi -i testsrc2=size=160x90:rate=24:duration=6";
    let sound = "-f lavfi -i sine=duration=6";
    let x264 = "-c:v libx264 -pix_fmt yuv420p";
    match name {
        "h264.mp4" => format!("{picture} {sound} {x264} -preset fast -g 36 -c:a aac"),
        // Keyframes that frames before them still need; no B pyramid.
        "open.ts" => format!(
            "{picture} {sound} {x264} -preset fast -x264-params open-gop=1:keyint=20:bframes=3 -c:a mp2"
        ),
        // Every frame has its own length, and there is no constant rate.
        "vfr.mkv" => format!(
            "{picture} {sound} {x264} -preset fast -g 20 -vf setpts=PTS+floor(random(1)*30)/1000/TB,settb=1/1000 -fps_mode passthrough -c:a aac"
        ),
        "vp9.webm" => format!(
            "{picture} {sound} -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 30 -c:a libopus"
        ),
        "vorbis.webm" => format!(
            "{picture} -itsoffset 0.4 {sound} -c:v libvpx -deadline realtime -cpu-used 8 -g 30 -c:a libvorbis"
        ),
        "mpeg4.avi" => format!("{picture} {sound} -c:v mpeg4 -g 12 -q:v 4 -c:a mp3"),
        "mpeg2.ts" => format!("{picture} {sound} -c:v mpeg2video -bf 2 -g 15 -q:v 4 -c:a mp2"),
        "late.mp4" => format!("-itsoffset 3.3 {picture} {sound} {x264} -g 24 -c:a aac"),
        // Sound that begins before the pictures, cut by an edit list.
        "edit.mp4" => format!(
            "-itsoffset 0.25 {picture} {sound} {x264} -preset fast -g 24 -bf 2 -c:a aac -output_ts_offset -0.1"
        ),
        "intra.mov" => format!("{picture} {sound} -c:v mjpeg -q:v 4 -c:a pcm_s16le"),
        "pcm.mov" => {
            format!("-f lavfi -i testsrc2=size=64x64:duration=1 {sound} {x264} -c:a pcm_s16le")
        }
        "one.mp4" => {
            "-f lavfi -i testsrc2=size=64x64:duration=0.04 -c:v libx264 -pix_fmt yuv420p".into()
        }
        "picture.png" => "-f lavfi -i testsrc2=size=64x64 -frames:v 1".into(),
        "sound.flac" => sound.into(),
        "sound.ts" => format!("{sound} -c:a mp2 -muxdelay 3"),
        "cover.mp3" => format!(
            "{sound} -f lavfi -i testsrc2=size=64x64:duration=0.04 -map 0 -map 1 -c:v png -c:a mp3 -metadata title=Song -disposition:v attached_pic"
        ),
        // Three tracks with all that tells them apart; one is in surround.
        "many.mkv" => format!(
            "{picture} {sound} -f lavfi -i sine=440:duration=6 -f lavfi -i anoisesrc=d=4:a=0.1:seed=7 {x264} -preset fast -g 36 -map 0 -map 1 -map 2 -map 3 -c:a aac -ac:a:1 6 -metadata:s:a:0 language=eng -metadata:s:a:0 title=Main -metadata:s:a:1 language=deu -metadata:s:a:2 language=fra -metadata:s:a:2 title=Comment -disposition:a:0 0 -disposition:a:1 default -disposition:a:2 comment"
        ),
        // The second track is declared and has not one packet.
        "hollow.mkv" => format!(
            "{picture} {sound} {x264} -preset fast -g 36 -map 0 -map 1 -map 1 -c:a aac -filter:a:1 aselect=0"
        ),
        "silent.mp4" => format!("{picture} {x264} -preset ultrafast"),

        _ => panic!("{name}"),
    }
}

/// A clip's path; it is made unless an earlier test or run did.
pub fn kept(tools: &Tools, name: &str, options: &str) -> PathBuf {
    let clips = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clips");
    let made_by = [version(tools), name, options].join("\n");
    let folder = clips.join(&blake3::hash(made_by.as_bytes()).to_hex()[..16]);
    let path = folder.join(name);
    if !path.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        // Another test may be making it at the same time: whoever is last
        // renames the same bytes over it.
        let unfinished = tempfile::tempdir_in(&folder).unwrap();
        let made = unfinished.path().join(name);
        make(tools, unfinished.path(), options, &made);
        std::fs::rename(made, &path).unwrap();
    }
    path
}

/// The ffmpeg that makes clips: the system's, so that each version is tried with
/// the same ones.
fn maker(tools: &Tools) -> &Path {
    let system = Path::new("/usr/bin/ffmpeg");
    match system.is_file() {
        true => system,
        false => &tools.ffmpeg,
    }
}

/// Runs ffmpeg in a folder with options parted by spaces.
pub fn make(tools: &Tools, folder: &Path, options: &str, path: &Path) {
    let done = Command::new(maker(tools))
        .current_dir(folder)
        .args(["-nostdin", "-v", "error", "-y"])
        .args(options.split(' '))
        .arg(path)
        .status()
        .unwrap();
    assert!(done.success(), "{}", path.display());
}

/// What ffmpeg says of itself: another one makes other clips.
fn version(tools: &Tools) -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let out = Command::new(maker(tools)).arg("-version").output().unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned()
    })
}
