//! TLS: whether there is any, and the certificate that clients are shown.

use std::{net::SocketAddr, path::PathBuf};

use reelraft_model::Problem;
use reelraft_trust::PublicFiles;

use super::origin::{Picker, bad, utf8};

/// The settings as flags.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct TlsArgs {
    /// Whether nodes and clients speak by TLS, with certificates that the cluster makes
    /// itself [default: beyond loopback, where it can't be without]
    #[arg(long, value_name = "BOOL")]
    pub tls: Option<bool>,
    /// File with the certificate that clients are shown in place of the node's own, and
    /// those that lead to its authority (PEM); read again when it changes
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// File with its private key
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
}

/// The settings as they are.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Whether nodes and clients speak by it.
    pub on: bool,
    /// Whether it was said that they don't.
    pub refused: bool,
    /// What clients are shown in place of the node's own certificate.
    pub public: Option<PublicFiles>,
}

/// Takes the settings for a node that listens at these addresses.
///
/// # Errors
/// `bad-config` for less than TLS beyond loopback, and for half of a public
/// certificate.
pub fn pick_tls(
    picker: &mut Picker,
    args: TlsArgs,
    file: (Option<bool>, Option<PathBuf>, Option<PathBuf>),
    listens: [Option<SocketAddr>; 2],
) -> Result<Tls, Problem> {
    let mut listens = listens.into_iter().flatten();
    let open = listens.find(|address| !address.ip().is_loopback());
    let said = picker.pick("tls", args.tls, file.0, || open.map(|_| true))?;
    let (on, refused) = (said == Some(true), said == Some(false));
    let certificate = picker.pick("tls_cert", utf8(args.tls_cert)?, utf8(file.1)?, || None)?;
    let key = picker.pick("tls_key", utf8(args.tls_key)?, utf8(file.2)?, || None)?;
    if let Some(open) = open.filter(|_| !on) {
        return Err(bad(
            format!("listening on {open} without TLS would show everything to the network"),
            "leave out --tls false: the cluster makes its certificates by itself; it is for loopback alone",
        ));
    }
    let public = match (certificate, key) {
        (None, None) => None,
        (Some(certificate), Some(key)) if on => Some(PublicFiles {
            certificate: certificate.into(),
            key: key.into(),
        }),
        (Some(_), Some(_)) => {
            let cause = "a certificate for clients, and no TLS";
            return Err(bad(cause, "give --tls true as well"));
        }
        _ => {
            let cause = "a certificate for clients takes two files";
            return Err(bad(cause, "give both --tls-cert and --tls-key"));
        }
    };
    Ok(Tls {
        on,
        refused,
        public,
    })
}
