//! The id of a job.

/// The id of the job that a request creates. The same request finds the same
/// job on any node and after any failover (P5).
///
/// 80 bits of BLAKE3 over the length-prefixed tenant and the request id.
pub fn job_id(tenant: &str, request_id: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(tenant.len() as u64).to_le_bytes());
    hasher.update(tenant.as_bytes());
    hasher.update(request_id.as_bytes());
    format!("j{}", &hasher.finalize().to_hex()[..20])
}
