//! Entries of the log, and their bytes.

use prost::Message;

use crate::{
    command::{Command, Envelope},
    error::ModelError,
};

/// One log entry: commands applied together, in order.
#[derive(Clone, PartialEq, Message)]
pub struct Entry {
    #[prost(message, repeated, tag = "1")]
    pub commands: Vec<Envelope>,
}

impl Entry {
    pub fn new(commands: Vec<Command>) -> Self {
        let commands = commands.into_iter().map(|command| Envelope {
            command: Some(command),
        });
        Entry {
            commands: commands.collect(),
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// # Errors
    /// [`ModelError::Undecodable`] for foreign bytes, [`ModelError::UnknownCommand`]
    /// for a later version's command and [`ModelError::UnknownField`] for a later
    /// version's field.
    pub fn decode(bytes: &[u8]) -> Result<Self, ModelError> {
        let entry = <Entry as Message>::decode(bytes).map_err(|error| ModelError::Undecodable {
            what: "log entry",
            cause: error.to_string(),
        })?;
        if entry
            .commands
            .iter()
            .any(|envelope| envelope.command.is_none())
        {
            return Err(ModelError::UnknownCommand);
        }
        exact("log entry", &entry, bytes)?;
        Ok(entry)
    }
}

/// Refuses bytes of which the decoded message holds only a part. What this
/// program writes has one form, so a length says it.
pub(crate) fn exact(
    what: &'static str,
    message: &impl Message,
    bytes: &[u8],
) -> Result<(), ModelError> {
    match message.encoded_len() == bytes.len() {
        true => Ok(()),
        false => Err(ModelError::UnknownField { what }),
    }
}
