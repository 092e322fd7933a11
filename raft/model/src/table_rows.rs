//! The rows of the table as bytes, each under its key, and the table from them.

use std::sync::Arc;

use prost::Message;

use crate::{
    authorities::authorities_key,
    entry::exact,
    error::ModelError,
    rows::{Job, Node, TaskKey, TaskKind},
    state::State,
};

const CLUSTER_KEY: &[u8] = b"c";

pub(crate) fn cluster_key() -> Vec<u8> {
    CLUSTER_KEY.to_vec()
}

pub(crate) fn node_key(node: u64) -> Vec<u8> {
    format!("n/{node:020}").into_bytes()
}

pub(crate) fn job_key(job: &str) -> Vec<u8> {
    format!("j/{job}").into_bytes()
}

pub(crate) fn key_key(id: &str) -> Vec<u8> {
    format!("k/{id}").into_bytes()
}

pub(crate) fn quota_key(tenant: &str) -> Vec<u8> {
    format!("q/{tenant}").into_bytes()
}

pub(crate) fn parts_key(job: &str) -> Vec<u8> {
    format!("p/{job}").into_bytes()
}

pub(crate) fn task_key(job: &str, (kind, number): TaskKey) -> Vec<u8> {
    format!("t/{job}/{}/{number:010}", kind as i32).into_bytes()
}

/// A row from its bytes, all of which this version must know.
fn row<R: Message + Default>(bytes: &[u8]) -> Result<R, ModelError> {
    let row = R::decode(bytes).map_err(|error| ModelError::Undecodable {
        what: "row",
        cause: error.to_string(),
    })?;
    exact("row", &row, bytes)?;
    Ok(row)
}

impl State {
    /// The bytes of a row, if it exists.
    pub fn row(&self, key: &[u8]) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(key).ok()?;
        if key == CLUSTER_KEY {
            return Some(self.cluster.encode_to_vec());
        }
        let (table, rest) = text.split_once('/')?;
        match table {
            "n" => self
                .nodes
                .get(&rest.parse().ok()?)
                .map(Message::encode_to_vec),
            "j" => {
                let current = self.jobs.get(rest);
                let current = current.map(|entry| entry.job.encode_to_vec());
                current.or_else(|| self.past.row(rest))
            }
            "k" => self.keys.get(rest).map(|key| key.encode_to_vec()),
            "p" => self.kept_parts(rest).map(|parts| parts.encode_to_vec()),
            "q" => self.quotas.get(rest).map(|quota| quota.encode_to_vec()),
            "w" => self.webhooks.get(rest).map(|it| it.encode_to_vec()),
            "i" => self.tokens.get(rest).map(|it| it.encode_to_vec()),
            "e" => {
                let engine = self.engines.get(rest.parse().ok()?);
                engine.map(|it| it.encode_to_vec())
            }
            "a" => self.authorities.as_ref().map(|it| it.encode_to_vec()),
            "t" => {
                let mut parts = rest.split('/');
                let entry = self.jobs.get(parts.next()?)?;
                let kind = TaskKind::try_from(parts.next()?.parse::<i32>().ok()?).ok()?;
                let number = parts.next()?.parse().ok()?;
                entry
                    .tasks
                    .get(&(kind, number))
                    .map(|task| task.encode_to_vec())
            }
            _ => None,
        }
    }

    /// All rows, each job before its tasks.
    pub fn rows(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + '_ {
        let cluster = std::iter::once((cluster_key(), self.cluster.encode_to_vec()));
        let current = self.jobs.values();
        let current = current.map(|entry| (job_key(&entry.job.id), entry.job.encode_to_vec()));
        let past = self.past.rows();
        let jobs = current.chain(past.map(|(id, row)| (job_key(&id), row)));
        let keys = self.keys.values();
        let keys = keys.map(|key| (key_key(&key.id), key.encode_to_vec()));
        let nodes = self
            .nodes
            .values()
            .map(|node| (node_key(node.id), node.encode_to_vec()));
        let parts = self.shelf.rows();
        let parts = parts.map(|row| (parts_key(&row.job), row.encode_to_vec()));
        let quotas = self.quotas.values();
        let quotas = quotas.map(|quota| (quota_key(&quota.tenant), quota.encode_to_vec()));
        let authorities = self.authorities.iter();
        let tasks = self.jobs.values().flat_map(|entry| {
            entry
                .tasks
                .iter()
                .map(|(key, task)| (task_key(&entry.job.id, *key), task.encode_to_vec()))
        });
        cluster
            .chain(jobs)
            .chain(keys)
            .chain(nodes)
            .chain(parts)
            .chain(quotas)
            .chain(tasks)
            .chain(self.webhooks.rows())
            .chain(self.tokens.rows())
            .chain(self.engines.rows())
            .chain(authorities.map(|it| (authorities_key(), it.encode_to_vec())))
    }

    /// Rebuilds the table and its indexes from rows in the order of
    /// [`State::rows`] (jobs before their tasks).
    ///
    /// # Errors
    /// [`ModelError`] for a row that is not ours; nothing is guessed.
    pub fn from_rows(
        rows: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    ) -> Result<Self, ModelError> {
        let mut state = State::default();
        for (key, value) in rows {
            let name = || String::from_utf8_lossy(&key).into_owned();
            match key.first() {
                Some(b'c') => state.cluster = row(&value)?,
                Some(b'n') => {
                    let node: Node = row(&value)?;
                    state.nodes.insert(node.id, node);
                }
                Some(b'j') => {
                    let job: Job = row(&value)?;
                    let id = job.id.clone();
                    state.put_job(job);
                    state.put_by(&id);
                }
                Some(b'k') => state.put_key(row(&value)?),
                Some(b'p') => state.shelf.put(row(&value)?),
                Some(b'q') => state.put_quota(row(&value)?),
                Some(b'w') => state.webhooks.put(row(&value)?),
                Some(b'i') => state.tokens.put(row(&value)?),
                Some(b'e') => state.engines.put(row(&value)?),
                Some(b'a') => state.authorities = Some(Arc::new(row(&value)?)),
                Some(b't') => {
                    let job = name()
                        .split('/')
                        .nth(1)
                        .map(str::to_string)
                        .unwrap_or_default();
                    let task = row(&value)?;
                    state.take_out(&job);
                    if !state.change_tasks(&job, |entry| entry.put_task(task)) {
                        return Err(ModelError::BadRow { key: name() });
                    }
                }
                _ => return Err(ModelError::BadRow { key: name() }),
            }
        }
        Ok(state)
    }
}
