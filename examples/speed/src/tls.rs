//! What TLS costs: CPU of a job, and how fast a source is uploaded, beside a cluster
//! without it.
//!
//! Options: `--film FILE`, or `--seconds N` (30) of the real film, or with `--size WxH` of
//! a made one; `--codec C`, `--preset P`, `--width W`; `--upload-mib N` (256);
//! `--rounds N` (3).

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::{
    cluster::Cluster,
    cost::{Cost, median},
    film::spec,
    films,
    options::Options,
};

/// What one side took in one round.
struct Side {
    job_cpu_ms: f64,
    client_ms: f64,
    upload: Cost,
}

/// Both sides, in turn.
pub fn run(options: &Options, folder: &Path) -> Result<(), String> {
    let film = films::film(options, 30, folder)?;
    let (spec, mib) = (spec(options, None), options.number("upload-mib", 256)?);
    let source = noise(mib, &folder.join("noise.bin"))?;
    println!("round    job CPU without, with    client CPU    upload MiB/s    upload CPU   (ms)");
    let mut ratios: [Vec<f64>; 3] = Default::default();
    for round in 1..=options.number("rounds", 3)? {
        let [mut plain, mut by_tls] = [None, None];
        // Who begins takes turns, too.
        for tls in [round % 2 == 0, round % 2 == 1] {
            let place = folder.join(format!("round-{round}-{tls}"));
            let side = one_side(tls, &spec, &film, &source, &place)?;
            std::fs::remove_dir_all(&place).map_err(|error| error.to_string())?;
            *(if tls { &mut by_tls } else { &mut plain }) = Some(side);
        }
        let (Some(plain), Some(by_tls)) = (plain, by_tls) else {
            return Err("a side is missing".into());
        };
        let speed = |side: &Side| f64::from(mib) / side.upload.wall_ms * 1e3;
        println!(
            "{round:5} {:12.0} {:11.0} {:7.0} {:5.0} {:8.0} {:6.0} {:7.0} {:5.0}",
            plain.job_cpu_ms,
            by_tls.job_cpu_ms,
            plain.client_ms,
            by_tls.client_ms,
            speed(&plain),
            speed(&by_tls),
            plain.upload.cpu_ms,
            by_tls.upload.cpu_ms,
        );
        ratios[0].push(by_tls.job_cpu_ms / plain.job_cpu_ms);
        ratios[1].push(speed(&by_tls) / speed(&plain));
        ratios[2].push(by_tls.upload.cpu_ms / plain.upload.cpu_ms);
    }
    let [cpu, upload, upload_cpu] = ratios.map(|ratios| median(&ratios));
    println!("with TLS a job takes {cpu:.3} of the CPU");
    println!("an upload is {upload:.3} as fast, for {upload_cpu:.3} of the CPU");
    Ok(())
}

fn one_side(
    tls: bool,
    spec: &[String],
    film: &Path,
    source: &Path,
    folder: &Path,
) -> Result<Side, String> {
    let cluster = Cluster::with_tls(folder, tls)?;
    let done = cluster.transcode(spec, film, &folder.join("out.mp4"))?;
    Ok(Side {
        job_cpu_ms: done.nodes.cpu_ms,
        client_ms: done.client_ms,
        upload: cluster.upload(source)?,
    })
}

/// A source that nothing makes smaller, and that no job can use.
fn noise(mib: u32, path: &Path) -> Result<PathBuf, String> {
    let made = || {
        let mut noise = File::open("/dev/urandom")?.take(u64::from(mib) << 20);
        io::copy(&mut noise, &mut File::create(path)?)
    };
    made().map_err(|error| error.to_string())?;
    Ok(path.to_path_buf())
}
