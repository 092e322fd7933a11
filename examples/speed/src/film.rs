//! One film: CPU and wall time of a cluster, of one pass and of a script.
//!
//! Options: `--film FILE`, or `--seconds N` of the real film, or with `--size
//! WxH` of a made one; `--codec C`, `--preset P`, `--width W`; `--rounds N`;
//! `--nodes N`; `--script yes` for the script as well; `--svg FILE` for a
//! picture of the last job.

use std::path::Path;

use crate::{
    cluster::{Cluster, Done},
    cost::{Cost, median},
    films,
    options::Options,
    passes,
};

/// The real film for a minute, as x264 encodes it by default.
pub fn film(options: &Options, folder: &Path) -> Result<(), String> {
    let film = films::film(options, 60, folder)?;
    measure(options, &film, None, folder)
}

/// A small film of two hours, encoded as fast as can be.
pub fn long(options: &Options, folder: &Path) -> Result<(), String> {
    let seconds = options.number("seconds", 7_200)?;
    let film = folder.join("long.mp4");
    films::made(seconds, options.text("size").unwrap_or("160x90"), &film)?;
    measure(options, &film, Some("ultrafast"), folder)
}

/// What each side took in one round.
struct Round {
    cluster: Done,
    one_thread: Cost,
    own_threads: Cost,
    script: Option<Cost>,
}

fn measure(
    options: &Options,
    film: &Path,
    preset: Option<&str>,
    folder: &Path,
) -> Result<(), String> {
    let spec = spec(options, preset);
    let rounds = options.number("rounds", 1)?;
    let mut reference = Vec::new();
    let mut all = Vec::new();
    println!("{} {}", film.display(), spec.join(" "));
    println!("round      cluster CPU, wall    one thread    own threads         script   (ms)");
    for round in 1..=rounds {
        let measured = one_round(
            options,
            film,
            &spec,
            (round, rounds),
            &mut reference,
            folder,
        )?;
        let cell = |cost: Cost| format!("{:>7.0} {:>7.0}", cost.cpu_ms, cost.wall_ms);
        println!(
            "{round:<7} {} {} {} {}  client {:.0}",
            cell(measured.cluster.nodes),
            cell(measured.one_thread),
            cell(measured.own_threads),
            measured.script.map(cell).unwrap_or_default(),
            measured.cluster.client_ms,
        );
        all.push(measured);
    }
    summarize(&all);
    Ok(())
}

/// Which side begins changes with each round, but for the first: its job says
/// what the others have to do.
fn one_round(
    options: &Options,
    film: &Path,
    spec: &[String],
    (round, rounds): (u32, u32),
    reference: &mut Vec<String>,
    folder: &Path,
) -> Result<Round, String> {
    let nodes = options.number("nodes", 3)?;
    let out = folder.join("out.mp4");
    let in_cluster = |reference: &mut Vec<String>| -> Result<Done, String> {
        let place = folder.join("cluster");
        let cluster = Cluster::start(&place, 1, &vec![Vec::new(); nodes])?;
        let done = cluster.transcode(spec, film, &out)?;
        if reference.is_empty() {
            *reference = cluster.reference()?;
        }
        if let Some(svg) = options.svg().filter(|_| round == rounds) {
            let job = cluster.job()?;
            let subtitle = format!(
                "{} shards on {nodes} nodes of one machine, {:.1} s in all",
                job["shards_total"],
                done.nodes.wall_ms / 1e3
            );
            cluster.draw("One job", &subtitle, &svg)?;
        }
        drop(cluster);
        std::fs::remove_dir_all(&place).map_err(|error| error.to_string())?;
        Ok(done)
    };
    let passes = |reference: &[String]| -> Result<_, String> {
        let one_thread = passes::in_one_thread(reference, film, &out)?;
        let own_threads = passes::with_own_threads(reference, film, &out)?;
        let script = match options.text("script") {
            None => None,
            Some(_) => {
                let place = folder.join("pieces");
                Some(passes::by_script(reference, nodes, film, &out, &place)?)
            }
        };
        Ok((one_thread, own_threads, script))
    };
    let (cluster, (one_thread, own_threads, script)) = if round % 2 == 1 {
        let cluster = in_cluster(reference)?;
        (cluster, passes(reference)?)
    } else {
        let passes = passes(reference)?;
        (in_cluster(reference)?, passes)
    };
    Ok(Round {
        cluster,
        one_thread,
        own_threads,
        script,
    })
}

fn summarize(rounds: &[Round]) {
    let of = |ratio: &dyn Fn(&Round) -> f64| median(&rounds.iter().map(ratio).collect::<Vec<_>>());
    let nodes = |round: &Round| round.cluster.nodes;
    println!(
        "CPU: cluster / one pass in one thread {:.3}, / with its own threads {:.3}",
        of(&|round| nodes(round).cpu_ms / round.one_thread.cpu_ms),
        of(&|round| nodes(round).cpu_ms / round.own_threads.cpu_ms),
    );
    println!(
        "wall: cluster / one pass with its own threads {:.3}",
        of(&|round| nodes(round).wall_ms / round.own_threads.wall_ms),
    );
    if rounds.iter().all(|round| round.script.is_some()) {
        let script = |round: &Round| round.script.unwrap_or_default();
        println!(
            "cluster / script: CPU {:.3}, wall {:.3}",
            of(&|round| nodes(round).cpu_ms / script(round).cpu_ms),
            of(&|round| nodes(round).wall_ms / script(round).wall_ms),
        );
    }
}

/// The client's options for what was asked for.
pub fn spec(options: &Options, preset: Option<&str>) -> Vec<String> {
    let asked = |name| options.text(name);
    let preset = asked("preset").or(preset);
    let named = [
        ("--codec", asked("codec")),
        ("--preset", preset),
        ("--width", asked("width")),
        ("--shard-seconds", asked("shard-seconds")),
    ];
    let given = named
        .into_iter()
        .filter_map(|(name, value)| Some([name, value?]));
    given.flatten().map(String::from).collect()
}
