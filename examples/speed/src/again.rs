//! The same job a second time, by a client that asks for a new one.
//!
//! Options: the film and its options as for `film`.

use std::path::Path;

use crate::{cluster::Cluster, film::spec, films, options::Options};

/// Runs the measurement.
pub fn run(options: &Options, folder: &Path) -> Result<(), String> {
    let film = films::film(options, 60, folder)?;
    let spec = spec(options, None);
    let cluster = Cluster::that_remembers(&folder.join("cluster"))?;
    let out = folder.join("out.mp4");
    let shards = || {
        let attempts = cluster.attempts();
        let shards = attempts
            .iter()
            .filter(|attempt| attempt.key.kind == "shard");
        shards.count()
    };
    let mut encoded = 0;
    for time in ["first", "again"] {
        let done = cluster.transcode(&spec, &film, &out)?;
        println!(
            "{time}: {:.2} s, CPU {:.2} s, {} shards encoded",
            done.nodes.wall_ms / 1e3,
            done.nodes.cpu_ms / 1e3,
            shards() - encoded,
        );
        encoded = shards();
    }
    Ok(())
}
