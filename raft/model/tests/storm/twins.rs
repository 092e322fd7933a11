//! Second attempts at shards. Speeds are not played here, so which shards have a twin
//! is thrown.

use reelraft_model::{
    Assign, AttemptKey, Command, JobState, State, TaskState, plan::ClusterHealth,
};

use crate::world::World;

impl World {
    /// Adds twins to a plan.
    pub fn throw_twins(
        &mut self,
        state: &State,
        health: &ClusterHealth,
        commands: &mut Vec<Command>,
    ) {
        for entry in state.active() {
            let job = &entry.job;
            let running = entry.shards().filter(|task| {
                job.state() == JobState::Encoding
                    && task.state() == TaskState::Running
                    && task.attempts_running().count() == 1
            });
            for task in running {
                let able = health.nodes.iter().filter(|(id, node)| {
                    node.alive && node.build == job.build && **id != task.node
                });
                let able: Vec<u64> = able.map(|(id, _)| *id).collect();
                let Some(node) = self.rng.pick(&able).filter(|_| self.rng.chance(60)) else {
                    continue;
                };
                commands.push(Command::Assign(Assign {
                    key: AttemptKey {
                        attempt: task.last_attempt() + 1,
                        ..AttemptKey::of(&job.id, task)
                    },
                    node,
                    build: job.build.clone(),
                    twin: true,
                    ..Default::default()
                }));
            }
        }
    }
}
