//! Compiles the protocol with protox, so that no machine needs protoc.

use std::{env, fs, path::PathBuf};

use prost::Message;

const FILES: [&str; 8] = [
    "reelraft/v1/types.proto",
    "reelraft/v1/client.proto",
    "reelraft/v1/cluster.proto",
    "reelraft/v1/access.proto",
    "reelraft/v1/worker.proto",
    "reelraft/v1/blob.proto",
    "reelraft/v1/peer.proto",
    "reelraft/v1/join.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed=reelraft");
    Ok(())
}
