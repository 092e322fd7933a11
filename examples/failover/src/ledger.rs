//! What the cluster has acknowledged to its clients, kept away from the
//! cluster's disks: every job by its request, every chunk, every seal, every
//! finished output. A promise is broken if the cluster says less later.
//!
//! Each entry is also a line of a file, for a look at what happened.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Write,
    path::Path,
    sync::mpsc::Sender,
};

use crate::clock::now_us;

/// Something that a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ack {
    /// The request has a job with this id.
    Job {
        id: String,
    },
    /// The chunk is safe on all homes.
    Chunk {
        number: u64,
    },
    /// The source is complete and sealed under this root.
    Sealed {
        root: String,
    },
    /// The job was seen with this many shards done.
    Encoding {
        done: u32,
    },
    Assembling,
    /// The job succeeded with an output of this hash.
    Succeeded {
        hash: String,
    },
    /// The output was fetched and had that hash.
    Fetched,
    /// No answer yet: a client is about to have the job deleted.
    Deleting,
    Deleted,
}

/// All that was acknowledged of one request.
#[derive(Clone, Debug, Default)]
pub struct Acknowledged {
    pub id: String,
    pub chunks: BTreeSet<u64>,
    pub root: Option<String>,
    pub output: Option<String>,
    pub deleting: bool,
    pub deleted: bool,
}

pub struct Ledger {
    file: File,
    requests: BTreeMap<String, Acknowledged>,
    entries: u64,
    /// Where each entry is announced as it is made.
    observer: Sender<(String, Ack)>,
    /// Where the cluster said less than before.
    pub broken: Vec<String>,
}

impl Ledger {
    /// A new ledger in the file `path`.
    pub(crate) fn new(path: &Path, observer: Sender<(String, Ack)>) -> Result<Self, String> {
        let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Ledger {
            file,
            requests: BTreeMap::new(),
            entries: 0,
            observer,
            broken: Vec::new(),
        })
    }

    /// Adds what the client of `request` was told, and compares it with what
    /// it had been told before.
    pub(crate) fn add(&mut self, request: &str, ack: Ack) {
        self.entries += 1;
        // A full disk must not end the experiment: what counts is in memory.
        let _ = writeln!(self.file, "{} {request} {ack:?}", now_us());
        let known = self.requests.entry(request.to_string()).or_default();
        let mut broken = None;
        let mut must_equal = |name: &str, before: &Option<String>, now: &String| {
            if before.as_ref().is_some_and(|before| before != now) {
                broken = Some(format!("{request}: {name} {now} after {before:?}"));
            }
        };
        match &ack {
            Ack::Job { id } => {
                let before = (!known.id.is_empty()).then(|| known.id.clone());
                must_equal("job", &before, id);
                known.id.clone_from(id);
            }
            Ack::Chunk { number } => {
                known.chunks.insert(*number);
            }
            Ack::Sealed { root } => {
                must_equal("root", &known.root, root);
                known.root = Some(root.clone());
            }
            Ack::Succeeded { hash } => {
                must_equal("output", &known.output, hash);
                known.output = Some(hash.clone());
            }
            Ack::Deleting => known.deleting = true,
            Ack::Deleted => known.deleted = true,
            Ack::Encoding { .. } | Ack::Assembling | Ack::Fetched => {}
        }
        self.broken.extend(broken);
        // Nobody may be listening any more.
        let _ = self.observer.send((request.to_string(), ack));
    }

    /// Adds a promise that was seen broken.
    pub(crate) fn add_broken(&mut self, request: &str, what: &str) {
        let _ = writeln!(self.file, "{request} BROKEN {what}");
        self.broken.push(format!("{request}: {what}"));
    }

    pub fn of(&self, request: &str) -> Acknowledged {
        self.requests.get(request).cloned().unwrap_or_default()
    }

    /// Every request, with what was acknowledged of it.
    pub fn requests(&self) -> impl Iterator<Item = (&String, &Acknowledged)> {
        self.requests.iter()
    }

    /// How often something was acknowledged.
    pub fn entries(&self) -> u64 {
        self.entries
    }
}
