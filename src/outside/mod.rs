//! Requests to the outside: sources, outputs and webhooks behind a URL that a
//! client named. All of them go through [`Outside`], and so through one guard.
//!
//! ```text
//! url (what a client may name) -> client (one request, redirects by hand)
//!                                    '-> guard (who may be connected to) -> addresses
//! ```
//! A URL is hostile: it may name this node, its neighbours, or the machine that
//! hands out a cloud's keys. Only global addresses are connected to, and those
//! that the node's setting allows. A name is resolved once for each connection,
//! every address of the answer is judged, and one of those is connected to.

pub mod addresses;
mod client;
mod guard;
pub mod limits;
#[cfg(test)]
mod tests;
mod url;

pub use self::{
    client::{Answer, Body, Outside, OutsideError},
    guard::{Lookup, SystemLookup},
    url::{check, host_of, name_of, shown},
};
