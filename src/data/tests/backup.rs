//! Backups as they are gathered, what comes back of them, and what is refused of one
//! that is not whole, or of a later version.

use std::{
    io::{self, Cursor, Read},
    sync::Arc,
};

use prost::Message;
use reelraft_model::{
    BackupMedia, ClusterRow, Command, CreateKey, JobState, Key, Restored, RestoredOn, SetWebhook,
    State, limits::FEATURE_LEVEL,
};
use reelraft_storage::{ArchiveReader, ArchiveWriter, TableHash, blobs::BlobStore};

use super::{CHUNK_BYTES, ThreeNodes, content};
use crate::data::backup::{
    Backup, BackupError, BackupFile, BackupPart,
    format::{
        BLOB, BLOB_END, Blob, BlobEnd, FORMAT_NEWEST, HEAD, Head, PIECE, ROWS, Row, Rows, TABLE,
        Table,
    },
    gather,
};

/// A record's kind and its payload.
type Record = (u8, Vec<u8>);

#[derive(Debug)]
struct InMemory(Vec<u8>);

impl BackupFile for InMemory {
    fn name(&self) -> String {
        "backup".into()
    }

    fn open_at(&self, at: u64) -> io::Result<Box<dyn Read>> {
        let mut bytes = Cursor::new(self.0.clone());
        bytes.set_position(at);
        Ok(Box::new(bytes))
    }
}

fn read(bytes: Vec<u8>) -> Result<Backup, BackupError> {
    Backup::read(Arc::new(InMemory(bytes)))
}

fn records(bytes: &[u8]) -> Vec<Record> {
    let mut reader = ArchiveReader::begin(bytes).unwrap();
    std::iter::from_fn(|| reader.next_record().unwrap()).collect()
}

fn written(records: &[Record]) -> Vec<u8> {
    let (mut writer, mut bytes) = ArchiveWriter::begin();
    for (kind, payload) in records {
        bytes.extend(writer.record(*kind, payload));
    }
    bytes.extend(writer.end());
    bytes
}

async fn gathered(nodes: &ThreeNodes, media: BackupMedia) -> Vec<u8> {
    let mut parts = gather(nodes.data(1), media, ("old".into(), 7));
    let mut bytes = Vec::new();
    while let Some(part) = parts.recv().await {
        match part.unwrap() {
            BackupPart::Bytes(part) => bytes.extend_from_slice(&part),
            BackupPart::Done(done) => {
                assert_eq!((done.bytes, done.gaps.len()), (bytes.len() as u64, 0));
                assert_eq!(done.hash, blake3::hash(&bytes).to_hex().as_str());
                return bytes;
            }
            BackupPart::Put(_) => panic!("it is put nowhere"),
        }
    }
    panic!("it has no end")
}

/// A sealed source of three chunks on nodes 1 and 2, a key and a webhook; the job.
async fn cluster() -> (ThreeNodes, String) {
    let nodes = ThreeNodes::start().await;
    let source = content(2 * CHUNK_BYTES + 5);
    let job = nodes.job(source.len() as u64, &[1, 2]);
    nodes.upload(3, &job, &source).await.unwrap();
    let key = Key {
        id: "id".into(),
        name: "ci".into(),
        tenant: "t".into(),
        digest: vec![7; 32],
        ..Default::default()
    };
    nodes.shared.apply(vec![
        Command::CreateKey(CreateKey {
            key,
            of_tenant_max: 9,
            keys_max: 9,
            ..Default::default()
        }),
        Command::SetWebhook(SetWebhook {
            tenant: "t".into(),
            url: "https://host/hook".into(),
            secret: "whsec_secret".into(),
            webhooks_max: 9,
            ..Default::default()
        }),
    ]);
    (nodes, job)
}

fn restored(backup: &Backup) -> (State, Restored) {
    let on = RestoredOn {
        node: 1,
        index: backup.index,
        unix_ms: 0,
    };
    let made = backup
        .state
        .restored(on, |entry| backup.has_bytes_of(entry));
    made.unwrap()
}

#[tokio::test]
async fn what_was_gathered_comes_back_with_keys_and_webhooks() {
    let (nodes, job) = cluster().await;
    let bytes = gathered(&nodes, BackupMedia::All).await;
    let backup = read(bytes).unwrap();
    assert_eq!((backup.cluster_id.as_str(), backup.unix_ms), ("old", 7));
    let (state, said) = restored(&backup);
    assert_eq!(said.again.len(), 1, "{said:?}");
    let entry = state.job(&job).unwrap();
    assert_eq!(entry.job.state(), JobState::Analyzing);
    let homes: Vec<u64> = entry.job.current_homes().map(|home| home.node).collect();
    assert_eq!(homes, [1]);
    let before = nodes.shared.state.lock().unwrap().1.clone();
    assert_eq!(said.keys, 1);
    assert_eq!(state.key("id"), before.key("id"));
    assert!(state.key("id").is_some());
    assert_eq!(state.webhook("t").unwrap().url, "https://host/hook");
    assert_eq!(state.webhook("t"), before.webhook("t"));

    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    backup.put_blobs(&store, |of| of == job).unwrap();
    let kept: Vec<String> = store
        .list(&job)
        .unwrap()
        .into_iter()
        .map(|it| it.hash)
        .collect();
    assert_eq!(kept.len(), 4, "a manifest and its chunks: {kept:?}");
    assert!(kept.contains(&entry.job.manifest));
    let other = tempfile::tempdir().unwrap();
    let store = BlobStore::open(other.path()).unwrap();
    backup.put_blobs(&store, |_| false).unwrap();
    assert!(store.jobs().unwrap().is_empty(), "nobody's are not put");
}

#[tokio::test]
async fn a_job_whose_bytes_lack_is_given_up_by_name() {
    let (nodes, job) = cluster().await;
    let manifest = nodes.entry(&job).job.manifest.clone();
    let whole = records(&gathered(&nodes, BackupMedia::All).await);
    let names = whole.iter().filter(|(kind, _)| *kind == BLOB);
    let names: Vec<String> = names
        .map(|(_, it)| Blob::decode(&it[..]).unwrap().hash)
        .collect();
    assert_eq!(names.len(), 4);
    for lacking in &names {
        let mut left_out = false;
        let some = whole.iter().filter(|(kind, payload)| {
            if *kind == BLOB {
                left_out = Blob::decode(&payload[..]).unwrap().hash == *lacking;
            }
            !(left_out && [BLOB, PIECE, BLOB_END].contains(kind))
        });
        let some: Vec<Record> = some.cloned().collect();
        let (state, said) = restored(&read(written(&some)).unwrap());
        let what = if *lacking == manifest {
            "manifest"
        } else {
            "chunk"
        };
        assert_eq!(said.without_source.len(), 1, "without a {what}: {said:?}");
        let given_up = &state.job(&job).unwrap().job;
        assert_eq!(given_up.state(), JobState::Failed);
        let problem = given_up.problem.as_ref().unwrap();
        assert_eq!(problem.kind, "source-not-in-backup");
    }
    let none = read(gathered(&nodes, BackupMedia::None).await).unwrap();
    assert_eq!(restored(&none).1.without_source.len(), 1);
}

#[tokio::test]
async fn a_blob_that_was_broken_off_counts_when_it_came_again() {
    let (nodes, _) = cluster().await;
    let whole = records(&gathered(&nodes, BackupMedia::All).await);
    let first = whole.iter().position(|(kind, _)| *kind == BLOB).unwrap();
    let mut twice = whole.clone();
    let broken = BlobEnd { whole: false }.encode_to_vec();
    let begun = [
        whole[first].clone(),
        (PIECE, b"some of it".to_vec()),
        (BLOB_END, broken),
    ];
    twice.splice(first..first, begun.clone());
    let backup = read(written(&twice)).unwrap();
    assert_eq!(restored(&backup).1.again.len(), 1);
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    backup.put_blobs(&store, |_| true).unwrap();

    // One that never came again is not there.
    let end = whole
        .iter()
        .position(|(kind, _)| *kind == BLOB_END)
        .unwrap();
    let mut once = whole;
    once.splice(first..=end, begun);
    let backup = read(written(&once)).unwrap();
    assert_eq!(restored(&backup).1.without_source.len(), 1);
}

/// A record of a kind, changed.
fn changed<M: Message + Default>(records: &[Record], kind: u8, change: impl Fn(&mut M)) -> Vec<u8> {
    let mut records = records.to_vec();
    let (_, payload) = records.iter_mut().find(|(it, _)| *it == kind).unwrap();
    let mut message = M::decode(&payload[..]).unwrap();
    change(&mut message);
    *payload = message.encode_to_vec();
    written(&records)
}

/// With these rows in place of those that it has.
fn with_rows(records: &[Record], rows: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<u8> {
    let mut hash = TableHash::default();
    let row = |(key, value): (Vec<u8>, Vec<u8>)| {
        hash.add_row(&key, &value);
        Row { key, value }
    };
    let rows: Vec<Row> = rows.into_iter().map(row).collect();
    let count = rows.len() as u64;
    let mut some: Vec<Record> = records.to_vec();
    some.retain(|(kind, _)| *kind != ROWS);
    let at = some.iter().position(|(kind, _)| *kind == TABLE).unwrap();
    some.insert(at, (ROWS, Rows { rows }.encode_to_vec()));
    changed(&some, TABLE, |table: &mut Table| {
        (table.rows, table.hash) = (count, hash.to_string());
    })
}

#[tokio::test]
async fn what_is_not_whole_or_of_a_later_version_is_refused() {
    let (nodes, _) = cluster().await;
    let bytes = gathered(&nodes, BackupMedia::All).await;
    let whole = records(&bytes);
    let kind = |bytes: Vec<u8>| read(bytes).unwrap_err().problem().kind;
    let state = nodes.shared.state.lock().unwrap().1.clone();
    let rows = || state.rows().collect::<Vec<_>>();
    read(with_rows(&whole, rows())).unwrap();

    for cut in [0, 5, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        assert_eq!(kind(bytes[..cut].to_vec()), "backup-truncated", "{cut}");
    }
    for at in [0, 9, bytes.len() / 3, bytes.len() - 1] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        let kind = kind(flipped);
        assert!(
            ["backup-damaged", "backup-truncated"].contains(&kind.as_str()),
            "{kind}"
        );
    }
    // Whole records that make no sense.
    let without = |kind: u8| {
        let some = whole.iter().filter(|(it, _)| *it != kind);
        written(&some.cloned().collect::<Vec<_>>())
    };
    for lacking in [HEAD, BLOB, ROWS, TABLE] {
        assert_eq!(
            kind(without(lacking)),
            "backup-damaged",
            "without {lacking}"
        );
    }
    let mut other = whole.clone();
    let piece = other.iter_mut().find(|(kind, _)| *kind == PIECE).unwrap();
    piece.1[0] ^= 1;
    assert_eq!(
        kind(written(&other)),
        "backup-damaged",
        "bytes of another name"
    );
    let rows_less = changed(&whole, ROWS, |rows: &mut Rows| drop(rows.rows.pop()));
    assert_eq!(kind(rows_less), "backup-damaged");
    let out = changed(&whole, BLOB, |blob: &mut Blob| blob.job = "../out".into());
    assert_eq!(
        kind(out),
        "backup-damaged",
        "no name leads out of the folder"
    );

    let later = changed(&whole, HEAD, |head: &mut Head| {
        head.format = FORMAT_NEWEST + 1
    });
    assert_eq!(kind(later), "newer-format");
    let mut unknown = whole.clone();
    unknown.push((77, b"who knows".to_vec()));
    assert_eq!(kind(written(&unknown)), "newer-format");
    let mut level = rows();
    let row = ClusterRow {
        feature_level: FEATURE_LEVEL + 1,
        ..Default::default()
    };
    level.retain(|(key, _)| key != b"c");
    level.push((b"c".to_vec(), row.encode_to_vec()));
    assert_eq!(kind(with_rows(&whole, level)), "newer-format");
    let mut row = rows();
    row.push((b"Z/new".to_vec(), Vec::new()));
    assert_eq!(kind(with_rows(&whole, row)), "newer-format");
}
