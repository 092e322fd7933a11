//! One job from its source to its row. It is driven through the command line
//! and read from its JSON, both of which are stable, so that an older program
//! can be asked the same.

use std::path::Path;

use reelraft_harness::{LocalCluster, blake3_of};
use serde_json::Value;

use crate::cases::Case;

/// How long one job may take on a busy machine.
const JOB_PATIENCE: &str = "300s";

/// Digits of a hash that need only tell sources and commands apart.
const SHORT_DIGITS: usize = 12;

/// What stands where a job got no further.
const NONE: &str = "-";

/// The columns, in the order of [`Row::line`].
pub const COLUMNS: &str =
    "source\toptions\tsource_blake3\tshards\tframes\tindex\treference\tproof\toutput";

/// What came of one job.
pub struct Row {
    source: String,
    options: String,
    source_hash: String,
    shards: String,
    frames: String,
    /// Of what the analysis stored, shortened.
    index: String,
    /// Of the reference command, shortened.
    reference: String,
    /// Of the proof, shortened.
    proof: String,
    /// BLAKE3 of the output, or the kind of the refusal.
    output: String,
}

impl Row {
    /// The row as a line of a tab-separated table.
    pub fn line(&self) -> String {
        [
            &self.source,
            &self.options,
            &self.source_hash,
            &self.shards,
            &self.frames,
            &self.index,
            &self.reference,
            &self.proof,
            &self.output,
        ]
        .map(String::as_str)
        .join("\t")
    }
}

/// Has the cluster do one job. `number` names its request and its output in
/// `folder`.
pub fn run(cluster: &LocalCluster, case: &Case, number: usize, folder: &Path) -> Row {
    let mut row = Row {
        source: case.name.clone(),
        options: case.options.clone(),
        source_hash: short(&blake3_of(&case.path)),
        shards: NONE.into(),
        frames: NONE.into(),
        index: NONE.into(),
        reference: NONE.into(),
        proof: NONE.into(),
        output: NONE.into(),
    };
    let id = match submit(cluster, case, number) {
        Ok(id) => id,
        Err(kind) => {
            row.output = kind;
            return row;
        }
    };
    cluster.run(&["job", "wait", &id, "--timeout", JOB_PATIENCE]);
    let job = cluster.json(&["job", "show", &id]);
    row.shards = job["shards_total"].to_string();
    row.frames = job["frames_total"].to_string();
    row.index = index(cluster, &id);
    row.reference = reference(cluster, &id);
    row.proof = job["proof_hash"].as_str().map_or(NONE.into(), short);
    row.output = match job["output_hash"].as_str() {
        Some(hash) => fetched(cluster, &id, hash, &folder.join(format!("{number}.out"))),
        None => refusal(&job),
    };
    row
}

/// Submits a source and waits until it is uploaded; gives the job's id, or the
/// kind of the refusal.
fn submit(cluster: &LocalCluster, case: &Case, number: usize) -> Result<String, String> {
    let request = format!("row-{number}");
    let output = cluster
        .cli(&["job", "submit", "--detach", "-o", "json"])
        .args(["--request-id", &request])
        .args(case.options.split_whitespace())
        .arg(&case.path)
        .output()
        .map_err(|error| format!("not-started: {error}"))?;
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    match answer["job"]["id"].as_str() {
        Some(id) => Ok(id.to_string()),
        None => Err(kind_said(&String::from_utf8_lossy(&output.stderr))),
    }
}

/// The kind in the client's `error: KIND: cause`.
fn kind_said(said: &str) -> String {
    said.lines()
        .filter_map(|line| line.strip_prefix("error: "))
        .filter_map(|line| line.split(':').next())
        .next()
        .unwrap_or("no-answer")
        .to_string()
}

/// The output's hash, if that is the hash of the bytes that are served.
fn fetched(cluster: &LocalCluster, id: &str, hash: &str, out: &Path) -> String {
    let done = cluster.cli(&["job", "fetch", id]).arg(out).output();
    if !done.is_ok_and(|output| output.status.success()) {
        return format!("not-fetched: {hash}");
    }
    let found = blake3_of(out);
    // Nobody looks at it again.
    let _ = std::fs::remove_file(out);
    if found == hash {
        found
    } else {
        format!("fetched {found}, not {hash}")
    }
}

fn refusal(job: &Value) -> String {
    let words = [&job["problem"]["kind"], &job["state"]];
    let found = words.iter().find_map(|word| word.as_str());
    found.unwrap_or("no-state").to_string()
}

/// The hash of what the analysis stored, where there is an analysis.
fn index(cluster: &LocalCluster, id: &str) -> String {
    // `shards` is the command's name in every version so far; the document has
    // been renamed.
    let shown = cluster.json(&["job", "shards", id]);
    let tasks = shown["tasks"].as_array().or(shown["shards"].as_array());
    let analysis = tasks.and_then(|tasks| tasks.iter().find(|task| task["kind"] == "analyze"));
    let hash = analysis.and_then(|task| task["hash"].as_str());
    hash.map_or(NONE.into(), short)
}

/// The hash of the reference command, where there is one.
fn reference(cluster: &LocalCluster, id: &str) -> String {
    let output = cluster.run(&["job", "show", id, "--reference", "-o", "json"]);
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    match shown["args"].as_array() {
        Some(_) => {
            let args = shown["args"].to_string();
            short(&blake3::hash(args.as_bytes()).to_hex())
        }
        None => NONE.into(),
    }
}

fn short(hash: &str) -> String {
    hash.chars().take(SHORT_DIGITS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_named_by_its_kind() {
        let said = "uploading\nerror: bad-spec: ffv1 can't be stored in mp4\nhint: use mkv\n";
        assert_eq!(kind_said(said), "bad-spec");
        assert_eq!(kind_said("panicked"), "no-answer");
    }
}
