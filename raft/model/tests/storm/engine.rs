//! Engines as data, and their lies. Chance is their own, so that storms without any stay
//! as they were.

use reelraft_model::{
    AttemptKey, Command, Complete, CreateEngine, ENGINE_ID_MIN, Engine as Row, FailureClass,
    JobEntry, State, TaskKind, TaskState, engine_digest,
};

use crate::{
    bugs::{Bug, Bugs},
    rng::Rng,
};

/// A wrong result that only another attempt shows to be wrong.
pub const FALSE: &str = "false";
/// One that does not fit to the other parts.
pub const UNFIT: &str = "unfit";

/// An engine.
#[derive(Clone)]
pub struct Engine {
    pub id: u64,
    /// The member that it is connected to.
    pub member: u64,
    /// It is away until then.
    pub down_until_ms: u64,
    pub seen_ms: u64,
    /// Whether it gives wrong results.
    pub lies: bool,
}

/// All of them, by their order.
pub struct Engines {
    pub rng: Rng,
    pub all: Vec<Engine>,
}

impl Engines {
    /// Those of a seed: most have none.
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x00e6_91e5);
        let count = if rng.chance(400) {
            rng.between(1, 3)
        } else {
            0
        };
        let all = (1..=count).map(|number| Engine {
            id: ENGINE_ID_MIN + number,
            member: 1,
            down_until_ms: 0,
            seen_ms: 0,
            lies: rng.chance(400),
        });
        let all = all.collect();
        Engines { rng, all }
    }

    /// The commands that make their rows.
    pub fn permits(&self) -> Vec<Command> {
        let permit = |engine: &Engine| {
            let name = format!("engine{}", engine.id - ENGINE_ID_MIN);
            let digest = engine_digest(&[(engine.id - ENGINE_ID_MIN) as u8; 32]);
            Command::CreateEngine(CreateEngine {
                engine: Row {
                    name,
                    digest,
                    ..Default::default()
                },
                engines_max: 9,
            })
        };
        self.all.iter().map(permit).collect()
    }

    /// One of them.
    pub fn get(&self, id: u64) -> Option<&Engine> {
        self.all.iter().find(|engine| engine.id == id)
    }
}

/// Whether a result is a lie that was told here.
pub fn is_lie(hash: &str) -> bool {
    hash.starts_with(FALSE) || hash.starts_with(UNFIT)
}

/// Whether parts do not fit together, which an assembly finds out.
pub fn is_unfit(key: &AttemptKey, entry: &JobEntry) -> bool {
    let unfit = entry.parts().any(|task| task.hash.starts_with(UNFIT));
    key.kind() == TaskKind::Assemble && entry.job.reuse.is_none() && unfit
}

/// A shard of any open job that counts, though an engine that was found lying alone made it.
pub fn rests_on_liar(state: &State) -> Option<String> {
    let liars = state.engines().filter(|engine| engine.quarantine.is_some());
    let liars: Vec<u64> = liars.map(|engine| engine.id).collect();
    if liars.is_empty() {
        return None;
    }
    state.active().find_map(|entry| {
        let mut shards = entry.shards();
        let task = shards.find(|task| {
            let counts = task.state() == TaskState::Done && task.claim.is_none();
            counts && task.is_by_engine() && liars.contains(&task.node)
        })?;
        let (job, number, by) = (&entry.job.id, task.number, task.node - ENGINE_ID_MIN);
        Some(format!(
            "shard {number} of {job} rests on engine {by}, which has lied"
        ))
    })
}

/// Plants the bug of results that are never made again.
pub fn forget_check(bugs: Bugs, complete: &mut Complete) {
    if bugs.has(Bug::CheckForgotten) {
        complete.check = false;
    }
}

/// What an assembly fails by of parts that do not fit together.
pub fn unfit_class(bugs: Bugs) -> FailureClass {
    match bugs.has(Bug::DoubtForgotten) {
        true => FailureClass::NodeFault,
        false => FailureClass::PlanMismatch,
    }
}
