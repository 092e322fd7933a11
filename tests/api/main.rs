//! What a client may ask, asked without any transport: a node of one, put
//! together in this process with no listener, submits, uploads, watches and
//! fetches through `api` alone. Its doors are tried over the wire as well.
#![allow(clippy::unwrap_used)]

mod bad_http;
mod client;
mod doors;
mod events;
mod http;
mod keys;
mod members;
mod node;
mod openapi;
mod outside;
mod page;
mod retry;
mod routes;
mod tus;

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use reelraft::{
    api::{
        Api, Consistency, JobView, ListRequest, SubmitRequest, TasksRequest, WatchEvent,
        limits::FETCHES_MAX,
    },
    node::{
        context::NodeContext,
        messages::{
            AttemptResult, Done, FromWorker, Hello, Lack, LeaderReport, NodeStatus, Outcome,
            ToWorker,
        },
    },
};
use reelraft_model::{
    Command, JobState, Task, Tick,
    limits::{FEATURE_LEVEL, JOB_BOUNDS},
    spec::SpecRequest,
};

use crate::node::{access, film, kind, kind_in_time, request, start, start_without_worker, upload};

#[tokio::test(flavor = "multi_thread")]
async fn a_film_is_made_without_any_transport() {
    let folder = tempfile::tempdir().unwrap();
    let source = film(folder.path());
    let (access, stopper) = start(&folder.path().join("node")).await;
    let api = access.operator();

    let submitted = api.submit(request(&source)).await.unwrap();
    assert!(!submitted.existed);
    let id = submitted.job.job.id.clone();
    assert_eq!(submitted.job.job.state(), JobState::Uploading);
    assert!(api.submit(request(&source)).await.unwrap().existed);
    assert_eq!(kind(api.reference(&id)).await, "not-analysed");
    assert_eq!(kind(api.proof(&id)).await, "not-finished");
    assert_eq!(kind(api.fetch(&id, 0)).await, "not-finished");

    let root = upload(&api, &id, &source).await;
    let events = api.watch(&id).await.unwrap();
    let events = tokio::time::timeout(Duration::from_secs(120), events.try_collect());
    let events: Vec<WatchEvent> = events.await.expect("the job ends").unwrap();
    let last = &events.last().unwrap().job;
    assert_eq!(last.job.state(), JobState::Succeeded, "{:?}", last.job);
    assert_eq!(last.job.source_root, root);
    assert_eq!((last.frames_done, last.job.frames_total), (30, 30));
    assert_eq!((last.shards_done, last.job.shards_total), (3, 3));

    let before = tasks(&api, &id).await;
    assert_eq!(before.len(), 6, "analysis, sound, three shards, assembly");
    let folded = folded(&api, &id).await;
    assert_eq!((folded.frames_done, folded.shards_done), (30, 3));
    assert!(!folded.job.history_hash.is_empty());
    assert_eq!(tasks(&api, &id).await, before, "from the history");

    let output = api.fetch(&id, 0).await.unwrap();
    let hash = output.hash.clone();
    let total_bytes = output.total_bytes;
    let bytes = output
        .parts
        .try_collect::<Vec<Bytes>>()
        .await
        .unwrap()
        .concat();
    assert_eq!(bytes.len() as u64, total_bytes);
    assert_eq!(blake3::hash(&bytes).to_hex().to_string(), hash);
    let end = api.fetch(&id, total_bytes - 7).await.unwrap();
    let end = end
        .parts
        .try_collect::<Vec<Bytes>>()
        .await
        .unwrap()
        .concat();
    assert_eq!(end, bytes[bytes.len() - 7..]);
    assert_eq!(kind(api.fetch(&id, total_bytes + 1)).await, "bad-request");

    let mut unread = Vec::new();
    for _ in 0..FETCHES_MAX {
        unread.push(api.fetch(&id, 0).await.unwrap());
    }
    assert_eq!(kind(api.fetch(&id, 0)).await, "too-busy");
    drop(unread);
    assert!(api.fetch(&id, 0).await.is_ok());

    assert!(api.proof(&id).await.unwrap().contains("\"shards\""));
    let reference = api.reference(&id).await.unwrap();
    assert_eq!(reference.args.first().map(String::as_str), Some("ffmpeg"));
    let status = api.cluster_status(Consistency::Linearizable);
    assert_eq!((status.leader, status.nodes.len()), (Some(1), 1));
    stopper.send(true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages() {
    let folder = tempfile::tempdir().unwrap();
    let (access, stopper) = start(folder.path()).await;
    let api = access.operator();
    let mut ids = Vec::new();
    for number in 0..5 {
        let request = SubmitRequest {
            request_id: format!("r{number}"),
            tenant: if number == 4 { "other" } else { "" }.into(),
            ..request(b"film")
        };
        ids.push(api.submit(request).await.unwrap().job.job.id);
    }
    ids.reverse();
    let mut listed = Vec::new();
    let mut page_token = String::new();
    loop {
        let asked = ListRequest {
            page_size: 2,
            page_token,
            ..Default::default()
        };
        let page = api.list(asked).await.unwrap();
        assert!(page.items.len() <= 2);
        listed.extend(page.items.into_iter().map(|view| view.job.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, ids);
    let asked = ListRequest {
        tenant: "other".into(),
        consistency: Consistency::Local,
        ..Default::default()
    };
    assert_eq!(api.list(asked).await.unwrap().items.len(), 1);
    let asked = ListRequest {
        page_token: "x".into(),
        ..Default::default()
    };
    assert_eq!(kind(api.list(asked)).await, "bad-request");
    stopper.send(true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (access, stopper) = start(folder.path()).await;
    let api = access.operator();
    let broken = [
        SubmitRequest {
            request_id: String::new(),
            ..request(b"film")
        },
        SubmitRequest {
            source_name: "n".repeat(5_000),
            ..request(b"film")
        },
        SubmitRequest {
            source_fingerprint: "z".repeat(64),
            ..request(b"film")
        },
    ];
    for request in broken {
        assert_eq!(kind(api.submit(request)).await, "bad-request");
    }
    let large = SubmitRequest {
        source_bytes: u64::MAX,
        ..request(b"film")
    };
    assert_eq!(kind(api.submit(large)).await, "too-large");
    let empty = SubmitRequest {
        source_bytes: 0,
        ..request(b"film")
    };
    assert_eq!(kind(api.submit(empty)).await, "empty-source");
    let mut odd = request(b"film");
    odd.spec.codec = "mpeg1".into();
    assert_eq!(kind(api.submit(odd)).await, "bad-spec");
    stopper.send(true).unwrap();
}

/// All tasks of a job, page by page.
async fn tasks(api: &Api, id: &str) -> Vec<Task> {
    let mut request = TasksRequest {
        job: id.to_string(),
        page_size: 2,
        ..Default::default()
    };
    let mut tasks = Vec::new();
    loop {
        let page = api.tasks(request.clone()).await.unwrap();
        tasks.extend(page.items);
        if page.next_page_token.is_empty() {
            return tasks;
        }
        request.page_token = page.next_page_token;
    }
}

/// The job once its tasks have left the table.
async fn folded(api: &Api, id: &str) -> JobView {
    for _ in 0..600 {
        let view = api.job(id, Consistency::Linearizable).await.unwrap();
        if view.job.summary.is_some() {
            return view;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the tasks of {id} stay in the table");
}

/// A source is refused before its first byte where it would fill the disks; a
/// job that exists goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_no_disk_can_hold_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (context, _, stopper) = start_without_worker(folder.path()).await;
    let api = access(&context).operator();
    let node = |room_bytes| NodeStatus {
        id: 1,
        reachable: true,
        room_bytes,
        ..Default::default()
    };
    let say = |room_bytes| {
        context.report.set(LeaderReport {
            nodes: vec![node(room_bytes)],
            ..Default::default()
        });
    };
    say(3);
    assert_eq!(kind(api.submit(request(b"film"))).await, "disk-full");
    say(4);
    let made = api.submit(request(b"film")).await.unwrap();
    assert!(!made.existed);
    say(0);
    assert!(api.submit(request(b"film")).await.unwrap().existed);
    stopper.send(true).unwrap();
}

/// What no node can make is refused before its source is sent, by the name of
/// what is missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_no_node_can_make_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (context, _, stopper) = start_without_worker(folder.path()).await;
    let api = access(&context).operator();
    let say = |lacks: &[&str]| {
        let lack = |what: &&str| Lack {
            what: what.to_string(),
            why: "it is not there".into(),
        };
        context.report.set(LeaderReport {
            nodes: vec![NodeStatus {
                id: 1,
                reachable: true,
                build: "b".into(),
                lacks: lacks.iter().map(lack).collect(),
                room_bytes: 1 << 30,
                ..Default::default()
            }],
            ..Default::default()
        });
    };
    let asked = |codec: &str| {
        let mut asked = request(codec.as_bytes());
        asked.request_id = codec.into();
        asked.spec = SpecRequest {
            codec: codec.into(),
            ..Default::default()
        };
        asked
    };
    say(&["av1"]);
    let refused = api.submit(asked("av1")).await.unwrap_err();
    assert_eq!(refused.kind, "encoder-missing");
    assert!(
        refused.cause.contains("no node has an AV1 encoder"),
        "{refused}"
    );
    let made = api.submit(asked("h264")).await.unwrap().job;
    assert_eq!(made.makers, "");
    say(&["aac"]);
    let refused = api.submit(asked("hevc")).await.unwrap_err();
    assert!(refused.cause.contains("an AAC encoder"), "{refused}");
    say(&[]);
    api.submit(asked("av1")).await.unwrap();
    stopper.send(true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_cancelled_and_deleted_once() {
    let folder = tempfile::tempdir().unwrap();
    let (access, stopper) = start(folder.path()).await;
    let api = access.operator();
    let id = api.submit(request(b"film")).await.unwrap().job.job.id;
    assert!(tasks(&api, &id).await.is_empty());
    let cancelled = api.cancel(&id).await.unwrap();
    assert_eq!(cancelled.job.state(), JobState::Cancelled);
    assert!(folded(&api, &id).await.job.history_hash.is_empty());
    assert!(tasks(&api, &id).await.is_empty());
    let deleted = api.delete(&id).await.unwrap();
    assert_eq!(deleted.job.state(), JobState::Deleted);
    assert!(
        api.delete(&id).await.is_ok(),
        "the first answer may be lost"
    );
    for asked in [id.as_str(), "jnone"] {
        assert_eq!(
            kind(api.job(asked, Consistency::Linearizable)).await,
            "not-found"
        );
        assert_eq!(kind(api.watch(asked)).await, "not-found");
    }
    stopper.send(true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_plan_or_an_end_is_not_planned_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (access, stopper) = start(folder.path()).await;
    let api = access.operator();
    assert_eq!(kind(api.replan("jnone")).await, "not-found");
    let id = api.submit(request(b"film")).await.unwrap().job.job.id;
    let refused = kind_in_time(async || kind(api.replan(&id)).await).await;
    assert_eq!(refused, "no-plan-yet");
    api.cancel(&id).await.unwrap();
    assert_eq!(kind(api.replan(&id)).await, "already-ended");
    stopper.send(true).unwrap();
}

/// What a worker says to this node, once it leads.
async fn hello_to_leader(context: &NodeContext) -> Hello {
    // It may have been elected this moment, and not know it yet.
    let mut leadership = context.cluster.leadership();
    leadership.wait_for(|now| now.leading).await.unwrap();
    Hello {
        node: 1,
        incarnation: context.cluster.identity().incarnation.clone(),
        address: context.config.advertise.clone(),
        slots: 1,
        build: "b".into(),
        ..Hello::default()
    }
}

/// An analysis that found nothing to encode, which no worker of ours reports
/// and the table refuses: asked for again and again it would never end.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_the_table_refuses_fails_its_job() {
    let folder = tempfile::tempdir().unwrap();
    let (context, intake, stopper) = start_without_worker(folder.path()).await;
    let api = access(&context).operator();
    let id = api.submit(request(b"film")).await.unwrap().job.job.id;
    let hello = hello_to_leader(&context).await;
    let (session, mut orders) = intake.open(hello).await.unwrap();
    upload(&api, &id, b"film").await;
    let worker = async {
        while let Some(order) = orders.recv().await {
            if let ToWorker::Assign(assignment) = order {
                session.receive(FromWorker::Result(AttemptResult {
                    engine: 0,
                    key: assignment.key,
                    outcome: Outcome::Done(Done::default()),
                }));
            }
        }
    };
    let ended = async {
        let events = api.watch(&id).await.unwrap();
        events.try_collect::<Vec<WatchEvent>>().await.unwrap()
    };
    let events = tokio::select! {
        () = worker => panic!("the session ended"),
        events = ended => events,
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("the job goes in circles"),
    };
    let job = &events.last().unwrap().job.job;
    assert_eq!(job.state(), JobState::Failed);
    let cause = &job.problem.as_ref().unwrap().cause;
    assert!(cause.contains("refuses"), "{cause}");
    stopper.send(true).unwrap();
}

/// A worker repeats a result with each heartbeat until it is written down. A
/// log that is slow must not get more to do just then.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_being_written_down_is_not_proposed_again() {
    let folder = tempfile::tempdir().unwrap();
    let (context, intake, stopper) = start_without_worker(folder.path()).await;
    let api = access(&context).operator();
    let id = api.submit(request(b"film")).await.unwrap().job.job.id;
    let hello = hello_to_leader(&context).await;
    let (session, mut orders) = intake.open(hello).await.unwrap();
    upload(&api, &id, b"film").await;
    let key = loop {
        if let ToWorker::Assign(assignment) = orders.recv().await.unwrap() {
            break assignment.key;
        }
    };
    let (held, is_held) = tokio::sync::oneshot::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let cluster = context.cluster.clone();
    let holder = std::thread::spawn(move || {
        cluster.hold_table(|| {
            held.send(()).unwrap();
            let _ = released.recv_timeout(Duration::from_secs(3));
        });
    });
    is_held.await.unwrap();
    // The table's next write waits, and all that is applied after it.
    let written = context.cluster.progress().last_index;
    let cluster = context.cluster.clone();
    let tick = tokio::spawn(async move {
        let tick = Command::Tick(Tick::default());
        cluster.propose(vec![tick]).await
    });
    while context.cluster.progress().last_index == written {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let before = context.cluster.progress().last_index;
    const REPEATS: u64 = 20;
    for _ in 0..REPEATS {
        session.receive(FromWorker::Result(AttemptResult {
            engine: 0,
            key: key.clone(),
            outcome: Outcome::Done(Done::default()),
        }));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let proposed = context.cluster.progress().last_index - before;
    release.send(()).unwrap();
    holder.join().unwrap();
    // Unconfirmed, where another write came before it.
    let _ = tick.await.unwrap();
    // The leader's own plan may add one.
    assert!(proposed < REPEATS / 2, "{proposed} entries for one result");
    stopper.send(true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_too_many_uploads_is_refused_beside_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let (context, intake, stopper) = start_without_worker(folder.path()).await;
    let api = access(&context).operator();
    // Bounds are set once all nodes are known to read them.
    let hello = Hello {
        feature_level: FEATURE_LEVEL,
        ..hello_to_leader(&context).await
    };
    let _session = intake.open(hello).await.unwrap();
    let submit = |number: u64, tenant: &str| {
        api.submit(SubmitRequest {
            request_id: number.to_string(),
            tenant: tenant.into(),
            ..request(b"film")
        })
    };
    let all = (0..JOB_BOUNDS.uploading).map(|number| submit(number, "many"));
    futures::future::try_join_all(all).await.unwrap();

    let applied = || *context.cluster.applied().borrow();
    // Homes are given meanwhile, many an entry.
    let (before, refusals) = (applied(), 200);
    let more = (0..refusals).map(|number| submit(JOB_BOUNDS.uploading + number, "many"));
    for refused in futures::future::join_all(more.map(kind)).await {
        assert_eq!(refused, "too-many-uploads");
    }
    assert!(applied() - before < refusals / 2);
    assert!(submit(7, "many").await.unwrap().existed, "its own retry");
    assert!(!submit(7, "few").await.unwrap().existed);
    stopper.send(true).unwrap();
}
