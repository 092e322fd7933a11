//! What the cluster has acknowledged to its clients, kept away from the
//! cluster's disks: every job by its request, every chunk, every seal, every
//! finished output. A promise is broken where the cluster says less later on.
//!
//! Each entry is a line of a file too, for a look at what happened. Who asks
//! the cluster, and when it is harmed, is not here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Write,
    path::Path,
    sync::mpsc::Sender,
    time::SystemTime,
};

use super::unix_us;

/// Something that a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ack {
    /// There is a job of this id for the request.
    Job {
        id: String,
    },
    /// The chunk is safe on all homes.
    Chunk {
        number: u64,
    },
    /// The source is whole and sealed under this root.
    Sealed {
        root: String,
    },
    /// The job was seen with so many shards done.
    Encoding {
        done: u32,
    },
    Assembling,
    /// The job succeeded with an output of this hash.
    Succeeded {
        hash: String,
    },
    /// The output was fetched, with the hash that was said.
    Fetched,
    /// No answer yet: a client is about to have the job deleted.
    Deleting,
    Deleted,
}

/// All that was acknowledged of one request.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub id: String,
    pub chunks: BTreeSet<u64>,
    pub root: Option<String>,
    pub output: Option<String>,
    pub deleting: bool,
    pub deleted: bool,
}

pub struct Ledger {
    file: File,
    known: BTreeMap<String, Known>,
    entries: u64,
    /// Who waits for certain moments.
    told: Sender<(String, Ack)>,
    /// What the cluster said less than before.
    pub broken: Vec<String>,
}

impl Ledger {
    /// A new ledger in the file `path`, which passes each entry on to `told`.
    pub fn new(path: &Path, told: Sender<(String, Ack)>) -> Result<Self, String> {
        let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Ledger {
            file,
            known: BTreeMap::new(),
            entries: 0,
            told,
            broken: Vec::new(),
        })
    }

    /// Writes down what the client of `request` was told, and compares it with
    /// what it had been told before.
    pub fn note(&mut self, request: &str, ack: Ack) {
        self.entries += 1;
        let at_us = unix_us(SystemTime::now());
        // A full disk must not end the experiment: what counts is in memory.
        let _ = writeln!(self.file, "{at_us} {request} {ack:?}");
        let known = self.known.entry(request.to_string()).or_default();
        let mut broken = None;
        let mut same = |name: &str, before: &Option<String>, now: &String| {
            if before.as_ref().is_some_and(|before| before != now) {
                broken = Some(format!("{request}: {name} {now} after {before:?}"));
            }
        };
        match &ack {
            Ack::Job { id } => {
                let before = (!known.id.is_empty()).then(|| known.id.clone());
                same("job", &before, id);
                known.id.clone_from(id);
            }
            Ack::Chunk { number } => {
                known.chunks.insert(*number);
            }
            Ack::Sealed { root } => {
                same("root", &known.root, root);
                known.root = Some(root.clone());
            }
            Ack::Succeeded { hash } => {
                same("output", &known.output, hash);
                known.output = Some(hash.clone());
            }
            Ack::Deleting => known.deleting = true,
            Ack::Deleted => known.deleted = true,
            Ack::Encoding { .. } | Ack::Assembling | Ack::Fetched => {}
        }
        self.broken.extend(broken);
        // Nobody may be waiting any more.
        let _ = self.told.send((request.to_string(), ack));
    }

    /// A promise that was seen broken.
    pub fn accuse(&mut self, request: &str, what: &str) {
        let _ = writeln!(self.file, "{request} BROKEN {what}");
        self.broken.push(format!("{request}: {what}"));
    }

    pub fn known(&self, request: &str) -> Known {
        self.known.get(request).cloned().unwrap_or_default()
    }

    /// Every request that was acknowledged, with what is known of it.
    pub fn all(&self) -> impl Iterator<Item = (&String, &Known)> {
        self.known.iter()
    }

    /// How often something was acknowledged.
    pub fn entries(&self) -> u64 {
        self.entries
    }
}
