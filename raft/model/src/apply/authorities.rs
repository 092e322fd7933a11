//! The command about authorities.

use std::sync::Arc;

use super::writer::Writer;
use crate::{
    authorities::{Authorities, SetAuthorities, authorities_key},
    command::Reply,
    state::State,
};

impl State {
    /// Who vouches for the nodes; the default where nobody does yet.
    pub fn authorities(&self) -> Arc<Authorities> {
        self.authorities.clone().unwrap_or_default()
    }
}

impl Writer<'_> {
    pub(super) fn set_authorities(&mut self, c: &SetAuthorities) -> Reply {
        if c.authorities.epoch != self.state.authorities().epoch {
            return Reply::stale("");
        }
        let authorities = Authorities {
            epoch: c.authorities.epoch + 1,
            ..c.authorities.clone()
        };
        self.touched.insert(authorities_key());
        self.state.authorities = Some(Arc::new(authorities));
        Reply::default()
    }
}
