//! Selects the subtitles, attachments and covers of a job: those that its
//! container can store.

use reelraft_model::spec::{Container, Spec, Subtitles};

use crate::{
    facts::{
        containers::attaches_covers,
        extra::{Extra, ExtraKind},
        labels::Label,
        source::Stream,
    },
    limits::EXTRAS_MAX,
};

/// Text subtitles, which can be converted into one another.
const TEXT: [&str; 13] = [
    "subrip",
    "srt",
    "ass",
    "ssa",
    "webvtt",
    "mov_text",
    "text",
    "microdvd",
    "subviewer",
    "subviewer1",
    "jacosub",
    "sami",
    "realtext",
];

/// Subtitles that Matroska stores as they are.
const IN_MATROSKA: [&str; 9] = [
    "subrip",
    "ass",
    "ssa",
    "webvtt",
    "text",
    "hdmv_pgs_subtitle",
    "hdmv_text_subtitle",
    "dvd_subtitle",
    "dvb_subtitle",
];

/// The encoder that a container needs for a subtitle codec; `None` if it can't
/// store it.
fn encoder(container: Container, codec: &str) -> Option<&'static str> {
    let text = TEXT.contains(&codec);
    match container {
        Container::Mkv if IN_MATROSKA.contains(&codec) => Some("copy"),
        Container::Mkv if text => Some("srt"),
        Container::Webm if codec == "webvtt" => Some("copy"),
        Container::Webm if text => Some("webvtt"),
        Container::Mp4 | Container::Mov if codec == "mov_text" => Some("copy"),
        Container::Mp4 | Container::Mov if text => Some("mov_text"),
        _ => None,
    }
}

/// Whether a container can show this picture as its cover. QuickTime and WebM
/// have no covers; muxers refuse a cover of unknown size.
fn shows_cover(container: Container, stream: &Stream) -> bool {
    matches!(
        container,
        Container::Mp4 | Container::M4a | Container::Flac | Container::Mkv
    ) && matches!(stream.codec(), "mjpeg" | "png")
        && stream.has_size()
}

/// Whether an attachment has the name and MIME type that Matroska requires.
fn is_named(stream: &Stream) -> bool {
    let tags = Label::of(stream).tags;
    tags.contains_key("filename") && tags.contains_key("mimetype")
}

/// The extras of a job, subtitles first. What is left out is noted in `notes`.
pub(crate) fn choose(spec: &Spec, streams: &[Stream], notes: &mut Vec<String>) -> Vec<Extra> {
    let container = spec.container();
    let mut extras = Vec::new();
    let mut take = |stream: &Stream, kind, encoder: &str| {
        let mut label = Label::of(stream);
        if kind == ExtraKind::Cover && attaches_covers(container) {
            name_cover(&mut label, stream.codec());
        }
        extras.push(Extra {
            stream: stream.index,
            kind,
            encoder: encoder.to_string(),
            label,
        });
    };
    let mut leave = |what: &str, stream: &Stream| {
        let codec = match stream.codec() {
            "" => "unknown",
            codec => codec,
        };
        notes.push(format!(
            "{what} ({codec}) can't be kept in {} and is left out",
            container.name()
        ));
    };
    if spec.subtitles() == Subtitles::Keep {
        let subtitles = streams.iter().filter(|stream| stream.is("subtitle"));
        let own = |(_, stream): &(u32, &Stream)| !stream.in_other_program;
        for (number, stream) in (1..).zip(subtitles).filter(own) {
            match encoder(container, stream.codec()) {
                Some(encoder) => take(stream, ExtraKind::Subtitle, encoder),
                None => leave(&format!("subtitle track {number}"), stream),
            }
        }
    }
    if !spec.strip_metadata {
        for stream in streams {
            if stream.is("attachment") {
                match container {
                    Container::Mkv if is_named(stream) => {
                        take(stream, ExtraKind::Attachment, "copy")
                    }
                    _ => leave("an attachment", stream),
                }
            }
        }
        for stream in streams.iter().filter(|stream| stream.has("attached_pic")) {
            if shows_cover(container, stream) {
                take(stream, ExtraKind::Cover, "copy");
            } else {
                leave("a cover picture", stream);
            }
        }
    }
    if extras.len() > EXTRAS_MAX {
        let over = extras.len() - EXTRAS_MAX;
        notes.push(format!(
            "{over} subtitles or attachments too many are left out"
        ));
        extras.truncate(EXTRAS_MAX);
    }
    extras
}

/// Gives a cover the name and MIME type that players look for, unless it has a
/// name.
fn name_cover(label: &mut Label, codec: &str) {
    let (mimetype, filename) = match codec {
        "png" => ("image/png", "cover.png"),
        _ => ("image/jpeg", "cover.jpg"),
    };
    label.tags.insert("mimetype".into(), mimetype.into());
    label
        .tags
        .entry("filename".into())
        .or_insert_with(|| filename.into());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use reelraft_model::spec::{SpecRequest, resolve};

    fn taken(container: &str, strip: bool) -> (Vec<(u32, String)>, usize) {
        let streams: Vec<Stream> = serde_json::from_str(
            r#"[{"index":0,"codec_type":"video","codec_name":"h264"},
            {"index":1,"codec_type":"subtitle","codec_name":"ass"},
            {"index":2,"codec_type":"subtitle","codec_name":"dvd_subtitle"},
            {"index":3,"codec_type":"subtitle","codec_name":"mov_text"},
            {"index":4,"codec_type":"attachment","tags":{"filename":"f.ttf","mimetype":"font/ttf"}},
            {"index":5,"codec_type":"video","codec_name":"png","width":9,"height":9,"disposition":{"attached_pic":1}},
            {"index":6,"codec_type":"video","codec_name":"mjpeg","width":0,"height":0,"disposition":{"attached_pic":1}},
            {"index":7,"codec_type":"attachment","tags":{"filename":"f.ttf","mimetype":""}}]"#,
        )
        .unwrap();
        let request = SpecRequest {
            container: container.into(),
            strip_metadata: strip,
            ..Default::default()
        };
        let mut notes = Vec::new();
        let extras = choose(&resolve(&request).unwrap(), &streams, &mut notes);
        let taken = extras
            .into_iter()
            .map(|extra| (extra.stream, extra.encoder));
        (taken.collect(), notes.len())
    }

    #[test]
    fn each_container_takes_what_it_can_and_the_rest_is_named() {
        let streams = |list: &[(u32, &str)]| -> Vec<(u32, String)> {
            list.iter()
                .map(|(at, word)| (*at, word.to_string()))
                .collect()
        };
        let matroska = streams(&[
            (1, "copy"),
            (2, "copy"),
            (3, "srt"),
            (4, "copy"),
            (5, "copy"),
        ]);
        assert_eq!(taken("mkv", false), (matroska.clone(), 2));
        assert_eq!(taken("mkv", true), (matroska[..3].to_vec(), 0));
        let mp4 = streams(&[(1, "mov_text"), (3, "copy"), (5, "copy")]);
        assert_eq!(taken("mp4", false), (mp4, 4));
        let mov = streams(&[(1, "mov_text"), (3, "copy")]);
        assert_eq!(taken("mov", false), (mov, 5));
        assert_eq!(
            taken("webm", true),
            (streams(&[(1, "webvtt"), (3, "webvtt")]), 1)
        );
        assert_eq!(taken("flac", false), (streams(&[(5, "copy")]), 6));
    }

    #[test]
    fn a_cover_is_called_so_unless_it_has_a_name() {
        let mut label = Label::default();
        name_cover(&mut label, "mjpeg");
        assert_eq!(label.tags["filename"], "cover.jpg");
        label
            .tags
            .insert("filename".into(), "small_cover.png".into());
        name_cover(&mut label, "png");
        assert_eq!(label.tags["filename"], "small_cover.png");
        assert_eq!(label.tags["mimetype"], "image/png");
    }
}
