//! What a key opens: its own tenant's rows, as far as its scope goes, for as long
//! as it holds.

use std::{path::Path, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use reelraft::{
    api::{Access, Api, Consistency, KeyRequest, KeysRequest, ListRequest, SubmitRequest},
    data::upload::{Order, UploadRequest},
    node::context::NodeContext,
};
use reelraft_model::{
    Command, KeyText, Problem, Quota, RegisterNode, Scope, limits::FEATURE_LEVEL,
};
use tokio::{sync::watch, time::timeout};

use crate::node::{access, kind, request, start_without_worker};

const PATIENCE: Duration = Duration::from_secs(60);

/// A node of one, which has said its version.
pub async fn node(folder: &Path) -> (Arc<NodeContext>, watch::Sender<bool>) {
    let (context, _, stopper) = start_without_worker(folder).await;
    let registered = Command::RegisterNode(RegisterNode {
        node: 1,
        incarnation: context.cluster.identity().incarnation.clone(),
        feature_level: FEATURE_LEVEL,
        ..Default::default()
    });
    context.cluster.propose(vec![registered]).await.unwrap();
    (context, stopper)
}

/// Makes a key, and asks with it.
async fn with_key(
    access: &Access,
    tenant: &str,
    scope: Scope,
    expires_in_s: u64,
) -> (String, String, Api) {
    let request = KeyRequest {
        name: format!("{}-{expires_in_s}", scope.name()),
        tenant: tenant.into(),
        scope,
        expires_in_s,
        text: None,
    };
    let made = access.operator().create_key(request).await.unwrap();
    let text = made.text.reveal();
    let api = access.admit(text.as_bytes()).unwrap();
    (made.key.id.clone(), text, api)
}

fn refused(access: &Access, credential: &str) -> String {
    match access.admit(credential.as_bytes()) {
        Ok(_) => "nothing was refused".into(),
        Err(problem) => problem.kind,
    }
}

fn job_of(tenant: &str, request_id: &str) -> SubmitRequest {
    SubmitRequest {
        tenant: tenant.into(),
        request_id: request_id.into(),
        ..request(b"film")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_jobs_are_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let (context, stopper) = node(folder.path()).await;
    let access = access(&context);
    let operator = access.operator();
    let (_, _, anna) = with_key(&access, "anna", Scope::Admin, 0).await;
    let (_, _, reader) = with_key(&access, "anna", Scope::Read, 0).await;

    let own = anna.submit(job_of("", "one")).await.unwrap().job.job;
    assert_eq!(own.tenant, "anna", "a key's jobs are its tenant's");
    let other = operator.submit(job_of("bert", "one")).await.unwrap();
    let other = other.job.job.id;
    assert_ne!(own.id, other, "one request id of two tenants");
    assert_eq!(kind(anna.submit(job_of("bert", "two"))).await, "forbidden");
    for priority in [i32::MIN, -11, 11, i32::MAX] {
        let job = SubmitRequest {
            priority,
            ..job_of("", "two")
        };
        assert_eq!(kind(anna.submit(job)).await, "bad-request", "{priority}");
    }
    assert_eq!(kind(reader.submit(job_of("", "two"))).await, "forbidden");
    assert_eq!(kind(reader.cancel(&own.id)).await, "forbidden");

    let missing = "not-found";
    assert_eq!(kind(anna.job(&other, Consistency::Local)).await, missing);
    for refused in [
        kind(anna.cancel(&other)).await,
        kind(anna.replan(&other)).await,
        kind(anna.delete(&other)).await,
        kind(anna.proof(&other)).await,
        kind(anna.reference(&other)).await,
        kind(anna.finished(&other)).await,
        kind(anna.fetch(&other, 0)).await,
        kind(anna.watch(&other)).await,
        kind(open_upload(&anna, &other)).await,
    ] {
        assert_eq!(refused, missing);
    }
    let listed = anna.list(ListRequest::default()).await.unwrap().items;
    let listed: Vec<_> = listed.into_iter().map(|view| view.job.id).collect();
    assert_eq!(listed, [own.id.as_str()]);
    let of_bert = ListRequest {
        tenant: "bert".into(),
        ..Default::default()
    };
    assert_eq!(kind(anna.list(of_bert)).await, "forbidden");

    let status = anna.cluster_status(Consistency::Linearizable);
    assert!(status.leader.is_some() && status.nodes[0].reachable);
    assert!(status.nodes[0].address.is_empty() && status.nodes[0].pid == 0);
    let census = anna.census(Consistency::Local);
    assert_eq!(census.err().unwrap().kind, "forbidden");
    // What was deleted stays its owner's alone.
    operator.delete(&other).await.unwrap();
    assert_eq!(kind(anna.delete(&other)).await, missing);
    anna.delete(&own.id).await.unwrap();
    anna.delete(&own.id).await.unwrap();
    stopper.send(true).unwrap();
}

async fn open_upload(
    api: &Api,
    job: &str,
) -> Result<impl StreamExt<Item = Result<(), Problem>>, Problem> {
    let job = job.to_string();
    let said = stream::iter([Ok(UploadRequest::Open { job })]);
    let replies = api
        .upload(said.chain(stream::pending()).boxed(), Order::Any)
        .await?;
    Ok(replies.map_ok(drop))
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_managed_within_their_tenant() {
    let folder = tempfile::tempdir().unwrap();
    let (context, stopper) = node(folder.path()).await;
    let access = access(&context);
    let (_, _, admin) = with_key(&access, "anna", Scope::Admin, 0).await;
    let (_, _, submitter) = with_key(&access, "anna", Scope::Submit, 0).await;
    let (berts, _, _) = with_key(&access, "bert", Scope::Read, 0).await;
    let request = |name: &str, tenant: &str| KeyRequest {
        name: name.into(),
        tenant: tenant.into(),
        scope: Scope::Read,
        expires_in_s: 0,
        text: None,
    };
    let made = admin.create_key(request("more", "")).await.unwrap();
    assert_eq!(made.key.tenant, "anna");
    assert_eq!(
        kind(admin.create_key(request("more", ""))).await,
        "key-exists"
    );
    assert_eq!(kind(admin.create_key(request("", ""))).await, "bad-request");
    assert_eq!(
        kind(admin.create_key(request("x", "bert"))).await,
        "forbidden"
    );
    assert_eq!(
        kind(submitter.create_key(request("x", ""))).await,
        "forbidden"
    );
    assert_eq!(
        kind(submitter.keys(KeysRequest::default())).await,
        "forbidden"
    );
    let mut listed = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = KeysRequest {
            page_size: 2,
            page_token,
            ..Default::default()
        };
        let page = admin.keys(request).await.unwrap();
        listed.extend(page.items);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed.len(), 3);
    assert!(listed.iter().all(|key| key.tenant == "anna"));
    assert_eq!(kind(admin.revoke_key(&berts)).await, "not-found");
    admin.revoke_key(&made.key.id).await.unwrap();
    assert_eq!(refused(&access, &made.text.reveal()), "unauthenticated");
    stopper.send(true).unwrap();
}

/// Whoever was let in before the key was revoked gets nothing more done with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_does_nothing_for_who_is_in_already() {
    let folder = tempfile::tempdir().unwrap();
    let (context, stopper) = node(folder.path()).await;
    let access = access(&context);
    let (id, _, admin) = with_key(&access, "anna", Scope::Admin, 0).await;
    let job = admin.submit(job_of("", "one")).await.unwrap().job.job.id;
    access.operator().revoke_key(&id).await.unwrap();
    let another = KeyRequest {
        name: "another".into(),
        tenant: String::new(),
        scope: Scope::Admin,
        expires_in_s: 0,
        text: None,
    };
    for refused in [
        kind(admin.create_key(another)).await,
        kind(admin.submit(job_of("", "two"))).await,
        kind(admin.job(&job, Consistency::Local)).await,
        kind(admin.list(ListRequest::default())).await,
        kind(admin.proof(&job)).await,
        kind(admin.delete(&job)).await,
    ] {
        assert_eq!(refused, "unauthenticated");
    }
    let mut welcome = admin.welcome();
    let sent = welcome.during(futures::future::pending::<Result<(), Problem>>());
    assert_eq!(kind(sent).await, "unauthenticated");
    stopper.send(true).unwrap();
}

/// A client whose answer was lost asks again.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_a_key_may_be_sent_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (context, stopper) = node(folder.path()).await;
    let access = access(&context);
    let operator = access.operator();
    let request = |secret: u8, scope| KeyRequest {
        name: "ci".into(),
        tenant: "anna".into(),
        scope,
        expires_in_s: 100,
        text: Some(KeyText::new(7, [secret; 32])),
    };
    let first = operator.create_key(request(1, Scope::Read)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let again = operator.create_key(request(1, Scope::Read)).await.unwrap();
    assert_eq!((&first.key, &first.text), (&again.key, &again.text));
    for other in [request(2, Scope::Read), request(1, Scope::Admin)] {
        assert_eq!(kind(operator.create_key(other)).await, "key-exists");
    }
    stopper.send(true).unwrap();
}

/// What begins as a key does is never taken for a secret, and where there is a
/// secret nothing else opens.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_key_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (context, stopper) = node(folder.path()).await;
    let access = access(&context);
    let (id, text, _) = with_key(&access, "anna", Scope::Read, 0).await;
    let open = Access::new(context.clone(), Default::default());
    let wrong = format!("rrk_{id}_{}", "0".repeat(64));
    for credential in [&wrong, &text[..text.len() - 1], "rrk_", "rrk_swordfish"] {
        assert_eq!(
            refused(&access, credential),
            "unauthenticated",
            "{credential}"
        );
        assert_eq!(
            refused(&open, credential),
            "unauthenticated",
            "{credential}"
        );
    }
    for credential in ["", "sword", &text[4..]] {
        assert_eq!(
            refused(&access, credential),
            "unauthenticated",
            "{credential}"
        );
    }
    let problem = access.admit(wrong.as_bytes()).err().unwrap();
    assert!(!problem.to_string().contains("000"), "{problem}");
    stopper.send(true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_with_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let (context, stopper) = node(folder.path()).await;
    let access = access(&context);
    let operator = access.operator();
    let job = operator.submit(job_of("anna", "one")).await.unwrap();
    let job = job.job.job.id;
    let (id, text, revoked) = with_key(&access, "anna", Scope::Submit, 0).await;
    let (_, _, expires) = with_key(&access, "anna", Scope::Submit, 5).await;
    let (_, _, kept) = with_key(&access, "anna", Scope::Read, 0).await;

    let watched = revoked.watch(&job).await.unwrap().map_ok(drop);
    let uploaded = open_upload(&revoked, &job).await.unwrap();
    let soon = expires.watch(&job).await.unwrap().map_ok(drop);
    let mut goes_on = kept.watch(&job).await.unwrap();
    operator.revoke_key(&id).await.unwrap();
    assert_eq!(refused(&access, &text), "unauthenticated");
    let streams = [watched.boxed(), uploaded.boxed(), soon.boxed()];
    for (number, mut stream) in streams.into_iter().enumerate() {
        let end = async {
            loop {
                if let Err(problem) = stream.next().await.unwrap() {
                    return problem.kind;
                }
            }
        };
        let end = timeout(PATIENCE, end).await.unwrap();
        assert_eq!(end, "unauthenticated", "stream {number}");
        assert!(stream.next().await.is_none());
    }
    operator.cancel(&job).await.unwrap();
    while let Some(event) = goes_on.next().await {
        event.unwrap();
    }
    stopper.send(true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_what_its_quota_says() {
    let folder = tempfile::tempdir().unwrap();
    let (context, stopper) = node(folder.path()).await;
    let access = Arc::new(access(&context));
    let operator = access.operator();
    let (_, text, anna) = with_key(&access, "anna", Scope::Admin, 0).await;
    let quota = |jobs, requests_per_second| Quota {
        jobs,
        requests_per_second,
        ..Quota::none("anna")
    };
    assert_eq!(
        kind(anna.set_quota(quota(Some(9), None), false)).await,
        "forbidden"
    );
    assert_eq!(kind(anna.show_tenant("bert")).await, "forbidden");
    operator
        .set_quota(quota(Some(1), None), false)
        .await
        .unwrap();
    anna.submit(job_of("", "one")).await.unwrap();
    assert_eq!(kind(anna.submit(job_of("", "two"))).await, "too-many-jobs");
    operator
        .set_quota(quota(None, Some(3)), false)
        .await
        .unwrap();
    let shown = anna.show_tenant("anna").await.unwrap();
    assert_eq!((shown.used.jobs, shown.used.bytes), (1, 4));
    assert_eq!(
        (shown.quota.jobs, shown.quota.requests_per_second),
        (Some(1), Some(3))
    );
    let busy = "too-many-requests";
    let asked: Vec<String> = (0..50).map(|_| refused(&access, &text)).collect();
    assert!(asked.iter().any(|kind| kind == busy), "{asked:?}");
    let (_, berts, _) = with_key(&access, "bert", Scope::Read, 0).await;
    assert_ne!(refused(&access, &berts), busy);
    operator.set_quota(Quota::none("anna"), true).await.unwrap();
    assert!((0..50).all(|_| refused(&access, &text) != busy));
    anna.submit(job_of("", "two")).await.unwrap();
    stopper.send(true).unwrap();
}
