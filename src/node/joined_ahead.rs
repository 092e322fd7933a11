//! Films that this home joins while their last shards are still encoded. A cache
//! in the work folder, of which the table knows nothing: what is lost or does not
//! fit is joined by the assembly itself.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use reelraft_media::{Index, Joining, Part};
use reelraft_model::{JobEntry, Task, TaskKind, TaskState};
use tokio::{sync::Mutex, task::spawn_blocking};

use super::work_dir::WorkDir;
use crate::limits::JOINED_AHEAD_MAX;

/// Why a film is not joined ahead; for the log alone.
type JoinError = String;

/// All films that are being joined, by job.
#[derive(Default)]
pub struct AllJoined(Mutex<BTreeMap<String, Begun>>);

/// What has become of a film.
enum Begun {
    Joined(Box<JoinedAhead>),
    /// The assembly will say why.
    Failed,
}

/// The shards of one film that have been joined, or wait for others.
pub struct JoinedAhead {
    pub joining: Joining,
    contents: Contents,
    /// Holds the joined file, and goes with it.
    pub folder: WorkDir,
}

/// What was joined, as the table names it.
struct Contents {
    basis: Basis,
    /// Hashes of each shard and its report, by number.
    added: BTreeMap<u32, (String, String)>,
}

/// What the shards of a job belong to: with another, all of them are others.
#[derive(PartialEq, Eq)]
struct Basis {
    index_hash: String,
    replans: u32,
    single: bool,
}

impl Basis {
    fn of(entry: &JobEntry) -> Self {
        Basis {
            index_hash: entry.job.index_hash.clone(),
            replans: entry.job.replans,
            single: entry.job.single,
        }
    }
}

impl Begun {
    fn may_go_on(&self, entry: &JobEntry) -> bool {
        match self {
            Begun::Joined(joined) => joined.contents.fits(entry),
            Begun::Failed => true,
        }
    }
}

/// A folder for a film's joined file. Each beginning has its own: an assembly that
/// is being ended may still have that of the one before.
fn own_folder(root: &Path, job: &str) -> std::io::Result<WorkDir> {
    static BEGUN: AtomicU64 = AtomicU64::new(0);
    let number = BEGUN.fetch_add(1, Ordering::Relaxed);
    WorkDir::new(root, &format!("{job}-joined-{number}"))
}

fn hashes(task: &Task) -> (String, String) {
    (task.hash.clone(), task.report.clone())
}

impl JoinedAhead {
    fn begin(root: &Path, entry: &JobEntry, index: &Index) -> Result<Self, JoinError> {
        let job = &entry.job;
        let folder = own_folder(root, &job.id).map_err(|error| error.to_string())?;
        let joining = Joining::begin(&job.spec, index, folder.path());
        Ok(JoinedAhead {
            joining: joining.map_err(|error| error.to_string())?,
            contents: Contents::of(entry),
            folder,
        })
    }

    /// How many shards are in it.
    pub fn count(&self) -> usize {
        self.contents.added.len()
    }

    /// Whether a shard is in it.
    pub fn has(&self, number: u32) -> bool {
        self.contents.added.contains_key(&number)
    }

    /// Adds the result of a task, unless it is in already.
    async fn add(mut self: Box<Self>, task: &Task, part: Part) -> Result<Box<Self>, JoinError> {
        let number = task.number;
        if self.contents.added.insert(number, hashes(task)).is_some() {
            return Ok(self);
        }
        let add = move || {
            let added = self.joining.add(number as usize, &part);
            added.map(|()| self).map_err(|error| error.to_string())
        };
        let added = spawn_blocking(add).await;
        added.unwrap_or_else(|error| Err(error.to_string()))
    }
}

impl Contents {
    fn of(entry: &JobEntry) -> Self {
        Contents {
            basis: Basis::of(entry),
            added: BTreeMap::new(),
        }
    }

    /// Whether all of it is what the table has.
    fn fits(&self, entry: &JobEntry) -> bool {
        let is_of_table = |(number, added): (&u32, &(String, String))| {
            let task = entry.tasks.get(&(TaskKind::Shard, *number));
            task.is_some_and(|task| task.state() == TaskState::Done && hashes(task) == *added)
        };
        self.basis == Basis::of(entry) && self.added.iter().all(is_of_table)
    }
}

impl AllJoined {
    /// Forgets the films of which `is_wanted` says no.
    pub async fn retain(&self, is_wanted: impl Fn(&str) -> bool) {
        self.0.lock().await.retain(|job, _| is_wanted(job));
    }

    /// The finished shards of a job that are not joined yet; none where there are as
    /// many films as may be, or this one failed.
    pub async fn lacking<'e>(&self, entry: &'e JobEntry) -> Vec<&'e Task> {
        let mut all = self.0.lock().await;
        let job = &entry.job.id;
        // It is begun anew.
        all.retain(|of, begun| of != job || begun.may_go_on(entry));
        let joined = match all.get(job) {
            Some(Begun::Joined(joined)) => Some(joined),
            Some(Begun::Failed) => return Vec::new(),
            None if all.len() >= JOINED_AHEAD_MAX => return Vec::new(),
            None => None,
        };
        let done = entry.shards().map(AsRef::as_ref);
        let done = done.filter(|task: &&Task| task.state() == TaskState::Done);
        done.filter(|task| joined.is_none_or(|joined| !joined.has(task.number)))
            .collect()
    }

    /// Joins a finished shard of a job, as long as `is_current` says that the job is
    /// still as `entry` has it: it is asked when no assembly can take the film.
    ///
    /// # Errors
    /// Why the film is given up.
    pub async fn add(
        &self,
        (root, entry, index): (&Path, &JobEntry, &Index),
        task: &Task,
        part: Part,
        is_current: impl FnOnce() -> bool,
    ) -> Result<(), JoinError> {
        let mut all = self.0.lock().await;
        if !is_current() {
            return Ok(());
        }
        let job = &entry.job.id;
        // Where it ends by an error or is cut off, it stays so.
        let known = all.insert(job.clone(), Begun::Failed);
        let joined = match known {
            Some(Begun::Joined(joined)) if joined.contents.basis == Basis::of(entry) => joined,
            // Its folder goes before the new one is made.
            known => {
                drop(known);
                Box::new(JoinedAhead::begin(root, entry, index)?)
            }
        };
        let joined = joined.add(task, part).await?;
        all.insert(job.clone(), Begun::Joined(joined));
        Ok(())
    }

    /// Hands out what is joined of a job, if it is what the table has.
    pub async fn take(&self, entry: &JobEntry) -> Option<Box<JoinedAhead>> {
        match self.0.lock().await.remove(&entry.job.id)? {
            Begun::Joined(joined) => joined.contents.fits(entry).then_some(joined),
            Begun::Failed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use reelraft_model::Job;

    fn shard(number: u32, hash: &str) -> Task {
        let state = match hash {
            "" => TaskState::Running,
            _ => TaskState::Done,
        };
        Task {
            kind: TaskKind::Shard.into(),
            number,
            state: state.into(),
            hash: hash.into(),
            report: format!("report of {hash}"),
            ..Default::default()
        }
    }

    fn entry(job: Job, shards: [&str; 3]) -> JobEntry {
        let tasks = (0..).zip(shards).map(|(number, hash)| shard(number, hash));
        JobEntry {
            job,
            tasks: tasks.map(|task| (task.key(), task.into())).collect(),
            pending: Default::default(),
            running: Default::default(),
            failed: Default::default(),
            fresh: Default::default(),
            counts: Default::default(),
        }
    }

    #[test]
    fn an_assembly_that_ends_late_takes_nothing_from_a_film_begun_anew() {
        let root = tempfile::tempdir().unwrap();
        let taken = own_folder(root.path(), "j").unwrap();
        let anew = own_folder(root.path(), "j").unwrap();
        assert!(taken.path().exists());
        drop(taken);
        assert!(anew.path().exists());
    }

    #[test]
    fn only_what_the_table_has_is_of_use() {
        let job = || Job {
            index_hash: "i".into(),
            ..Default::default()
        };
        let mut contents = Contents::of(&entry(job(), ["a", "", "c"]));
        for (number, hash) in [(0, "a"), (2, "c")] {
            contents.added.insert(number, hashes(&shard(number, hash)));
        }
        let fits = |job: Job, shards| contents.fits(&entry(job, shards));
        assert!(fits(job(), ["a", "", "c"]) && fits(job(), ["a", "b", "c"]));
        // Made again, and with other bytes.
        assert!(!fits(job(), ["a", "b", ""]) && !fits(job(), ["a", "b", "d"]));
        let collapsed = Job {
            single: true,
            ..job()
        };
        let planned_anew = Job {
            replans: 1,
            ..job()
        };
        let analyzed_anew = Job {
            index_hash: "j".into(),
            ..job()
        };
        for job in [collapsed, planned_anew, analyzed_anew] {
            assert!(!fits(job, ["a", "b", "c"]));
        }
    }
}
