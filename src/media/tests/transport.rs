//! Where a source comes from changes nothing (P1), and a source that stops
//! coming is never taken for one that ends.

use std::time::{Duration, Instant};

use crate::world::{World, server::Server, spec};
use reelraft_media::{Cancel, Class, Context, Input, analyze, encode_shard};

#[test]
fn a_server_and_a_file_give_the_same_bytes() {
    let world = World::new();
    for name in ["h264.mp4", "open.ts", "vfr.mkv"] {
        let clip = world.made(name);
        let spec = reelraft_model::spec::Spec {
            shard_ms: 1000,
            ..spec(&[("preset", "veryfast")])
        };
        let file = world.job(&clip, &spec);
        let server = Server::start(&clip.path, u64::MAX);
        let input = server.input();
        let http = world.try_job_from(input, &clip, &spec).unwrap();
        assert_eq!(
            std::fs::read(&file.output).unwrap(),
            std::fs::read(&http.output).unwrap(),
            "{name}"
        );
        assert_eq!(file.proof, http.proof, "{name}");
        println!(
            "{name}: {} bytes served of a file of {}, {} shards",
            server.bytes_served(),
            std::fs::metadata(&clip.path).unwrap().len(),
            http.shards
        );
    }
}

#[test]
fn a_source_that_stops_coming_is_the_machines_fault() {
    let world = World::new();
    let spec = spec(&[("preset", "ultrafast"), ("audio", "aac")]);
    for (name, tenths) in [
        ("h264.mp4", &[4, 8, 12, 20, 30, 1000][..]),
        ("open.ts", &[4, 12, 1000]),
        ("vfr.mkv", &[4, 12, 1000]),
    ] {
        let clip = world.made(name);
        let size = std::fs::metadata(&clip.path).unwrap().len();
        let whole = std::fs::read(world.job(&clip, &spec).output).unwrap();
        for &part in tenths {
            let server = Server::start(&clip.path, size * part / 10);
            let input = server.input();
            match world.try_job_from(input, &clip, &spec) {
                // So much was enough for all of it.
                Ok(job) => {
                    assert!(server.bytes_served() <= size * part / 10, "{name} {part}");
                    let made = std::fs::read(job.output).unwrap();
                    assert!(made == whole, "{name} {part}: other bytes");
                    assert!(part > 8, "{name}: made of {part} tenths");
                }
                Err(error) => {
                    assert_eq!(error.class(), Class::NodeFault, "{name} {part}: {error}");
                    assert!(part < 1000, "{name}: not even of {part} tenths: {error}");
                }
            }
        }
    }
}

#[test]
fn a_cancel_ends_an_encoding_at_once() {
    let world = World::new();
    // Large enough to take seconds.
    let clip = world.made_by(
        "large.mp4",
        "-f lavfi -i testsrc2=size=640x360:rate=24:duration=4 -c:v libx264 -pix_fmt yuv420p -preset ultrafast",
    );
    let spec = spec(&[("preset", "placebo")]);
    let folder = tempfile::tempdir().unwrap();
    let cancel = Cancel::new();
    let input = Input::File(clip.path.clone());
    let context = Context {
        tools: &world.tools,
        input: &input,
        spec: &spec,
        work_dir: folder.path(),
        cancel: &cancel,
    };
    world.block_on(async {
        let index = analyze(&context, 1).await.unwrap();
        let range = index.shards()[0];
        let started = Instant::now();
        let (result, ()) = tokio::join!(
            encode_shard(&context, &index, range, false, &|_| {}),
            async {
                tokio::time::sleep(Duration::from_millis(300)).await;
                cancel.cancel();
            }
        );
        assert_eq!(result.unwrap_err().class(), Class::Stopped);
        assert!(started.elapsed() < Duration::from_secs(3));
    });
}
