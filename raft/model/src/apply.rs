//! `apply`: the only writer of the table. It is a total function: any command on
//! any state gives a reply. A command whose premise no longer holds changes
//! nothing, so a retried or late proposal is harmless.

mod authorities;
mod early;
mod engines;
mod homes;
mod housekeeping;
mod jobs;
mod keys;
mod measuring;
mod members;
mod outside;
mod parts;
mod rate;
mod refusals;
mod replan;
mod retry;
mod reuse;
mod search;
mod stages;
mod tasks;
mod writer;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use self::writer::Writer;
use crate::{
    command::{Command, Reply},
    entry::Entry,
    job_id::job_id,
    limits::COMMANDS_PER_ENTRY_MAX,
    state::{Applied, State},
};

impl State {
    /// Applies one entry of the log at its index.
    pub fn apply(&mut self, index: u64, entry: &Entry) -> Applied {
        let mut writer = Writer {
            state: self,
            touched: BTreeSet::new(),
            turned: BTreeMap::new(),
        };
        let mut replies = Vec::with_capacity(entry.commands.len());
        for (position, envelope) in entry.commands.iter().enumerate() {
            let command = envelope
                .command
                .as_ref()
                .expect("decode refuses unknown commands");
            let age = index * COMMANDS_PER_ENTRY_MAX as u64 + position as u64;
            replies.push(writer.apply_to_job(index, age, command));
        }
        Applied {
            replies,
            turned: writer.turned.into_values().collect(),
            touched: writer.touched.into_iter().collect(),
        }
    }
}

impl Writer<'_> {
    /// Applies a command with the job that it is about at hand.
    fn apply_to_job(&mut self, index: u64, age: u64, command: &Command) -> Reply {
        let Some(job) = job_of(command) else {
            return self.apply(index, age, command);
        };
        self.state.take_out(&job);
        let reply = self.apply(index, age, command);
        self.state.put_by(&job);
        reply
    }

    fn apply(&mut self, index: u64, age: u64, command: &Command) -> Reply {
        match command {
            Command::CreateJob(c) => self.create_job(age, c),
            Command::SetHomes(c) => self.set_homes(index, c),
            Command::HomeFilled(c) => self.home_filled(c),
            Command::SealSource(c) => self.seal_source(c),
            Command::Assign(c) => self.assign(c),
            Command::Release(c) => self.release(c),
            Command::PlanAppend(c) => self.plan_append(c),
            Command::Complete(c) => self.complete(c),
            Command::Reopen(c) => self.reopen(c),
            Command::FailJob(c) => self.fail_job(c),
            Command::CancelJob(c) => self.cancel_job(c),
            Command::DeleteJob(c) => self.delete_job(c),
            Command::Tick(c) => self.tick(c),
            Command::RegisterNode(c) => self.register_node(c),
            Command::Replan(c) => self.replan(c),
            Command::KeepHistory(c) => self.keep_history(c),
            Command::Fold(c) => self.fold(c),
            Command::TouchUpload(c) => self.touch_upload(c),
            Command::ExpireUpload(c) => self.expire_upload(c),
            Command::CreateKey(c) => self.create_key(c),
            Command::RevokeKey(c) => self.revoke_key(c),
            Command::SetQuota(c) => self.set_quota(c),
            Command::SetWebhook(c) => self.set_webhook(c),
            Command::RemoveWebhook(c) => self.remove_webhook(c),
            Command::RecordDelivery(c) => self.record_delivery(c),
            Command::NoteUpload(c) => self.note_upload(c),
            Command::FailFetch(c) => self.fail_fetch(c),
            Command::RetryJob(c) => self.retry_job(c),
            Command::DropSource(c) => self.drop_source(c),
            Command::DecideReuse(c) => self.decide_reuse(c),
            Command::DropParts(c) => self.drop_parts(c),
            Command::CreateEngine(c) => self.create_engine(c),
            Command::RevokeEngine(c) => self.revoke_engine(c),
            Command::CreateToken(c) => self.create_token(c),
            Command::AdmitNode(c) => self.admit_node(c),
            Command::SetVoters(c) => self.set_voters(c),
            Command::DrainNode(c) => self.drain_node(c),
            Command::RemoveNode(c) => self.remove_node(c),
            Command::SetAuthorities(c) => self.set_authorities(c),
            Command::MeasureJob(c) => self.measure_job(age, c),
            Command::EndMeasure(c) => self.end_measure(c),
        }
    }
}

/// The job that a command is about: all that it may change of the jobs, but for
/// the rows of deleted ones that it removes.
fn job_of(command: &Command) -> Option<Cow<'_, str>> {
    let id = match command {
        Command::CreateJob(c) => return Some(job_id(&c.tenant, &c.request_id).into()),
        Command::SetHomes(c) => &c.job,
        Command::HomeFilled(c) => &c.job,
        Command::SealSource(c) => &c.job,
        Command::Assign(c) => &c.key.job,
        Command::Release(c) => &c.key.job,
        Command::PlanAppend(c) => &c.key.job,
        Command::Complete(c) => &c.key.job,
        Command::Reopen(c) => &c.key.job,
        Command::FailJob(c) => &c.job,
        Command::CancelJob(c) => &c.job,
        Command::DeleteJob(c) => &c.job,
        Command::Replan(c) => &c.job,
        Command::KeepHistory(c) => &c.job,
        Command::Fold(c) => &c.job,
        Command::TouchUpload(c) => &c.job,
        Command::ExpireUpload(c) => &c.job,
        Command::RecordDelivery(c) => &c.job,
        Command::NoteUpload(c) => &c.job,
        Command::FailFetch(c) => &c.job,
        Command::RetryJob(c) => &c.job,
        Command::DropSource(c) => &c.job,
        Command::DecideReuse(c) => &c.job,
        Command::MeasureJob(c) => &c.job,
        Command::EndMeasure(c) => &c.job,
        Command::SetAuthorities(_) => return None,
        Command::DropParts(c) => &c.job,
        Command::SetWebhook(_) | Command::RemoveWebhook(_) => return None,
        Command::Tick(_) | Command::RegisterNode(_) => return None,
        Command::CreateKey(_) | Command::RevokeKey(_) | Command::SetQuota(_) => return None,
        Command::CreateToken(_) | Command::AdmitNode(_) | Command::SetVoters(_) => return None,
        Command::DrainNode(_) | Command::RemoveNode(_) => return None,
        Command::CreateEngine(_) | Command::RevokeEngine(_) => return None,
    };
    Some(id.into())
}
