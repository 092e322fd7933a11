//! The rate factor of a job that aims at a size, a bit rate or a quality: one for the
//! whole film. Probes encode sampled shards at some rate factors, as the shards
//! themselves will be; from what they come to the next ones are chosen, until one is
//! near enough. Where the film has other bytes then than it may have, a few of its
//! shards are encoded again.
//!
//! All of it is whole numbers, and follows from what was encoded alone: neither who
//! did it, nor when, nor in which order changes a byte (P1).

mod budget;
mod correct;
mod curve;
mod of_job;
mod rates;
mod search;

pub(crate) use self::{
    correct::corrections,
    rates::samples,
    search::{Next, first_rates, next, waits_for_more},
};
