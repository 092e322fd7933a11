//! Uploads: settle, transfer chunk by chunk, seal. A chunk is acknowledged
//! when all homes of its epoch have it.

use reelraft_model::{Command, JobState, SealSource};

use crate::{
    bugs::Bug,
    client::{Phase, Step, Upload},
    truth::all_chunks,
    world::{Load, Origin, Put, PutStage, World},
};

/// Chunks on their way at once.
const WINDOW: usize = 4;
/// How long one put may take.
const CALL_TIMEOUT_MS: u64 = 15_000;

impl World {
    pub fn upload(&mut self, client: usize) {
        let via = self.clients[client].upload.via;
        if !self.in_reach(via) {
            // The client opens the stream again, on any node.
            let Some(via) = self.rng.pick(&self.nodes_in_reach()) else {
                return;
            };
            let upload = &mut self.clients[client].upload;
            upload.via = via;
            restart(upload);
        }
        match self.clients[client].upload.step {
            Step::Settle => self.settle(client),
            Step::Transfer => self.transfer(client),
            Step::Seal => self.seal(client),
            Step::SealProposed => {
                if self.clients[client].again_ms <= self.now_ms {
                    restart(&mut self.clients[client].upload);
                }
            }
        }
    }

    /// Learns which chunks are safe on the homes of now.
    fn settle(&mut self, client: usize) {
        let (via, id) = (self.clients[client].upload.via, self.job_of(client));
        let Some(state) = self.read(via) else { return };
        let Some(entry) = state.job(&id) else {
            return;
        };
        let job = &entry.job;
        if job.state() != JobState::Uploading {
            self.clients[client].phase = Phase::Watch;
            return;
        }
        let index = self.nodes[&via].applied;
        let homes: Vec<u64> = job.current_homes().map(|home| home.node).collect();
        let answers = |&home: &u64| self.reaches(via, home) && self.nodes[&home].applied >= index;
        if homes.is_empty() || !homes.iter().all(answers) {
            return;
        }
        let journal = |home: &u64| {
            let folder = self.nodes[home].disk.get(&id);
            folder.map_or(0, |folder| folder.journal)
        };
        let on_all = homes.iter().fold(u64::MAX, |all, home| all & journal(home));
        let unread = self.bugs.has(Bug::FormerHomeUnread);
        // What former homes say is added, where they answer.
        let mut asked: Vec<u64> = homes.clone();
        let retiring = job.retiring_homes().map(|home| home.node);
        asked.extend(retiring.filter(|home| {
            !unread && self.reaches(via, *home) && self.nodes[home].applied >= job.epoch
        }));
        let everyone = unread || asked.len() == job.homes.len();
        let on_some = asked.iter().fold(0, |some, home| some | journal(home)) & !on_all;
        let lacking: Vec<(u64, u64)> = homes
            .iter()
            .map(|home| (*home, on_some & !journal(home)))
            .collect();
        let readable = asked
            .iter()
            .fold(0, |all, home| all | self.nodes[home].chunks(&id));
        let epoch = job.epoch;
        let upload = &mut self.clients[client].upload;
        upload.round += 1;
        upload.epoch = epoch;
        upload.log_index = index;
        upload.homes = homes;
        upload.safe = on_all & all_chunks(job.source_bytes);
        upload.waiting.clear();
        upload.failed = false;
        upload.step = Step::Transfer;
        let safe = upload.safe;
        // While a former home is away, the client is rather asked again.
        if everyone {
            self.truth.plan_sent(&id, safe | (on_some & readable));
        }
        self.truth.acknowledged(&id, safe);
        for (home, lacks) in lacking {
            for number in (0..64).filter(|number| (lacks & readable) >> number & 1 == 1) {
                self.put(client, home, Load::Chunk(number));
                let upload = &mut self.clients[client].upload;
                *upload.waiting.entry(number).or_default() += 1;
            }
        }
    }

    fn put(&mut self, client: usize, node: u64, load: Load) {
        let slow = !self.calm && self.rng.chance(300);
        let due_ms = self.now_ms
            + if slow {
                self.rng.between(1, 6) * 500
            } else {
                0
            };
        let upload = &self.clients[client].upload;
        let reached = self.reaches(upload.via, node);
        let put = Put {
            client,
            round: upload.round,
            node,
            job: self.job_of(client),
            epoch: upload.epoch,
            log_index: upload.log_index,
            load,
            stage: PutStage::Sent,
            due_ms,
            until_ms: self.now_ms + 5_000,
        };
        match reached {
            true => self.puts.push(put),
            false => self.clients[client].upload.failed = true,
        }
    }

    fn transfer(&mut self, client: usize) {
        let all = all_chunks(self.clients[client].chunks);
        let late = self.clients[client].again_ms <= self.now_ms;
        let upload = &mut self.clients[client].upload;
        if upload.failed || upload.safe == all {
            if !upload.waiting.is_empty() && !late {
                return;
            }
            if upload.failed {
                restart(upload);
            } else {
                upload.step = Step::Seal;
                upload.manifest_waiting = 0;
            }
            return;
        }
        if !self.calm && self.rng.chance(200) {
            return;
        }
        self.clients[client].again_ms = self.now_ms + CALL_TIMEOUT_MS;
        for number in 0..self.clients[client].chunks {
            let upload = &mut self.clients[client].upload;
            if upload.waiting.len() >= WINDOW {
                return;
            }
            let known = upload.safe >> number & 1 == 1 || upload.waiting.contains_key(&number);
            if known {
                continue;
            }
            let homes = upload.homes.clone();
            upload.waiting.insert(number, homes.len());
            for home in homes {
                self.put(client, home, Load::Chunk(number));
            }
        }
    }

    /// The manifest goes to all homes, and then the seal is proposed.
    fn seal(&mut self, client: usize) {
        let upload = &mut self.clients[client].upload;
        if upload.failed {
            return restart(upload);
        }
        if upload.manifest_waiting > 0 {
            if self.clients[client].again_ms <= self.now_ms {
                restart(&mut self.clients[client].upload);
            }
            return;
        }
        upload.round += 1;
        let homes = upload.homes.clone();
        upload.manifest_waiting = homes.len();
        self.clients[client].again_ms = self.now_ms + CALL_TIMEOUT_MS;
        for home in homes {
            self.put(client, home, Load::Manifest);
        }
    }

    /// A home's answer to a put has come.
    pub fn put_answered(&mut self, put: &Put, taken: bool) {
        let via = self.clients[put.client].upload.via;
        let heard = self.reaches(via, put.node);
        let upload = &mut self.clients[put.client].upload;
        if upload.round != put.round {
            return;
        }
        if !taken || !heard {
            upload.failed = true;
            return;
        }
        match put.load {
            Load::Chunk(number) => {
                let left = upload.waiting.entry(number).or_default();
                *left = left.saturating_sub(1);
                if *left == 0 || self.bugs.has(Bug::AcknowledgedByOne) {
                    upload.waiting.remove(&number);
                    upload.safe |= 1 << number;
                    self.truth.acknowledged(&put.job, 1 << number);
                    let name = self.story.name(&put.job);
                    self.story.say(
                        self.now_ms,
                        format!("chunk {number} of {name} is acknowledged"),
                    );
                }
            }
            Load::Manifest => {
                upload.manifest_waiting = upload.manifest_waiting.saturating_sub(1);
                if upload.manifest_waiting == 0 {
                    upload.step = Step::SealProposed;
                    let seal = Command::SealSource(SealSource {
                        job: put.job.clone(),
                        epoch: upload.epoch,
                        manifest: "m".into(),
                        root: format!("root of {}", self.clients[put.client].chunks),
                        keep_source: true,
                    });
                    self.clients[put.client].again_ms = self.now_ms + 10_000;
                    self.propose(vec![vec![seal]], Origin::Upload(put.client));
                }
            }
        }
    }

    pub fn job_of(&self, client: usize) -> String {
        let job = &self.clients[client].job;
        job.clone()
            .expect("an upload follows the answer to its request")
    }
}

/// What a stream knew may be lost at any time.
pub fn restart(upload: &mut Upload) {
    upload.step = Step::Settle;
    upload.round += 1;
    upload.waiting.clear();
    upload.manifest_waiting = 0;
    upload.failed = false;
}
