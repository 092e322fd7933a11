//! Argument lists for the output file, and the reference command: pure
//! functions of the index and the spec. `video/args.rs` says what changes
//! bytes.

use std::path::{Path, PathBuf};

use reelraft_model::spec::{Codec, Container, Spec};

use crate::{
    audio::{args as audio_args, args::AudioIntermediate, filters::filters},
    extras::take::reference_args,
    facts::{
        containers::{attaches_covers, muxer, output_file},
        extra::{ExtraKind, ExtrasIntermediate, labels_of},
        index::Index,
        labels::{self, Label},
        text::strings,
    },
    ffmpeg::{
        args::{DECODE_TO_THE_END, clock_rule, global_options},
        input::{Input, look_far, open_input},
        log::LOG_ERRORS,
    },
    limits::SHIFT_SECONDS,
    output::{
        covers,
        last_packets::{self, LastPacket},
    },
    video::{
        args::video,
        filters::{Pass, through_changes},
        rate::Rate,
    },
};

/// Name of the joined shards in the work folder.
pub(crate) const JOINED_FILE: &str = "joined.mp4";

/// Name of the file with tags and chapters in the work folder.
pub(crate) const METADATA_FILE: &str = "about.txt";

/// Kinds of extras, in the order of the output's streams.
const EXTRAS: [ExtraKind; 3] = [ExtraKind::Subtitle, ExtraKind::Attachment, ExtraKind::Cover];

/// Labels and muxer options of the output; `attached` if its covers are
/// attachments, after the others.
fn output(index: &Index, spec: &Spec, attached: bool) -> Vec<String> {
    let facts = &index.facts;
    let mut pictures: Vec<&Label> = facts.source.video.iter().map(|_| &facts.label).collect();
    let tracks = pictures.len();
    pictures.extend(labels_of(&facts.extras, ExtraKind::Cover));
    let audio: Vec<&Label> = facts
        .audio_tracks
        .iter()
        .map(|track| &track.label)
        .collect();
    let finish = |labels: &[&Label]| labels::with_default_disposition(labels, spec.strip_metadata);
    let mut pictures = finish(&pictures);
    let mut files = finish(&labels_of(&facts.extras, ExtraKind::Attachment));
    if attached {
        files.extend(pictures.split_off(tracks));
    }
    let mut args = strings(&["-map_metadata:s", "-1"]);
    for (kind, labels) in [
        ("v", pictures),
        ("a", finish(&audio)),
        ("s", finish(&labels_of(&facts.extras, ExtraKind::Subtitle))),
        ("t", files),
    ] {
        args.extend(labels::options(kind, &labels));
    }
    args.extend(strings(&["-fflags", "+bitexact"]));
    for kind in ["v", "a", "s"] {
        args.extend(strings(&[&format!("-flags:{kind}"), "+bitexact"]));
    }
    if matches!(
        spec.container(),
        Container::Mp4 | Container::Mov | Container::M4a
    ) {
        // The clock of chapters and edits: from 9 on ffmpeg would choose one so
        // fine that chapters of some seconds overflow.
        args.extend(strings(&[
            "-movflags",
            "+faststart",
            "-movie_timescale",
            "1000",
        ]));
        let mut experimental = facts
            .audio_tracks
            .iter()
            .map(|track| audio_args::allow_experimental(spec, track));
        args.extend(
            experimental
                .find(|options| !options.is_empty())
                .unwrap_or_default(),
        );
        if spec.codec() == Codec::Hevc {
            // Of the two possible tags, the one that every player accepts.
            args.extend(strings(&["-tag:v:0", "hvc1"]));
        }
    }
    args.extend(strings(&["-f", muxer(spec)]));
    args
}

/// Neither tags of the file nor chapters.
fn no_metadata() -> Vec<String> {
    strings(&["-map_metadata", "-1", "-map_chapters", "-1"])
}

/// The inputs of the assembly, and the streams that it maps.
#[derive(Default)]
struct Inputs {
    args: Vec<String>,
    maps: Vec<String>,
    count: usize,
}

impl Inputs {
    /// Opens another file and gives its number. `shifted` undoes the shift of
    /// its timestamps, `options` are further ones of its demuxer.
    fn open(&mut self, path: &Path, demuxer: &str, shifted: bool, options: &[&str]) -> usize {
        if shifted {
            let shift = format!("-{SHIFT_SECONDS}");
            self.args.extend(strings(&["-itsoffset", &shift]));
        }
        self.args.extend(strings(options));
        let input = Input::File(path.into());
        self.args.extend(open_input(&input, Some(demuxer)));
        self.count += 1;
        self.count - 1
    }
}

/// Opens all parts and maps their streams, in the output's order.
fn inputs(index: &Index, spec: &Spec, audio: &[PathBuf], extras: Option<&Path>) -> Inputs {
    let facts = &index.facts;
    let mut inputs = Inputs::default();
    if facts.source.video.is_some() {
        // The header of the joined file is read up to its end mark; see
        // `rate_header`.
        inputs.open(JOINED_FILE.as_ref(), "mov", true, &["-fflags", "+ignidx"]);
        inputs.maps.push("0:v:0".to_string());
    }
    for (path, track) in audio.iter().zip(&facts.audio_tracks) {
        let form = AudioIntermediate::of(spec, track);
        let number = inputs.open(path, form.demuxer(), form.shifted(), &[]);
        inputs.maps.push(format!("{number}:a:0"));
    }
    if let Some(path) = extras {
        let form = ExtrasIntermediate::of(spec);
        let number = inputs.open(path, form.demuxer(), form.shifted(), &[]);
        let attached = attaches_covers(spec.container());
        let mapped = |kind: &ExtraKind| *kind != ExtraKind::Cover || !attached;
        for kind in EXTRAS.into_iter().filter(mapped) {
            let count = labels_of(&facts.extras, kind).len();
            let streams = (0..count).map(|at| format!("{number}:{}:{at}", kind.letter()));
            inputs.maps.extend(streams);
        }
    }
    inputs
}

/// Muxes the joined shards (if there is video), the audio tracks, the extras
/// and the metadata. Nothing is encoded.
pub(crate) fn assemble(
    index: &Index,
    spec: &Spec,
    audio: &[PathBuf],
    last_packets: &[Option<LastPacket>],
    extras: Option<&Path>,
) -> Vec<String> {
    let facts = &index.facts;
    let mut args = global_options(LOG_ERRORS);
    args.extend(strings(&["-progress", "pipe:1", "-nostats", "-copyts"]));
    let mut inputs = inputs(index, spec, audio, extras);
    let metadata = match &facts.metadata {
        Some(_) => {
            let number = inputs.open(METADATA_FILE.as_ref(), "ffmetadata", false, &[]);
            let number = number.to_string();
            strings(&["-map_metadata:g", &number, "-map_chapters", &number])
        }
        None => no_metadata(),
    };
    args.append(&mut inputs.args);
    for map in &inputs.maps {
        args.extend(strings(&["-map", map]));
    }
    args.extend(strings(&["-c", "copy"]));
    for (number, track) in facts.audio_tracks.iter().enumerate() {
        let form = AudioIntermediate::of(spec, track);
        args.extend(audio_args::packet_start_times(form, number));
    }
    for (number, last) in last_packets.iter().enumerate() {
        args.extend(
            last.map(|last| last_packets::options(number, last))
                .into_iter()
                .flatten(),
        );
    }
    let attached = attaches_covers(spec.container());
    if attached {
        args.extend(covers::attach(index.attached_counts().1));
    }
    args.extend(facts.color_tags.options(spec.container()));
    args.extend(metadata);
    args.extend(output(index, spec, attached));
    args.push(output_file(spec).to_string());
    args
}

/// The reference (P3): the plain ffmpeg command that gives the frames and times
/// of the job's output. `single` says that the film was collapsed into one
/// shard after its analysis. Paths are inserted as given.
pub fn reference(
    index: &Index,
    spec: &Spec,
    single: bool,
    input: &str,
    output_path: &str,
) -> Vec<String> {
    let mut args = strings(&["ffmpeg", "-nostdin"]);
    args.extend(strings(&DECODE_TO_THE_END));
    args.extend(clock_rule(&index.facts.source));
    if !index.facts.audio_tracks.is_empty() {
        args.extend(audio_args::same_on_every_processor(spec));
    }
    // One decoder thread: with several, damaged pictures are concealed
    // differently.
    args.extend(strings(&["-threads", "1"]));
    let whole = index.is_single_pass(single);
    if let Some(video) = &index.facts.source.video {
        args.extend(video.decoder_args());
        args.extend(
            whole
                .then(|| through_changes(spec, index))
                .into_iter()
                .flatten(),
        );
    }
    args.extend(look_far(index.facts.source.late));
    args.extend(strings(&["-i", input]));
    if index.facts.source.video.is_some() {
        // Covers are copied, which a filter for all video streams would forbid.
        args.extend(
            video(spec, index, Pass::Reference { whole }, &Rate::of(spec))
                .into_iter()
                .map(|word| {
                    if word == "-vf" {
                        "-filter:v:0".to_string()
                    } else {
                        word
                    }
                }),
        );
    }
    for (number, track) in index.facts.audio_tracks.iter().enumerate() {
        args.extend(strings(&["-map", &format!("0:{}", track.stream)]));
        args.extend(filters(spec, track, number));
    }
    if !index.facts.audio_tracks.is_empty() {
        args.extend(audio_args::codec(spec));
    }
    let covers_from = usize::from(index.facts.source.video.is_some());
    for kind in EXTRAS {
        args.extend(reference_args(&index.facts.extras, kind, covers_from));
    }
    match &index.facts.metadata {
        Some(metadata) => args.extend(metadata.reference_args()),
        None => args.extend(no_metadata()),
    }
    // A single command can't attach a picture from its own input: in Matroska,
    // the reference's cover is a video track with one picture.
    args.extend(output(index, spec, false));
    args.push(output_path.to_string());
    args
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::facts::{extra::Extra, index::tests::sample};
    use reelraft_model::spec::{SpecRequest, resolve};

    #[test]
    fn assembly_arguments_are_pinned() {
        let index = sample();
        let spec = resolve(&SpecRequest::default()).unwrap();
        assert_eq!(
            assemble(&index, &spec, &["a.mp4".into()], &[], None).join(" "),
            "-nostdin -hide_banner -y -v repeat+level+error -max_error_rate 1 -progress pipe:1 -nostats -copyts -itsoffset -10 -fflags +ignidx -protocol_whitelist file -format_whitelist mov -f mov -i file:joined.mp4 -itsoffset -10 -protocol_whitelist file -format_whitelist mov -f mov -i file:a.mp4 -map 0:v:0 -map 1:a:0 -c copy -map_metadata -1 -map_chapters -1 -map_metadata:s -1 -disposition:v:0 0 -disposition:a:0 0 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact -flags:s +bitexact -movflags +faststart -movie_timescale 1000 -f mp4 output.mp4"
        );
    }

    #[test]
    fn a_cover_is_attached_in_matroska_and_a_track_elsewhere() {
        let mut index = sample();
        let label = Label {
            tags: [("filename".to_string(), "cover.png".to_string())].into(),
            dispositions: vec!["attached_pic".into()],
        };
        index.facts.extras = vec![Extra {
            stream: 4,
            kind: ExtraKind::Cover,
            encoder: "copy".into(),
            label,
        }];
        for (container, attach, map, own) in [
            ("mkv", true, false, "t:0 filename=cover.png"),
            ("mp4", false, true, "v:1 filename=cover.png"),
        ] {
            let spec = resolve(&SpecRequest {
                container: container.into(),
                ..Default::default()
            });
            let spec = spec.unwrap();
            let audio = ["a.mp4".into()];
            let args = assemble(&index, &spec, &audio, &[], Some("e".as_ref())).join(" ");
            assert_eq!(args.contains("-attach cover-0"), attach, "{args}");
            assert_eq!(args.contains("-map 2:v:0"), map, "{args}");
            assert!(args.contains(own), "{args}");
            // In both, the film's own track is the default, not the cover.
            assert!(args.contains("-disposition:v:0 default"), "{args}");
            let one = reference(&index, &spec, false, "in", "out").join(" ");
            assert!(one.contains("-map 0:4 -c:v:1 copy"), "{one}");
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_reference_is_one_plain_command() {
        let index = sample();
        let spec = resolve(&SpecRequest::default()).unwrap();
        assert_eq!(
            reference(&index, &spec, false, "in.mp4", "out.mp4").join(" "),
            "ffmpeg -nostdin -max_error_rate 1 -cpuflags mmx+mmxext+sse+sse2 -threads 1 -flags:0 +bitexact -i in.mp4 -map 0:0 -filter_threads 1 -sws_flags bicubic+accurate_rnd+bitexact -filter:v:0 scale=w=640:h=360:flags=bicubic+accurate_rnd+bitexact,format=yuv420p -fps_mode:v passthrough -enc_time_base:v 1:24 -c:v libx264 -preset medium -crf 23 -x264-params cpu-independent=1:stitchable=1:zones=0,0,b=1.4 -threads 1 -force_key_frames:v 2.500000 -map 0:1 -c:a aac -b:a 128000 -flags:a +bitexact -map_metadata -1 -map_chapters -1 -map_metadata:s -1 -disposition:v:0 0 -disposition:a:0 0 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact -flags:s +bitexact -movflags +faststart -movie_timescale 1000 -f mp4 out.mp4"
        );
    }
}
