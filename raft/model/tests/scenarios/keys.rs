//! Script commands about keys and quotas.

use reelraft_model::{Command, CreateKey, Key, KeyText, Quota, RevokeKey, Scope, SetQuota};

use super::{World, number, option};

impl World {
    /// `key NUMBER name=NAME [tenant=t] [scope=read] [max=9] [all=9]`,
    /// `revoke NUMBER` and `quota TENANT [jobs=] [bytes=] [uploads=] [seen=none]`
    pub fn change_access(&mut self, words: &[&str]) -> String {
        self.one(match words[0] {
            "key" => create_key(words),
            "revoke" => Command::RevokeKey(RevokeKey {
                id: key_text(words[1]).id,
            }),
            _ => self.set_quota(words),
        })
    }

    fn set_quota(&self, words: &[&str]) -> Command {
        let asked = |key| option(words, key).map(|text| text.parse().unwrap());
        let tenant = words[1];
        Command::SetQuota(SetQuota {
            seen: match option(words, "seen") {
                Some(_) => Quota::none(tenant),
                None => self.state.quota(tenant),
            },
            quota: Quota {
                jobs: asked("jobs"),
                bytes: asked("bytes"),
                uploads: asked("uploads"),
                ..Quota::none(tenant)
            },
            quotas_max: 2,
        })
    }
}

fn key_text(number: &str) -> KeyText {
    KeyText::new(number.parse().unwrap(), [7; 32])
}

fn create_key(words: &[&str]) -> Command {
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
            ..Default::default()
        },
        of_tenant_max: bound("max"),
        keys_max: bound("all"),
    })
}
