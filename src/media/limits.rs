//! Every limit and timeout of this crate, named once with its reason (P8).
//! What the spec may ask for is limited in `reelraft_model::limits`.

use std::time::Duration;

/// Packets of the chosen video stream: about 27 hours at 200 per second. Each
/// costs about 10 bytes of memory during analysis, 200 MB in all.
pub const PACKETS_MAX: usize = 20_000_000;

/// Parts of a shard of which it is kept how they compare with their source: with the
/// usual length of shards two a second, and of hours less than a megabyte.
pub const MEASURED_POINTS_MAX: usize = 20;

/// Frames next to a joint that are looked at apart: what an encoder does not know
/// there shows in the first and last few.
pub const MEASURED_EDGE_FRAMES: usize = 6;

/// Frames of one output. Gaps in a source's timestamps can make a constant
/// frame rate repeat frames endlessly, so they are counted.
pub const FRAMES_MAX: u64 = 20_000_000;

/// Pixels of one decoded picture: 16384 by 16384, as for the output.
pub const SOURCE_PIXELS_MAX: u64 = 16_384 * 16_384;

/// Streams of one source; a hostile file may declare thousands.
pub const STREAMS_MAX: usize = 1_000;

/// Consecutive pictures that make a film of a file of bare JPEG pictures. A
/// photo is followed by its previews or the other eye's view, which are fewer.
pub const LOOSE_PICTURES_MIN: usize = 5;

/// First packets of all videos by which a still is told from a film where no
/// count is given: beside a film at the most common rates, about two minutes.
pub const STILL_PACKETS: u64 = 4_096;

/// Bytes of a source that is small: its packets are read when it is opened. A clip
/// of some seconds has some hundred KiB.
pub const SMALL_SOURCE_BYTES: u64 = 16 << 20;

/// Packets that are read so, each a line of 80 bytes: half a minute of film with
/// sound.
pub const PROBED_PACKETS: usize = 4_000;

/// First frames that are decoded to learn what a video is and what it carries:
/// captions come with every second or third one.
pub const FIRST_FRAMES: u32 = 16;

/// Frames that the deinterlacer is given on each side. It looks at one, and
/// treats the very first frame differently.
pub const DEINTERLACE_FRAMES: usize = 2;

/// Frames before a shard during which its first one may be decoded: those that
/// are shown before it and come after it in the file.
pub const JOINT_FRAMES: u64 = 4;

/// Shorter side, in pixels, of a picture that is deinterlaced or denoised.
/// Those filters refuse smaller pictures, or search them endlessly.
pub const FILTERED_SIDE_MIN: u32 = 64;

/// Width, in pixels, of a picture that FFV1 divides into slices: two in a row,
/// each as wide as a chroma sample.
pub const FFV1_SLICED_WIDTH_MIN: u32 = 4;
/// Height of a picture that FFV1 may leave whole; ffmpeg divides every higher
/// one.
pub const FFV1_WHOLE_HEIGHT_MAX: u32 = 288;

/// Longest line read from a child; the rest of a longer line is dropped. A
/// packet or frame line has about 250 bytes.
pub const LINE_BYTES_MAX: usize = 4_096;

/// Output of a child that is kept in memory, per pipe.
pub const TEXT_BYTES_MAX: usize = 4 << 20;

/// A file's description that is kept for people, in bytes of JSON. A film with
/// forty streams and a hundred chapters has a quarter of it.
pub const DESCRIPTION_BYTES_MAX: usize = 256 << 10;

/// Longest line of a source's description, which is kept whole: a tag is one
/// line. See [`TEXT_BYTES_MAX`].
pub const TEXT_LINE_BYTES_MAX: usize = 1 << 20;

/// Longest tag; a longer one is left out. Linux accepts 128 KiB in one
/// argument.
pub const TAG_BYTES_MAX: usize = 64 << 10;

/// Tags of a file that are kept; a tagged song has about twenty.
pub const TAGS_MAX: usize = 256;

/// Chapters of a film. Where there are more, all are left out.
pub const CHAPTERS_MAX: usize = 5_000;

/// Subtitles, attachments and covers of an output. A film in many languages has
/// about 40, an animated one as many fonts.
pub const EXTRAS_MAX: usize = 200;

/// Longest cue of MP4's subtitles, and longest time between two. Its muxer
/// counts microseconds in 31 bits: 2,147 s.
pub const CUE_GAP_MS_MAX: i64 = 1_800_000;

/// How long a cue is shown that says no end, if no other comes before that.
pub const UNTIMED_CUE_MS: i64 = 5_000;

/// Cues that are shown at once. Painted signs may have a cue for each letter,
/// which would fill the screen.
pub const CUES_AT_ONCE_MAX: usize = 32;

/// A track's cues as text; those of a film in one language have some 100 KiB.
pub const CUES_BYTES_MAX: usize = 16 << 20;

/// A track's cues, with the pieces of long ones and what fills gaps. A film has
/// some thousands; this many fill a gap of ten years.
pub const CUES_MAX: usize = 200_000;

/// Highest peak that a gain may cause, in thousandths of a decibel of full
/// scale, as EBU R 128 recommends.
pub const PEAK_MDB_MAX: i32 = -1_000;

/// The gate of EBU R 128, in thousandths of LUFS: at or below it a track is
/// silent.
pub const SILENCE_MLUFS: i32 = -70_000;

/// All notes of a plan in one line, for logs and people.
pub const NOTE_BYTES_MAX: usize = 1_000;

/// How far sound may lie from where it was encoded, in microseconds: what other
/// clocks round off, and half of what anybody notices.
pub const SYNC_SLACK_US: i64 = 20_000;

/// By how much a track may last less than its container declares before that is
/// noted, in microseconds: tracks of a whole file end together, and their last
/// packets are seldom longer.
pub const DECLARED_SLACK_US: i64 = 1_000_000;

/// Ticks per second of a source's clock. Above, a picture of two seconds would
/// exceed the 32 bits that MP4 has for its duration.
pub const CLOCK_TICKS_MAX: i64 = 1_000_000_000;

/// Pictures of a film that come later than any codec reorders, in formats in
/// which ffmpeg does not even out the clock. Damage causes a few; a clock that
/// begins anew would squeeze all that follows into a moment.
pub const PICTURES_BEHIND_MAX: usize = LOOK_AHEAD_PACKETS;

/// How far into a source its streams are looked for where one is declared and
/// has not come after ffmpeg's usual few seconds: in microseconds of film, and in
/// bytes.
pub const LATE_STREAM_US_MAX: u64 = 180_000_000;
pub const LATE_STREAM_BYTES_MAX: u64 = 200_000_000;

/// Shapes of pixels of a shard that are noted. A broadcast changes between two.
pub const ASPECTS_MAX: usize = 4;

/// Programs of whose answers about themselves the latest are remembered. A node
/// has one ffmpeg; tests have several.
pub const PROGRAMS_REMEMBERED: usize = 8;

/// Lines of stderr kept as the cause of a failure.
pub const TAIL_LINES_MAX: usize = 12;

/// Decoder errors kept in a report; beyond that they are only counted.
pub const COMPLAINTS_MAX: usize = 20;
/// Length of each of them. See [`COMPLAINTS_MAX`].
pub const COMPLAINT_BYTES_MAX: usize = 200;
/// How often a shard is encoded again because an error may be lost in a broken
/// line of its log, since ffmpeg 7: of 142 clean ones on a busy machine none was.
pub const BROKEN_LOGS_MAX: u32 = 4;
/// Parts of ffmpeg whose complaints are told apart; a run has a handful.
pub const SPEAKERS_MAX: usize = 32;

/// Packets that the planner looks ahead. No codec reorders by more than 16
/// frames, or twice that in fields; beyond that the timestamps are wrong.
pub const LOOK_AHEAD_PACKETS: usize = 64;

/// Packets that wait until it is known whether a keyframe before them is clean,
/// which is looked for at the same time: half an hour of film, in 2 MB. A film that
/// has clean keyframes still further apart is read in two passes.
pub const UNJUDGED_PACKETS_MAX: usize = 50_000;

/// The shard length to aim at where none is asked for: in most of a film, and in
/// its first shard. An encoder looks ahead by some 40 frames, which costs as much
/// as 10 more in each shard; and a film of 20 s is for three nodes.
pub const SHARD_MS_USUAL: u32 = 10_000;
pub const SHARD_MS_FIRST: u32 = 5_000;
/// Shards grow by one part in so many of what lies before them.
pub const SHARD_GROWTH: i64 = 4;
/// The length of shards far into a long film, which has enough of them for many nodes:
/// half the look-aheads are left, 2 to 3 percent of its CPU time.
pub const SHARD_MS_LONG: u32 = 20_000;
/// Where they begin to grow to that, and by one part in how many of what follows.
pub const SHARD_LONG_FROM_MS: u32 = 600_000;
pub const SHARD_LONG_GROWTH: i64 = 120;
/// Where a source has no index, a shard reads all that lies before it, and is at least
/// one part in so many of that: all together read it some nine times.
pub const SHARD_UNINDEXED_GROWTH: i64 = 8;
/// The end of a film, in shards as short as the first one, so that nodes end nearly at
/// the same time; where the film is so long that this costs little.
pub const SHARD_TAIL_MS: u32 = 20_000;
pub const SHARD_TAIL_FILM_MS: u32 = 180_000;
/// Frames that a shard shall have for each second of that, so that the look-ahead
/// costs no more at a low rate; and by how much it is stretched for them at most.
pub const SHARD_FRAMES_A_SECOND: i64 = 20;
pub const SHARD_STRETCH_MAX: i64 = 6;
/// Pixels of a picture below which shards are longer, as much as pictures are
/// smaller: to start the programs of a shard takes as long as to encode some seconds
/// of such a film. 320x180; and by how much at most.
pub const SHARD_PIXELS_FULL: u64 = 57_600;
pub const SHARD_STRETCH_SMALL_MAX: u64 = 4;

/// Shards of a film in AV1 that are known before the first one is certain: it has
/// other keyframes where all are equally long, and they hardly are by chance.
pub const AV1_SHARDS_KNOWN: usize = 4;

/// Keyframes that an index keeps before each cut. A shard is decoded from the
/// second one before those frames that its filters look back at; a film without
/// other frames would have as many of them as frames.
pub const KEYS_BEFORE_CUT: usize = 8;
const _: () = assert!(KEYS_BEFORE_CUT >= DEINTERLACE_FRAMES + 3);

/// How many times as large as the film's average the frames of a shard may be that
/// another machine encodes: scenes differ, and sound lies between the pictures.
pub const SOURCE_SHARE_TIMES: u64 = 3;

/// What it may read of the container's tables for each frame of the film, with those of
/// the sound beside it: they are 100 MiB of a film of a day.
pub const SOURCE_TABLE_BYTES_A_FRAME: u64 = 64;

/// What it may read beside all that, such as what is on its way when ffmpeg seeks.
pub const SOURCE_SHARE_BYTES_MIN: u64 = 32 << 20;

/// A child without progress for this long is killed, not counting the time that
/// it waits for a processor. Slow encoders take seconds per frame.
pub const STALL_MAX: Duration = Duration::from_secs(180);

/// How often a child is looked at; a node that was stopped in between counts
/// as one look.
pub const STALL_TICK: Duration = Duration::from_secs(1);

/// How long a child's log is left to gather before it is read on: long beside the
/// time of a frame, and short beside that of anything that waits for its end.
pub const LOG_PACE: Duration = Duration::from_millis(50);

/// From when on: a short run is awaited, and says little.
pub const LOG_PACED_AFTER: Duration = Duration::from_millis(300);

/// Bytes of a child's log that are read at once, and that its pipe is to hold: what the
/// fastest encoder of small pictures says meanwhile.
pub const LOG_CHUNK_BYTES: usize = 256 << 10;

/// Chunks of it that are read before they are listened to.
pub const LOG_CHUNKS_AHEAD: usize = 4;

/// A child that reads and says nothing for this long is killed: it reads the
/// same over and over. In this time it could read 4 TB at 200 MB/s.
pub const READING_MAX: Duration = Duration::from_secs(6 * 3600);

/// Time for one step of the probe of the build or the sandbox: an encoder makes a
/// few tiny frames, ffprobe reads a tiny clip, ffmpeg lists what it has.
pub const PROBE_TIME_MAX: Duration = Duration::from_secs(60);

/// Time for a program to say its version. It does no work for that, but may have
/// to be read from a slow disk.
pub const VERSION_TIME_MAX: Duration = Duration::from_secs(15);

/// Time for one small job of a trial, which takes a second or two on an idle
/// machine.
pub const TRIAL_TIME_MAX: Duration = Duration::from_secs(120);

/// How long ffmpeg waits for a byte from the loopback range server, which may
/// have to fetch it from another node.
pub const READ_WAIT: Duration = Duration::from_secs(120);

/// Niceness of children that encode shards: Raft must not starve while they use
/// every core.
pub const NICE: i32 = 10;

/// Niceness of all others: the whole film waits for its analysis, its sound and
/// its assembly, which are one process each. Beside shards it has most of a core,
/// and gives way to Raft nevertheless.
pub const NICE_AWAITED: i32 = 2;

/// Their wish for the disk: the last of the usual class, behind Raft's log. Not
/// the idle class, which a busy disk never serves.
pub const IO_PRIORITY: libc::c_int = (2 << 13) | 7;
/// That the number after it is a process: the kernel's IOPRIO_WHO_PROCESS.
pub const IO_PRIORITY_OF_PROCESS: libc::c_int = 1;

/// Address space of a child, regardless of the picture. x264 at 720p peaks at
/// 0.9 GB virtual; look-ahead and references grow with the picture.
pub const ADDRESS_BYTES_BASE: u64 = 4 << 30;
/// Additional address space per pixel of the larger of the two pictures: about
/// 80 reference and look-ahead pictures of up to 8 bytes per pixel.
pub const ADDRESS_BYTES_PER_PIXEL: u64 = 640;

/// Largest file a child may write.
pub const FILE_BYTES_MAX: u64 = 1 << 40;

/// Open files of a child: its libraries, its input and a few outputs.
pub const OPEN_FILES_MAX: u64 = 256;

/// Codec header (`ftyp` and `moov`) of a shard; a typical one has 1 KiB.
pub const INIT_BYTES_MAX: u64 = 1 << 20;

/// Bytes of a shard that are read, hashed and joined at once.
pub const COPY_BYTES: usize = 256 << 10;

/// The tables of a finished MP4 file: a film of a day has about 100 MB of them.
pub const TABLES_BYTES_MAX: u64 = 256 << 20;

/// One `moof` of a shard: a fragment is one group of pictures.
pub const MOOF_BYTES_MAX: u64 = 64 << 20;

/// Frames between keyframes of VP9 and AV1 within a shard, and the most that shards
/// of one length may have for AV1's to fall on their joints: a viewer who jumps
/// waits for the pictures from one to where he wants to be.
pub const KEYFRAMES_APART: u64 = 240;
pub const KEYFRAMES_APART_MAX: u64 = 600;
/// Frames after which x264 and x265 set a keyframe unless told otherwise.
pub const X26X_KEYFRAMES_APART: u64 = 250;

/// How full a player's buffer is when it begins to play a film, as x264 and x265
/// take it, and what a shard counts on and leaves behind, in thousandths. x264 tries
/// to have half of it left beyond what it looks at.
pub const BUFFER_AT_FILM_MILLI: u32 = 900;
pub const BUFFER_AT_JOINT_MILLI: u32 = 500;
/// How often a shard is encoded for its cap, and by how much its quality is lowered
/// each time at least where a lower rate is not enough: three steps halve what most films take.
pub const CAP_TRIES_MAX: u32 = 8;
pub const CAP_CRF_STEP: u32 = 3;

/// Shards are written this much later, so that decode times before zero stay
/// positive; the assembly subtracts it again. Whole seconds are exact in any
/// time base.
pub const SHIFT_SECONDS: i64 = 10;

const _: () = assert!(LINE_BYTES_MAX < TEXT_LINE_BYTES_MAX);
const _: () = assert!(TEXT_LINE_BYTES_MAX < TEXT_BYTES_MAX);
const _: () = assert!(TAG_BYTES_MAX < TEXT_LINE_BYTES_MAX);
const _: () = assert!(COMPLAINT_BYTES_MAX < LINE_BYTES_MAX);
const _: () = assert!(READ_WAIT.as_secs() < STALL_MAX.as_secs());
const _: () = assert!(
    reelraft_model::limits::PICTURE_SIDE_MAX as u64
        * reelraft_model::limits::PICTURE_SIDE_MAX as u64
        <= SOURCE_PIXELS_MAX
);
/// Time for the benchmark of one codec, which takes a second or two on an idle
/// machine. One that takes longer counts as not measured.
pub const BENCHMARK_TIME_MAX: Duration = Duration::from_secs(30);

const _: () = assert!(SMALL_SOURCE_BYTES < reelraft_model::limits::EARLY_SOURCE_BYTES_MIN);
