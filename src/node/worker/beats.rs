//! What a worker says to the leader of itself, and of the engines that are connected
//! to its node.

use std::collections::BTreeMap;

use reelraft_model::limits::FEATURE_LEVEL;

use crate::node::{
    context::NodeContext,
    engine_messages::EngineNews,
    engines::{EnginesTold, Member},
    load::Load,
    messages::{Beat, Hello, Progress, TablePoint},
};

/// A worker as it is when it speaks.
pub struct Speaker<'a> {
    pub context: &'a NodeContext,
    pub load: &'a Load,
    /// Whether its encoders have been tried.
    pub ready: bool,
    /// By who runs it: the node, or an engine that is connected to it.
    pub running: BTreeMap<u64, Progress>,
}

impl Speaker<'_> {
    /// What is new of the engines that are connected here.
    fn engines_news(&self, told: &mut EnginesTold, full: bool) -> EngineNews {
        let build = &self.context.build();
        let member = Member { build, full };
        self.context.engines.news(told, &self.running, &member)
    }

    /// How a session is opened. `told` is what the leader knows of the engines from then on.
    pub fn hello(&self, trouble: &Option<String>, told: &mut EnginesTold) -> Hello {
        let identity = self.context.cluster.identity();
        Hello {
            node: identity.node,
            incarnation: identity.incarnation.clone(),
            address: self.context.config.advertise.clone(),
            http: self.context.config.http_public.clone().unwrap_or_default(),
            pid: std::process::id(),
            process: self.context.process,
            slots: self.context.config.slots,
            zone: self.context.config.keeping.zone.clone(),
            build: self.context.build(),
            starting: !self.ready,
            build_words: self.context.build_words(),
            version: env!("CARGO_PKG_VERSION").to_string(),
            feature_level: FEATURE_LEVEL,
            beat: self.beat(trouble, told),
        }
    }

    /// `trouble` is why this node takes no work, if it does not.
    pub fn beat(&self, trouble: &Option<String>, told: &mut EnginesTold) -> Beat {
        let own = self.running.get(&self.context.node()).cloned();
        let own = own.unwrap_or_default();
        let room = self.context.data.store().space();
        let (free, total) =
            room.map_or_else(|_| self.load.disk(), |it| (it.free_bytes, it.total_bytes));
        let full = !self.context.has_room();
        Beat {
            running: own,
            load_milli: self.load.load_milli(),
            disk_free_bytes: free,
            disk_total_bytes: total,
            applied_index: *self.context.cluster.applied().borrow(),
            trouble: match trouble {
                Some(trouble) => trouble.clone(),
                None if full => "its disk is full".to_string(),
                None => String::new(),
            },
            // What it runs goes on: it may make the room.
            full: full || self.context.cramped.any(),
            table: self
                .context
                .report
                .compared_index()
                .and_then(|index| table_at(self.context, index)),
            room_bytes: self.context.data.room_bytes(),
            lacks: self.context.lacks(),
            speeds: self.context.speeds(),
            certificate: self.context.certificate(),
            memory_mib: self.load.memory_mib(),
            engines: self.engines_news(told, full),
            upkeep: self.context.upkeep(),
        }
    }
}

/// This replica's table at an index.
pub fn table_at(context: &NodeContext, index: u64) -> Option<TablePoint> {
    let hash = context.cluster.table_hash_at(index)?.to_string();
    Some(TablePoint { index, hash })
}
