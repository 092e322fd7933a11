//! The documented form of the documents.

use reelraft_proto::{documents::*, v1};

use super::*;

/// Every name in a document, at any depth.
fn names(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                found.push(name.clone());
                names(value, found);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| names(item, found)),
        _ => {}
    }
}

#[test]
fn every_field_is_documented() {
    let page = include_str!("../../../../docs/json.md");
    let job = v1::Job {
        problem: Some(v1::Problem::default()),
        spec: Some(v1::Spec::default()),
        homes: vec![v1::Home::default()],
        ..Default::default()
    };
    let status = v1::StatusResponse {
        nodes: vec![v1::NodeStatus::default()],
        ..Default::default()
    };
    let jobs = [job];
    let tasks = [v1::Task::default()];
    let reference = v1::ReferenceResponse::default();
    let event = v1::WatchEvent::default();
    let certificates = v1::CertificatesResponse {
        nodes: status.nodes.clone(),
        ..Default::default()
    };
    let (keys, tenant) = ([v1::Key::default()], v1::Tenant::default());
    let lines = [
        line(&JobList::new(&jobs, "")),
        line(&Submitted::new(&jobs[0], true)),
        line(&TaskList::new(&tasks, "")),
        line(&Reference::from(&reference)),
        line(&Event::from(&event)),
        line(&Status::from(&status)),
        line(&Leader::from(&status)),
        line(&Certificates::from(&certificates)),
        line(&CreatedKey::new(&keys[0], "")),
        line(&CreatedEngine::new(&v1::Engine::default(), "", "")),
        line(&EngineList::from(&[v1::Engine::default()][..])),
        line(&KeyList::new(&keys, "")),
        line(&Tenant::from(&tenant)),
    ];
    for text in lines {
        let mut found = Vec::new();
        names(
            &serde_json::from_str(&text).expect("lines are JSON"),
            &mut found,
        );
        for name in found {
            let documented =
                page.contains(&format!("`{name}`")) || page.contains(&format!("\"{name}\""));
            assert!(documented, "docs/json.md does not mention {name}");
        }
    }
}

#[test]
fn a_status_has_the_documented_form() {
    let status = v1::StatusResponse {
        leader_id: 0,
        term: 3,
        nodes: vec![v1::NodeStatus {
            id: 2,
            address: "127.0.0.1:7402".into(),
            role: "voter".into(),
            reachable: true,
            pid: 77,
            ..Default::default()
        }],
        ..Default::default()
    };
    assert_eq!(
        line(&Status::from(&status)),
        "{\"leader_id\":null,\"term\":3,\"answered_by\":0,\"committed_index\":0,\
         \"cluster_id\":\"\",\"election_timeout_ms\":0,\"feature_level\":0,\"voters_wanted\":0,\"nodes\":[{\"id\":2,\"address\":\"127.0.0.1:7402\",\"http\":null,\
         \"role\":\"voter\",\"reachable\":true,\"pid\":77,\"load_milli\":0,\"slots\":0,\
         \"slots_busy\":0,\"disk_free_bytes\":0,\"disk_total_bytes\":0,\"build\":null,\
         \"build_words\":null,\"lacks\":[],\"speeds\":{},\"memory_mib\":null,\"applied_index\":0,\"incarnation\":null,\"version\":null,\"trouble\":null,\"feature_level\":0,\"note\":null,\"zone\":null,\
         \"copies\":{\"jobs\":0,\"bytes_left\":0,\"copied_bytes\":0,\"bytes_per_second_max\":null},\
         \"scrub\":{\"running\":false,\"done_bytes\":0,\"total_bytes\":0,\"ended_unix_ms\":null,\
         \"blobs\":0,\"damaged\":0,\"unread\":0}}]}\n"
    );
}
