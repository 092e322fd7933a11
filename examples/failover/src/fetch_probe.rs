//! A user who fetches finished outputs all the time, whoever is away: one can
//! be had whenever a living node holds it.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use tokio::time::{sleep, timeout};

use crate::{
    clock::now_us,
    grpc::{self, CallError},
    holdings::holds,
};

/// How long one node may take to give an output before the next is asked.
const TRY_MAX: Duration = Duration::from_secs(6);

/// How long all of them together may take, on a machine whose cores are busy.
const FETCH_MAX: Duration = Duration::from_secs(20);

/// A node counts as living when its process has run for this long.
const START_US: u64 = 5_000_000;

/// Pause between two fetches, and before an output is asked for again.
const PAUSE: Duration = Duration::from_millis(100);

/// One node as the probe sees it.
#[derive(Clone)]
pub struct Place {
    pub endpoint: String,
    pub data: PathBuf,
    /// Since when its process runs; `None` while it is away.
    pub up_since_us: Option<u64>,
}

/// What the experiment tells the probe, and what the probe found.
#[derive(Default)]
pub struct Probed {
    pub places: BTreeMap<u64, Place>,
    /// Finished outputs: (job, hash).
    pub outputs: Vec<(String, String)>,
    pub stopped: bool,
    /// How long each fetch took that some living node could serve.
    pub took_ms: Vec<u64>,
    /// Looks at an output that no living node held.
    pub held_by_none: u64,
    pub broken: Vec<String>,
}

impl Probed {
    /// The nodes that have lived long enough, and since when.
    fn living(&self) -> BTreeMap<u64, u64> {
        let up = self.places.iter();
        up.filter_map(|(&node, place)| Some((node, place.up_since_us?)))
            .filter(|(_, since_us)| since_us + START_US < now_us())
            .collect()
    }

    /// Those of some nodes that hold an output.
    fn holders(&self, living: &BTreeMap<u64, u64>, job: &str, hash: &str) -> Vec<u64> {
        let holds = |node: &&u64| holds(&self.places[*node].data, job, hash);
        living.keys().filter(holds).copied().collect()
    }
}

/// The probe. Clones are the same one.
#[derive(Clone, Default)]
pub struct FetchProbe(Arc<Mutex<Probed>>);

impl FetchProbe {
    pub fn state(&self) -> MutexGuard<'_, Probed> {
        self.0.lock().expect("no holder of the probe panics")
    }

    /// Fetches one output after the other until stopped.
    pub async fn run(self) {
        for number in 0_usize.. {
            sleep(PAUSE).await;
            let output = {
                let state = self.state();
                if state.stopped {
                    return;
                }
                let count = state.outputs.len().max(1);
                state.outputs.get(number % count).cloned()
            };
            if let Some((job, hash)) = output {
                self.fetch(&job, &hash).await;
            }
        }
    }

    async fn fetch(&self, job: &str, hash: &str) {
        let (living, holders) = {
            let mut state = self.state();
            let living = state.living();
            let holders = state.holders(&living, job, hash);
            if holders.is_empty() {
                state.held_by_none += 1;
                return;
            }
            (living, holders)
        };
        let started = Instant::now();
        let mut answers = Vec::new();
        while started.elapsed() < FETCH_MAX {
            for (node, endpoint) in self.up() {
                match timeout(TRY_MAX, try_fetch(&endpoint, job)).await {
                    Ok(Ok(found)) if found == hash => {
                        let took_ms = started.elapsed().as_millis() as u64;
                        return self.state().took_ms.push(took_ms);
                    }
                    Ok(Ok(found)) => {
                        let what = format!("node {node} gave {found} as {hash} of {job}");
                        return self.state().broken.push(what);
                    }
                    Ok(Err(error)) => answers.push(format!("node {node}: {error:?}")),
                    Err(_) => answers.push(format!("node {node}: nothing in time")),
                }
            }
            sleep(PAUSE).await;
        }
        let mut state = self.state();
        let still = state.living();
        let stayed = |node: &&u64| still.get(*node) == living.get(*node);
        let stayed: Vec<u64> = holders.iter().filter(stayed).copied().collect();
        if !stayed.is_empty() && !state.holders(&still, job, hash).is_empty() {
            answers.dedup();
            let answers = answers.join("; ");
            state.broken.push(format!(
                "the output of {job} could not be fetched though {stayed:?} held it: {answers}"
            ));
        }
    }

    /// The nodes that run, and where.
    fn up(&self) -> Vec<(u64, String)> {
        let state = self.state();
        let up = state
            .places
            .iter()
            .filter(|(_, place)| place.up_since_us.is_some());
        up.map(|(&node, place)| (node, place.endpoint.clone()))
            .collect()
    }
}

async fn try_fetch(endpoint: &str, job: &str) -> Result<String, CallError> {
    grpc::fetch(&mut grpc::connect(endpoint).await?, job).await
}
