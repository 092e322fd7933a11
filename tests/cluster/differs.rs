//! A replica whose table differs from the others'.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use prost::Message;
use reelraft_harness::{LocalCluster, Options};
use reelraft_model::Job;
use reelraft_storage::{Changes, Table};

use crate::{clip, succeed};

/// How long it may take until a replica is compared and stops.
const PATIENCE: Duration = Duration::from_secs(120);

/// Changes a job's row in a table, and the table's hash with it: the disk has
/// nothing to say against that.
fn alter(table: &Path) {
    let mut opened = Table::open(table).unwrap();
    assert_eq!(opened.dropped, None);
    let is_job = |key: &[u8]| key.starts_with(b"j/");
    let row = opened.rows.iter().find(|(key, _)| is_job(key)).unwrap();
    let mut job = Job::decode(&row.1[..]).unwrap();
    job.source_name = "another.mp4".into();
    let changes = Changes::from([(row.0.clone(), Some(job.encode_to_vec()))]);
    let applied = opened.table.head().applied.unwrap();
    opened.table.write(&changes, applied, None).unwrap();
    opened.table.flusher().flush().unwrap();
}

#[test]
fn a_replica_with_another_table_stops_by_name_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = LocalCluster::start(folder.path(), Options::default());
    let submit = ["job", "submit", clip().to_str().unwrap(), "--detach"];
    succeed(&cluster.run(&submit));
    cluster.kill_all();
    alter(&folder.path().join("nodes/n2/table"));
    cluster.start_again();
    let started = Instant::now();
    let stopped = "node 2 has another table than most voters";
    loop {
        let log = std::fs::read_to_string(cluster.log()).unwrap();
        if log.contains(stopped) {
            assert!(!log.contains("node 1 has another table"), "{log}");
            assert!(!log.contains("node 3 has another table"), "{log}");
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{log}");
        std::thread::sleep(Duration::from_millis(200));
    }
    cluster.leader();
    assert_eq!(
        cluster.json(&["job", "list"])["jobs"][0]["source_name"],
        "clip.mp4"
    );
}
