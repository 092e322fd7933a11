//! Every limit and timeout of the HTTP port, named once with its reason.

use std::time::Duration;

use crate::{
    api::limits::{EVENTS_MAX, FETCH_STALL, PREVIEW_MS_MAX},
    data::limits::{CHUNK_BYTES, UPLOAD_WINDOW},
};

/// Connections at once: as many as may follow events for days, and 512 for all
/// else. A connection holds some tens of KiB, and what streams over it is bounded
/// by the doors of `api`.
pub const CONNECTIONS_MAX: usize = EVENTS_MAX + 512;

/// Connections beyond these, for checks of health alone: a node that is busy is
/// not to be taken for one that is gone, and whoever else comes is told so.
pub const CONNECTIONS_RESERVED: usize = 32;

/// A request's line and headers: what browsers and proxies add, several times.
pub const HEAD_BYTES_MAX: usize = 32 << 10;

/// How long a request's head may take, and how long a connection may idle
/// between two requests.
pub const HEAD_TIME_MAX: Duration = Duration::from_secs(15);

/// How long a client may take nothing of an answer before its connection ends.
/// Streams of `api` have the same limit; this one is for all the rest.
pub const ANSWER_STALL_MAX: Duration = Duration::from_secs(60);

/// The same of a download, as long as its stream may stand still. For the kernel a reader
/// takes nothing until its own buffer, of up to 6 MiB and more, is half empty.
pub const DOWNLOAD_STALL_MAX: Duration = FETCH_STALL;

/// How much of a download the kernel takes that it can't send yet, so that a slow reader is
/// seen to read. What is on the way to the reader is not in it, so no line is slower for it.
pub const DOWNLOAD_UNSENT_BYTES: libc::c_int = 128 << 10;

/// A JSON body: a spec has two dozen options of a few characters.
pub const JSON_BYTES_MAX: usize = 64 << 10;

/// How long a JSON body may take.
pub const JSON_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a source's sender may send nothing.
pub const SOURCE_IDLE_MAX: Duration = Duration::from_secs(60);

/// What an engine may send of its log at once: many seconds of it.
pub const ENGINE_LOG_PART_MAX: usize = 256 << 10;

/// What is sent with a checksum is held until all of it has come: as much as an
/// upload may hold.
pub const CHECKED_BYTES_MAX: usize = UPLOAD_WINDOW * CHUNK_BYTES;

/// How long it may take: a line of 1 Mbit/s brings as much within it.
pub const CHECKED_TIME_MAX: Duration = Duration::from_secs(140);

/// Uploads of which a part of a chunk is kept between two requests: at most so
/// many MiB in all.
pub const TAILS_MAX: usize = 64;

/// How long a request that waits for its film bears a cluster without a leader.
pub const LEADER_PATIENCE: Duration = Duration::from_secs(120);

/// Jobs that a stream of events may choose by name: what fits into a request's
/// head.
pub const JOBS_FOLLOWED_MAX: usize = 256;

/// Pause before it looks again.
pub const WATCH_AGAIN: Duration = Duration::from_millis(500);

/// Seconds of silence after which a client is asked whether it is still there;
/// three questions at a quarter of it follow.
pub const KEEPALIVE_AFTER_S: libc::c_int = 60;

/// How long, and how much of, an unread body is taken in after the answer:
/// closing at once would take the answer back from a client that still sends.
pub const LINGER_TIME_MAX: Duration = Duration::from_secs(2);
pub const LINGER_BYTES_MAX: u64 = 16 << 20;

/// Pause after a connection could not be accepted, as when no file descriptor
/// is left.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Seconds of a preview: where none are asked for, and at most.
pub const PREVIEW_SECONDS: u64 = 60;
pub const PREVIEW_SECONDS_MAX: u64 = PREVIEW_MS_MAX / 1000;

/// Widths of pictures of a source in pixels, and what is made where none is asked
/// for: what fits beside others on a page, and at most a screen's.
pub const PICTURE_WIDTH_MIN: u64 = 16;
pub const PICTURE_WIDTH: u64 = 320;
pub const PICTURE_WIDTH_MAX: u64 = 1280;

/// How long a browser keeps what it was told of a node that lets its fellows'
/// pages in; after a change of `--http-public` it asks again.
pub const PREFLIGHT_KEPT_S: u32 = 600;

/// What a client is told to wait before it tries again.
pub const RETRY_AFTER_S: u32 = 1;
