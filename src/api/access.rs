//! Who is let in, for every face alike: by the cluster's secret as its
//! operator, or by a key as one who may do what the key allows. Each node judges
//! from its own replica, so that a key that is revoked is refused by all within
//! a beat.

use std::{sync::Arc, time::Instant};

use reelraft_model::{KEY_PREFIX, Key, KeyText, Problem};
use reelraft_proto::auth::Gate;

use super::{
    Api,
    caller::{Caller, Node, expired, unauthenticated},
    engines::{EngineApi, run_of},
    rates::Rates,
};
use crate::{
    clock::unix_ms,
    node::{context::NodeContext, engines::Run},
};

/// The way in to one node.
#[derive(Clone)]
pub struct Access {
    node: Arc<Node>,
    gate: Gate,
    rates: Arc<Rates>,
}

impl Access {
    /// The way in to a node, with the check of the secret that operators have.
    pub fn new(context: Arc<NodeContext>, gate: Gate) -> Self {
        Access {
            node: Arc::new(Node::new(context)),
            gate,
            rates: Arc::default(),
        }
    }

    /// Whether there is no secret, so that whoever reaches this node may ask all.
    pub fn is_open(&self) -> bool {
        self.gate.is_open()
    }

    /// What whoever shows a credential may ask. It is a key's text, a secret, or
    /// empty.
    ///
    /// # Errors
    /// `unauthenticated`, and `too-many-requests` of a tenant.
    pub fn admit(&self, credential: &[u8]) -> Result<Api, Problem> {
        // What was meant as a key is never taken for anything else.
        if credential.starts_with(KEY_PREFIX.as_bytes()) {
            return self.key(credential);
        }
        match self.gate.admits(credential) {
            true => Ok(self.operator()),
            false => Err(unauthenticated(
                "the cluster's secret, or a key, is missing or wrong",
            )),
        }
    }

    /// What whoever shows an engine's token may ask.
    ///
    /// # Errors
    /// `unauthenticated`, and `quarantined`.
    pub fn admit_engine(&self, token: &[u8]) -> Result<EngineApi, Problem> {
        EngineApi::admit(self.node.clone(), token)
    }

    /// A run of an engine, by its token, which is all that it takes.
    ///
    /// # Errors
    /// `task-over`.
    pub fn engine_run(&self, token: &str) -> Result<Arc<Run>, Problem> {
        run_of(&self.node, token)
    }

    /// What the operator may ask, which is all. For this program itself, and
    /// for what anybody may know.
    pub fn operator(&self) -> Api {
        Api::new(self.node.clone(), Caller::Operator)
    }

    fn key(&self, credential: &[u8]) -> Result<Api, Problem> {
        let wrong = || unauthenticated("there is no such key, or it was revoked");
        let text = std::str::from_utf8(credential).ok();
        let text = text.and_then(KeyText::parse).ok_or_else(wrong)?;
        self.holder(&text.id, |key| text.opens(key), wrong)
    }

    /// What the holder of a key may ask, who has shown something that `opens` it.
    ///
    /// # Errors
    /// What `wrong` gives where that is not so, `unauthenticated` of a key that has
    /// expired, and `too-many-requests` of its tenant.
    pub(super) fn holder(
        &self,
        id: &str,
        opens: impl FnOnce(&Key) -> bool,
        wrong: impl FnOnce() -> Problem,
    ) -> Result<Api, Problem> {
        let state = self.node.table().local();
        let key = state.key(id).filter(|key| opens(key)).cloned();
        let key = key.ok_or_else(wrong)?;
        if key.has_expired(unix_ms()) {
            return Err(expired(&key));
        }
        match state.quota(&key.tenant).requests_per_second {
            Some(rate) if self.rates.exceeds(&key.tenant, rate, Instant::now()) => {
                Err(Problem::new(
                    "too-many-requests",
                    format!("tenant '{}' may ask {rate} times a second", key.tenant),
                    "ask again in a moment, and less often",
                ))
            }
            _ => Ok(Api::new(self.node.clone(), Caller::Holder(key))),
        }
    }
}
