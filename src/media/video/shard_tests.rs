//! Where a shard's frames are not those of its plan, and another machine made them.
#![allow(clippy::unwrap_used)]

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::*;
use crate::{
    facts::index::tests::sample,
    ffmpeg::{
        cancel::Cancel,
        elsewhere::{Elsewhere, FromElsewhere, RunElsewhere, Said},
        input::{BytesServed, Input},
        tools::Tools,
    },
};
use reelraft_model::spec::{SpecRequest, resolve};

/// A machine whose runs show no frame, and end with this code.
#[derive(Debug)]
struct Blind {
    exit: i32,
    runs: AtomicU64,
}

impl Elsewhere for Blind {
    fn begin(&self, _args: &[String], _output: PathBuf) -> Box<dyn RunElsewhere> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        Box::new(BlindRun(self.exit))
    }

    fn time_max(&self) -> Duration {
        Duration::from_secs(600)
    }
}

struct BlindRun(i32);

impl RunElsewhere for BlindRun {
    fn next(&mut self) -> FromElsewhere<'_, Said> {
        let said = Said::Ended(self.0);
        Box::pin(async { Ok(said) })
    }

    fn moved(&self) -> Arc<AtomicU64> {
        Arc::default()
    }

    fn stop(&mut self) -> FromElsewhere<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

/// What comes of the last shard of the sample, and of how many runs.
async fn encoded_by(exit: i32) -> (MediaError, u64) {
    let codec = "vp9".to_string();
    let request = SpecRequest {
        codec,
        ..Default::default()
    };
    let spec = resolve(&request).unwrap();
    let runs = AtomicU64::new(0);
    let machine = Arc::new(Blind { exit, runs });
    let input = Input::Elsewhere {
        machine: machine.clone(),
        served: BytesServed::new(|| 0),
    };
    // None of them is run here.
    let none = PathBuf::from("/nonexistent");
    let tools = Tools {
        ffmpeg: none.clone(),
        ffprobe: none,
    };
    let context = Context {
        tools: &tools,
        input: &input,
        spec: &spec,
        work_dir: Path::new("/nonexistent"),
        cancel: &Cancel::new(),
    };
    let index = sample();
    let range = index.shards()[1];
    let encoded = encode_shard(&context, &index, range, false, |_| {}).await;
    (encoded.unwrap_err(), machine.runs.load(Ordering::Relaxed))
}

#[tokio::test]
async fn no_engine_is_blamed_for_a_film_that_is_odd() {
    let (error, runs) = encoded_by(0).await;
    assert!(matches!(error, MediaError::NotElsewhere { .. }), "{error}");
    assert_eq!(error.class(), crate::Class::Stopped);
    // Each start but the beginning of the file, from which it would read the whole film.
    assert_eq!(runs, 2);
}

#[tokio::test]
async fn an_engine_whose_ffmpeg_fails_from_each_start_is_blamed() {
    let (error, runs) = encoded_by(1).await;
    assert!(matches!(error, MediaError::Elsewhere { .. }), "{error}");
    assert_eq!(runs, 2);
}
