//! Pictures that change their size, as where a broadcast is put together from pieces.

use crate::{
    pictures::lossless,
    sync::joined,
    tracks::same_sound,
    world::{Clip, World, spec},
};

/// Two pieces, of which the second begins so many milliseconds into the film and is
/// smaller.
fn pieces(world: &World, name: &str, second_ms: u32) -> Clip {
    let encoded = "-c:v libx264 -preset ultrafast -g 30 -pix_fmt yuv420p -c:a aac -f mpegts";
    let piece = |name: &str, size: &str, from_ms: u32| {
        let options = format!(
            "-f lavfi -i testsrc2=s={size}:r=30:d=3 -f lavfi -i sine=d=3:r=48000 {encoded} \
             -output_ts_offset {from_ms}ms"
        );
        world.made_by(name, &options)
    };
    let parts = [
        piece("large.ts", "320x180", 0),
        piece(&format!("small-{second_ms}.ts"), "160x90", second_ms),
    ];
    joined(world, name, &parts)
}

#[test]
fn a_film_goes_on_where_its_picture_changes_and_its_clock_does_not_rise() {
    let world = World::new();
    let clip = pieces(&world, "overlap.ts", 3_000);
    for words in [&[][..], &[("container", "mkv")], &[("fps", "30")]] {
        let words = [&[("preset", "ultrafast")], words].concat();
        let job = world.job(&clip, &spec(&words));
        let (ours, theirs) = (job.frames(), job.reference_frames());
        assert!(ours.len() >= 179, "{words:?}: {}", ours.len());
        assert_eq!(ours, theirs, "{words:?}");
        same_sound(&job, "a:0");
    }
}

#[test]
fn a_constant_rate_has_every_point_where_the_picture_changes() {
    let world = World::new();
    let clip = pieces(&world, "gap.ts", 3_200);
    let job = world.job(&clip, &lossless(|request| request.fps = Some((25, 1))));
    assert_eq!(job.frames(), job.reference_frames());
    let (_, times) = world.packet_times(&job.output, "v:0");
    assert!(
        (152..=156).contains(&times.len()),
        "{}: 3 s, 0.2 s, 3 s",
        times.len()
    );
    let steps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(steps.iter().all(|step| *step == steps[0]), "{steps:?}");
}
