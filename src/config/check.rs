//! Settings that contradict themselves, or would let strangers in.

use std::net::SocketAddr;

use reelraft_model::Problem;
use reelraft_proto::auth::Secret;

use super::{NodeConfig, origin::bad};
use crate::limits::{
    REHOME_AFTER_S_MIN, REPLACE_VOTER_AFTER_S_MIN, REPLAN_AFTER_S_MIN, SECRET_CHARACTERS_MIN,
    UPLOADS_EXPIRE_AFTER_S_MIN,
};

impl NodeConfig {
    pub(super) fn check(&self) -> Result<(), Problem> {
        if let Some(id) = self.id.filter(|id| !(1..=u64::from(u32::MAX)).contains(id)) {
            return Err(bad(
                format!("node id {id} is out of range"),
                "number the nodes from 1 up",
            ));
        }
        let named = |id: &u64| self.peers.is_empty() || self.peers.contains_key(id);
        match self.id.filter(|id| !named(id)) {
            Some(id) => Err(bad(
                format!("node {id} is not among the peers"),
                "list every node in --peers, this one too",
            )),
            None if self.slots == 0 => Err(bad("0 slots", "give a node at least one slot")),
            None if self.scrub_every_s == 0 => Err(bad(
                "a scrub round of 0 seconds",
                "give --scrub-every at least 1",
            )),
            None if self.rehome_after_s < REHOME_AFTER_S_MIN => Err(bad(
                format!("outputs copied after {} s of silence", self.rehome_after_s),
                "give --rehome-after at least 8: a restart takes some seconds",
            )),
            None if self.replan_after_s < REPLAN_AFTER_S_MIN => Err(bad(
                format!("jobs made anew after {} s of silence", self.replan_after_s),
                "give --replan-after at least 8: a restart takes some seconds",
            )),
            None if self.replace_voter_after_s < REPLACE_VOTER_AFTER_S_MIN => Err(bad(
                format!(
                    "votes moved after {} s of silence",
                    self.replace_voter_after_s
                ),
                "give --replace-voter-after at least 8: a restart takes some seconds",
            )),
            None if self.uploads_expire_after_s < UPLOADS_EXPIRE_AFTER_S_MIN => Err(bad(
                format!(
                    "uploads that end after {} s without progress",
                    self.uploads_expire_after_s
                ),
                "give --uploads-expire-after at least 900: what it counts is written down every five minutes",
            )),
            None => Ok(()),
        }
    }

    /// Refuses to listen beyond loopback without secrets that nobody guesses.
    ///
    /// # Errors
    /// `bad-config`.
    pub fn check_door(&self) -> Result<(), Problem> {
        let mut addresses = [Some(self.listen), self.http].into_iter().flatten();
        match addresses.find(|address| !address.ip().is_loopback()) {
            Some(open) => self.check_secrets(open),
            None => Ok(()),
        }
    }

    /// Beyond loopback, the secrets are all that keeps strangers out.
    fn check_secrets(&self, open: SocketAddr) -> Result<(), Problem> {
        if !self.secret.is_set() {
            return Err(bad(
                format!("listening on {open} without a secret would let anyone in"),
                "set --secret (or REELRAFT_SECRET) to the same long random word on all nodes and clients",
            ));
        }
        let secrets = [("secret", &self.secret), ("peer secret", &self.peer_secret)];
        let short = |(_, secret): &&(&str, &Secret)| secret.characters() < SECRET_CHARACTERS_MIN;
        match secrets.iter().find(short) {
            Some((name, secret)) => Err(bad(
                format!(
                    "the {name} has {} characters, which can be guessed: listening on {open} takes {SECRET_CHARACTERS_MIN}",
                    secret.characters()
                ),
                "make one with `openssl rand -hex 24`",
            )),
            None => Ok(()),
        }
    }

    /// Whether every client could speak to the nodes as one of them.
    pub fn clients_know_peer_secret(&self) -> bool {
        self.secret.is_set() && self.secret.same_as(&self.peer_secret)
    }
}
