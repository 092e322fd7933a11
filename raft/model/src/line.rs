//! The line in which a tenant's jobs wait, for those who ask.

use crate::state::State;

impl State {
    /// The jobs of a tenant with a task that waits for a slot, next first.
    pub fn line_of(&self, tenant: &str) -> Vec<&str> {
        self.open().line_of(tenant)
    }
}
