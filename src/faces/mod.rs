//! The faces: gRPC services that users and other programs call, and the one
//! file that turns the model's types into the wire's.

pub mod cluster;
pub mod convert;
pub mod jobs;
