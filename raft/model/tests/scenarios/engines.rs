//! Script commands about engines. `e1` is the first that was made.

use std::collections::BTreeMap;

use reelraft_model::{
    Command, CreateEngine, ENGINE_ID_MIN, Engine, RevokeEngine, State, engine_digest,
    engine_number,
    plan::{ClusterHealth, NodeHealth},
};

use crate::words::{number, option};

/// The id that `e1` and the like name; any other number is itself.
pub fn id_of(word: &str) -> u64 {
    match word.strip_prefix('e') {
        Some(number) => ENGINE_ID_MIN + number.parse::<u64>().unwrap(),
        None => word.parse().unwrap(),
    }
}

/// `engine NAME [secret=1] [max=9]` and `revoke-engine e1`
pub fn command(words: &[&str]) -> Command {
    match words[0] {
        "engine" => Command::CreateEngine(CreateEngine {
            engine: Engine {
                name: words[1].into(),
                digest: engine_digest(
                    &[option(words, "secret")
                        .map_or(words[1].as_bytes()[0], |at| at.parse().unwrap());
                        32],
                ),
                ..Default::default()
            },
            engines_max: option(words, "max").map_or(9, |max| max.parse().unwrap()),
        }),
        _ => Command::RevokeEngine(RevokeEngine {
            id: id_of(words[1]),
        }),
    }
}

/// `engines e1 e2 [slots=1] [build=b]`: those that are there; and `unheard e1 MS`.
pub fn report(health: &mut ClusterHealth, words: &[&str]) -> String {
    if words[0] == "unheard" {
        let engine = health.engines.get_mut(&id_of(words[1])).unwrap();
        engine.silent_ms = words[2].parse().unwrap();
        engine.alive = engine.silent_ms == 0;
        return String::new();
    }
    for word in words.iter().filter(|word| word.starts_with('e')).skip(1) {
        let engine = NodeHealth {
            alive: true,
            slots: option(words, "slots").map_or(1, |_| number(words, "slots")),
            build: option(words, "build").unwrap_or("b").into(),
            ..Default::default()
        };
        health.engines.insert(id_of(word), engine);
    }
    String::new()
}

/// The engines that the table knows.
pub fn list(state: &State) -> String {
    let line = |engine: &Engine| {
        let (number, name) = (engine_number(engine.id), &engine.name);
        match &engine.quarantine {
            None => format!("e{number} {name}\n"),
            Some(found) => format!(
                "e{number} {name} quarantined: shard {} of {} gave {} and not {}, as node {} made it\n",
                found.shard, found.job, found.gave, found.right, found.node
            ),
        }
    };
    state.engines().map(|engine| line(engine)).collect()
}

/// Ids of jobs and engines as the scripts name them.
pub fn aliased(state: &State, names: &BTreeMap<String, String>, text: &str) -> String {
    let named = |text: String, (name, id): (&String, &String)| text.replace(id, name);
    let text = names.iter().fold(text.to_string(), named);
    let ids = state.engines().map(|engine| engine.id);
    let ids = ids.chain((1..9).map(|number| ENGINE_ID_MIN + number));
    ids.fold(text, |text, id| {
        text.replace(&id.to_string(), &format!("e{}", engine_number(id)))
    })
}
