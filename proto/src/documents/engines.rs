//! The documents of engines.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::field::text;
use crate::v1;

/// One engine, without its token.
#[derive(Serialize, ToSchema)]
pub struct Engine<'a> {
    pub number: u64,
    pub name: &'a str,
    pub created_unix_ms: u64,
    pub connected: bool,
    pub node: Option<u64>,
    pub build: Option<&'a str>,
    pub build_words: Option<&'a str>,
    pub version: Option<&'a str>,
    pub slots: u32,
    pub slots_busy: u32,
    pub trouble: Option<&'a str>,
    pub labels: BTreeMap<&'a str, &'a str>,
    pub quarantine: Option<&'a str>,
}

impl<'a> From<&'a v1::Engine> for Engine<'a> {
    fn from(engine: &'a v1::Engine) -> Self {
        let labels = engine.labels.iter();
        Engine {
            number: engine.number,
            name: &engine.name,
            created_unix_ms: engine.created_unix_ms,
            connected: engine.connected,
            node: (engine.node != 0).then_some(engine.node),
            build: text(&engine.build),
            build_words: text(&engine.build_words),
            version: text(&engine.version),
            slots: engine.slots,
            slots_busy: engine.slots_busy,
            trouble: text(&engine.trouble),
            labels: labels
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect(),
            quarantine: text(&engine.quarantine),
        }
    }
}

/// An engine that was made, with its token: shown this once.
#[derive(Serialize, ToSchema)]
pub struct CreatedEngine<'a> {
    pub engine: Engine<'a>,
    pub token: &'a str,
    pub server: Option<&'a str>,
}

impl<'a> CreatedEngine<'a> {
    /// From the engine, its token, and where it may go.
    pub fn new(engine: &'a v1::Engine, token: &'a str, server: &'a str) -> Self {
        CreatedEngine {
            engine: Engine::from(engine),
            token,
            server: text(server),
        }
    }
}

/// All engines.
#[derive(Serialize, ToSchema)]
pub struct EngineList<'a> {
    pub engines: Vec<Engine<'a>>,
}

impl<'a> From<&'a [v1::Engine]> for EngineList<'a> {
    fn from(engines: &'a [v1::Engine]) -> Self {
        EngineList {
            engines: engines.iter().map(Engine::from).collect(),
        }
    }
}
