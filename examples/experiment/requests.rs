//! Small jobs under request ids, asked for before, during and after a fault:
//! what was acknowledged must be there at the end, once, and done (P2, P5);
//! and what must be refused is refused in time and by name (P10).

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use super::{
    client::{Asked, EXIT_UNREACHABLE},
    fleet::Fleet,
    load::make_probe_clip,
};

/// What the small jobs are made with.
const SPEC: [&str; 4] = ["--preset", "ultrafast", "--tenant", "requests"];

/// How long a client may look for a node that takes its request before it is
/// ended: as long as the fault, and some elections.
const TAKEN_PATIENCE: Duration = Duration::from_secs(30);

/// How long a refusal may take before the client is ended and counts as
/// hanging. What it should take is the experiment's to say.
const HANG: Duration = Duration::from_secs(5);

/// How long the small jobs may take to be done in the end.
const DONE_PATIENCE: &str = "10m";

/// How often a client is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

pub struct Requests {
    clip: String,
    acknowledged: BTreeSet<String>,
}

/// A client at work, and its request id.
pub struct Asking {
    id: String,
    client: Child,
}

impl Requests {
    /// Makes the clip of the small jobs.
    ///
    /// # Errors
    /// That it could not be made.
    pub fn new(folder: &Path) -> Result<Self, String> {
        let clip = folder.join("request.mp4");
        make_probe_clip(&clip, 2)?;
        Ok(Requests {
            clip: clip.display().to_string(),
            acknowledged: BTreeSet::new(),
        })
    }

    fn words<'a>(&'a self, id: &'a str) -> Vec<&'a str> {
        let words = ["job", "submit", &self.clip, "--detach", "--request-id", id];
        [&words[..], &SPEC].concat()
    }

    /// Asks for a job, which the cluster must take.
    ///
    /// # Errors
    /// That it did not.
    pub fn must_create(&mut self, fleet: &Fleet, id: &str) -> Result<(), String> {
        fleet.say(&self.words(id))?;
        self.acknowledged.insert(id.to_string());
        Ok(())
    }

    /// Asks for a job and does not wait for the answer.
    ///
    /// # Errors
    /// That the client could not be started.
    pub fn begin(&self, fleet: &Fleet, id: &str) -> Result<Asking, String> {
        let mut client = fleet.cli(&self.words(id));
        let client = client.stdout(Stdio::null()).stderr(Stdio::null());
        let client = client.spawn().map_err(|error| error.to_string())?;
        let id = id.to_string();
        Ok(Asking { id, client })
    }

    /// Waits for the answer, and asks again under the same id if there was
    /// none. Says whether the first try was taken.
    ///
    /// # Errors
    /// That the second was not.
    pub fn end(&mut self, fleet: &Fleet, mut asking: Asking) -> Result<bool, String> {
        let taken = wait(&mut asking.client, TAKEN_PATIENCE)? == Some(0);
        if !taken {
            self.must_create(fleet, &asking.id)?;
        }
        self.acknowledged.insert(asking.id);
        Ok(taken)
    }

    /// Asks one node, which must refuse.
    ///
    /// # Errors
    /// That the client could not be started.
    pub fn refused(&self, fleet: &Fleet, node: u64, id: &str) -> Result<Refusal, String> {
        Refusal::of(fleet.cli_at(node, &self.words(id)))
    }

    /// Everything that was acknowledged is there, as one job each, is done, and
    /// came out the same: says what is not.
    ///
    /// # Errors
    /// That the cluster does not answer.
    pub fn all_there(&self, fleet: &Fleet) -> Result<Vec<String>, String> {
        let mut broken = Vec::new();
        for job in fleet
            .jobs()?
            .iter()
            .filter(|job| job["tenant"] == "requests")
        {
            let id = job["id"].as_str().unwrap_or_default();
            let request = job["request_id"].as_str().unwrap_or_default();
            // One that was refused may be there, begun and without its source.
            if self.acknowledged.contains(request)
                && let Err(failed) = fleet.say(&["job", "wait", id, "--timeout", DONE_PATIENCE])
            {
                broken.push(format!("request {request}: {failed}"));
            }
        }
        let jobs = fleet.jobs()?;
        let mut outputs = BTreeSet::new();
        for request in &self.acknowledged {
            let mine: Vec<_> = jobs
                .iter()
                .filter(|job| job["request_id"] == **request)
                .collect();
            if mine.len() != 1 {
                broken.push(format!("{} jobs for request {request}", mine.len()));
            }
            outputs.extend(mine.iter().map(|job| job["output_hash"].to_string()));
        }
        if outputs.len() > 1 {
            broken.push(format!("one request made different files: {outputs:?}"));
        }
        println!(
            "{} requests acknowledged, {} broken, {} distinct outputs",
            self.acknowledged.len(),
            broken.len(),
            outputs.len()
        );
        Ok(broken)
    }
}

/// How a node answered what it must refuse.
pub struct Refusal {
    pub took_ms: u64,
    /// `None` where it hung.
    code: Option<i32>,
    said: String,
}

impl Refusal {
    /// Runs a client and measures its answer.
    ///
    /// # Errors
    /// That it could not be started.
    pub fn of(mut client: Command) -> Result<Self, String> {
        let begun = Instant::now();
        let client = client.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut client = client.spawn().map_err(|error| error.to_string())?;
        let code = wait(&mut client, HANG)?;
        let took_ms = begun.elapsed().as_millis() as u64;
        let mut said = String::new();
        if let Some(mut pipe) = client.stderr.take() {
            let _ = std::io::Read::read_to_string(&mut pipe, &mut said);
        }
        Ok(Refusal {
            took_ms,
            code,
            said,
        })
    }

    /// What is wrong with it, if anything: it must come in time, with the exit
    /// code for it, and with a cause and a hint.
    pub fn problem(&self, ms_max: u64) -> Option<String> {
        if self.code.is_none() {
            Some(format!("hung for {} ms", self.took_ms))
        } else if self.code == Some(0) {
            Some("was answered though it was cut off".to_string())
        } else if self.code != Some(EXIT_UNREACHABLE) {
            Some(format!(
                "ended with code {:?}: {}",
                self.code,
                self.said.trim()
            ))
        } else if !self.said.contains("error: ") || !self.said.contains("hint: ") {
            Some(format!(
                "was refused without a reason: {}",
                self.said.trim()
            ))
        } else if self.took_ms > ms_max {
            Some(format!("was refused after {} ms of {ms_max}", self.took_ms))
        } else {
            None
        }
    }
}

/// A client's exit code; `None` where it had to be ended.
fn wait(client: &mut Child, patience: Duration) -> Result<Option<i32>, String> {
    let begun = Instant::now();
    loop {
        if let Some(status) = client.try_wait().map_err(|error| error.to_string())? {
            return Ok(status.code());
        }
        if begun.elapsed() > patience {
            let _ = client.kill();
            let _ = client.wait();
            return Ok(None);
        }
        sleep(LOOK_EVERY);
    }
}
