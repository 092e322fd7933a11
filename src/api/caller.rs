//! What one caller may ask of a node. All that a function of the api can reach
//! goes through here: rows through [`Seen`], which has those of the caller's
//! tenant alone, writes through [`Api::apply`], streams through a [`Welcome`].
//! Each wants to be told which scope it takes, so that none can be forgotten.

use std::{sync::Arc, time::Duration};

use futures::future::{BoxFuture, FutureExt};
use reelraft_consensus::{Cluster, ConsensusError};
use reelraft_model::{Command, JobEntry, JobState, Key, Problem, Reply, Scope, State};
use tokio::time::sleep;

use super::{
    doors::Doors,
    limits::{KEY_LOOKS_EVERY, KEY_SLEEP_MAX},
    news::CurrentHub,
};
use crate::{clock::unix_ms, node::context::NodeContext};

/// Which state of the table answers a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Everything that anyone was told before.
    #[default]
    Linearizable,
    /// This node's own replica, however old. It needs no quorum.
    Local,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// Has the cluster's secret.
    Operator,
    /// Has a key.
    Holder(Arc<Key>),
}

/// What all callers share.
pub(super) struct Node {
    context: Arc<NodeContext>,
    doors: Doors,
    hub: CurrentHub,
}

/// One node, as one caller may ask it.
#[derive(Clone)]
pub struct Api {
    node: Arc<Node>,
    caller: Caller,
}

/// The table as one caller sees it: what is another tenant's is not there.
pub(super) struct Seen {
    state: Arc<State>,
    caller: Caller,
}

/// Ends when a caller may ask no longer, with the refusal.
pub struct Welcome(pub(super) BoxFuture<'static, Problem>);

impl Welcome {
    /// Whatever work gives, or the refusal where the caller may not have it any
    /// more.
    ///
    /// # Errors
    /// The refusal, and those of the work.
    pub async fn during<T>(
        &mut self,
        work: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        tokio::select! {
            biased;
            refusal = &mut self.0 => Err(refusal),
            done = work => done,
        }
    }

    /// That of whom nobody sends away.
    pub fn for_good() -> Self {
        Welcome(futures::future::pending().boxed())
    }
}

impl Caller {
    /// The tenant whose rows alone it sees; none sees all.
    fn tenant(&self) -> Option<&str> {
        match self {
            Caller::Operator => None,
            Caller::Holder(key) => Some(&key.tenant),
        }
    }

    fn may(&self, scope: Scope) -> Result<(), Problem> {
        match self {
            Caller::Holder(key) if key.scope() < scope => {
                let (has, wants) = (key.scope().name(), scope.name());
                let cause = format!("this takes the scope {wants}, and the key has {has}");
                Err(forbidden(cause))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a key that is no more, or not as it was, in a state of the table.
    fn holds_in(&self, state: &State) -> Result<(), Problem> {
        match self {
            Caller::Operator => Ok(()),
            Caller::Holder(key) if key.has_expired(unix_ms()) => Err(expired(key)),
            Caller::Holder(key) => match state.key(&key.id) {
                Some(known) if known == key => Ok(()),
                _ => Err(revoked(key)),
            },
        }
    }

    fn sees(&self, tenant: &str) -> bool {
        self.tenant().is_none_or(|own| own == tenant)
    }
}

fn forbidden(cause: impl Into<String>) -> Problem {
    let hint = "ask with the cluster's secret, or with another key";
    Problem::new("forbidden", cause, hint)
}

impl Node {
    pub fn new(context: Arc<NodeContext>) -> Self {
        Node {
            context,
            doors: Doors::default(),
            hub: CurrentHub::default(),
        }
    }

    pub fn table(&self) -> &Cluster {
        &self.context.cluster
    }

    pub fn context(&self) -> &Arc<NodeContext> {
        &self.context
    }
}

impl Api {
    pub(super) fn new(node: Arc<Node>, caller: Caller) -> Self {
        Api { node, caller }
    }

    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(super) fn context(&self) -> &Arc<NodeContext> {
        &self.node.context
    }

    pub(super) fn doors(&self) -> &Doors {
        &self.node.doors
    }

    pub(super) fn hub(&self) -> &CurrentHub {
        &self.node.hub
    }

    /// The same node as its operator asks it, for what is found once and told to
    /// each caller as far as it may know.
    pub(super) fn as_operator(&self) -> Self {
        Api::new(self.node.clone(), Caller::Operator)
    }

    /// The table, for what is nobody's: members, leadership, time.
    pub(super) fn table(&self) -> &Cluster {
        self.node.table()
    }

    /// Refuses a caller without a scope.
    ///
    /// # Errors
    /// `forbidden`.
    pub fn takes(&self, scope: Scope) -> Result<(), Problem> {
        self.caller.may(scope)
    }

    /// Refuses all but the operator.
    pub(super) fn operator_only(&self) -> Result<(), Problem> {
        match self.caller {
            Caller::Operator => Ok(()),
            Caller::Holder(_) => {
                let cause = "this takes the cluster's secret, and not a key";
                Err(forbidden(cause))
            }
        }
    }

    /// Whether the caller sees the cluster as a whole.
    pub(super) fn sees_all(&self) -> bool {
        self.caller.tenant().is_none()
    }

    /// The tenant that a request is about: the caller's own where it names none.
    ///
    /// # Errors
    /// `forbidden` for another's, and without the scope.
    pub(super) fn tenant<'a>(&'a self, takes: Scope, named: &'a str) -> Result<&'a str, Problem> {
        self.takes(takes)?;
        match self.caller.tenant() {
            Some(own) if named.is_empty() || named == own => Ok(own),
            Some(own) => {
                let cause = format!("the key is tenant {own}'s, and the request names {named}");
                Err(forbidden(cause))
            }
            None => Ok(named),
        }
    }

    /// The table as the caller sees it.
    ///
    /// # Errors
    /// `forbidden`, `unauthenticated` where the key is no more, and what keeps the
    /// cluster from reading.
    pub(super) async fn seen(&self, takes: Scope, read: Consistency) -> Result<Seen, Problem> {
        self.takes(takes)?;
        let state = match read {
            Consistency::Local => self.table().local(),
            Consistency::Linearizable => self.table().read().await.map_err(problem)?,
        };
        Seen::new(state, &self.caller)
    }

    pub(super) async fn entry(
        &self,
        takes: Scope,
        id: &str,
        read: Consistency,
    ) -> Result<Arc<JobEntry>, Problem> {
        self.seen(takes, read).await?.job(id)
    }

    /// A job as it is now, or as this replica has it where there is no quorum:
    /// what is finished can be read from a living home whatever else is down.
    pub(super) async fn entry_or_local(
        &self,
        takes: Scope,
        id: &str,
    ) -> Result<Arc<JobEntry>, Problem> {
        self.takes(takes)?;
        let state = self.table().read().await;
        let state = state.unwrap_or_else(|_| self.table().local());
        Seen::new(state, &self.caller)?.job(id)
    }

    /// Has a command applied that is about what is this tenant's; gives its
    /// reply and a state that has it.
    ///
    /// # Errors
    /// `forbidden`, `unauthenticated` where the key is no more, the command's
    /// refusal, and what keeps the cluster from writing.
    pub(super) async fn apply(
        &self,
        takes: Scope,
        tenant: &str,
        command: Command,
    ) -> Result<(Reply, Arc<State>), Problem> {
        self.tenant(takes, tenant)?;
        self.caller.holds_in(&self.table().local())?;
        let committed = self.table().propose(vec![command]).await.map_err(problem)?;
        let reply = committed.replies.into_iter().next().unwrap_or_default();
        let reply = reply.accepted()?;
        let state = self.table().state_at(committed.index).await;
        Ok((reply, state.map_err(problem)?))
    }

    /// How long the caller's streams may go on.
    pub fn welcome(&self) -> Welcome {
        let Caller::Holder(key) = &self.caller else {
            return Welcome::for_good();
        };
        let (table, key) = (self.table().clone(), key.clone());
        Welcome(ends(table, key).boxed())
    }
}

/// Waits until a key is revoked or expires.
async fn ends(table: Cluster, key: Arc<Key>) -> Problem {
    let mut applied = table.applied();
    loop {
        applied.borrow_and_update();
        let now_unix_ms = unix_ms();
        let caller = Caller::Holder(key.clone());
        if let Err(problem) = caller.holds_in(&table.local()) {
            return problem;
        }
        // A clock that is set is noticed in time.
        let left = match key.expires_unix_ms {
            0 => KEY_SLEEP_MAX,
            until => Duration::from_millis(until.saturating_sub(now_unix_ms)).min(KEY_SLEEP_MAX),
        };
        let changed = async {
            sleep(KEY_LOOKS_EVERY).await;
            applied.changed().await
        };
        tokio::select! {
            // A node that stops ends its streams by itself.
            changed = changed => if changed.is_err() { futures::future::pending().await },
            () = sleep(left) => {}
        }
    }
}

/// The refusal of a key whose time is over.
pub(super) fn expired(key: &Key) -> Problem {
    unauthenticated(&format!("the key '{}' ({}) has expired", key.name, key.id))
}

/// The refusal of a key that was revoked while it was used.
fn revoked(key: &Key) -> Problem {
    unauthenticated(&format!("the key '{}' ({}) was revoked", key.name, key.id))
}

/// The refusal of whoever shows nothing that opens.
pub(super) fn unauthenticated(cause: &str) -> Problem {
    Problem::new(
        "unauthenticated",
        cause,
        "set REELRAFT_KEY or REELRAFT_SECRET, or send `Authorization: Bearer KEY`; an admin makes keys with `reelraft key create`",
    )
}

impl Seen {
    /// What a caller sees of a state.
    ///
    /// # Errors
    /// `unauthenticated` where its key is no more.
    fn new(state: Arc<State>, caller: &Caller) -> Result<Self, Problem> {
        caller.holds_in(&state)?;
        let caller = caller.clone();
        Ok(Seen { state, caller })
    }

    /// A job that exists for users: a tombstone does not.
    ///
    /// # Errors
    /// `not-found`.
    pub fn job(&self, id: &str) -> Result<Arc<JobEntry>, Problem> {
        let entry = self.remembered(id)?;
        match entry.job.state() {
            JobState::Deleted => Err(not_found(id)),
            _ => Ok(entry),
        }
    }

    /// The same, also of one that is deleted and not forgotten.
    ///
    /// # Errors
    /// `not-found`.
    pub fn remembered(&self, id: &str) -> Result<Arc<JobEntry>, Problem> {
        let entry = self.state.job(id);
        let own = entry.filter(|entry| self.caller.sees(&entry.job.tenant));
        own.ok_or_else(|| not_found(id))
    }

    /// A tenant's jobs older than `before` (a creation index), the newest first; all
    /// that the caller sees where none is named.
    pub fn newest_before<'a>(
        &'a self,
        tenant: &'a str,
        before: u64,
    ) -> Box<dyn Iterator<Item = Arc<JobEntry>> + 'a> {
        let tenant = self.caller.tenant().unwrap_or(tenant);
        if !tenant.is_empty() {
            return Box::new(self.state.newest_of(tenant, before));
        }
        let jobs = self.state.newest_before(before);
        Box::new(jobs.filter(|entry| entry.job.state() != JobState::Deleted))
    }

    /// Keys of the caller's tenant, by id.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<Key>> {
        let keys = self.state.keys();
        keys.filter(|key| self.caller.sees(&key.tenant))
    }

    /// The whole table, to judge by: what is another tenant's is told to nobody.
    pub fn whole(&self) -> &State {
        &self.state
    }
}

/// A refusal by the table.
pub(super) fn problem(error: ConsensusError) -> Problem {
    error.problem()
}

/// The refusal of a job that there is not, or not for the caller.
pub(super) fn not_found(id: &str) -> Problem {
    Problem::new(
        "not-found",
        format!("there is no job {id}"),
        "see `reelraft job list`",
    )
}
