//! Connections that go out, with TLS: from node to node, and from a client to one.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, client::Resumption, client::danger::ServerCertVerifier, pki_types::ServerName,
    sign::SingleCertAndKey, version::TLS13,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    codegen::{Service, http::Uri},
    transport::{Channel, Endpoint, Error},
};

use crate::{error::TrustError, provider::provider, trust::Trust, verify::Called};

/// What a node is asked for, whatever its host is called: its certificate of the
/// cluster, and not the public one.
pub(crate) const NODE_NAME: &str = "node.reelraft.internal";

type Connecting = Pin<Box<dyn Future<Output = io::Result<TokioIo<TlsStream<TcpStream>>>> + Send>>;

/// What a connection of today is made with.
type Config = dyn Fn(&str) -> Result<Arc<ClientConfig>, TrustError> + Send + Sync;

/// Makes connections with TLS, each with what is held and believed by then.
#[derive(Clone)]
pub struct Connector {
    config: Arc<Config>,
    /// Whom to ask for; none: the host of the address.
    name: Option<&'static str>,
}

impl Connector {
    pub(crate) fn new(
        config: impl Fn(&str) -> Result<Arc<ClientConfig>, TrustError> + Send + Sync + 'static,
        name: Option<&'static str>,
    ) -> Self {
        Connector {
            config: Arc::new(config),
            name,
        }
    }

    async fn connect(self, to: Uri) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
        let host = to.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = to.port_u16().unwrap_or_default();
        let address = format!("{host}:{port}");
        let name = self.name.unwrap_or(host).to_string();
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        let config = (self.config)(&address).map_err(io::Error::other)?;
        let socket = TcpStream::connect((host, port)).await?;
        socket.set_nodelay(true)?;
        let stream = TlsConnector::from(config).connect(name, socket).await?;
        Ok(TokioIo::new(stream))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Connecting {
        Box::pin(self.clone().connect(to))
    }
}

/// A client's side of TLS 1.3, for gRPC.
pub(crate) fn client_config(
    verifier: Arc<dyn ServerCertVerifier>,
    own: Option<Arc<rustls::sign::CertifiedKey>>,
) -> Result<ClientConfig, TrustError> {
    let config = ClientConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match own {
        Some(own) => {
            let own = SingleCertAndKey::from(rustls::sign::CertifiedKey::clone(&own));
            config.with_client_cert_resolver(Arc::new(own))
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    // What is resumed is not asked for its certificate again.
    config.resumption = Resumption::disabled();
    Ok(config)
}

impl Trust {
    /// The way to a node: the one with this id, where it is known. None without TLS.
    pub fn connector(&self, expected: Option<u64>) -> Option<Connector> {
        let trust = self.clone();
        self.is_on().then(|| {
            let config = move |address: &str| {
                let own = trust.view().own.clone();
                let own =
                    own.ok_or_else(|| TrustError::bad("this node", "has no certificate yet"))?;
                let verifier = Called {
                    trust: trust.clone(),
                    expected,
                    address: address.to_string(),
                };
                let config = client_config(Arc::new(verifier), Some(own.certified.clone()))?;
                Ok(Arc::new(config))
            };
            Connector::new(config, Some(NODE_NAME))
        })
    }

    /// A channel that connects with its first call.
    pub fn channel_lazy(&self, endpoint: &Endpoint, expected: Option<u64>) -> Channel {
        match self.connector(expected) {
            Some(connector) => endpoint.connect_with_connector_lazy(connector),
            None => endpoint.connect_lazy(),
        }
    }

    /// A channel that is connected.
    ///
    /// # Errors
    /// That nothing answers there, or another than was meant.
    pub async fn channel(
        &self,
        endpoint: &Endpoint,
        expected: Option<u64>,
    ) -> Result<Channel, Error> {
        match self.connector(expected) {
            Some(connector) => endpoint.connect_with_connector(connector).await,
            None => endpoint.connect().await,
        }
    }
}
