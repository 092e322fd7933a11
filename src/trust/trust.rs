//! What a node holds and believes now: its own certificate, the authorities that it
//! trusts, and which nodes were removed. Every handshake looks at it anew, so that
//! a change needs no restart and no new listener.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use rustls::{
    CertificateError, Error, RootCertStore, pki_types::CertificateDer, sign::CertifiedKey,
};
use tokio::sync::watch;

use crate::{
    authority::sha256_hex, error::TrustError, holder::Holder, own::Own, refusals::Refusals,
};

/// What a node holds and believes. Clones share it. One that is off speaks without
/// TLS.
#[derive(Clone, Default)]
pub struct Trust(Option<Arc<Inner>>);

struct Inner {
    view: RwLock<Arc<View>>,
    changed: watch::Sender<()>,
    refusals: Refusals,
}

/// It at one moment.
#[derive(Clone, Debug)]
pub struct View {
    /// This node's key and certificate; none before it has any.
    pub own: Option<Arc<Own>>,
    /// The members that are known, with the incarnations of their disks.
    pub members: BTreeMap<u64, String>,
    /// Nodes that were removed.
    pub removed: BTreeSet<u64>,
    /// What clients are shown in place of the node's own certificate.
    pub(crate) public: Option<Arc<CertifiedKey>>,
    roots: Vec<CertificateDer<'static>>,
    pub(crate) anchors: Arc<RootCertStore>,
}

/// Who is at the other end of a connection, where that is known.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// Whom its certificate speaks for.
    pub holder: Option<Holder>,
    /// When that ends, in seconds since 1970.
    pub until_s: Option<u64>,
}

/// What others are told of a node's certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// SHA-256 of the certificate, in hex.
    pub sha256: String,
    /// The same of the authority that signed it.
    pub authority_sha256: String,
    /// When it ends.
    pub until_unix_ms: u64,
    /// How often all nodes had been told to renew when it was made.
    pub renewals: u64,
}

impl Default for View {
    fn default() -> Self {
        View {
            own: None,
            members: BTreeMap::new(),
            removed: BTreeSet::new(),
            public: None,
            roots: Vec::new(),
            anchors: Arc::new(RootCertStore::empty()),
        }
    }
}

impl View {
    /// The authorities that are trusted.
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// Trusts these authorities and no others.
    ///
    /// # Errors
    /// [`TrustError::Tls`] for what is no certificate.
    pub fn trust_only(&mut self, roots: Vec<CertificateDer<'static>>) -> Result<(), TrustError> {
        let mut anchors = RootCertStore::empty();
        for root in &roots {
            anchors.add(root.clone())?;
        }
        (self.roots, self.anchors) = (roots, Arc::new(anchors));
        Ok(())
    }

    /// Shows clients this.
    pub fn show_publicly(&mut self, certified: Arc<CertifiedKey>) {
        self.public = Some(certified);
    }

    /// Whether a holder belongs to this cluster, and still does.
    pub(crate) fn check(&self, holder: &Holder) -> Result<(), Error> {
        let own = self.own.as_ref().map(|own| &own.holder.cluster);
        if own.is_some_and(|own| *own != holder.cluster) {
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        }
        match holder.as_node() {
            Some((node, incarnation)) if self.is_gone(node, incarnation) => {
                Err(Error::InvalidCertificate(CertificateError::Revoked))
            }
            _ => Ok(()),
        }
    }

    fn is_gone(&self, node: u64, incarnation: &str) -> bool {
        let replaced = |known: &String| known != incarnation;
        self.removed.contains(&node) || self.members.get(&node).is_some_and(replaced)
    }
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_on() {
            "Trust(on)"
        } else {
            "Trust(off)"
        })
    }
}

impl Trust {
    /// One that is on, and holds nothing yet.
    pub fn on() -> Self {
        Trust(Some(Arc::new(Inner {
            view: RwLock::default(),
            changed: watch::Sender::default(),
            refusals: Refusals::default(),
        })))
    }

    /// Whether it is.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// What it holds and believes now.
    pub fn view(&self) -> Arc<View> {
        match &self.0 {
            Some(inner) => inner
                .view
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            None => Arc::default(),
        }
    }

    /// Changes that, for all handshakes from now on. Nothing changes where `change`
    /// fails.
    ///
    /// # Errors
    /// That of `change`.
    pub fn change(
        &self,
        change: impl FnOnce(&mut View) -> Result<(), TrustError>,
    ) -> Result<(), TrustError> {
        let Some(inner) = &self.0 else {
            return Ok(());
        };
        let mut view = inner.view.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = View::clone(&view);
        change(&mut next)?;
        *view = Arc::new(next);
        drop(view);
        inner.changed.send_replace(());
        Ok(())
    }

    /// What others are told of this node's certificate; none where it has none.
    pub fn note(&self) -> Option<Note> {
        let own = self.view().own.clone()?;
        Some(Note {
            sha256: sha256_hex(own.chain.first()?),
            authority_sha256: sha256_hex(own.authority()),
            until_unix_ms: own.until_s.saturating_mul(1000),
            renewals: own.renewals,
        })
    }

    /// Waits until a caller's connection must end: its node was removed, or its
    /// certificate has ended. Forever for one without.
    pub async fn until_refused(&self, caller: &Caller) {
        let (Some(inner), Some(holder)) = (&self.0, &caller.holder) else {
            return std::future::pending().await;
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let left = caller
            .until_s
            .map(|end| Duration::from_secs(end).saturating_sub(now.unwrap_or_default()));
        let ended = async {
            match left {
                Some(left) => tokio::time::sleep(left).await,
                None => std::future::pending().await,
            }
        };
        let mut changed = inner.changed.subscribe();
        let removed = async {
            while self.view().check(holder).is_ok() {
                if changed.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            self.refuse(&format!(
                "{holder} was removed, and its connections are closed"
            ));
        };
        tokio::select! {
            () = ended => {}
            () = removed => {}
        }
    }

    /// Says in the log why somebody who came was refused.
    pub fn refuse(&self, cause: &str) {
        if let Some(inner) = &self.0 {
            inner.refusals.log(cause);
        }
    }

    /// Says in the log why this node did not speak with one that it came to.
    pub(crate) fn miss(&self, cause: &str) {
        if let Some(inner) = &self.0 {
            inner.refusals.log_server(cause);
        }
    }
}
