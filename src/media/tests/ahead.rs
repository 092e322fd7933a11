//! Shards that are joined as they come give what they give all together.

use std::path::{Path, PathBuf};

use crate::world::{World, spec};
use reelraft_media::{
    Assembled, Cancel, Context, Encoded, Index, Input, Joining, MediaError, Part, Parts, analyze,
    assemble, assemble_rest, encode_audio, encode_shard,
};
use reelraft_model::spec::Spec;

/// A film of some shards, encoded.
struct Film<'a> {
    world: &'a World,
    input: Input,
    spec: Spec,
    cancel: Cancel,
    folder: tempfile::TempDir,
}

impl Film<'_> {
    fn place(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    fn at<'b>(&'b self, work_dir: &'b Path) -> Context<'b> {
        Context {
            tools: &self.world.tools,
            input: &self.input,
            spec: &self.spec,
            work_dir,
            cancel: &self.cancel,
        }
    }

    async fn parts(&self, index: &Index) -> Parts {
        let part = |done: Encoded| (done.path, done.report);
        let mut parts = Parts::default();
        for (number, range) in index.shards().iter().enumerate() {
            let place = self.place(&format!("shard-{number}"));
            let done = encode_shard(&self.at(&place), index, *range, false, &|_| {}).await;
            parts.shards.push(part(done.unwrap()));
        }
        let place = self.place("audio");
        let done = encode_audio(&self.at(&place), index, 0, &|_| {}).await;
        parts.audio.push(part(done.unwrap()));
        parts
    }

    /// Assembles after these shards have been joined in this order.
    async fn after(
        &self,
        index: &Index,
        parts: &Parts,
        ahead: &[usize],
    ) -> Result<Assembled, MediaError> {
        let name = format!("after-{}", ahead.len());
        let begun = self.place(&format!("{name}-joined"));
        let mut joining = Joining::begin(&self.spec, index, &begun)?;
        for &number in ahead {
            joining.add(number, &parts.shards[number])?;
        }
        let rest = (0..parts.shards.len()).filter(|number| !ahead.contains(number));
        let rest = Parts {
            shards: rest.map(|number| parts.shards[number].clone()).collect(),
            ..parts.clone()
        };
        let place = self.place(&name);
        let made = assemble_rest(&self.at(&place), index, false, &rest, joining).await?;
        assert!(!begun.join("joined.mp4").exists());
        Ok(made)
    }
}

#[test]
fn shards_that_were_joined_ahead_change_no_byte() {
    let world = World::new();
    let film = Film {
        input: Input::File(world.made("h264.mp4").path),
        spec: Spec {
            shard_ms: 1000,
            ..spec(&[("preset", "ultrafast")])
        },
        cancel: Cancel::new(),
        folder: tempfile::tempdir().unwrap(),
        world: &world,
    };
    world.block_on(async {
        let place = film.place("analysis");
        let index = analyze(&film.at(&place), 1).await.unwrap();
        let parts = film.parts(&index).await;
        let count = parts.shards.len();
        assert!(count > 2, "{count} shards");
        let place = film.place("together");
        let together = assemble(&film.at(&place), &index, false, &parts).await;
        let together = together.unwrap();
        let backwards: Vec<usize> = (0..count).rev().collect();
        for ahead in [&[][..], &[0], &[1, 0], &backwards] {
            let made = film.after(&index, &parts, ahead).await.unwrap();
            assert_eq!(made.blake3, together.blake3, "{ahead:?}");
            assert_eq!(made.proof, together.proof, "{ahead:?}");
        }
        // Another shard in its place, and other bytes than were encoded.
        let mut swapped = parts.clone();
        swapped.shards.swap(0, 1);
        assert!(film.after(&index, &swapped, &[0]).await.is_err());
        let (file, report): &Part = &parts.shards[1];
        let mut bytes = std::fs::read(file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        let damaged = film.place("damaged").join("shard.mp4");
        std::fs::write(&damaged, bytes).unwrap();
        let mut rotten = parts.clone();
        rotten.shards[1] = (damaged, report.clone());
        for ahead in [&[][..], &[1], &[0, 1]] {
            let error = film.after(&index, &rotten, ahead).await.unwrap_err();
            assert!(error.to_string().contains("shard-hash"), "{error}");
        }
    });
}
