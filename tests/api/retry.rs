//! A job that ended without an output, tried again from its source.

use serde_json::json;

use crate::{
    http::{Client, last_event},
    node::{kind_in_time, start},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_is_tried_again_without_another_upload() {
    let folder = tempfile::tempdir().unwrap();
    let (access, stopper) = start(folder.path()).await;
    let (client, _stop) = Client::serve(access).await;
    let made = client.create("one", &json!({"source_bytes": 7})).await;
    let path = made.header("location").unwrap().to_string();
    let retry = async || client.ask("POST", &format!("{path}/retry"), "", b"").await;
    let refused = kind_in_time(async || retry().await.refusal().1).await;
    assert_eq!(refused, "not-ended");
    assert_eq!(retry().await.refusal(), (409, "not-ended".into()));

    let source = format!("{path}/source");
    let sent = client.ask("PUT", &source, "", b"no film").await;
    assert_eq!(sent.status, 200);
    let failed = last_event(&client, &path).await["job"].clone();
    assert_eq!(failed["problem"]["kind"], "unreadable-source", "{failed}");
    let again = retry().await;
    assert_eq!(again.status, 200, "{:?}", again.json());
    assert_eq!(again.json()["state"], "analyzing");
    assert!(again.json()["problem"].is_null());
    // It is looked at anew, and no better than before.
    let failed = last_event(&client, &path).await["job"].clone();
    assert_eq!(failed["problem"]["kind"], "unreadable-source", "{failed}");
    let analysis = client.get(&format!("{path}/tasks/analyze/0")).await.json();
    assert_eq!(analysis["attempts"][0]["attempt"], 2, "{analysis}");
    assert_eq!(analysis["attempts"][0]["outcome"], "final");

    client.ask("DELETE", &path, "", b"").await;
    assert_eq!(retry().await.refusal(), (404, "not-found".into()));
    // One that was cancelled in the midst of its upload has no source.
    let made = client.create("two", &json!({"source_bytes": 7})).await;
    let path = made.header("location").unwrap().to_string();
    client.ask("POST", &format!("{path}/cancel"), "", b"").await;
    let refused = client.ask("POST", &format!("{path}/retry"), "", b"").await;
    assert_eq!(refused.refusal(), (409, "source-gone".into()));
    stopper.send(true).unwrap();
}
