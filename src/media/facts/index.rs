//! The index: all that later steps need to know of a source. A deterministic
//! function of its bytes and the spec, stored as a blob and read by every node
//! that works on the job.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::MediaError,
    facts::{
        audio_track::AudioTrack,
        color::{Hdr, HeaderColorTags},
        extra::{Extra, ExtraKind, labels_of},
        file_metadata::FileMetadata,
        labels::Label,
        picture::Picture,
        plan::{Keyframe, Plan, ShardRange},
        record::{self, RecordFormat},
        source::Source,
        text::clip,
        times::{MILLISECONDS, Ratio, rescale},
    },
    limits::NOTE_BYTES_MAX,
};

const FORM: RecordFormat = RecordFormat {
    what: "index",
    magic: b"RRIX",
    version: 2,
};

/// The result of the analysis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    pub(crate) facts: SourceFacts,
    pub(crate) times: Vec<i64>,
    pub(crate) keys: Vec<Keyframe>,
    shards: Vec<ShardRange>,
    note: Option<String>,
}

/// Everything but the plan. Field names are part of the stored format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceFacts {
    pub source_bytes: u64,
    pub source: Source,
    /// Tags and dispositions of the video.
    pub label: Label,
    /// In the output's order.
    #[serde(rename = "sounds")]
    pub audio_tracks: Vec<AudioTrack>,
    /// Subtitles, attachments and covers, in that order.
    pub extras: Vec<Extra>,
    /// Tags and chapters, unless they are stripped.
    #[serde(rename = "about")]
    pub metadata: Option<FileMetadata>,
    /// What was left out of the output, and why.
    pub notes: Vec<String>,
    pub picture: Picture,
    /// Frame rate for headers, in frames per second; each frame has its own
    /// time.
    pub rate: Option<Ratio>,
    pub hdr: Hdr,
    #[serde(rename = "told")]
    pub color_tags: HeaderColorTags,
    /// The source's time, in its ticks, that a single pass maps to zero.
    pub zero: i64,
    /// Hash of the pictures' times as one pass reads them, in formats whose
    /// clock may leap, where it does not; see `ffmpeg/picture_clock.rs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
    /// Of early shards alone: what the whole film would show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub so_far: Option<SoFar>,
    /// What ffprobe says of the source as a whole, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Value>,
}

/// What only a whole film shows, where it goes on as it has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SoFar {
    /// See `is_evened_out` in `video/timing.rs`.
    pub evened_out: bool,
    /// See `svt_keyframes_apart` in `video/seam.rs`.
    pub keyframes_apart: u64,
}

#[derive(Serialize, Deserialize)]
struct IndexHeader {
    facts: SourceFacts,
    note: Option<String>,
    shards: Vec<ShardRange>,
}

/// First time in a range and first time after it, relative to the film's start;
/// `None` where the film itself begins or ends.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bounds {
    pub from: Option<i64>,
    pub to: Option<i64>,
}

impl Bounds {
    pub fn is_before(&self, pts: i64) -> bool {
        self.from.is_some_and(|from| pts < from)
    }

    pub fn is_after(&self, pts: i64) -> bool {
        self.to.is_some_and(|to| pts >= to)
    }
}

impl Index {
    pub(crate) fn new(facts: SourceFacts, plan: Plan) -> Index {
        Index {
            facts,
            times: plan.times,
            keys: plan.keys,
            shards: plan.shards,
            note: plan.note,
        }
    }

    /// The plan: each range begins where the previous one ends. Empty in an
    /// audio-only job, otherwise at least one range.
    pub fn shards(&self) -> &[ShardRange] {
        &self.shards
    }

    /// The size of the source.
    pub fn source_bytes(&self) -> u64 {
        self.facts.source_bytes
    }

    /// Whether the film is encoded in one plain pass: it was collapsed
    /// (`single`), or is one shard anyway.
    pub(crate) fn is_single_pass(&self, single: bool) -> bool {
        single || self.shards.len() == 1
    }

    /// Frames of the output, as the packets promise them.
    pub fn frames_total(&self) -> u64 {
        self.shards.iter().map(|shard| shard.frames).sum()
    }

    /// How long the pictures last: from the first to the last, and as long again as one
    /// of them on average.
    pub fn duration_us(&self) -> u64 {
        let (Some(first), Some(last)) = (self.times.first(), self.times.last()) else {
            return 0;
        };
        let Some(video) = &self.facts.source.video else {
            return 0;
        };
        let span = i128::from(*last) - i128::from(*first);
        let steps = self.times.len() as i128 - 1;
        let ticks = match steps {
            0 => return self.facts.rate.map_or(0, frame_us),
            steps => span + span / steps,
        };
        let (num, den) = (
            i128::from(video.time_base.num),
            i128::from(video.time_base.den),
        );
        u64::try_from(ticks * num * 1_000_000 / den.max(1)).unwrap_or(0)
    }

    /// Whether what begins at this time of the source does so within so many
    /// milliseconds of the first frame.
    pub fn is_within(&self, pts: i64, ms: u64) -> bool {
        let (Some(first), Some(video)) = (self.times.first(), &self.facts.source.video) else {
            return false;
        };
        let behind = rescale(pts.saturating_sub(*first), video.time_base, MILLISECONDS);
        behind < i64::try_from(ms).unwrap_or(i64::MAX)
    }

    /// Audio tracks of the output; each is encoded by its own task.
    pub fn audio_tracks(&self) -> u32 {
        self.facts.audio_tracks.len() as u32
    }

    /// Whether the job needs an extras task.
    pub fn has_extras(&self) -> bool {
        !self.facts.extras.is_empty()
    }

    /// Numbers of attachments and of covers in the output.
    pub(crate) fn attached_counts(&self) -> (usize, usize) {
        let count = |kind| labels_of(&self.facts.extras, kind).len();
        (count(ExtraKind::Attachment), count(ExtraKind::Cover))
    }

    /// What ffprobe says of the source: format, streams, programs and chapters, in
    /// its own words. None where it says too much, and in older analyses.
    pub fn description(&self) -> Option<&Value> {
        self.facts.description.as_ref()
    }

    /// Why the source can't be cut, if so.
    pub fn plan_note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// What is unusual about the source: why it can't be cut, and what was left
    /// out. Empty if nothing is.
    pub fn note(&self) -> String {
        let notes: Vec<&str> = self
            .plan_note()
            .into_iter()
            .chain(self.facts.notes.iter().map(String::as_str))
            .collect();
        clip(&notes.join("; "), NOTE_BYTES_MAX)
    }

    /// The bounds of a range, as a pass over it counts time.
    pub(crate) fn bounds(&self, range: ShardRange) -> Bounds {
        let zero = self.facts.zero;
        Bounds {
            from: (self.times.first() < Some(&range.from_pts)).then_some(range.from_pts - zero),
            to: (self.times.last() >= Some(&range.to_pts)).then_some(range.to_pts - zero),
        }
    }

    /// All streams of the source that the job uses, the video first.
    pub(crate) fn job_streams(&self) -> Vec<u32> {
        let facts = &self.facts;
        let video = facts.source.video.iter().map(|video| video.stream);
        video
            .chain(facts.audio_tracks.iter().map(|track| track.stream))
            .chain(facts.extras.iter().map(|extra| extra.stream))
            .collect()
    }

    /// Output width and height in pixels.
    pub fn output_size(&self) -> (u32, u32) {
        self.facts.picture.output
    }

    /// Serializes the index; equal indexes give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let keys: Vec<i64> = self.keys.iter().map(|key| key.pts).collect();
        let clean: Vec<i64> = self.keys.iter().map(|key| key.clean.into()).collect();
        let head = IndexHeader {
            facts: self.facts.clone(),
            note: self.note.clone(),
            shards: self.shards.clone(),
        };
        record::write(&FORM, &head, &[&self.times, &keys, &clean])
    }

    /// Reads what [`Index::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`MediaError::BadRecord`] for another version or damaged bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Index, MediaError> {
        let (head, [times, keys, clean]): (IndexHeader, _) = record::read(&FORM, bytes)?;
        let silent = head.facts.source.video.is_none();
        if keys.len() != clean.len() || head.shards.is_empty() != silent {
            return Err(MediaError::BadRecord {
                what: FORM.what,
                detail: "its parts do not fit together".into(),
            });
        }
        Ok(Index {
            facts: head.facts,
            shards: head.shards,
            note: head.note,
            times,
            keys: keys
                .into_iter()
                .zip(clean)
                .map(|(pts, clean)| Keyframe {
                    pts,
                    clean: clean != 0,
                })
                .collect(),
        })
    }

    /// The promised times in a range, in ascending order.
    pub(crate) fn times_in(&self, range: ShardRange) -> &[i64] {
        let from = self.times.partition_point(|&time| time < range.from_pts);
        let to = self.times.partition_point(|&time| time < range.to_pts);
        &self.times[from..to]
    }

    /// How many frames come before a time.
    pub(crate) fn place_of(&self, pts: i64) -> usize {
        self.times.partition_point(|&time| time < pts)
    }

    /// Whether a clean keyframe has this time.
    pub(crate) fn is_clean_key(&self, pts: i64) -> bool {
        let at = self.keys.partition_point(|key| key.pts < pts);
        self.keys
            .get(at)
            .is_some_and(|key| key.pts == pts && key.clean)
    }

    /// Where decoding may start for a range, best first. `None` is the
    /// beginning of the file, and always the last candidate.
    ///
    /// The first candidate is the keyframe at or before the range if it is
    /// clean, otherwise the one before it: frames after an open keyframe may
    /// need what precedes it. The second is one keyframe earlier.
    pub(crate) fn starts(&self, range: ShardRange) -> Vec<Option<i64>> {
        let mut starts = Vec::new();
        let first = self
            .times
            .first()
            .is_none_or(|&time| range.from_pts <= time);
        let at = self.keys.partition_point(|key| key.pts <= range.from_pts);
        if !first && at > 0 {
            let near = at - 1;
            let lead = if self.keys[near].clean {
                Some(near)
            } else {
                near.checked_sub(1)
            };
            for key in [lead, lead.and_then(|lead| lead.checked_sub(1))]
                .into_iter()
                .flatten()
                // In some files, seeking to the very first keyframe finds
                // nothing; the beginning of the file is the same place.
                .filter(|&key| key > 0)
            {
                starts.push(Some(self.keys[key].pts));
            }
        }
        starts.push(None);
        starts
    }
}

fn frame_us(rate: Ratio) -> u64 {
    u64::try_from(rate.den * 1_000_000 / rate.num.max(1)).unwrap_or(0)
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::facts::source::Video;

    fn sample_key(number: i64) -> Keyframe {
        Keyframe {
            pts: number * 10,
            clean: number % 2 == 0,
        }
    }

    /// An index of 100 frames at 24 per second, two shards, keyframes every 10
    /// frames, of which every second one is clean.
    pub(crate) fn sample() -> Index {
        let shard = |from_pts, to_pts| ShardRange {
            from_pts,
            to_pts,
            frames: (to_pts - from_pts) as u64,
        };
        let facts = SourceFacts {
            source_bytes: 1000,
            source: Source {
                demuxer: "mov".into(),
                discontinuous: false,
                leaps: false,
                late: false,
                start_us: Some(0),
                video: Some(Video {
                    stream: 0,
                    codec: "h264".into(),
                    decoder: String::new(),
                    profile: "High".into(),
                    time_base: Ratio { num: 1, den: 24 },
                    pixels: 0,
                    has_alpha_layer: false,
                    intra_only: false,
                }),
            },
            label: Label::default(),
            audio_tracks: vec![AudioTrack {
                stream: 1,
                number: 1,
                declared_us: None,
                codec: "aac".into(),
                sample_rate: 48_000,
                channels: 2,
                headers_repeat: false,
                layout: "stereo".into(),
                label: Label::default(),
                loudness: None,
            }],
            extras: Vec::new(),
            metadata: None,
            notes: Vec::new(),
            picture: Picture {
                source: (1280, 720),
                source_pix_fmt: "yuv420p".into(),
                scaled: (640, 360),
                output: (640, 360),
                output_pix_fmt: "yuv420p".into(),
            },
            rate: Some(Ratio { num: 24, den: 1 }),
            hdr: Hdr::default(),
            color_tags: HeaderColorTags::default(),
            zero: 0,
            clock: None,
            so_far: None,
            description: None,
        };
        Index::new(
            facts,
            Plan {
                times: (0..100).collect(),
                keys: (0..10).map(sample_key).collect(),
                shards: vec![shard(0, 60), shard(60, 100)],
                note: None,
            },
        )
    }

    /// The head of a stored index, every field filled in. Nodes read indexes
    /// that older versions wrote, so its names must stay.
    const STORED_HEAD: &str = concat!(
        r#"{"facts":{"source_bytes":1000,"source":{"demuxer":"mov","jumping":false,"leaps":true,"late":true,"start_us":0,"#,
        r#""video":{"stream":0,"codec":"h264","decoder":"d","profile":"High","time_base":{"num":1,"den":24}}},"#,
        r#""label":{"tags":{"language":"fra"},"dispositions":["default"]},"sounds":[{"stream":1,"number":1,"declared_us":5,"#,
        r#""codec":"aac","sample_rate":48000,"channels":2,"headers_repeat":true,"layout":"stereo","label":{"tags":{},"dispositions":[]},"#,
        r#""loudness":{"integrated_mlufs":-16700,"peak_mdb":-1300}}],"extras":[{"stream":3,"#,
        r#""kind":"Subtitle","encoder":"copy","label":{"tags":{"language":"fra"},"#,
        r#""dispositions":["default"]}},{"stream":4,"kind":"Cover","encoder":"copy","#,
        r#""label":{"tags":{},"dispositions":[]}}],"about":{"tags":{"title":"T"},"#,
        r#""left":["encoder"],"stream":3,"scenes":[{"base":{"num":1,"den":1000},"start":0,"#,
        r#""end":900,"tags":{"title":"One"}}]},"notes":["n"],"picture":{"source":[1280,720],"#,
        r#""source_pix_fmt":"yuv420p","scaled":[640,360],"output":[640,360],"#,
        r#""output_pix_fmt":"yuv420p"},"rate":{"num":24,"den":1},"#,
        r#""hdr":{"mastering":{"points":[[1,2],[3,4],[5,6],[7,8]],"luminance":[9,10]},"#,
        r#""light":[1000,400]},"told":{"color_range":"tv","color_space":"","color_transfer":"","#,
        r#""color_primaries":"","chroma_location":"","field_order":"tb"},"zero":0,"clock":"c","description":{"format":{"size":"7"}}},"note":null,"#,
        r#""shards":[{"from_pts":0,"to_pts":60,"frames":60},{"from_pts":60,"to_pts":100,"#,
        r#""frames":40}]}"#,
    );

    #[test]
    fn stored_names_stay() {
        let head: IndexHeader = serde_json::from_str(STORED_HEAD).unwrap();
        assert_eq!(head.facts.audio_tracks.len(), 1);
        assert!(head.facts.metadata.is_some());
        assert_eq!(serde_json::to_string(&head).unwrap(), STORED_HEAD);
    }

    #[test]
    fn an_index_survives_its_bytes() {
        let index = sample();
        assert_eq!(Index::from_bytes(&index.to_bytes()).unwrap(), index);
        assert_eq!(index.frames_total(), 100);
        let mut other = index.to_bytes();
        other[4] = 9;
        assert_eq!(Index::from_bytes(&other).unwrap_err().kind(), "bad-record");
    }

    #[test]
    fn decoding_starts_at_a_clean_keyframe_or_one_before_an_open_one() {
        let index = sample();
        let starts = |from_pts| {
            index.starts(ShardRange {
                from_pts,
                to_pts: 100,
                frames: 0,
            })
        };
        assert_eq!(starts(0), [None]);
        assert_eq!(starts(60), [Some(60), Some(50), None]);
        assert_eq!(starts(65), [Some(60), Some(50), None]);
        assert_eq!(starts(70), [Some(60), Some(50), None]);
        assert_eq!(starts(20), [Some(20), Some(10), None]);
        assert_eq!(starts(10), [None]);
        assert_eq!(starts(30), [Some(20), Some(10), None]);
    }
}
