//! Every route of the HTTP port, as the router itself names them, asked without
//! a key, with one that may only read, and with another tenant's.

use std::collections::BTreeSet;

use reelraft::{
    api::{Access, SubmitRequest},
    http::{self, Port},
};
use reelraft_harness::{HttpAnswer, http_ask};
use reelraft_model::{JobState, Quota, Scope};
use tokio::{net::TcpListener, sync::watch, task::block_in_place};

use crate::node::{made_key, request, start, without_tls};

const METHODS: [&str; 7] = ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"];

/// What any of the routes may want to be told.
const HEADERS: &str = "Tus-Resumable: 1.0.0\r\nUpload-Length: 4\r\nUpload-Offset: 0\r\n\
                       Content-Type: application/offset+octet-stream\r\n";

/// Routes that anybody may ask.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// Whether engines ask a route, by tokens of their own.
fn is_of_engines(path: &str) -> bool {
    let below = path.strip_prefix("/api/v1/engines/");
    below.is_some_and(|below| below != "{name}")
}

/// The paths of a router, by what it shows of itself.
pub fn paths_of(router: &axum::Router) -> BTreeSet<String> {
    let shown = format!("{router:?}");
    let texts = shown.split('"').skip(1).step_by(2);
    let paths = texts.filter(|text| text.starts_with('/') && !text.contains("{*"));
    // These two are where the refusal of an unknown path stands.
    let paths = paths.filter(|text| !matches!(*text, "/" | "/api/v1"));
    paths.map(str::to_string).collect()
}

/// Bert's job and key, which are none of Anna's business.
struct Berts {
    job: String,
    key: String,
}

impl Berts {
    /// A path with a name for each that it takes, and whether one is of what is
    /// Bert's.
    fn fill_in(&self, path: &str) -> (String, bool) {
        let mut before = "";
        let mut names_his = false;
        let parts = path.split('/').map(|part| {
            let kind = std::mem::replace(&mut before, part);
            let his = match (kind, part) {
                ("jobs" | "uploads", "{id}") => self.job.as_str(),
                ("keys", "{id}") => self.key.as_str(),
                (_, "{name}" | "{tenant}") => "bert",
                (_, "{kind}") => return "shard",
                (_, part) if part.starts_with('{') => return "1",
                _ => return part,
            };
            names_his = true;
            his
        });
        (parts.collect::<Vec<_>>().join("/"), names_his)
    }

    /// Whether an answer shows anything that was not in the request.
    fn shows(&self, answer: &HttpAnswer, asked: &str) -> bool {
        let body = String::from_utf8_lossy(&answer.body).replace(asked, "");
        let told = |text: &&str| answer.head.contains(*text) || body.contains(*text);
        ["of-bert", &self.key, &self.job]
            .iter()
            .any(|text| !asked.contains(*text) && told(text))
    }
}

async fn key(access: &Access, scope: Scope, tenant: &str) -> (String, String) {
    let made = made_key(access, &format!("of-{tenant}"), tenant, scope).await;
    (made.key.id.clone(), made.text.reveal())
}

/// The routes of engines, and all others that take a credential.
fn asked_for(paths: &BTreeSet<String>) -> (Vec<&String>, Vec<&String>) {
    let closed = paths.iter().filter(|path| !OPEN.contains(&path.as_str()));
    closed.partition(|path| is_of_engines(path))
}

/// Neither a key nor none opens what engines ask; what names a task that there is not is
/// as good as none.
fn engines_alone_get_in(
    engines: &[&String],
    berts: &Berts,
    statuses: impl Fn(&str, &str) -> [u16; 2],
) {
    assert!(engines.len() > 8, "{engines:?}");
    for path in engines {
        let (asked, _) = berts.fill_in(path);
        for method in METHODS {
            for status in statuses(method, &asked) {
                assert!(
                    matches!(status, 401 | 405 | 410),
                    "{method} {path}: {status}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_shows_or_changes_what_is_anothers() {
    let folder = tempfile::tempdir().unwrap();
    let (access, stopper) = start(folder.path()).await;
    let operator = access.operator();
    let (_, admin) = key(&access, Scope::Admin, "anna").await;
    let (_, reader) = key(&access, Scope::Read, "anna").await;
    let submitted = SubmitRequest {
        tenant: "bert".into(),
        source_name: "of-bert.mov".into(),
        ..request(b"film")
    };
    let berts = Berts {
        job: operator.submit(submitted).await.unwrap().job.job.id,
        key: key(&access, Scope::Admin, "bert").await.0,
    };
    let port = Port::new(access);
    let router = http::router(port, axum::Router::new());
    let paths = paths_of(&router);
    assert!(paths.len() > 15, "{paths:?}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(http::server::serve(
        router,
        listener,
        without_tls(),
        stopped,
    ));
    let ask = |method: &str, path: &str, key: &str| {
        let headers = format!("X-API-Key: {key}\r\n{HEADERS}");
        block_in_place(|| http_ask(&address, method, path, &headers, b"{}")).unwrap()
    };
    let (engines, others) = asked_for(&paths);
    let tried = ["", admin.as_str()];
    engines_alone_get_in(&engines, &berts, |method, path| {
        tried.map(|key| ask(method, path, key).status)
    });
    for path in others {
        let (asked, names_his) = berts.fill_in(path);
        let asked = asked.as_str();
        for method in METHODS {
            let what = format!("{method} {path}");
            assert_eq!(ask(method, asked, "").status, 401, "{what} without a key");
            if !matches!(method, "GET" | "HEAD" | "OPTIONS") && path != "/metrics" {
                assert_eq!(ask(method, asked, &reader).status, 403, "{what} to read");
            }
            // This one never ends.
            if !names_his && method == "GET" && path.ends_with("/events") {
                continue;
            }
            let answer = ask(method, asked, &admin);
            assert!(!berts.shows(&answer, asked), "{what}: {}", answer.head);
            if names_his {
                let status = answer.status;
                assert!(matches!(status, 403..=405), "{what}: {status}");
            }
        }
    }
    let job = operator.job(&berts.job, Default::default()).await.unwrap();
    assert_eq!(job.job.state(), JobState::Uploading);
    let keys = operator.keys(Default::default()).await.unwrap().items;
    assert!(keys.iter().any(|key| key.id == berts.key));
    let quota = operator.show_tenant("bert").await.unwrap().quota;
    assert_eq!(quota.bytes, Quota::none("bert").bytes);
    stopper.send(true).unwrap();
}
