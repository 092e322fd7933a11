//! Script commands about keys and quotas.

use reelraft_model::{Command, CreateKey, Key, KeyText, Quota, RevokeKey, Scope, SetQuota, State};

use crate::words::{number, option};

/// `key NUMBER name=NAME [tenant=t] [scope=read] [max=9] [all=9] [created=0]
/// [epoch=]`,
/// `revoke NUMBER` and `quota TENANT [jobs=] [bytes=] [uploads=] [epoch=]`
pub fn change_access(state: &State, words: &[&str]) -> Command {
    let seen = option(words, "epoch").map(|epoch| epoch.parse().unwrap());
    let epoch = seen.unwrap_or_else(|| state.access_epoch());
    match words[0] {
        "key" => create_key(words, epoch),
        "revoke" => Command::RevokeKey(RevokeKey {
            id: key_text(words[1]).id,
        }),
        _ => set_quota(words, epoch),
    }
}

fn create_key(words: &[&str], epoch: u64) -> Command {
    let text = key_text(words[1]);
    let scope = Scope::parse(option(words, "scope").unwrap_or("read"));
    let bound = |key| option(words, key).map_or(9, |_| number(words, key));
    Command::CreateKey(CreateKey {
        key: Key {
            digest: text.digest(),
            id: text.id,
            name: option(words, "name").unwrap().into(),
            tenant: option(words, "tenant").unwrap_or("t").into(),
            scope: scope.unwrap().into(),
            created_unix_ms: number(words, "created"),
            ..Default::default()
        },
        of_tenant_max: bound("max"),
        keys_max: bound("all"),
        epoch,
    })
}

fn set_quota(words: &[&str], epoch: u64) -> Command {
    let asked = |key| option(words, key).map(|text| text.parse().unwrap());
    Command::SetQuota(SetQuota {
        epoch,
        quota: Quota {
            jobs: asked("jobs"),
            bytes: asked("bytes"),
            uploads: asked("uploads"),
            ..Quota::none(words[1])
        },
        quotas_max: 2,
    })
}

fn key_text(number: &str) -> KeyText {
    KeyText::new(number.parse().unwrap(), [7; 32])
}
