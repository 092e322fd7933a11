//! Engines, on the wire.

use reelraft_model::engine_number;
use reelraft_proto::v1;

use super::convert_progress::{model_progress, wire_progress};
use crate::{
    api::EngineView,
    node::engine_messages::{EngineBeat, EngineNews, EngineStatus},
};

/// What is new of a member's engines.
pub fn wire_news(news: EngineNews) -> (Vec<v1::EngineBeat>, Vec<u64>) {
    let wire = |beat: EngineBeat| {
        let EngineBeat {
            id,
            build,
            build_words,
            version,
            slots,
            memory_mib,
            trouble,
            lacks,
            speeds,
            labels,
            running,
        } = beat;
        v1::EngineBeat {
            id,
            build,
            build_words,
            version,
            slots,
            memory_mib,
            trouble,
            lacks,
            speeds: speeds.into_iter().collect(),
            labels: labels.into_iter().collect(),
            running: wire_progress(running),
        }
    };
    (news.changed.into_iter().map(wire).collect(), news.gone)
}

/// The same from the wire.
pub fn model_news(changed: Vec<v1::EngineBeat>, gone: Vec<u64>) -> EngineNews {
    let model = |beat: v1::EngineBeat| {
        let v1::EngineBeat {
            id,
            build,
            build_words,
            version,
            slots,
            memory_mib,
            trouble,
            lacks,
            speeds,
            labels,
            running,
        } = beat;
        EngineBeat {
            id,
            build,
            build_words,
            version,
            slots,
            memory_mib,
            trouble,
            lacks,
            speeds: speeds.into_iter().collect(),
            labels: labels.into_iter().collect(),
            running: model_progress(running),
        }
    };
    EngineNews {
        changed: changed.into_iter().map(model).collect(),
        gone,
    }
}

/// An engine that is there.
pub fn wire_engine_status(status: EngineStatus) -> v1::EngineStatus {
    let EngineStatus {
        id,
        member,
        build,
        build_words,
        version,
        slots,
        slots_busy,
        trouble,
        labels,
    } = status;
    v1::EngineStatus {
        id,
        member,
        build,
        build_words,
        version,
        slots,
        slots_busy,
        trouble,
        labels: labels.into_iter().collect(),
    }
}

/// The same from the wire.
pub fn model_engine_status(status: v1::EngineStatus) -> EngineStatus {
    let v1::EngineStatus {
        id,
        member,
        build,
        build_words,
        version,
        slots,
        slots_busy,
        trouble,
        labels,
    } = status;
    EngineStatus {
        id,
        member,
        build,
        build_words,
        version,
        slots,
        slots_busy,
        trouble,
        labels: labels.into_iter().collect(),
    }
}

/// An engine as people see it.
pub fn wire_engine(view: EngineView) -> v1::Engine {
    let EngineView { engine, status } = view;
    let connected = status.is_some();
    let status = status.unwrap_or_default();
    let quarantine = engine.quarantine.as_ref().map(|found| {
        format!(
            "shard {} of job {} has the hash {}, as node {} made it, and this engine gave {}",
            found.shard, found.job, found.right, found.node, found.gave
        )
    });
    v1::Engine {
        number: engine_number(engine.id),
        name: engine.name.clone(),
        created_unix_ms: engine.created_unix_ms,
        connected,
        node: status.member,
        build: status.build,
        build_words: status.build_words,
        version: status.version,
        slots: status.slots,
        slots_busy: status.slots_busy,
        trouble: status.trouble,
        labels: status.labels.into_iter().collect(),
        quarantine: quarantine.unwrap_or_default(),
    }
}
