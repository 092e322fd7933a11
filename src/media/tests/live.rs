//! Recordings of live servers, against the reference.

use std::path::Path;

use crate::{
    sync::{H264, beeps, flashes_and_beeps, picture},
    tracks::same_sound,
    world::{World, spec},
};

/// What nginx's live module records: the server's name where ffmpeg looks for it, and
/// no picture before the first keyframe came, two seconds after the sound.
fn recorded_live(flv: &[u8]) -> Vec<u8> {
    const LATE_MS: usize = 2_000;
    let number = |bytes: &[u8]| bytes.iter().fold(0, |all, &byte| all << 8 | byte as usize);
    let text = |text: &str| [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat();
    let names = [
        b"\x02".to_vec(),
        text("onMetaData"),
        b"\x03".to_vec(),
        text("Server"),
    ];
    let server = [b"\x02".to_vec(), text("NGINX RTMP (live)"), vec![0, 0, 9]];
    let body = [names.concat(), server.concat()].concat();
    let size = body.len() as u32;
    let mut live = flv[..13].to_vec();
    live.extend([18]);
    live.extend(&size.to_be_bytes()[1..]);
    live.extend([0; 7]);
    live.extend(body);
    live.extend((size + 11).to_be_bytes());
    let mut rest = &flv[13..];
    while rest.len() > 15 {
        let (tag, next) = rest.split_at(15 + number(&rest[1..4]));
        let (kind, ms, is_header) = (tag[0], number(&tag[4..7]), tag[12] == 0);
        if kind != 18 && (kind != 9 || is_header || ms >= LATE_MS) {
            live.extend(tag);
        }
        rest = next;
    }
    live
}

#[test]
fn recordings_of_a_live_server_keep_their_sound_beside_the_pictures() {
    let world = World::new();
    let (picture, beeps) = (picture(6), beeps(6));
    let made = format!("{picture} {beeps} {H264} -bf 0 -c:a aac");
    let whole = world.made_by("whole.flv", &made);
    let bytes = recorded_live(&std::fs::read(&whole.path).unwrap());
    let clip = world.written("live.flv", bytes);
    let job = world.job(&clip, &spec(&[("preset", "ultrafast")]));
    let format = world.show(&clip.path, "format=format_name");
    assert!(format.contains("live_flv"), "{format}");
    same_sound(&job, "a:0");
    let pictures = |path: &Path| world.packet_times(path, "v:0");
    assert_eq!(pictures(&job.output), pictures(&job.reference_file()));
    let (flashes, beeps) = flashes_and_beeps(&world, &job.output);
    assert!(flashes.len() >= 3, "{flashes:?}");
    for flash in flashes {
        assert!(
            beeps.iter().any(|beep| (beep - flash).abs() < 0.05),
            "{flash}: {beeps:?}"
        );
    }
}
