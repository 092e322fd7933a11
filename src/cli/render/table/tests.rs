//! What people read, in full.
#![allow(clippy::unwrap_used)]

use reelraft_proto::v1::{
    Home, Job, JobState, NodeStatus, Problem, Spec, StatusResponse, Task, TaskState,
};

use super::{document, job, jobs, nodes, status, tasks};

#[track_caller]
fn same(found: &str, wanted: &str) {
    assert!(found == wanted, "found:\n{found}\nwanted:\n{wanted}");
}

fn sample() -> Job {
    let mut job = Job {
        id: "j0123456789abcdef0123".into(),
        tenant: "default".into(),
        request_id: "film-v1".into(),
        source_name: "film\u{1b}[2J.mov".into(),
        source_bytes: 345 << 20,
        spec: Some(Spec {
            container: "mp4".into(),
            codec: "h264".into(),
            crf: Some(23),
            width: 640,
            fps_num: 25,
            fps_den: 1,
            brightness_milli: Some(-50),
            contrast_milli: Some(1000),
            shard_ms: 6000,
            ..Default::default()
        }),
        epoch: 1,
        homes: vec![
            Home {
                node: 1,
                filled: true,
                retiring: false,
            },
            Home {
                node: 2,
                filled: true,
                retiring: true,
            },
            Home {
                node: 3,
                filled: false,
                retiring: false,
            },
        ],
        shards_total: 9,
        shards_done: 3,
        shards_running: 2,
        frames_total: 1253,
        frames_done: 512,
        speed_milli: 9_880,
        eta_s: Some(75),
        estimated_output_bytes: 5 << 20,
        created_unix_ms: 1_795_250_144_000,
        ..Default::default()
    };
    job.set_state(JobState::Encoding);
    job
}

#[test]
fn a_list_of_jobs() {
    let mut done = sample();
    done.source_name = "a.mkv".into();
    done.source_bytes = 900;
    done.shards_done = 9;
    done.set_state(JobState::Succeeded);
    done.output_bytes = 2048;
    done.eta_s = None;
    done.ended_unix_ms = done.created_unix_ms + 65_000;
    let mut failed = sample();
    failed.source_name = "映画.mov".into();
    failed.eta_s = None;
    failed.queue_position = 12;
    failed.problem = Some(Problem {
        kind: "no-video".into(),
        ..Default::default()
    });
    same(
        &jobs(&[sample(), done, failed]),
        "\
ID                     STATE      DONE  SHARDS  TENANT   CREATED (UTC)        TOOK         ETA     SIZE   OUTPUT  SOURCE        NOTE
j0123456789abcdef0123  encoding    40%     3/9  default  2026-11-21 08:35:44     -        1:15  345 MiB        -  film?[2J.mov
j0123456789abcdef0123  succeeded  100%     9/9  default  2026-11-21 08:35:44  1:05           -    900 B  2.0 KiB  a.mkv
j0123456789abcdef0123  encoding    40%     3/9  default  2026-11-21 08:35:44     -  12 in line  345 MiB        -  映画.mov      no-video
",
    );
    same(
        &jobs(&[]),
        "ID  STATE  DONE  SHARDS  TENANT  CREATED (UTC)  TOOK  ETA  SIZE  OUTPUT  SOURCE  NOTE\n",
    );
}

#[test]
fn one_job() {
    same(
        &job(&sample()),
        "\
job         j0123456789abcdef0123
state       encoding
tenant      default
request id  film-v1
source      film?[2J.mov (345 MiB)
spec        --container mp4 --codec h264 --crf 23 --width 640 --fps 25 --brightness -0.05 --shard-seconds 6
frames      512 of 1253 (40%)
shards      3 of 9 done, 2 running
expected    9.8 frames/s, 1:15 to go, about 5.0 MiB
homes       1, 2 (retiring), 3 (filling)
created     2026-11-21 08:35:44 UTC
",
    );
}

#[test]
fn a_failed_job_says_why() {
    let mut failed = Job {
        id: "j1".into(),
        problem: Some(Problem {
            kind: "no-video".into(),
            cause: "the source has no video".into(),
            hint: "give a file with a video track".into(),
        }),
        source_name: "a.txt".into(),
        source_bytes: 5,
        created_unix_ms: 1_795_250_144_000,
        ended_unix_ms: 1_795_250_145_000,
        ..Default::default()
    };
    failed.set_state(JobState::Failed);
    same(
        &job(&failed),
        "\
job       j1
state     failed
cause     the source has no video
hint      give a file with a video track
source    a.txt (5 B)
created   2026-11-21 08:35:44 UTC
finished  2026-11-21 08:35:45 UTC
",
    );
}

#[test]
fn shards_of_a_job() {
    let mut done = Task {
        number: 1,
        kind: "shard".into(),
        node: 2,
        attempt: 1,
        frames: 150,
        bytes_in: 1 << 20,
        bytes_out: 256 << 10,
        ratio_milli: 250,
        hash: "0123456789abcdef".into(),
        started_unix_ms: 1_795_250_144_000,
        ended_unix_ms: 1_795_250_146_500,
        ..Default::default()
    };
    done.set_state(TaskState::Done);
    let mut pending = Task {
        number: 2,
        kind: "shard".into(),
        attempt: 2,
        frames: 90,
        failures: vec!["node 3: lost".into()],
        ..Default::default()
    };
    pending.set_state(TaskState::Pending);
    same(
        &tasks(&[done, pending]),
        "\
NO  KIND   STATE    NODE  ATTEMPT  FRAMES  STARTED (UTC)         TOOK       IN      OUT  RATIO  HASH          LAST FAILURE
 1  shard  done        2        1     150  2026-11-21 08:35:44  2.5 s  1.0 MiB  256 KiB   0.25  0123456789ab
 2  shard  pending     -        2      90  -                        -        -        -      -  -             node 3: lost
",
    );
}

fn cluster() -> StatusResponse {
    StatusResponse {
        leader_id: 1,
        term: 3,
        committed_index: 120,
        cluster_id: "c0ffee".into(),
        election_timeout_ms: 600,
        voters_wanted: 3,
        nodes: vec![
            NodeStatus {
                id: 1,
                address: "127.0.0.1:7401".into(),
                role: "leader".into(),
                reachable: true,
                pid: 4242,
                slots: 2,
                slots_busy: 1,
                load_milli: 1280,
                disk_free_bytes: 50 << 30,
                disk_total_bytes: 100 << 30,
                build: "b0123456789abcdef".into(),
                applied_index: 120,
                version: "0.1.0".into(),
                speeds: [("h264".to_string(), 212_345)].into(),
                ..Default::default()
            },
            NodeStatus {
                id: 2,
                address: "127.0.0.1:7402".into(),
                role: "voter".into(),
                slots: 2,
                trouble: "no word for 9 s".into(),
                ..Default::default()
            },
        ],
        ..Default::default()
    }
}

#[test]
fn the_cluster_at_a_glance() {
    same(
        &status(&cluster()),
        "\
cluster    c0ffee
leader     node 1
term       3
voters     3 wanted
committed  120
election   after 600 ms of silence

ID  ROLE    ADDRESS         REACHABLE  BUSY  TROUBLE
 1  leader  127.0.0.1:7401  yes         1/2
 2  voter   127.0.0.1:7402  no          0/2  no word for 9 s
",
    );
}

#[test]
fn the_nodes_in_full() {
    same(
        &nodes(&cluster().nodes),
        "\
ID  ROLE    ADDRESS          PID  REACHABLE  LOAD  BUSY            DISK FREE  BUILD         APPLIED  VERSION  H.264 FPS  TROUBLE
 1  leader  127.0.0.1:7401  4242  yes        1.28   1/2  50.0 GiB of 100 GiB  b0123456789a      120  0.1.0          212
 2  voter   127.0.0.1:7402     -  no            0   0/2           0 B of 0 B  -                   0  -                -  no word for 9 s
",
    );
}

#[test]
fn a_proof_of_any_form() {
    let proof = serde_json::json!({
        "frames": 1253,
        "complaints": [],
        "counts": {"decoded": 1253, "muxed": 1253},
        "reference": ["ffmpeg", "-vf", "scale=w=320, x"],
        "single": false,
        "shards": [{"number": 0, "hash": "ab"}, {"number": 1, "hash": "cd"}],
    });
    same(
        &document(&proof),
        "\
complaints  -
counts      decoded 1253, muxed 1253
frames      1253
reference   ffmpeg -vf 'scale=w=320, x'
single      no

shards (2)
number  hash
0       ab
1       cd
",
    );
}
