//! The one log, and the table after each of its entries. A replica is a place
//! in it: all replicas that have applied as far are equal.

use std::sync::Arc;

use reelraft_model::{Applied, Command, Entry, RegisterNode, State, limits::FEATURE_LEVEL};

pub struct Log {
    entries: Vec<Entry>,
    /// The table after so many entries.
    states: Vec<Arc<State>>,
}

impl Log {
    /// The log of a cluster of which all nodes know all commands.
    pub fn founded_by(nodes: impl Iterator<Item = u64>) -> Self {
        let mut log = Log {
            entries: Vec::new(),
            states: vec![Arc::new(State::default())],
        };
        let register = |node| {
            Command::RegisterNode(RegisterNode {
                node,
                feature_level: FEATURE_LEVEL,
                left_behind: false,
                ..Default::default()
            })
        };
        log.append(nodes.map(register).collect());
        log
    }

    /// The index of the last entry; the first has 1.
    pub fn index(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The table of a replica that has applied up to an index.
    pub fn state_at(&self, index: u64) -> &Arc<State> {
        &self.states[index as usize]
    }

    /// The table as all replicas will have it.
    pub fn state(&self) -> &Arc<State> {
        self.state_at(self.index())
    }

    pub fn append(&mut self, commands: Vec<Command>) -> Applied {
        let entry = Entry::new(commands);
        let mut state = State::clone(self.state());
        let applied = state.apply(self.index() + 1, &entry);
        self.entries.push(entry);
        self.states.push(Arc::new(state));
        applied
    }

    /// Whether a replica that reads the log from its encoded beginning comes
    /// to the same table.
    pub fn replays(&self) -> bool {
        let mut state = State::default();
        for (index, entry) in (1..).zip(&self.entries) {
            match Entry::decode(&entry.encode()) {
                Ok(entry) => drop(state.apply(index, &entry)),
                Err(_) => return false,
            }
        }
        state == **self.state()
    }
}
