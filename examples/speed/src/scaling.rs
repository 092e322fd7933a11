//! Nodes that are held to a share of a core each. Beside each measured time
//! stands the best that could be: the CPU time of one pass, divided among all
//! shares.
//!
//! Options: `--nodes 4,8`; `--share 0.2`; `--slow 4` makes one node that many
//! times slower than the rest; the film and its options as for `film`; `--svg
//! FILE` for a picture of the last job.

use std::path::Path;

use crate::{cluster::Cluster, film::spec, films, held::Groups, options::Options, passes};

/// A film's width, if none is asked for: one pass takes about a minute of CPU
/// time for five minutes of film.
const WIDTH: &str = "480";

/// Runs the measurement.
pub fn run(options: &Options, folder: &Path) -> Result<(), String> {
    let share: f64 = options.number("share", 0.2)?;
    let slow: f64 = options.number("slow", 1.0)?;
    let film = films::film(options, 300, folder)?;
    let mut spec = spec(options, None);
    if options.text("width").is_none() {
        spec.extend(["--width", WIDTH].map(String::from));
    }
    let counts = options.text("nodes").unwrap_or("4,8").split(',');
    let counts: Result<Vec<usize>, _> = counts.map(str::parse).collect();
    let mut reference = Vec::new();
    let mut pass_ms = 0.0;
    println!("{} {}", film.display(), spec.join(" "));
    for nodes in counts.map_err(|_| "--nodes takes numbers")? {
        let mut shares = vec![share; nodes];
        shares[nodes - 1] /= slow;
        let mut groups = Groups::default();
        let prefixes: Result<Vec<_>, _> =
            shares.iter().map(|&share| groups.prefix(share)).collect();
        let prefixes = match prefixes {
            Ok(prefixes) => prefixes,
            Err(cause) => {
                println!("skipped: nodes can't be held to a share here: {cause}");
                return Ok(());
            }
        };
        let place = folder.join("cluster");
        let cluster = Cluster::start(&place, 1, &prefixes)?;
        let out = folder.join("out.mp4");
        let done = cluster.transcode(&spec, &film, &out)?;
        if reference.is_empty() {
            reference = cluster.reference()?;
        }
        if let Some(svg) = options.svg() {
            let subtitle = format!(
                "{nodes} nodes held to {share} of a core each, {:.1} s in all",
                done.nodes.wall_ms / 1e3
            );
            cluster.draw("One job", &subtitle, &svg)?;
        }
        let ends = ends(&cluster);
        drop(cluster);
        std::fs::remove_dir_all(&place).map_err(|error| error.to_string())?;
        if pass_ms == 0.0 {
            pass_ms = passes::in_one_thread(&reference, &film, &out)?.cpu_ms;
        }
        let best_ms = pass_ms / shares.iter().sum::<f64>();
        println!(
            "{nodes} nodes: {:.1} s, CPU {:.1} s, {ends}; one pass {:.1} s of CPU, so at best {:.1} s: {:.2} of linear",
            done.nodes.wall_ms / 1e3,
            done.nodes.cpu_ms / 1e3,
            pass_ms / 1e3,
            best_ms / 1e3,
            best_ms / done.nodes.wall_ms,
        );
    }
    Ok(())
}

/// When the last task of each kind ended, in seconds after the first began.
fn ends(cluster: &Cluster) -> String {
    let attempts = cluster.attempts();
    let begun_us = attempts.iter().map(|attempt| attempt.from_us).min();
    let begun_us = begun_us.unwrap_or(0);
    let kinds = ["analyze", "shard", "audio", "assemble"];
    let ends = kinds.iter().filter_map(|kind| {
        let own = attempts.iter().filter(|attempt| attempt.key.kind == *kind);
        let end_us = own.map(|attempt| attempt.to_us).max()?;
        Some(format!(
            "{kind} until {:.1} s",
            (end_us - begun_us) as f64 / 1e6
        ))
    });
    ends.collect::<Vec<_>>().join(", ")
}
