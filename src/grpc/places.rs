//! The connections of the listener: so many at once, those of nodes and those
//! of clients apart, so that no client keeps a node out. What has not shown a
//! secret yet gives way to what comes after it; so does a client's connection
//! on which nothing is asked, where there is no room for another's.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Instant,
};

use reelraft_model::Problem;
use reelraft_proto::auth::{Gate, credential};
use reelraft_trust::{Holder, Trust};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tonic::{Request, Status, service::Interceptor};

use super::{
    convert::status,
    limits::{
        CALLS_WITHOUT_SECRET_MAX, CLIENTS_MAX, IDLE_GIVES_WAY_AFTER, NEWCOMERS_MAX, PEERS_MAX,
    },
};
use crate::api::{Access, Api};

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Has a client's secret, or may come without one.
    Client,
    /// Has the nodes' own secret.
    Peer,
}

/// The room for connections. Clones share it.
#[derive(Clone)]
pub struct Places(Arc<Room>);

struct Room {
    newcomers_max: usize,
    clients: Arc<Semaphore>,
    peers: Arc<Semaphore>,
    newcomers: Mutex<Newcomers>,
    /// The connections that have a client's place.
    with_place: Mutex<BTreeMap<u64, Weak<Shared>>>,
}

#[derive(Default)]
struct Newcomers {
    last_number: u64,
    /// By the order in which they came.
    waiting: BTreeMap<u64, Arc<Notify>>,
}

/// One connection, as the services see it. Clones are the same one.
#[derive(Clone)]
pub struct Connection(Arc<Shared>);

struct Shared {
    room: Arc<Room>,
    number: u64,
    cut: Arc<Notify>,
    calls_without_secret: Arc<Semaphore>,
    place: Mutex<Option<(Role, OwnedSemaphorePermit)>>,
    calls: Mutex<Calls>,
}

/// The open calls of a connection.
struct Calls {
    open: usize,
    /// When the last one began or ended.
    last: Instant,
}

/// A call that is open until this is dropped.
pub struct OpenCall(Connection);

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.0.count_calls(|open| open.saturating_sub(1));
    }
}

impl Room {
    /// Takes the place of the client who has asked nothing for longest, if it is
    /// long enough.
    fn make_way(&self, now: Instant) -> Option<OwnedSemaphorePermit> {
        let mut with_place = lock(&self.with_place);
        with_place.retain(|_, connection| connection.strong_count() > 0);
        let idle = with_place.values().filter_map(Weak::upgrade);
        let idle = idle.filter_map(|connection| {
            let calls = lock(&connection.calls);
            let long = now.saturating_duration_since(calls.last) >= IDLE_GIVES_WAY_AFTER;
            let last = (calls.open == 0 && long).then_some(calls.last)?;
            drop(calls);
            Some((last, connection))
        });
        let (_, longest) = idle.min_by_key(|(last, _)| *last)?;
        with_place.remove(&longest.number);
        drop(with_place);
        longest.cut.notify_one();
        Some(lock(&longest.place).take()?.1)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half-done while it is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A refusal for want of room.
pub(super) fn too_busy(cause: impl Into<String>) -> Problem {
    let hint = "close some, try again in a while, or ask another node";
    Problem::new("too-busy", cause, hint)
}

impl Default for Places {
    /// The room of a node.
    fn default() -> Self {
        Places::new(CLIENTS_MAX, PEERS_MAX, NEWCOMERS_MAX)
    }
}

impl Places {
    /// Room for so many clients and nodes, and for so many of whom it is not
    /// known yet which they are.
    pub fn new(clients_max: usize, peers_max: usize, newcomers_max: usize) -> Self {
        Places(Arc::new(Room {
            newcomers_max,
            clients: Arc::new(Semaphore::new(clients_max)),
            peers: Arc::new(Semaphore::new(peers_max)),
            newcomers: Mutex::default(),
            with_place: Mutex::default(),
        }))
    }

    /// Takes a new connection in. Where there are too many newcomers, the one
    /// that has waited longest is cut.
    pub fn enter(&self) -> Connection {
        let mut newcomers = lock(&self.0.newcomers);
        newcomers.last_number += 1;
        let (number, cut) = (newcomers.last_number, Arc::new(Notify::new()));
        newcomers.waiting.insert(number, cut.clone());
        if newcomers.waiting.len() > self.0.newcomers_max
            && let Some((_, oldest)) = newcomers.waiting.pop_first()
        {
            oldest.notify_one();
        }
        Connection(Arc::new(Shared {
            room: self.0.clone(),
            number,
            cut,
            calls_without_secret: Arc::new(Semaphore::new(CALLS_WITHOUT_SECRET_MAX)),
            place: Mutex::default(),
            calls: Mutex::new(Calls {
                open: 0,
                last: Instant::now(),
            }),
        }))
    }
}

impl Connection {
    /// Waits until this connection must give way.
    pub async fn cut(&self) {
        self.0.cut.notified().await;
    }

    /// Whether nobody has shown a secret on it yet.
    pub fn is_newcomer(&self) -> bool {
        lock(&self.0.place).is_none()
    }

    /// The room for its calls that need no secret.
    pub(super) fn calls_without_secret(&self) -> &Arc<Semaphore> {
        &self.0.calls_without_secret
    }

    /// Counts a call as open.
    pub fn begin_call(&self) -> OpenCall {
        self.count_calls(|open| open + 1);
        OpenCall(self.clone())
    }

    fn count_calls(&self, open: impl FnOnce(usize) -> usize) {
        let mut calls = lock(&self.0.calls);
        calls.open = open(calls.open);
        calls.last = Instant::now();
    }

    /// Gives the connection a place among those of its role, if it has none. A
    /// node's connection may ask what clients ask.
    ///
    /// # Errors
    /// `too-busy`.
    fn admit(&self, role: Role, now: Instant) -> Result<(), Problem> {
        let mut place = lock(&self.0.place);
        if matches!(&*place, Some((had, _)) if *had == role || *had == Role::Peer) {
            return Ok(());
        }
        let (room, whose) = match role {
            Role::Client => (&self.0.room.clients, "clients"),
            Role::Peer => (&self.0.room.peers, "nodes"),
        };
        let free = room.clone().try_acquire_owned().ok();
        let permit = free.or_else(|| match role {
            Role::Client => self.0.room.make_way(now),
            Role::Peer => None,
        });
        let permit = permit.ok_or_else(|| {
            too_busy(format!(
                "this node has as many connections of {whose} as it can hold"
            ))
        })?;
        *place = Some((role, permit));
        let mut with_place = lock(&self.0.room.with_place);
        match role {
            Role::Client => with_place.insert(self.0.number, Arc::downgrade(&self.0)),
            Role::Peer => with_place.remove(&self.0.number),
        };
        drop(with_place);
        self.leave_newcomers();
        Ok(())
    }

    /// Gives its place up, when it has ended.
    pub fn leave(&self) {
        *lock(&self.0.place) = None;
        lock(&self.0.room.with_place).remove(&self.0.number);
        self.leave_newcomers();
    }

    fn leave_newcomers(&self) {
        lock(&self.0.room.newcomers).waiting.remove(&self.0.number);
    }
}

/// Checks the secret or key of a call, and gives its connection a place.
#[derive(Clone)]
pub enum Admission {
    /// To what nodes ask of each other: by their secret, and by a node's
    /// certificate where they speak by TLS.
    Peers(Gate, Trust),
    /// To what clients ask. The call carries on what this one may ask.
    Clients(Access),
}

impl Interceptor for Admission {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let (mut request, api, role) = match self {
            Admission::Peers(gate, trust) => {
                check_node(request.extensions().get::<Holder>(), trust)?;
                (gate.call(request)?, None, Role::Peer)
            }
            Admission::Clients(access) => {
                let api = access.admit(credential(&request)).map_err(status)?;
                (request, Some(api), Role::Client)
            }
        };
        // There is none without a listener.
        if let Some(connection) = request.extensions().get::<Connection>() {
            connection.admit(role, Instant::now()).map_err(status)?;
        }
        if let Some(api) = api {
            request.extensions_mut().insert(api);
        }
        Ok(request)
    }
}

/// Refuses who asks what nodes ask of each other and has no node's certificate.
/// Those of nodes that were removed never get this far.
fn check_node(holder: Option<&Holder>, trust: &Trust) -> Result<(), Status> {
    let refused = match holder {
        _ if !trust.is_on() => return Ok(()),
        Some(holder) if holder.as_node().is_some() => return Ok(()),
        Some(holder) => format!("{holder} asks what nodes alone may"),
        None => "somebody without a certificate asks what nodes alone may".to_string(),
    };
    trust.refuse(&refused);
    Err(Status::unauthenticated(refused))
}

/// What whoever makes a call may ask.
///
/// # Errors
/// `unauthenticated` where nobody has let it in.
pub(super) fn api_of<T>(request: &Request<T>) -> Result<Api, Status> {
    let api = request.extensions().get::<Api>().cloned();
    api.ok_or_else(|| Status::unauthenticated("nobody has let this call in"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures::FutureExt;

    use super::*;

    #[test]
    fn clients_that_take_all_their_places_keep_no_node_out() {
        let places = Places::new(1, 1, 8);
        let [first, second, peer] = [(); 3].map(|()| places.enter());
        first.admit(Role::Client, Instant::now()).unwrap();
        first.admit(Role::Client, Instant::now()).unwrap();
        assert_eq!(
            second.admit(Role::Client, Instant::now()).unwrap_err().kind,
            "too-busy"
        );
        peer.admit(Role::Peer, Instant::now()).unwrap();
        peer.admit(Role::Client, Instant::now()).unwrap();
        assert_eq!(
            second.admit(Role::Peer, Instant::now()).unwrap_err().kind,
            "too-busy"
        );
        assert!(second.is_newcomer() && !first.is_newcomer());
        first.leave();
        second.admit(Role::Client, Instant::now()).unwrap();
    }

    #[test]
    fn with_tls_only_nodes_ask_what_nodes_ask() {
        let trust = Trust::on();
        let client = Holder {
            cluster: "c1".into(),
            role: reelraft_trust::Role::Client { name: "ci".into() },
        };
        check_node(Some(&Holder::node("c1", 2, "disk")), &trust).unwrap();
        check_node(None, &Trust::default()).unwrap();
        for stranger in [None, Some(&client)] {
            let refused = check_node(stranger, &trust).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::Unauthenticated);
        }
    }

    #[test]
    fn the_oldest_newcomer_gives_way() {
        let places = Places::new(8, 8, 2);
        let [known, first, second, third] = [(); 4].map(|()| {
            let connection = places.enter();
            if places.0.newcomers.lock().unwrap().last_number == 1 {
                connection.admit(Role::Client, Instant::now()).unwrap();
            }
            connection
        });
        let is_cut = |connection: &Connection| connection.cut().now_or_never().is_some();
        assert!(is_cut(&first));
        for kept in [&known, &second, &third] {
            assert!(!is_cut(kept));
        }
        second.leave();
        places.enter();
        assert!(!is_cut(&third), "there was room again");
    }

    #[test]
    fn the_client_that_has_asked_nothing_for_longest_gives_way() {
        let places = Places::new(3, 1, 8);
        let [busy, idle, later, fourth, fifth] = [(); 5].map(|()| places.enter());
        let now = Instant::now();
        for client in [&busy, &idle, &later] {
            client.admit(Role::Client, now).unwrap();
        }
        let call = busy.begin_call();
        drop(later.begin_call());
        let is_cut = |connection: &Connection| connection.cut().now_or_never().is_some();
        let refused = fourth.admit(Role::Client, now).unwrap_err();
        assert_eq!(refused.kind, "too-busy", "they may be about to ask");
        let soon = Instant::now() + IDLE_GIVES_WAY_AFTER;
        fourth.admit(Role::Client, soon).unwrap();
        assert!(is_cut(&idle) && !is_cut(&later) && !is_cut(&busy));
        let _calls = [later.begin_call(), fourth.begin_call()];
        let refused = fifth.admit(Role::Client, soon).unwrap_err();
        assert_eq!(refused.kind, "too-busy", "all are asking");
        drop(call);
        let soon = Instant::now() + IDLE_GIVES_WAY_AFTER;
        fifth.admit(Role::Client, soon).unwrap();
        assert!(is_cut(&busy) && !is_cut(&later) && !is_cut(&fourth));
        idle.leave();
        assert_eq!(
            places.0.clients.available_permits(),
            0,
            "its place is taken"
        );
    }
}
