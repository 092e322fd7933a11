//! `apply`: the only writer of the table. It is a total function: any command on
//! any state gives a reply. A command whose premise no longer holds changes
//! nothing, so a retried or late proposal is harmless.

mod homes;
mod housekeeping;
mod jobs;
mod keys;
mod replan;
mod stages;
mod tasks;
mod writer;

use std::collections::BTreeSet;

use self::writer::Writer;
use crate::{
    command::{Command, Entry, Reply},
    limits::COMMANDS_PER_ENTRY_MAX,
    state::{Applied, State},
};

impl State {
    /// Applies one entry of the log at its index.
    pub fn apply(&mut self, index: u64, entry: &Entry) -> Applied {
        let mut writer = Writer {
            state: self,
            touched: BTreeSet::new(),
        };
        let mut replies = Vec::with_capacity(entry.commands.len());
        for (position, envelope) in entry.commands.iter().enumerate() {
            let command = envelope
                .command
                .as_ref()
                .expect("decode refuses unknown commands");
            let age = index * COMMANDS_PER_ENTRY_MAX as u64 + position as u64;
            replies.push(writer.apply(index, age, command));
        }
        Applied {
            replies,
            touched: writer.touched.into_iter().collect(),
        }
    }
}

impl Writer<'_> {
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
        }
    }
}
