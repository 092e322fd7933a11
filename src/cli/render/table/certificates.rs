//! `cluster cert show`: the authorities as a card, the nodes' certificates as a grid.

use reelraft_proto::{documents::Certificates, v1::CertificatesResponse};

use super::layout::{card, grid, short_hash};
use crate::render::format::utc_time;

/// The answer of `cluster cert show` and `cluster cert rotate`.
pub fn certificates(answer: &CertificatesResponse) -> String {
    let known = Certificates::from(answer);
    let Some(authority) = known.authority_sha256 else {
        return "the nodes speak without TLS\n".to_string();
    };
    let former = known.former_authority_sha256.unwrap_or_default();
    let head = card(&[
        ("authority", format!("sha256:{authority}")),
        ("former", former.to_string()),
    ]);
    let rows: Vec<Vec<String>> = known
        .certificates
        .iter()
        .map(|certificate| {
            let by = certificate.authority_sha256.unwrap_or_default();
            vec![
                certificate.node.to_string(),
                short_hash(certificate.sha256.unwrap_or_default()),
                certificate.until_unix_ms.map_or("-".into(), utc_time),
                match (by == authority, certificate.renewed) {
                    _ if by.is_empty() => "not known".into(),
                    (false, _) => "of the former authority".into(),
                    (true, false) => "to be renewed".into(),
                    (true, true) => "good".into(),
                },
            ]
        })
        .collect();
    let table = grid(&[">NODE", "CERTIFICATE", "UNTIL", "STATE"], &rows);
    format!("{head}\n{table}")
}
