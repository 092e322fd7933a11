//! What is planned while a source still comes is what is planned of the whole, and
//! what is encoded by it is the same bytes.

use std::path::Path;

use reelraft_media::{
    Cancel, Context, Encoded, Index, Input, MediaError, analyze, analyze_early, encode_audio,
    encode_shard,
};
use reelraft_model::{ShardRange, limits::EARLY_SOURCE_BYTES_MIN, spec::Spec};
use tokio::sync::mpsc;

use crate::world::{World, spec};

/// Shards of a second each come before the rest of twelve.
const FILM: &str = "-f lavfi -i testsrc2=size=160x90:rate=24:duration=12 -f lavfi -i sine=duration=12 \
                    -c:v libx264 -preset ultrafast -bf 2 -g 24 -pix_fmt yuv420p -c:a aac";

/// How often a film is analysed until some of its shards come early.
const EARLY_TRIES: usize = 30;

struct Step<'a> {
    world: &'a World,
    spec: &'a Spec,
    input: &'a Input,
}

impl Step<'_> {
    /// Runs a step in a folder of its own.
    fn run<T>(&self, step: impl AsyncFnOnce(&Context<'_>) -> Result<T, MediaError>) -> T {
        let folder = tempfile::tempdir().unwrap();
        let context = Context {
            tools: &self.world.tools,
            input: self.input,
            spec: self.spec,
            work_dir: folder.path(),
            cancel: &Cancel::new(),
        };
        self.world.block_on(step(&context)).unwrap()
    }

    fn shard(&self, index: &Index, range: ShardRange) -> Encoded {
        self.run(async |context| encode_shard(context, index, range, false, &|_| {}).await)
    }

    fn audio(&self, index: &Index) -> Encoded {
        self.run(async |context| encode_audio(context, index, 0, &|_| {}).await)
    }
}

fn check(world: &World, path: &Path, spec: &Spec) {
    // A small one is looked at as a whole.
    let bytes = EARLY_SOURCE_BYTES_MIN;
    let step = Step {
        world,
        spec,
        input: &Input::File(path.to_path_buf()),
    };
    let whole = step.run(async |context| analyze(context, bytes).await);
    // On a busy machine the packets of a small film are all there before it is known
    // which of its keyframes are clean, and nothing is early.
    let mut taken = None;
    for _ in 0..EARLY_TRIES {
        let (sink, received) = mpsc::channel(100);
        let found = step.run(async |context| analyze_early(context, bytes, &sink).await);
        assert_eq!(found.to_bytes(), whole.to_bytes());
        if !received.is_empty() {
            taken = Some(received);
            break;
        }
    }
    let mut taken = taken.expect("shards are early in one of the tries");
    let mut shards = 0;
    while let Ok(early) = taken.try_recv() {
        let index = Index::from_bytes(&early.index).unwrap();
        assert_eq!(early.audio_keys, [whole.audio_key(spec, 0)]);
        for (range, key) in early.ranges.into_iter().zip(early.keys) {
            assert_eq!(range, whole.shards()[shards]);
            assert_eq!(key, whole.shard_key(spec, range), "shard {shards}");
            if shards == 1 {
                let (early, late) = (step.shard(&index, range), step.shard(&whole, range));
                assert_eq!((early.blake3, early.report), (late.blake3, late.report));
                let (early, late) = (step.audio(&index), step.audio(&whole));
                assert_eq!((early.blake3, early.report), (late.blake3, late.report));
            }
            shards += 1;
        }
    }
    assert!(shards > 3, "{shards} of {}", whole.shards().len());
}

#[test]
fn what_is_made_early_is_what_is_made_of_the_whole() {
    let world = World::new();
    for name in ["early.mp4", "early.mkv"] {
        let clip = world.made_by(name, FILM);
        check(&world, &clip.path, &spec(&[("shard_ms", "1000")]));
    }
}
