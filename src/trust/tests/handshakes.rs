//! Real handshakes over loopback: who is let in, who is not, and that each refusal is
//! said by name.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use reelraft_trust::{
    Acceptor, Anchor, Authority, Caller, Holder, Own, Port, PublicFiles, Role, Trust,
    certificate_trouble, certificates_in, new_key, pem, public_key, sha256_hex, was_revoked,
    write_file,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tonic::codegen::{Service, http::Uri};
use tracing::{Event, Subscriber, field::Visit};
use tracing_subscriber::{Layer, layer::SubscriberExt, registry::LookupSpan};

const CLUSTER: &str = "c1";

/// A certificate of a holder by an authority, made at some time.
fn own(authority: &Authority, holder: &Holder, at: SystemTime) -> Own {
    let key = new_key().unwrap();
    let names = ["localhost".to_string()];
    let first = authority
        .sign(holder, &names, &public_key(&key).unwrap(), at)
        .unwrap();
    let chain = [vec![first], authority.chain(None)].concat();
    Own::new(key, chain, 0).unwrap()
}

/// A node's trust, with a certificate of an authority and trusting some.
fn node(signer: &Authority, trusted: &[&Authority], holder: &Holder, at: SystemTime) -> Trust {
    let trust = Trust::on();
    let roots = trusted.iter().map(|it| it.certificate.clone()).collect();
    let own = own(signer, holder, at);
    trust
        .change(|view| {
            view.own = Some(Arc::new(own));
            view.trust_only(roots)
        })
        .unwrap();
    trust
}

fn member(id: u64) -> Holder {
    Holder::node(CLUSTER, id, &format!("disk{id}"))
}

fn now() -> SystemTime {
    SystemTime::now()
}

/// A port that greets whoever gets in, and says of each who it was.
struct Door {
    address: String,
    came: tokio::sync::mpsc::UnboundedReceiver<Caller>,
}

async fn door(trust: &Trust, port: Port) -> Door {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let acceptor = Acceptor::new(trust, port).unwrap();
    let (say, came) = tokio::sync::mpsc::unbounded_channel();
    let trust = trust.clone();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let (acceptor, say, trust) = (acceptor.clone(), say.clone(), trust.clone());
            tokio::spawn(async move {
                let Ok((mut stream, caller)) = acceptor.accept(socket).await else {
                    return;
                };
                let _ = say.send(caller.clone());
                let _ = stream.write_all(b"hello").await;
                let _ = stream.flush().await;
                trust.until_refused(&caller).await;
            });
        }
    });
    Door { address, came }
}

/// Whether a node is greeted at a door; why not, if it does not know whom it found.
async fn greeted(from: &Trust, door: &Door, expected: Option<u64>) -> Result<(), String> {
    let connector = from.connector(expected).unwrap();
    greeted_by(connector, door).await
}

async fn greeted_by(mut connector: reelraft_trust::Connector, door: &Door) -> Result<(), String> {
    let uri: Uri = format!("http://{}", door.address).parse().unwrap();
    let stream = connector
        .call(uri)
        .await
        .map_err(|error| certificate_trouble(&error).unwrap_or_else(|| error.to_string()))?;
    let mut greeting = [0; 5];
    let read = stream.into_inner().read_exact(&mut greeting).await;
    read.map(|_| ()).map_err(|error| error.to_string())
}

/// What was logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        struct Words<'a>(&'a mut String);
        impl Visit for Words<'_> {
            fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0.push_str(&format!("{value:?} "));
            }
        }
        event.record(&mut Words(&mut self.0.lock().unwrap()));
    }
}

impl Log {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Log::default();
        let subscriber = tracing_subscriber::registry().with(log.clone());
        (log, tracing::subscriber::set_default(subscriber))
    }

    #[track_caller]
    fn says(&self, words: &str) {
        let said = self.0.lock().unwrap().clone();
        assert!(said.contains(words), "'{words}' is not in: {said}");
    }
}

#[tokio::test]
async fn nodes_of_one_cluster_know_each_other() {
    let authority = Authority::mint(now()).unwrap();
    let [one, two] = [1, 2].map(|id| node(&authority, &[&authority], &member(id), now()));
    let mut door = door(&two, Port::Grpc).await;
    greeted(&one, &door, Some(2)).await.unwrap();
    let caller = door.came.recv().await.unwrap();
    assert_eq!(caller.holder, Some(member(1)));
    let refused = greeted(&one, &door, Some(3)).await.unwrap_err();
    assert!(refused.contains("speaks for nobody"), "{refused}");
}

#[tokio::test]
async fn foreign_expired_early_and_removed_nodes_are_refused_by_name() {
    let (log, _guard) = Log::start();
    let [authority, other] = [(); 2].map(|()| Authority::mint(now()).unwrap());
    let here = node(&authority, &[&authority], &member(1), now());
    let door = door(&here, Port::Grpc).await;
    let long_ago = now() - Duration::from_secs(40 * 24 * 3600);
    let soon = now() + Duration::from_secs(24 * 3600);
    let cases = [
        (
            node(&other, &[&authority], &member(2), now()),
            "node 2 (disk disk2) of cluster c1 was signed by an authority that is not trusted",
        ),
        (
            node(&authority, &[&authority], &member(4), long_ago),
            "node 4 (disk disk4) of cluster c1 has expired",
        ),
        (
            node(&authority, &[&authority], &member(5), soon),
            "node 5 (disk disk5) of cluster c1 is not valid yet",
        ),
    ];
    here.change(|view| {
        view.removed.insert(6);
        view.members.insert(7, "another disk".into());
        Ok(())
    })
    .unwrap();
    for (from, words) in cases {
        greeted(&from, &door, None).await.unwrap_err();
        log.says(words);
    }
    for id in [6, 7] {
        let gone = node(&authority, &[&authority], &member(id), now());
        greeted(&gone, &door, None).await.unwrap_err();
        log.says(&format!(
            "node {id} (disk disk{id}) of cluster c1 is that of a node that was removed"
        ));
    }
}

#[tokio::test]
async fn a_node_that_is_removed_loses_its_connections() {
    let authority = Authority::mint(now()).unwrap();
    let [one, two] = [1, 2].map(|id| node(&authority, &[&authority], &member(id), now()));
    let door = door(&two, Port::Grpc).await;
    let uri: Uri = format!("http://{}", door.address).parse().unwrap();
    let mut stream = one
        .connector(Some(2))
        .unwrap()
        .call(uri)
        .await
        .unwrap()
        .into_inner();
    let mut greeting = [0; 5];
    stream.read_exact(&mut greeting).await.unwrap();
    let removed = two.change(|view| {
        view.removed.insert(1);
        Ok(())
    });
    removed.unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut greeting)).await;
    assert!(!matches!(closed.expect("it is closed"), Ok(read) if read > 0));
    let uri: Uri = format!("http://{}", door.address).parse().unwrap();
    let connected = one.connector(Some(2)).unwrap().call(uri).await;
    let mut stream = connected.unwrap().into_inner();
    let told = stream.read(&mut greeting).await.unwrap_err();
    assert!(was_revoked(&told), "{told:?}");
    // HTTP/2 keeps the words alone, as the cause of its own error.
    let words = || std::io::Error::other(told.to_string());
    assert!(was_revoked(&std::io::Error::other(words())));
    assert!(!was_revoked(&tonic::Status::unknown(told.to_string())));
}

#[tokio::test]
async fn two_authorities_are_trusted_while_one_takes_the_others_place() {
    let former = Authority::mint(now()).unwrap();
    let mut next = Authority::mint(now()).unwrap();
    next.cross(&former, now()).unwrap();
    let old = node(&former, &[&former], &member(1), now());
    let key = new_key().unwrap();
    let first = next
        .sign(&member(2), &[], &public_key(&key).unwrap(), now())
        .unwrap();
    let chain = [vec![first], next.chain(Some(&former.certificate))].concat();
    let moved = Trust::on();
    moved
        .change(|view| {
            view.own = Some(Arc::new(Own::new(key, chain, 0)?));
            view.trust_only(vec![next.certificate.clone(), former.certificate.clone()])
        })
        .unwrap();
    let (at_old, at_moved) = (door(&old, Port::Grpc).await, door(&moved, Port::Grpc).await);
    greeted(&old, &at_moved, Some(2)).await.unwrap();
    greeted(&moved, &at_old, Some(1)).await.unwrap();
    for known_by in [&former.certificate, &next.certificate] {
        let pinned = Anchor::parse(&format!("sha256:{}", sha256_hex(known_by))).unwrap();
        greeted_by(pinned.connector(), &at_moved).await.unwrap();
    }
    let alone = moved.change(|view| view.trust_only(vec![next.certificate.clone()]));
    alone.unwrap();
    greeted(&old, &at_moved, Some(2)).await.unwrap_err();
}

#[tokio::test]
async fn clients_know_nodes_by_file_or_hash_and_are_known_as_clients() {
    let [authority, other] = [(); 2].map(|()| Authority::mint(now()).unwrap());
    let here = node(&authority, &[&authority], &member(1), now());
    let mut at = door(&here, Port::Grpc).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |authority: &Authority| {
        let path = folder.path().join(&authority.name);
        write_file(&path, &pem("CERTIFICATE", &authority.certificate)).unwrap();
        Anchor::parse(path.to_str().unwrap()).unwrap()
    };
    let hash =
        |authority: &Authority| Anchor::of_hash(&sha256_hex(&authority.certificate)).unwrap();
    for good in [file(&authority), hash(&authority)] {
        greeted_by(good.connector(), &at).await.unwrap();
        assert_eq!(
            at.came.recv().await.unwrap().holder,
            None,
            "clients need none"
        );
    }
    for bad in [file(&other), hash(&other)] {
        let refused = greeted_by(bad.connector(), &at).await.unwrap_err();
        assert!(refused.contains("not trusted here"), "{refused}");
    }
    let client = Holder {
        cluster: CLUSTER.into(),
        role: Role::Client { name: "ci".into() },
    };
    let from = node(&authority, &[&authority], &client, now());
    greeted(&from, &at, Some(1)).await.unwrap();
    assert_eq!(at.came.recv().await.unwrap().holder, Some(client));
    // It can't be taken for a node either.
    let pretender = door(&from, Port::Grpc).await;
    greeted(&here, &pretender, None).await.unwrap_err();
    greeted_by(hash(&authority).connector(), &pretender)
        .await
        .unwrap_err();
}

#[tokio::test]
async fn clients_are_shown_the_public_certificate_and_nodes_their_own() {
    let [authority, public] = [(); 2].map(|()| Authority::mint(now()).unwrap());
    let [here, there] = [1, 2].map(|id| node(&authority, &[&authority], &member(id), now()));
    let folder = tempfile::tempdir().unwrap();
    let files = PublicFiles {
        certificate: folder.path().join("cert.pem"),
        key: folder.path().join("key.pem"),
    };
    assert!(files.clone().show(&here).is_err(), "they are not there");
    let shown = own(&public, &member(9), now());
    shown.store(&files.certificate).unwrap();
    let text = std::fs::read_to_string(&files.certificate).unwrap();
    write_file(&files.key, &text).unwrap();
    let following = files.clone().show(&here).unwrap();
    let following = tokio::spawn(following);
    let at = door(&here, Port::Grpc).await;
    greeted(&there, &at, Some(1)).await.unwrap();
    let root = folder.path().join("root.pem");
    write_file(&root, &pem("CERTIFICATE", &public.certificate)).unwrap();
    assert_eq!(
        certificates_in("it", &std::fs::read(&root).unwrap())
            .unwrap()
            .len(),
        1
    );
    following.abort();
}
