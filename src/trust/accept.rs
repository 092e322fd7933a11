//! Connections that came in, with or without TLS.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use rustls::{
    ServerConfig, SupportedProtocolVersion,
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
        danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    clear::SPEAKS_HTTPS,
    dial::NODE_NAME,
    error::TrustError,
    holder::Holder,
    limits::HANDSHAKE_TIME,
    own::end_of,
    provider::provider,
    refusals::FROM,
    trust::{Caller, Trust},
    verify::Callers,
};

/// A port, by what is spoken there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// gRPC: nodes show certificates, clients need none. TLS 1.3 alone, where those
    /// of nodes are not seen by others.
    Grpc,
    /// HTTP/1.1, for clients of all kinds.
    Http,
}

const ONLY_NEWEST: [&SupportedProtocolVersion; 1] = [&TLS13];
const ALL_VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// The first byte of every handshake.
const HANDSHAKE: u8 = 0x16;

/// What a browser is told that speaks without TLS.
fn speaks_tls() -> String {
    format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{SPEAKS_HTTPS}\n",
        SPEAKS_HTTPS.len() + 1
    )
}

/// Takes connections in.
#[derive(Clone)]
pub struct Acceptor(Option<Tls>);

#[derive(Clone)]
struct Tls {
    acceptor: TlsAcceptor,
    trust: Trust,
    port: Port,
}

/// Chooses the certificate that is shown: nodes ask for the cluster's by name,
/// clients get the public one where there is one.
#[derive(Debug)]
struct Shown(Trust);

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let view = self.0.view();
        let own = view.own.as_ref().map(|own| own.certified.clone());
        match &view.public {
            Some(public) if hello.server_name() != Some(NODE_NAME) => Some(public.clone()),
            _ => own,
        }
    }
}

impl Acceptor {
    /// For a port of a node.
    ///
    /// # Errors
    /// [`TrustError::Tls`], never in practice.
    pub fn new(trust: &Trust, port: Port) -> Result<Self, TrustError> {
        if !trust.is_on() {
            return Ok(Acceptor(None));
        }
        let asked: Arc<dyn ClientCertVerifier> = match port {
            Port::Grpc => Arc::new(Callers(trust.clone())),
            Port::Http => WebPkiClientVerifier::no_client_auth(),
        };
        let (versions, protocol): (&[_], _) = match port {
            Port::Grpc => (&ONLY_NEWEST, "h2"),
            Port::Http => (&ALL_VERSIONS, "http/1.1"),
        };
        let config = ServerConfig::builder_with_provider(provider().clone());
        let mut config = config
            .with_protocol_versions(versions)?
            .with_client_cert_verifier(asked)
            .with_cert_resolver(Arc::new(Shown(trust.clone())));
        config.alpn_protocols = vec![protocol.into()];
        // A session that is resumed is not asked for its certificate again, and
        // would outlive its revocation.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Acceptor(Some(Tls {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            trust: trust.clone(),
            port,
        })))
    }

    /// Makes the handshake, if there is one to make.
    ///
    /// # Errors
    /// Why it failed. What is wrong with a certificate stands in the log by then.
    pub async fn accept(&self, socket: TcpStream) -> io::Result<(Stream, Caller)> {
        let Some(tls) = &self.0 else {
            return Ok((Stream::Plain(socket), Caller::default()));
        };
        let from = socket.peer_addr()?;
        let handshake = FROM.scope(from, tls.shake(socket));
        let stream = tokio::time::timeout(HANDSHAKE_TIME, handshake).await??;
        let shown = stream.get_ref().1.peer_certificates();
        let shown = shown.and_then(|chain| chain.first());
        let caller = Caller {
            holder: shown.and_then(Holder::named_in),
            until_s: shown.and_then(end_of),
        };
        Ok((Stream::Tls(Box::new(stream)), caller))
    }
}

impl Tls {
    async fn shake(&self, mut socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let mut first = [HANDSHAKE];
        socket.peek(&mut first).await?;
        if first[0] == HANDSHAKE {
            return self.acceptor.accept(socket).await;
        }
        self.trust.refuse("somebody speaks without TLS");
        if self.port == Port::Http {
            // What is not taken in would have the kernel drop the answer.
            let _ = socket.read(&mut [0; 4096]).await;
            socket.write_all(speaks_tls().as_bytes()).await?;
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "no TLS"))
    }
}

/// A connection, with or without TLS.
pub enum Stream {
    /// Without.
    Plain(TcpStream),
    /// With.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_read(context, into),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_write_vectored(context, parts),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(socket) => socket.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
