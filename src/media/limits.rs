//! Every limit and timeout of this crate, named once with its reason (P8).
//! What the spec may ask for is limited in `reelraft_model::limits`.

use std::time::Duration;

/// Packets of the chosen video stream: about 27 hours at 200 a second. Each
/// costs some 20 bytes of memory while the source is analysed.
pub const PACKETS_MAX: usize = 20_000_000;

/// Frames of one output. A source with gaps in its times can make a constant
/// rate filter repeat frames without an end, so it is counted, not assumed.
pub const FRAMES_MAX: u64 = 20_000_000;

/// Pixels of one decoded picture: 16384 by 16384, as for the output.
pub const SOURCE_PIXELS_MAX: u64 = 16_384 * 16_384;

/// Streams looked at in one source; a hostile file may declare thousands.
pub const STREAMS_MAX: usize = 1_000;

/// Pictures in a row that make a film of a file of bare JPEG pictures. A photo
/// is followed by its previews or the other eye's view, which are fewer.
pub const LOOSE_PICTURES_MIN: usize = 5;

/// Frames on each side that the deinterlacer is given. It looks at one, and
/// treats the first that it sees otherwise.
pub const DEINTERLACE_FRAMES: usize = 2;

/// Shorter side in pixels of a picture that is deinterlaced or denoised.
/// Below, those filters refuse it, or search it without an end.
pub const FILTERED_SIDE_MIN: u32 = 64;

/// Longest line taken from a child; the rest of a longer one is dropped.
/// A packet or frame line has some 250 bytes.
pub const LINE_BYTES_MAX: usize = 4_096;

/// All that a child may say on one pipe while it is kept in memory.
pub const TEXT_BYTES_MAX: usize = 4 << 20;

/// Longest line of a description of a source, which is kept as a whole: a tag
/// is one line. See [`TEXT_BYTES_MAX`].
pub const TEXT_LINE_BYTES_MAX: usize = 1 << 20;

/// A longer tag is left out. Linux takes 128 KiB in one argument of a program.
pub const TAG_BYTES_MAX: usize = 64 << 10;

/// Tags of a file that are kept; a tagged song has some twenty.
pub const TAGS_MAX: usize = 256;

/// Chapters of a film; more are left out, all of them.
pub const CHAPTERS_MAX: usize = 5_000;

/// Subtitles, attachments and covers of an output. A film in many languages
/// has some 40, an animated one as many fonts.
pub const EXTRAS_MAX: usize = 200;

/// Peaks that a gain may drive to, in thousandths of a decibel of full scale:
/// what EBU R 128 asks for.
pub const PEAK_MDB_MAX: i32 = -1_000;

/// At the gate of EBU R 128 and below, in thousandths of LUFS, there is
/// nothing but silence.
pub const SILENCE_MLUFS: i32 = -70_000;

/// All notes of a plan in one line, for the log and for people.
pub const NOTE_BYTES_MAX: usize = 1_000;

/// Lines of stderr kept for a failure's cause.
pub const TAIL_LINES_MAX: usize = 12;

/// Complaints of the decoder kept in a report, and the length of each. The
/// total is counted beyond.
pub const COMPLAINTS_MAX: usize = 20;
/// See [`COMPLAINTS_MAX`].
pub const COMPLAINT_BYTES_MAX: usize = 200;

/// Packets looked ahead by the plan. No codec reorders by more than 16
/// frames, twice that in fields; beyond that a source's times are at fault.
pub const LOOK_AHEAD_PACKETS: usize = 64;

/// A child that shows no progress for so long is ended. Slow encoders give
/// seconds a frame, and a busy machine shares its cores.
pub const STALL_MAX: Duration = Duration::from_secs(180);

/// An encoder of the build's probe works on a few tiny frames.
pub const PROBE_TIME_MAX: Duration = Duration::from_secs(60);

/// How long ffmpeg waits for a byte from the loopback range server, which
/// may itself have to fetch it from another node.
pub const READ_WAIT: Duration = Duration::from_secs(120);

/// Niceness of children: Raft must not starve while they take every core.
pub const NICE: i32 = 10;

/// Address space of a child without regard to the picture. x264 at 720p
/// peaks at 0.9 GB virtual; look-ahead and references grow with the picture.
pub const ADDRESS_BYTES_BASE: u64 = 4 << 30;
/// Further address space for each pixel of the larger of the two pictures:
/// some 80 references and look-ahead pictures of up to 8 bytes a pixel.
pub const ADDRESS_BYTES_PER_PIXEL: u64 = 640;

/// Largest file a child may write.
pub const FILE_BYTES_MAX: u64 = 1 << 40;

/// Open files of a child: its libraries, its input and a few outputs.
pub const OPEN_FILES_MAX: u64 = 256;

/// Codec header (`ftyp` and `moov`) of a shard; a real one has 1 KiB.
pub const INIT_BYTES_MAX: u64 = 1 << 20;

/// One `moof` of a shard: a fragment is one group of pictures.
pub const MOOF_BYTES_MAX: u64 = 64 << 20;

/// Shards are written this much late, so that decode times before zero stay
/// positive; assembly takes it off again. Whole seconds are exact in any
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
