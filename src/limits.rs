//! Every limit and timeout of the node, named once with its reason. Those of
//! the table are in the model, those of bytes in the data plane's own file.

use std::time::Duration;

/// A node's own niceness, where the user may set it. A heartbeat that waits
/// behind a compiler looks like a dead leader.
pub const NODE_NICE: libc::c_int = -5;

/// The niceness of what watches folders: it waits for Raft, and encoders for it.
pub const WATCH_NICE: libc::c_int = 5;

/// Folders that a node watches: each takes a thread and what its films under way take.
pub const WATCHES_MAX: usize = 16;

/// When a folder is looked at again that could not be watched: a mount that is late.
pub const WATCH_AGAIN: Duration = Duration::from_secs(30);

/// How often it is looked meanwhile whether the node stops.
pub const WATCH_STOP_LOOK: Duration = Duration::from_millis(250);

/// Arenas of the allocator: threads that allocate at once wait for each other
/// a little, and a node spends its time in disks, networks and encoders.
pub const MALLOC_ARENAS: libc::c_int = 2;

/// Allocations from here on come from the kernel and go back to it: chunks,
/// parts of blobs, manifests.
pub const MALLOC_LARGE_BYTES: libc::c_int = 256 << 10;

/// Free memory at the end of an arena that is kept for the next allocation.
pub const MALLOC_KEPT_BYTES: libc::c_int = 1 << 20;

/// How often free memory is given back that lies between what is used. It takes
/// milliseconds of a thread.
pub const MALLOC_TRIM_EVERY: Duration = Duration::from_secs(60);

/// How long all nodes must have run nothing before one tries whole jobs: a few
/// seconds of encoding that no client waits for.
pub const TRIAL_REST: Duration = Duration::from_secs(10);

/// The longest rest before a trial. What may pass, passes without anybody's doing,
/// and is to be noticed the same hour also on a node that has run for weeks.
pub const TRIAL_REST_MAX: Duration = Duration::from_secs(15 * 60);

/// A worker's heartbeat, with its progress. Six fit in a lease.
pub const BEAT: Duration = Duration::from_millis(500);

/// The same where no job is open. Three still fit.
pub const BEAT_AT_REST: Duration = Duration::from_secs(1);

/// How often the leader looks at the table without being woken. It is woken
/// by every change; this bounds what a missed one costs.
pub const PLAN_TICK: Duration = Duration::from_millis(200);

/// The same where no job is open: then only minutes count.
pub const PLAN_TICK_IDLE: Duration = Duration::from_secs(1);

/// How often the leader tells all nodes what only it knows.
pub const REPORT_EVERY: Duration = Duration::from_millis(500);

/// The same where no job is open.
pub const REPORT_EVERY_IDLE: Duration = Duration::from_secs(1);

/// A report older than this says nothing any more: three missed ones, or one
/// of an idle leader.
pub const REPORT_FRESH: Duration = Duration::from_millis(2_500);

/// How long an assignment may be missing from a worker's beats before it is
/// sent again: two beats and a little.
pub const ASSIGN_RESEND: Duration = Duration::from_millis(1_500);

/// How often the cluster's own time is written down while jobs exist. The
/// purge works in days, so this may be coarse.
pub const CLUSTER_TICK: Duration = Duration::from_secs(30);

/// A leader with jobs to do writes something down at least this often: only a
/// disk that is asked for something can be seen to hang. Where all results
/// wait for a home whose disk hangs, nothing else would be written.
pub const PULSE: Duration = Duration::from_millis(500);

/// A node whose disk can't take this much more (by the blob store's own rule)
/// counts as full: the chunks of a few uploads that are under way at once.
pub const ROOM_BYTES_MIN: u64 = 64 << 20;

/// Pause before a broken session is opened again: short, as it is on the path
/// of a takeover.
pub const SESSION_RETRY: Duration = Duration::from_millis(50);

/// Messages queued towards one session. More means the peer reads nothing,
/// and the session is closed.
pub const SESSION_QUEUE: usize = 1_024;

/// How long a node waits for its address: a child that its killed predecessor
/// was about to start may hold it for a moment longer.
pub const LISTEN_PATIENCE: Duration = Duration::from_secs(2);

/// Pause between two tries to take it.
pub const LISTEN_RETRY: Duration = Duration::from_millis(50);

/// How long a node waits before it serves until it is counted what it keeps: a small
/// store is counted by then, and a large one takes no more for a while.
pub const COUNT_PATIENCE: Duration = Duration::from_secs(1);

/// Pause between two looks at whether it is.
pub const COUNT_RETRY: Duration = Duration::from_millis(10);

/// How long a stopping worker waits until a leader has taken its attempts
/// back: a commit takes milliseconds, an election about a second.
pub const GIVE_BACK: Duration = Duration::from_millis(1_500);

/// How long a worker waits to apply the log as far as its assignment.
pub const ASSIGN_APPLY: Duration = Duration::from_secs(10);

/// How long an assembly waits for room on its disk before it says that it does, and how
/// often it looks.
pub const ROOM_PATIENCE: Duration = Duration::from_secs(60);
pub const ROOM_LOOK_EVERY: Duration = Duration::from_secs(5);

/// Films that a home joins at once while their last shards are encoded: each
/// takes as much disk as its shards, and only the next to be done gain by it.
pub const JOINED_AHEAD_MAX: usize = 2;
/// How often it looks for what has come of them.
pub const JOIN_TICK: Duration = Duration::from_millis(500);

/// How often a node looks at its duties as a home without being woken.
pub const DUTY_TICK: Duration = Duration::from_secs(2);

/// Pause before a home writes more histories, where it owes more than it may
/// propose at once: thousands of jobs are folded within minutes, and beside other
/// work.
pub const HISTORIES_PAUSE: Duration = Duration::from_millis(200);

/// Jobs that a home fills at once: a small one need not wait for a large one, and
/// disk and network are busy with a few.
pub const FILLS_AT_ONCE: usize = 3;

/// Sources that a home fetches at once. Each holds as much as an upload, 16 MiB.
pub const FETCHES_AT_ONCE: usize = 5;

/// Those of one tenant: a film may take hours, and nobody is to wait for another
/// tenant's.
pub const FETCHES_OF_TENANT: usize = FETCHES_AT_ONCE - 1;

/// Jobs in line for a fetch that are stamped at once, so that none expires there.
pub const FETCHES_TOUCHED: usize = 16;

/// Tries at a source that fail before its job does for having come to nothing for
/// long: after a while in which nobody tried, one says little.
pub const FETCH_TRIES_MIN: u32 = 3;

/// Pause after a change of the table before a home looks for sources to fetch, and
/// the leader for what is due to be sent: a busy table changes hundreds of times a
/// second.
pub const FETCH_LOOK_PAUSE: Duration = Duration::from_millis(100);

/// First and longest pause before a source that could not be fetched is tried again.
pub const FETCH_RETRY_MIN: Duration = Duration::from_secs(1);
/// See [`FETCH_RETRY_MIN`].
pub const FETCH_RETRY_MAX: Duration = Duration::from_secs(60);

/// Refusals by a status of 4xx, in a row, that end a job: stores answer one now and
/// then while they are busy.
pub const FETCH_REFUSALS_MAX: u32 = 3;

/// Deliveries that a leader makes at once, and those to one host: a receiver that
/// lets itself be waited for keeps nobody else waiting.
pub const DELIVERIES_AT_ONCE: usize = 32;
/// See [`DELIVERIES_AT_ONCE`].
pub const DELIVERIES_TO_HOST: usize = 4;

/// Outputs among them: each reads some MiB ahead.
pub const OUTPUTS_AT_ONCE: usize = 4;

/// How long a receiver of a webhook may take to answer: it is to take the message
/// down, and to work later.
pub const WEBHOOK_MAX: Duration = Duration::from_secs(20);

/// The slowest line over which an output is put, in bytes a second, and the least
/// time for it: what takes longer is begun anew.
pub const OUTPUT_BYTES_PER_S_MIN: u64 = 32 << 10;
/// See [`OUTPUT_BYTES_PER_S_MIN`].
pub const OUTPUT_TIME_MIN: Duration = Duration::from_secs(60);

/// How often a home looks for bytes that belong to no job any more.
pub const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// Bytes must have been without a job in two sweeps this far apart before
/// they are removed.
pub const SWEEP_GRACE: Duration = Duration::from_secs(60);

/// What the plan that an unfinished job had before has left must have been of no
/// use in two looks this far apart: a part is put before it is told of, which may
/// wait for a leader.
pub const GIVEN_UP_GRACE: Duration = Duration::from_secs(300);

/// How long a home of a finished output may be silent before another node takes
/// its place, if nothing else is set; the table's limits say why.
pub const REHOME_AFTER_S: u64 = reelraft_model::limits::REHOME_AFTER_MS / 1000;
/// The least that can be set: what homes of unfinished jobs are given.
pub const REHOME_AFTER_S_MIN: u64 = reelraft_model::plan::HOME_LOST_MS / 1000;

/// How long a voter may be silent before a learner takes its vote, if nothing else is
/// set; the table's limits say why.
pub const REPLACE_VOTER_AFTER_S: u64 = reelraft_model::limits::REPLACE_VOTER_AFTER_MS / 1000;
/// The least that can be set: what homes of unfinished jobs are given.
pub const REPLACE_VOTER_AFTER_S_MIN: u64 = REHOME_AFTER_S_MIN;

/// How long a newcomer waits before it asks again to be let in.
pub const JOIN_RETRY: Duration = Duration::from_millis(500);

/// How often a newcomer says what it waits for.
pub const JOIN_REPORT_EVERY: Duration = Duration::from_secs(10);

/// How long a token lets somebody in, if nothing else is asked for.
pub const TOKEN_TTL_S: u64 = 3_600;
/// The longest that can be asked for: a token is pasted, and what is kept longer leaks.
pub const TOKEN_TTL_S_MAX: u64 = 7 * 86_400;

/// How often the leader looks at the members without being woken.
pub const MEMBERS_EVERY: Duration = Duration::from_millis(500);

/// The same where no job is open, and after a change that could not be made.
pub const MEMBERS_EVERY_IDLE: Duration = Duration::from_secs(1);

/// How long a silent node is counted on to return with the build of a job, if
/// nothing else is set; the table's limits say why.
pub const REPLAN_AFTER_S: u64 = reelraft_model::limits::REPLAN_AFTER_MS / 1000;
/// The least that can be set: what homes of unfinished jobs are given.
pub const REPLAN_AFTER_S_MIN: u64 = REHOME_AFTER_S_MIN;

/// How long all replicas have for saying the hash of their table at an index that
/// the leader has named, before it names another.
pub const COMPARE_EVERY: Duration = Duration::from_secs(3);

/// How long an upload may make no progress before its job fails, if nothing else
/// is set; the table's limits say why.
pub const UPLOADS_EXPIRE_AFTER_S: u64 = reelraft_model::limits::UPLOAD_EXPIRY_MS / 1000;
/// How long the source of a job is kept that ended without an output, if nothing
/// else is set; the table's limits say why.
pub const KEEP_SOURCES_S: u64 = reelraft_model::limits::KEEP_SOURCE_MS / 1000;

/// The least that can be set: three stamps of an upload that goes on.
pub const UPLOADS_EXPIRE_AFTER_S_MIN: u64 = 3 * reelraft_model::limits::UPLOAD_TOUCH_MS / 1000;

/// How often all bytes of a home are checked for rot, if nothing else is set.
/// Two homes must not lose the same blob within one round, and disks lose a
/// sector in months.
pub const SCRUB_EVERY_S: u64 = 24 * 3600;

/// How long after its start a node begins the first round: what it missed is
/// filled before that, and one that is killed often is not read from the
/// beginning each time.
pub const SCRUB_FIRST: Duration = Duration::from_secs(300);

/// Jobs named in one report: those that run or wait. Far below the wire's 4 MiB
/// at some 200 bytes each.
pub const REPORT_JOBS_MAX: usize = 2_000;

/// How often a result that must be on every home is tried again while one of
/// them is away; the leader replaces it within 8 s.
pub const PUT_AGAIN: Duration = Duration::from_secs(1);

/// How long that is tried before the attempt is given up: a replacement, and
/// the copy of a small job.
pub const PUT_PATIENCE: Duration = Duration::from_secs(60);

/// Watchers get at most one event in this time, and the end at once.
pub const WATCH_EVERY: Duration = Duration::from_millis(200);

/// A watcher hears at least this often, so that it can tell a quiet job from
/// a dead connection.
pub const WATCH_KEEPALIVE: Duration = Duration::from_secs(2);

/// A watch on a node that has known no leader for this long is ended, so that
/// the client looks for a node on the other side of a partition.
pub const WATCH_LEADERLESS: Duration = Duration::from_secs(5);

/// Events of a watch that wait for a slow watcher. Each is the job as it was,
/// so that there is little to gain from more.
pub const WATCH_QUEUE: usize = 4;

/// Characters of a secret that is to keep strangers out beyond loopback: with
/// letters and digits at random, more than can ever be tried.
pub const SECRET_CHARACTERS_MIN: usize = 16;

/// Longest file that is read as a secret: no header could carry more.
pub const SECRET_FILE_BYTES_MAX: u64 = 4 << 10;

/// Jobs or tasks in one page of a list by default.
pub const PAGE_DEFAULT: u32 = 50;

/// Jobs or tasks in one page of a list at most: keeps an answer below the
/// wire's 4 MiB.
pub const PAGE_MAX: u32 = 500;

/// Stop: how long open calls may take to end before the node exits anyway.
pub const STOP_GRACE: Duration = Duration::from_secs(3);

/// How long a node whose disk hangs tries to say so before it exits: its log
/// may lie on the same disk.
pub const LAST_WORDS: Duration = Duration::from_millis(200);

/// Bytes that must be free for a node to begin: a chunk of the Raft log. One
/// that began with less would soon end again.
pub const START_ROOM_BYTES: u64 = 16 << 20;

/// How often a disk that refuses is tried again at the start. A node is to be
/// back within seconds of its disk.
pub const DISK_RETRY: Duration = Duration::from_secs(1);

/// How often a node looks whether its disk is full to the last, and gives up some of what
/// it keeps free for its log.
pub const RESERVE_EVERY: Duration = Duration::from_millis(500);

/// How often it is said what is waited for.
pub const DISK_REPORT_EVERY: Duration = Duration::from_secs(10);

/// How much of a machine's memory, or of what its control group may take, encoders
/// get: the rest is for the node, the disk's cache, and what was expected too low.
pub const ENCODERS_MEMORY_PERCENT: u64 = 80;

/// Bytes of analyses kept in memory by a worker, each some MB for a long film,
/// in which it takes a few times as much.
pub const INDEX_CACHE_BYTES: usize = 16 << 20;

/// Bytes of histories kept in memory, as clients ask for them page by page: each
/// some MB for a long film.
pub const HISTORY_CACHE_BYTES: usize = 8 << 20;

/// How long a picture of a source may take: as long as someone looks at a job and
/// waits. A long way from the keyframe before it takes seconds.
pub const PICTURE_TIME_MAX: Duration = Duration::from_secs(8);

/// How long a preview may take: its parts are copied, and packets are muxed.
pub const PREVIEW_TIME_MAX: Duration = Duration::from_secs(60);

/// Parts of one preview in bytes: ten minutes at seven megabits a second.
pub const PREVIEW_BYTES_MAX: u64 = 512 << 20;

/// What a preview takes on the disk while it is made, in the bytes of its parts:
/// these, the joined pictures, and the film.
pub const PREVIEW_COPIES: u64 = 3;

/// Previews that a node makes or gives away at once. Whoever reads slowly keeps one.
pub const PREVIEWS_MAX: usize = 4;

/// Pictures that a node keeps, of some tens of KB each: those of all who look at
/// one job.
pub const PICTURES_KEPT: usize = 32;

/// How often a node looks whether its certificate is to be renewed. It has ten days
/// for that.
pub const CERTIFICATES_EVERY: Duration = Duration::from_secs(60);

/// How long it waits after a change of the table before it looks whether the
/// authorities or the members changed: a table in use changes many times a second.
pub const CERTIFICATES_PAUSE: Duration = Duration::from_millis(250);

/// Lines of its log that a node keeps in memory, and bytes of one: 2 MiB at most.
pub const RECENT_LINES_MAX: usize = 2_000;
/// See [`RECENT_LINES_MAX`].
pub const RECENT_LINE_BYTES_MAX: usize = 1 << 10;

/// The least that a node may be told to keep: its share that stays free has room for
/// a film in parts.
pub const DISK_LIMIT_MIN: u64 = 1 << 30;

/// The least that it may be told to copy a second: with less, streams of several blobs
/// would stand still for longer than their senders bear.
pub const COPY_RATE_MIN: u64 = 4 << 20;

/// Longest name of a zone.
pub const ZONE_BYTES_MAX: usize = 64;

/// How often bytes of a backup in a bucket are asked for where its server fails, and the
/// pause between.
pub const BUCKET_READ_TRIES_MAX: u32 = 6;
pub const BUCKET_READ_PAUSE: Duration = Duration::from_secs(2);

/// Jobs that a restore names one by one, of each kind.
pub const RESTORE_NAMES_SHOWN: usize = 50;
/// Engines that one member holds: each has a connection most of the time.
pub const ENGINES_HERE_MAX: usize = 1_024;

/// Tasks that an engine may name as running, and that are kept for it as begun for
/// another member: one for each core of a large machine.
pub const ENGINE_RUNS_MAX: usize = 256;

/// How long an engine may be silent before its member lets it go. It asks every few
/// seconds, over networks that lose a connection now and then.
pub const ENGINE_SILENT_MAX: Duration = Duration::from_secs(10);

/// How long an engine's question for work is held open while there is none. Half of
/// what it may be silent, so that a lost answer costs it nothing.
pub const ENGINE_POLL_MAX: Duration = Duration::from_secs(5);

/// Such questions that are held open at once; others are answered at once, and come
/// back later.
pub const ENGINE_POLLS_MAX: usize = 256;

/// How long an engine whose question is not held open waits before the next one.
pub const ENGINE_ASKS_EVERY: Duration = Duration::from_secs(4);

/// How often a member names all of its engines to the leader, and not those alone that
/// changed: an engine that was named by two members is then where it is.
pub const ENGINE_RETOLD_EVERY: Duration = Duration::from_secs(10);

/// How long an engine may take to begin what it was given.
pub const ENGINE_TAKES_WITHIN: Duration = Duration::from_secs(20);

/// How long what an engine has begun for another member waits for this one to ask for
/// the same.
pub const ENGINE_RESUMES_WITHIN: Duration = Duration::from_secs(60);

/// Failures one after the other before an engine gets no work for a while, and for how
/// long: one that fails at all is not to take every shard there is.
pub const ENGINE_FAILURES_MAX: u32 = 3;
pub const ENGINE_REST: Duration = Duration::from_secs(120);

/// Lines of an engine's ffmpeg that wait to be read. A frame has some ten.
pub const ENGINE_LINES: usize = 4_096;

/// Longest line that is read of it, as of an ffmpeg on this machine.
pub const ENGINE_LINE_BYTES_MAX: usize = 4_096;

/// Bytes of one run's log: of each frame of its shard some two thousand are usual, and of
/// those that it decodes before it and behind it as many.
pub const ENGINE_FRAME_LOG_BYTES: u64 = 8 << 10;
pub const ENGINE_LOG_BYTES_MIN: u64 = 32 << 20;

/// How long a run may take in all, at least and for each frame of its shard: a liar may
/// say for ever that it makes progress, and a machine that is as slow is no help.
pub const ENGINE_TIME_MIN: Duration = Duration::from_secs(600);
pub const ENGINE_FRAME_TIME: Duration = Duration::from_secs(10);

/// Bytes of an engine's files on its member's disk that are not complete.
pub const ENGINE_FILES_BYTES_MAX: u64 = 8 << 30;

/// How often it is asked whether the disk has room for more of a file.
pub const ENGINE_ROOM_CHECKED_EVERY: u64 = 8 << 20;

/// Requests of one task that are answered at once: ffmpeg opens its input anew when it
/// seeks, before the former connection has ended.
pub const ENGINE_REQUESTS_MAX: usize = 8;

/// Questions of one engine that are held open at once.
pub const ENGINE_OWN_POLLS_MAX: usize = 2;

/// Tasks that the engines of one member run at once, each with a file, some memory and
/// a connection.
pub const ENGINE_RUNS_HERE_MAX: u32 = 512;

/// How long an engine tries to connect to a member, and how long that may say nothing
/// before it goes to another: longer than its questions are held open.
pub const ENGINE_CONNECT_MAX: Duration = Duration::from_secs(5);
pub const ENGINE_ANSWER_MAX: Duration = Duration::from_secs(15);

/// How often an engine sends what is new of a task's log, and how much at once.
pub const ENGINE_LOG_EVERY: Duration = Duration::from_millis(400);
pub const ENGINE_LOG_PART: usize = 256 << 10;

/// Longest name of a task for an engine, whose folder is called so; a member's has 32
/// letters.
pub const ENGINE_DIGEST_MAX: usize = 64;

/// Bytes of its input that an engine reads anew to count as one that makes progress.
pub const ENGINE_INPUT_BLOCK: u64 = 1 << 20;

/// Bytes of a file that an engine sends at once: what is lost with a connection.
pub const ENGINE_PUT_PART: u64 = 8 << 20;

const _: () = assert!(ENGINE_POLL_MAX.as_secs() < ENGINE_ANSWER_MAX.as_secs());
const _: () = assert!(ENGINE_POLL_MAX.as_millis() * 2 <= ENGINE_SILENT_MAX.as_millis());
const _: () = assert!(ENGINE_ASKS_EVERY.as_millis() * 2 < ENGINE_SILENT_MAX.as_millis());

const _: () = assert!(
    BEAT.as_millis() as u64 * 6 <= reelraft_model::plan::LEASE_MS,
    "a lease outlives six beats"
);
const _: () = assert!(BEAT_AT_REST.as_millis() as u64 * 3 <= reelraft_model::plan::LEASE_MS);
const _: () = assert!(GIVE_BACK.as_millis() < STOP_GRACE.as_millis());
const _: () = assert!(PAGE_DEFAULT <= PAGE_MAX);

/// Open files that a node takes where it may: all connections that its ports
/// hold, and some for each stream's bytes.
pub const OPEN_FILES_WANTED: u64 = 8_192;
