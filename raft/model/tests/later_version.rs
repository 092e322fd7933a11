//! What a later version wrote: this one stops rather than drop a part of it, as
//! replicas would differ.
#![allow(clippy::unwrap_used)]

use reelraft_model::{Command, Entry, ModelError, State, Tick};

/// A field's key: its tag and its wire type.
fn key(tag: u32, wire_type: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(u64::from(tag << 3 | wire_type), &mut bytes);
    bytes
}

/// A message with a field of this tag, which holds these bytes.
fn field(tag: u32, bytes: &[u8]) -> Vec<u8> {
    [&key(tag, 2)[..], &[bytes.len() as u8], bytes].concat()
}

/// A varint field.
fn number(tag: u32, value: u8) -> Vec<u8> {
    [key(tag, 0), vec![value]].concat()
}

const ENTRY_COMMANDS: u32 = 1;
const TICK: u32 = 13;
const TICK_CLUSTER_MS: u32 = 1;
/// No message has it.
const LATER: u32 = 100;

#[test]
fn unknown_commands_and_fields_stop_the_node() {
    let tick = |fields: &[u8]| field(ENTRY_COMMANDS, &field(TICK, fields));
    let known = number(TICK_CLUSTER_MS, 5);
    let entry = Entry::decode(&tick(&known)).unwrap();
    let same = Entry::new(vec![Command::Tick(Tick { cluster_ms: 5 })]);
    assert_eq!(entry, same);
    let more = [known, number(LATER, 1)].concat();
    let unknown_field = Entry::decode(&tick(&more)).unwrap_err();
    assert!(
        matches!(unknown_field, ModelError::UnknownField { .. }),
        "{unknown_field}"
    );
    let command = field(ENTRY_COMMANDS, &field(LATER, &[]));
    assert_eq!(
        Entry::decode(&command).unwrap_err(),
        ModelError::UnknownCommand
    );
}

#[test]
fn a_row_with_an_unknown_field_is_refused() {
    let row = |bytes: Vec<u8>| State::from_rows([(b"c".to_vec(), bytes)]);
    assert_eq!(row(number(1, 5)).unwrap().cluster_ms(), 5);
    let later = [number(1, 5), number(LATER, 1)].concat();
    assert!(matches!(
        row(later).unwrap_err(),
        ModelError::UnknownField { what: "row" }
    ));
}
