//! The homes: they take puts by epoch, fill what they lack, and sweep what has
//! no claim. What they owe is asked of the model's own rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use reelraft_model::{
    Command, History, HomeFilled, JobEntry, JobState, KeepHistory, State,
    home_rules::{
        FillDuty, holders, keeps_bytes_of, kept_blobs, may_let_go, may_prune, must_fill,
        owes_history, sources,
    },
};

use crate::{
    bugs::Bug,
    node::{FillRun, Node},
    truth::all_chunks,
    world::{Load, Origin, Put, PutStage, World},
};

/// How often a node looks at its duties as a home.
const DUTY_TICK_MS: u64 = 2_000;
/// How often it looks for bytes without a claim, and how long they stay.
const SWEEP_EVERY_MS: u64 = 30_000;
const SWEEP_GRACE_MS: u64 = 60_000;

/// What a home says to a put.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    Taken,
    Refused,
    OutOfReach,
}

impl World {
    /// Whether a home takes a put that relies on this epoch and log index.
    pub fn judge(&self, from: u64, home: u64, (job, epoch, index): (&str, u64, u64)) -> Judged {
        if !self.reaches(from, home) {
            return Judged::OutOfReach;
        }
        self.judge_here(home, (job, epoch, index))
    }

    fn judge_here(&self, home: u64, (job, epoch, index): (&str, u64, u64)) -> Judged {
        let node = &self.nodes[&home];
        if node.full(self.now_ms) {
            return Judged::Refused;
        }
        if self.bugs.has(Bug::PutOfAnyEpoch) {
            return Judged::Taken;
        }
        let behind = node.applied < index.max(epoch);
        let state = self.log.state_at(node.applied);
        let taken = state.job(job).is_some_and(|entry| {
            entry.job.state().keeps_bytes() && entry.job.epoch == epoch && is_current(&entry, home)
        });
        match taken && !behind {
            true => Judged::Taken,
            false => Judged::Refused,
        }
    }

    pub fn write(&mut self, node: u64, job: &str, blobs: &[String]) {
        self.dirty = true;
        let folder = self.node(node).folder(job);
        let blobs = blobs.iter().filter(|blob| !blob.is_empty());
        folder.blobs.extend(blobs.cloned());
    }

    pub fn write_chunks(&mut self, node: u64, job: &str, chunks: u64) {
        self.dirty = true;
        let folder = self.node(node).folder(job);
        folder.chunks |= chunks;
        folder.journal |= chunks;
    }

    /// Moves the puts on: judged, written, judged again, answered.
    pub fn move_puts(&mut self) {
        let mut left = Vec::new();
        for mut put in std::mem::take(&mut self.puts) {
            let answer = loop {
                if put.due_ms > self.now_ms {
                    break None;
                }
                match self.move_put(&mut put) {
                    Some(taken) => break Some(taken),
                    None if !self.calm && self.rng.chance(300) => {
                        let steps = [1, 1, 1, 1, 8][self.rng.below(5) as usize];
                        put.due_ms = self.now_ms + steps * self.step_ms;
                    }
                    None => {}
                }
            };
            match answer {
                Some(taken) => self.put_answered(&put, taken),
                None => left.push(put),
            }
        }
        self.puts = left;
    }

    /// One stage of a put; whether it was taken, at its end.
    fn move_put(&mut self, put: &mut Put) -> Option<bool> {
        if !self.nodes[&put.node].up(self.now_ms) {
            return Some(false);
        }
        let relies = (put.job.as_str(), put.epoch, put.log_index);
        let judged = || self.judge_here(put.node, relies) == Judged::Taken;
        match (put.stage, put.load) {
            (PutStage::Sent, _) => {
                if !judged() {
                    // It waits for the log to reach the home.
                    if self.now_ms < put.until_ms
                        && self.nodes[&put.node].applied < put.log_index.max(put.epoch)
                    {
                        put.due_ms = self.now_ms + self.step_ms;
                        return None;
                    }
                    return Some(false);
                }
                put.stage = PutStage::Judged;
                None
            }
            (PutStage::Judged, Load::Chunk(number)) => {
                self.story.say(
                    self.now_ms,
                    format!(
                        "chunk {number} of {} is written on node {}",
                        self.story.name(&put.job),
                        put.node
                    ),
                );
                self.write_chunks(put.node, &put.job.clone(), 1 << number);
                put.stage = PutStage::Written;
                self.bugs.has(Bug::PutJudgedOnce).then_some(true)
            }
            (PutStage::Judged, Load::Manifest) => {
                self.write(put.node, &put.job.clone(), &["m".to_string()]);
                Some(true)
            }
            (PutStage::Written, _) => Some(judged()),
        }
    }

    /// One look of a home at its duties, where it is time.
    pub fn do_duties(&mut self, node: u64) {
        let beat = self.now_ms / DUTY_TICK_MS != (self.now_ms - self.step_ms) / DUTY_TICK_MS;
        if !beat {
            return;
        }
        self.fill(node);
        self.keep_histories(node);
        self.remove_what_goes(node);
        // Nodes are not started together: their sweeps are spread.
        let at = self.now_ms + node * 6_000;
        if at / SWEEP_EVERY_MS != (at - self.step_ms.max(DUTY_TICK_MS)) / SWEEP_EVERY_MS {
            self.sweep(node);
        }
    }

    fn fill(&mut self, node: u64) {
        let state = self.local(node);
        let mine: Vec<(FillDuty, Arc<JobEntry>)> = state
            .jobs()
            .filter_map(|entry| Some((must_fill(&entry, node)?, entry.clone())))
            .collect();
        // A slow node copies only now and then.
        let slow = self.nodes[&node].slow && !self.calm && !self.rng.chance(120);
        let mut left = if slow {
            0
        } else {
            self.nodes[&node].copies_a_look
        };
        for (duty, entry) in mine {
            let uploading = entry.job.state() == JobState::Uploading;
            let whole = match uploading {
                true => self.fill_journal(node, &entry, &mut left),
                false => self.fill_blobs(node, &entry, &mut left),
            };
            let early = self.bugs.has(Bug::FilledTooEarly);
            let counted = self.bugs.has(Bug::FormerHomeCounts) && self.former_holds(&entry);
            if duty == FillDuty::BecomeWhole && (whole || early || counted) {
                let job = entry.job.id.clone();
                self.node(node).memory.fills.remove(&job);
                let command = Command::HomeFilled(HomeFilled {
                    job,
                    epoch: entry.job.epoch,
                    node,
                    index_hash: Some(entry.job.index_hash.clone()),
                });
                self.propose(vec![vec![command]], Origin::Home);
            }
        }
    }

    fn former_holds(&self, entry: &JobEntry) -> bool {
        let all = all_chunks(entry.job.source_bytes);
        self.nodes
            .values()
            .any(|node| !is_current(entry, node.id) && node.chunks(&entry.job.id) & all == all)
    }

    /// Copies what an unsealed source has by some home's journal; whether all
    /// of it is here.
    fn fill_journal(&mut self, node: u64, entry: &JobEntry, left: &mut u64) -> bool {
        let (job, epoch) = (&entry.job.id, entry.job.epoch);
        let run = self.nodes[&node].memory.fills.get(job);
        if run.is_none_or(|run| run.epoch != epoch) {
            let Some(journal) = self.journal_to_fill_from(node, entry) else {
                return false;
            };
            let here = self.nodes[&node]
                .disk
                .get(job)
                .map_or(0, |folder| folder.journal);
            let missing = journal & !here;
            let memory = &mut self.node(node).memory;
            memory.fills.insert(job.clone(), FillRun { epoch, missing });
        }
        let missing = self.nodes[&node].memory.fills[job].missing;
        let copied = self.copy_chunks(node, entry, missing, left);
        let memory = &mut self.node(node).memory;
        let run = memory.fills.get_mut(job).expect("it was begun above");
        run.missing &= !copied;
        run.missing == 0
    }

    /// The journal of a home that holds all; where none answers, what all
    /// others say together.
    fn journal_to_fill_from(&self, node: u64, entry: &JobEntry) -> Option<u64> {
        let job = &entry.job;
        let whole: Vec<u64> = match self.bugs.has(Bug::FilledFromUnfilled) {
            true => job.current_homes().map(|home| home.node).collect(),
            false => holders(job).collect(),
        };
        let mut others: Vec<u64> = sources(job).filter(|&other| other != node).collect();
        others.sort_by_key(|other| !whole.contains(other));
        let mut journal = 0;
        let mut silent = others.is_empty();
        for other in others {
            if !self.reaches(node, other) || self.nodes[&other].applied < job.epoch {
                silent = true;
                continue;
            }
            let folder = self.nodes[&other].disk.get(&job.id);
            journal |= folder.map_or(0, |folder| folder.journal);
            if whole.contains(&other) {
                silent = false;
                break;
            }
        }
        (!silent).then_some(journal)
    }

    fn copy_chunks(&mut self, node: u64, entry: &JobEntry, missing: u64, left: &mut u64) -> u64 {
        let mut can = self.readable_chunks(entry, node) & missing;
        let here = self.nodes[&node].chunks(&entry.job.id);
        let full = self.nodes[&node].full(self.now_ms);
        let mut copied = can & here;
        can &= !here;
        while can != 0 && *left > 0 && !full {
            copied |= can & can.wrapping_neg();
            can &= can - 1;
            *left -= 1;
            self.truth.copied_chunk(&entry.job.id);
        }
        if copied != 0 {
            self.write_chunks(node, &entry.job.id, copied);
        }
        copied
    }

    /// Copies what the table names; whether all of it is here.
    fn fill_blobs(&mut self, node: u64, entry: &JobEntry, left: &mut u64) -> bool {
        let job = &entry.job.id;
        let full = self.nodes[&node].full(self.now_ms);
        let (mut whole, mut lost) = (true, None);
        for blob in entry.blobs() {
            if self.nodes[&node].has_blob(job, &blob) {
                continue;
            }
            let mut parts = entry.parts();
            let part = parts.find(|task| task.hash == blob || task.report == blob);
            let taken = || part.is_some_and(|task| self.can_take(task, node, &blob));
            let read = self.can_read(entry, node, &blob);
            let can = read.is_ok() || taken();
            // The film does not wait for what was found of it.
            if !can && entry.is_measured_blob(&blob) {
                lost = Some(blob)
                    .filter(|_| read == Err(true) && !entry.job.is_filling())
                    .or(lost);
                continue;
            }
            let can = *left > 0 && !full && can;
            if can {
                *left -= 1;
                if blob == entry.job.output_hash {
                    self.truth.copied_output(job);
                }
                self.write(node, job, &[blob]);
            }
            whole &= can;
        }
        if let Some(lost) = lost {
            self.end_lost(entry, lost);
        }
        let needs_source = entry.job.state() != JobState::Succeeded;
        if needs_source && self.nodes[&node].has_blob(job, &entry.job.manifest) {
            let all = all_chunks(entry.job.source_bytes);
            let missing = all & !self.nodes[&node].chunks(job);
            if missing != 0 {
                self.copy_chunks(node, entry, missing, left);
            }
            whole &= self.nodes[&node].chunks(job) & all == all;
        }
        whole
    }

    /// Writes down the tasks of finished jobs.
    fn keep_histories(&mut self, node: u64) {
        let state = self.local(node);
        if self.nodes[&node].full(self.now_ms) {
            return;
        }
        let owed = state.without_history();
        for entry in owed.filter(|entry| owes_history(entry, node)) {
            let (job, history_hash) = (&entry.job.id, History::blob(entry).hash);
            if !self.bugs.has(Bug::HistoryUnwritten) {
                self.write(node, job, std::slice::from_ref(&history_hash));
            }
            let told = |home: u64| {
                Command::KeepHistory(KeepHistory {
                    job: job.clone(),
                    epoch: entry.job.epoch,
                    node: home,
                    history_hash: history_hash.clone(),
                })
            };
            let mut homes: Vec<u64> = entry.job.current_homes().map(|home| home.node).collect();
            homes.retain(|home| *home == node || self.bugs.has(Bug::HistoryOnOneHome));
            let told = homes.into_iter().map(told).collect();
            self.propose(vec![told], Origin::Home);
        }
    }

    fn sweep(&mut self, node: u64) {
        let held: Vec<String> = self.nodes[&node].disk.keys().cloned().collect();
        // A node that was away must not act on what it remembers.
        let Some(state) = self.read(node) else { return };
        for entry in held.iter().filter_map(|id| state.job(id)) {
            if may_prune(&entry, node) {
                self.prune(node, &state, &entry);
            }
            self.let_go(node, &entry);
        }
        let mut unwanted: Vec<String> = held;
        unwanted.retain(|id| !self.keeps(&state, id, node));
        let now_ms = self.now_ms;
        let known = &mut self.node(node).memory.unwanted;
        known.retain(|id, _| unwanted.contains(id));
        for id in unwanted {
            let known = &mut self.node(node).memory.unwanted;
            let since = *known.entry(id.clone()).or_insert(now_ms);
            if now_ms - since < SWEEP_GRACE_MS {
                continue;
            }
            known.remove(&id);
            self.node(node).disk.remove(&id);
            self.dirty = true;
            let name = self.story.name(&id);
            self.story.say(now_ms, format!("node {node} sweeps {name}"));
        }
    }

    fn keeps(&self, state: &State, id: &str, node: u64) -> bool {
        let entry = state.job(id);
        let own = entry.as_ref().is_some_and(|entry| is_current(entry, node));
        let ended = entry.as_ref().is_some_and(|entry| entry.job.keeps_source());
        let cancelled = entry.is_some_and(|entry| entry.job.state() == JobState::Cancelled);
        match self.bugs.0 {
            Some(Bug::SweptWhileFilling) => own && keeps_bytes_of(state, id, node),
            Some(Bug::CancelledKept) if cancelled => true,
            Some(Bug::HeldSourceSwept) if ended => false,
            _ => keeps_bytes_of(state, id, node),
        }
    }

    /// What a plan that was given up has left goes once it was of no use twice.
    fn let_go(&mut self, node: u64, entry: &JobEntry) {
        let (id, now_ms, kept) = (&entry.job.id, self.now_ms, entry.blobs());
        let lets_go = may_let_go(entry, node);
        let Node { disk, memory, .. } = self.node(node);
        let Some(folder) = disk.get_mut(id).filter(|_| lets_go) else {
            memory.given_up.remove(id);
            return;
        };
        let seen = memory.given_up.entry(id.clone()).or_default();
        seen.retain(|blob, _| folder.blobs.contains(blob) && !kept.contains(blob));
        for blob in folder.blobs.iter().filter(|blob| !kept.contains(blob)) {
            seen.entry(blob.clone()).or_insert(now_ms);
        }
        let gone = |blob: &String| {
            seen.get(blob)
                .is_some_and(|at| now_ms - at >= SWEEP_GRACE_MS)
        };
        folder.blobs.retain(|blob| !gone(blob));
        self.dirty = true;
    }

    /// Notes what of a finished job is of no use; it goes a while later.
    fn prune(&mut self, node: u64, state: &State, entry: &JobEntry) {
        let kept = self.kept(state, entry);
        let due_ms = self.now_ms + (self.now_ms / 1_000 + 7 * node) % 20 * 1_000;
        let folder = self.node(node).folder(&entry.job.id);
        let mut going = folder.blobs.clone();
        going.retain(|blob| !kept.contains(blob));
        let memory = &mut self.node(node).memory;
        memory.going.insert(entry.job.id.clone(), (due_ms, going));
    }

    /// Removes what is due of that, as far as this node's table has no use for it now.
    fn remove_what_goes(&mut self, node: u64) {
        let now_ms = self.now_ms;
        let all = std::mem::take(&mut self.node(node).memory.going).into_iter();
        let (due, left) = all.partition(|(_, (due_ms, _))| *due_ms <= now_ms);
        let due: BTreeMap<String, (u64, BTreeSet<String>)> = due;
        self.node(node).memory.going = left;
        for (id, (_, going)) in due {
            let state = self.local(node);
            let Some(entry) = state.job(&id).filter(|entry| may_prune(entry, node)) else {
                continue;
            };
            let kept = self.kept(&state, &entry);
            let pruned = self.bugs.has(Bug::HeldSourcePruned);
            let folder = self.node(node).folder(&id);
            let goes = |blob: &String| going.contains(blob) && !kept.contains(blob);
            folder.blobs.retain(|blob| !goes(blob));
            if !entry.job.holds_source() || pruned {
                folder.chunks = 0;
            }
            self.dirty = true;
        }
    }

    fn kept(&self, state: &State, entry: &JobEntry) -> Vec<String> {
        let mut kept = match self.bugs.has(Bug::HistoryPruned) {
            true => entry.blobs(),
            false => kept_blobs(state, entry),
        };
        if let Some(found) = &entry.job.measurement
            && self.bugs.has(Bug::MeasuredPruned)
        {
            kept.retain(|blob| !found.parts.contains(blob));
        }
        kept
    }
}

/// Whether a node is a home of a job's epoch.
pub fn is_current(entry: &JobEntry, node: u64) -> bool {
    entry.job.current_homes().any(|home| home.node == node)
}
