//! `reelraft cluster cert …`: who vouches for the nodes, and which certificate each
//! of them has.

use clap::Subcommand;
use reelraft_proto::{
    documents,
    v1::{
        CertificatesRequest, CertificatesResponse, RotateCertificatesRequest,
        rotate_certificates_request::What,
    },
};

use crate::{
    client::Client,
    error::CliError,
    render::{Output, json, screen::print, table},
};

/// The subcommands of `cluster cert`.
#[derive(Subcommand, Clone, Copy, Debug)]
pub enum CertCommand {
    /// Which certificate each node has until when, and the authority's hash
    Show,
    /// Print the certificate of the authority, for --ca of clients
    Ca,
    /// Have all nodes make new keys and certificates now
    Rotate,
    /// Put another authority in place of the one that signs. Both are trusted until
    /// --finish, so give clients the new one meanwhile
    RotateCa {
        /// Trust the former authority no longer
        #[arg(long)]
        finish: bool,
    },
}

/// Runs one `cluster cert` subcommand.
///
/// # Errors
/// The node's refusal, or that none answers.
pub async fn run(
    client: &mut Client,
    command: CertCommand,
    output: Output,
) -> Result<(), CliError> {
    let answer = match command {
        CertCommand::Show | CertCommand::Ca => {
            let request = CertificatesRequest {};
            client
                .call_cluster(request, async |mut cluster, request| {
                    cluster.certificates(request).await
                })
                .await?
        }
        CertCommand::Rotate => rotate(client, What::Certificates).await?,
        CertCommand::RotateCa { finish: false } => rotate(client, What::Authority).await?,
        CertCommand::RotateCa { finish: true } => rotate(client, What::FormerAuthorityEnds).await?,
    };
    print(&match (command, output) {
        (CertCommand::Ca, _) => pem(&answer)?,
        (_, Output::Json) => json::line(&documents::Certificates::from(&answer)),
        (_, Output::Table) => table::certificates(&answer),
    })
}

async fn rotate(client: &mut Client, what: What) -> Result<CertificatesResponse, CliError> {
    let request = RotateCertificatesRequest { what: what.into() };
    client
        .call_cluster(request, async |mut cluster, request| {
            cluster.rotate_certificates(request).await
        })
        .await
}

/// The certificates of all trusted authorities.
fn pem(answer: &CertificatesResponse) -> Result<String, CliError> {
    match answer.authorities.is_empty() {
        false => Ok(answer
            .authorities
            .iter()
            .map(|it| it.pem.as_str())
            .collect()),
        true => Err(CliError::Unavailable {
            kind: "no-tls".into(),
            cause: "the nodes speak without TLS".into(),
            hint: "start them with --tls true".into(),
        }),
    }
}
