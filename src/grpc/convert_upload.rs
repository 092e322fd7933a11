//! What an uploading client and a node say to each other, on the wire.

use reelraft_proto::v1::{self, UploadClient, UploadServer, upload_client, upload_server::Message};
use tonic::Status;

use super::convert::model_problem;
use crate::data::upload::{BrokenOff, SafeChunk, UploadReply, UploadRequest};

/// What the client says, or how its stream broke off.
pub fn upload_request(message: Result<UploadClient, Status>) -> Result<UploadRequest, BrokenOff> {
    let message = message.map_err(|status| format!("broke off: {}", status.message()))?;
    match message.message {
        Some(upload_client::Message::Open(v1::UploadOpen { job })) => {
            Ok(UploadRequest::Open { job })
        }
        Some(upload_client::Message::Chunk(v1::UploadChunk { number, data })) => {
            Ok(UploadRequest::Chunk { number, data })
        }
        Some(upload_client::Message::Gone(problem)) => {
            Ok(UploadRequest::Gone(model_problem(problem)))
        }
        None => Err("sent a message that this version does not know".to_string()),
    }
}

/// What the node answers.
pub fn wire_reply(reply: UploadReply) -> UploadServer {
    let message = match reply {
        UploadReply::Plan { chunk_bytes, have } => {
            let have = have
                .into_iter()
                .map(|SafeChunk { number, hash }| v1::ChunkHash { number, hash });
            Message::Plan(v1::UploadPlan {
                chunk_bytes,
                have: have.collect(),
            })
        }
        UploadReply::Ask { numbers } => Message::Ask(v1::UploadAsk { numbers }),
        UploadReply::Acked {
            number,
            chunks_safe,
        } => Message::Acked(v1::UploadAcked {
            number,
            chunks_safe,
        }),
        UploadReply::Sealed { root } => Message::Sealed(v1::UploadSealed { root }),
    };
    UploadServer {
        message: Some(message),
    }
}
