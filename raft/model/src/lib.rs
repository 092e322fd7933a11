//! What the cluster agrees on: commands, state, `apply`, `plan`, `check`.
//!
//! Pure by rule: no I/O, no clock, no async, no randomness, no floats, no hash
//! maps. Everything here is a function of its arguments, so that replicas
//! agree and a whole cluster can be replayed.

pub mod limits;
pub mod spec;
