//! What an output's headers and its first picture say of colour, shape and
//! fields, against the reference.

use reelraft_model::spec::{Crop, Spec, SpecRequest};

use crate::{
    pictures::{exact, fields, lossless},
    world::{Clip, World},
};

/// What headers say of colour, shape and fields, and of the first picture.
const SAID: &str = "stream=pix_fmt,color_range,color_space,color_transfer,color_primaries,chroma_location,field_order,sample_aspect_ratio,width,height:stream_side_data:frame=pix_fmt,color_range,color_space,color_transfer,color_primaries,chroma_location,interlaced_frame,top_field_first:frame_side_data";

pub const HDR: &str = "-f lavfi -i testsrc2=size=128x96:rate=24:duration=2 -vf setsar=4/3 -c:v libx265 -pix_fmt yuv420p10le -preset ultrafast -color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc -color_range tv -x265-params log-level=error:keyint=12:hdr10=1:repeat-headers=1:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):max-cll=1000,400:chromaloc=2";

#[test]
fn colour_and_shape_are_told_as_the_reference_tells_them() {
    colour_and_shape(&[
        ("h264", "mkv", &["fields.ts", "full.mp4"]),
        ("h264", "mov", &["hdr.mp4"]),
        ("hevc", "mp4", &["hdr.mp4", "hlg.mkv"]),
        ("vp9", "webm", &["hlg.mkv"]),
        ("av1", "mp4", &["hdr.mp4"]),
        ("av1", "webm", &["full.mp4"]),
        ("ffv1", "mkv", &["hdr.mp4", "fields.ts"]),
    ]);
}

#[test]
#[ignore = "long: make test-all"]
fn colour_and_shape_are_told_in_more_containers() {
    colour_and_shape(&[
        ("h264", "mkv", &["hdr.mp4", "hlg.mkv"]),
        ("h264", "mov", &["hlg.mkv", "fields.ts", "full.mp4"]),
        ("hevc", "mp4", &["fields.ts", "full.mp4"]),
        ("vp9", "webm", &["hdr.mp4", "fields.ts", "full.mp4"]),
        ("av1", "mp4", &["hlg.mkv", "fields.ts", "full.mp4"]),
        ("av1", "webm", &["hdr.mp4", "hlg.mkv", "fields.ts"]),
        ("ffv1", "mkv", &["hlg.mkv", "full.mp4"]),
    ]);
}

fn coloured(world: &World, name: &str) -> Clip {
    match name {
        "hdr.mp4" => world.made_by(name, HDR),
        "fields.ts" => fields(world, 3),
        "hlg.mkv" => world.made_by(
            name,
            "-f lavfi -i testsrc2=size=128x96:rate=24:duration=2 -c:v libx265 -pix_fmt yuv420p10le -preset ultrafast -color_primaries bt2020 -color_trc arib-std-b67 -colorspace bt2020nc -x265-params log-level=error:keyint=12",
        ),
        "full.mp4" => world.made_by(
            name,
            "-f lavfi -i testsrc2=size=128x96:rate=24:duration=2 -vf scale=out_range=full,format=yuv420p -color_range pc -colorspace bt709 -c:v libx264 -g 12",
        ),
        _ => panic!("{name}"),
    }
}

fn colour_and_shape(cases: &[(&str, &str, &[&str])]) {
    let world = World::new();
    for &(codec, container, clips) in cases {
        for &name in clips {
            let spec = lossless(|request| {
                request.codec = codec.into();
                request.container = container.into();
                request.preset = match codec {
                    "h264" | "hevc" => "ultrafast".into(),
                    "vp9" => "8".into(),
                    "av1" => "12".into(),
                    _ => String::new(),
                };
            });
            let job = world.job(&coloured(&world, name), &spec);
            assert!(job.shards > 1, "{name}: {}", job.note);
            let ours = world.show(&job.output, SAID);
            let reference = world.show(&job.reference_file(), SAID);
            if name == "hdr.mp4" && matches!(codec, "hevc" | "av1") {
                for told in ["Mastering display", "Content light", "max_content=1000"] {
                    assert!(ours.contains(told), "{codec} {container}: {ours}");
                }
            }
            assert_eq!(ours, reference, "{name} {codec} {container}");
        }
    }
}

/// A lossy job's headers and first picture are told as the reference's, and
/// its frames come at the same times.
fn told_alike(world: &World, clip: &Clip, spec: &Spec) -> String {
    let job = world.job(clip, spec);
    let words = format!("{} {spec:?}", clip.name);
    assert!(job.shards > 1, "{words}: {}", job.note);
    let ours = world.show(&job.output, SAID);
    assert_eq!(ours, world.show(&job.reference_file(), SAID), "{words}");
    let times = |path| world.packet_times(path, "v:0").1;
    assert_eq!(
        times(&job.output).len(),
        times(&job.reference_file()).len(),
        "{words}"
    );
    ours
}

/// x264 in a container, in shards of a second.
fn lossy(container: &str, change: impl FnOnce(&mut SpecRequest)) -> Spec {
    lossless(|request| {
        request.codec = "h264".into();
        request.container = container.into();
        request.preset = "ultrafast".into();
        change(request);
    })
}

#[test]
fn turned_pictures_stand_upright_in_every_shard() {
    turned_pictures(&[
        (90, "mp4", &[None], &["mkv"]),
        (180, "mov", &[], &["mov"]),
        (270, "mov", &[Some(64)], &["mp4"]),
    ]);
}

#[test]
#[ignore = "long: make test-all"]
fn turned_pictures_stand_upright_in_more_containers() {
    turned_pictures(&[
        (90, "mp4", &[Some(64)], &["mp4", "mov"]),
        (180, "mov", &[None, Some(64)], &["mkv", "mp4"]),
        (270, "mov", &[None], &["mkv", "mov"]),
    ]);
}

/// Degrees, the clip's container, widths of lossless jobs, containers of
/// lossy ones.
type Turned<'a> = (u32, &'a str, &'a [Option<u32>], &'a [&'a str]);

fn turned_pictures(cases: &[Turned<'_>]) {
    let world = World::new();
    world.made_from(
        "level.mp4",
        "-f lavfi -i testsrc2=size=160x90:rate=24:duration=3 -vf setsar=4/3 -c:v libx264 -pix_fmt yuv420p -preset ultrafast -g 24",
    );
    for &(degrees, extension, widths, containers) in cases {
        let name = format!("turned{degrees}.{extension}");
        let clip = world.made_from(
            &name,
            &format!("-i level.mp4 -c copy -metadata:s:v:0 rotate={degrees}"),
        );
        let source = world.show(&clip.path, "stream_side_data=rotation");
        assert!(source.contains("rotation="), "{name}: {source}");
        for &width in widths {
            exact(&world, &clip, &lossless(|request| request.width = width), 2);
        }
        let (width, height) = if degrees == 180 { (160, 90) } else { (90, 160) };
        for container in containers {
            let said = told_alike(&world, &clip, &lossy(container, |_| {}));
            let size = format!("width={width}\nheight={height}\n");
            assert!(said.contains(&size), "{name} {container}: {said}");
            assert!(!said.contains("rotation="), "{name} {container}: {said}");
        }
    }
}

#[test]
fn pixels_that_are_not_square_keep_the_shape_of_the_film() {
    oblong_pixels(&[
        (None, false, true, &["mkv"]),
        (Some(96), false, false, &["mp4"]),
        (Some(100), true, true, &["mov"]),
    ]);
}

#[test]
#[ignore = "long: make test-all"]
fn pixels_that_are_not_square_keep_the_shape_in_more_containers() {
    oblong_pixels(&[
        (None, false, false, &["mp4", "mov"]),
        (Some(96), false, true, &["mkv", "mov"]),
        (Some(100), true, false, &["mkv", "mp4"]),
    ]);
}

/// A width, whether it is cropped, whether a lossless job is compared too,
/// and containers of lossy ones.
type Oblong<'a> = (Option<u32>, bool, bool, &'a [&'a str]);

fn oblong_pixels(cases: &[Oblong<'_>]) {
    let world = World::new();
    let clip = world.made_by(
        "wide.mkv",
        "-f lavfi -i testsrc2=size=180x144:rate=24:duration=3 -vf setsar=64/45 -c:v mpeg2video -g 12 -q:v 3",
    );
    for &(width, crop, compared, containers) in cases {
        let change = |request: &mut SpecRequest| {
            request.width = width;
            request.crop = crop.then_some(Crop {
                width: 120,
                height: 100,
                x: 10,
                y: 20,
            });
        };
        if compared {
            exact(&world, &clip, &lossless(change), 2);
        }
        for container in containers {
            let said = told_alike(&world, &clip, &lossy(container, change));
            let square = said.contains("sample_aspect_ratio=1:1");
            assert!(said.contains("sample_aspect_ratio=") && !square, "{said}");
        }
    }
}

#[test]
fn films_of_red_green_and_blue_tell_their_colour_as_the_reference() {
    red_green_and_blue(&[
        ("gbrp.mkv", true, &["mkv"]),
        ("bgr0.mkv", false, &["mp4"]),
        ("rgb24.mov", false, &["mkv"]),
        ("pal8.mov", true, &["mp4"]),
        ("x264rgb.mp4", true, &["mp4"]),
    ]);
}

#[test]
#[ignore = "long: make test-all"]
fn films_of_red_green_and_blue_in_more_containers() {
    red_green_and_blue(&[
        ("gbrp.mkv", false, &["mp4"]),
        ("bgr0.mkv", true, &["mkv"]),
        ("rgb24.mov", true, &["mp4"]),
        ("pal8.mov", false, &["mkv"]),
        ("x264rgb.mp4", false, &["mkv"]),
    ]);
}

/// A clip, whether a lossless job is compared too, containers of lossy ones.
fn red_green_and_blue(cases: &[(&str, bool, &[&str])]) {
    let world = World::new();
    for &(name, compared, containers) in cases {
        let encoder = match name {
            "gbrp.mkv" => "-pix_fmt gbrp -c:v ffv1 -g 1",
            "bgr0.mkv" => "-pix_fmt bgr0 -c:v ffv1 -g 1",
            "rgb24.mov" => "-pix_fmt rgb24 -c:v png",
            "pal8.mov" => "-vf format=pal8 -c:v qtrle",
            "x264rgb.mp4" => "-c:v libx264rgb -pix_fmt bgr24 -crf 1 -g 10",
            _ => panic!("{name}"),
        };
        let picture = "-f lavfi -i testsrc2=size=96x64:rate=10:duration=3";
        let clip = world.made_by(name, &format!("{picture} {encoder}"));
        for container in containers {
            let spec = lossy(container, |_| {});
            let job = world.job(&clip, &spec);
            let ours = world.show(&job.output, SAID);
            assert!(ours.contains("pix_fmt=yuv420p"), "{name}: {ours}");
            let reference = world.show(&job.reference_file(), SAID);
            assert_eq!(ours, reference, "{name} {container} {}", job.note);
        }
        if compared {
            exact(&world, &clip, &lossless(|_| {}), 1);
        }
    }
}
