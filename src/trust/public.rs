//! The certificate that clients are shown in place of a node's own: two files of
//! the operator's, read again when they change. A bad new one changes nothing.

use std::{path::PathBuf, sync::Arc};

use rustls::sign::CertifiedKey;

use crate::{
    error::TrustError, files, limits::PUBLIC_FILES_EVERY, pem, provider::provider, trust::Trust,
};

/// Where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicFiles {
    /// The certificate, then those that lead to its authority (PEM).
    pub certificate: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
}

/// The bytes of both.
type Contents = (Vec<u8>, Vec<u8>);

impl PublicFiles {
    fn read(&self) -> Result<Contents, TrustError> {
        let missing = |path: &PathBuf| TrustError::bad(path.display().to_string(), "is not there");
        let read = |path: &PathBuf| files::read(path)?.ok_or_else(|| missing(path));
        Ok((read(&self.certificate)?, read(&self.key)?))
    }

    fn certified(&self, (certificate, key): &Contents) -> Result<CertifiedKey, TrustError> {
        let chain = pem::certificates(&self.certificate.display().to_string(), certificate)?;
        let key = pem::private_key(&self.key.display().to_string(), key)?;
        let certified = CertifiedKey::from_der(chain, key, provider())?;
        Ok(certified)
    }

    /// Shows them to clients from now on, and keeps looking for newer ones.
    ///
    /// # Errors
    /// Any [`TrustError`] of the files as they are now.
    pub fn show(
        self,
        trust: &Trust,
    ) -> Result<impl Future<Output = ()> + Send + 'static, TrustError> {
        let contents = self.read()?;
        let certified = Arc::new(self.certified(&contents)?);
        trust.change(|view| {
            view.show_publicly(certified);
            Ok(())
        })?;
        Ok(self.follow(trust.clone(), contents))
    }

    async fn follow(self, trust: Trust, mut seen: Contents) {
        loop {
            tokio::time::sleep(PUBLIC_FILES_EVERY).await;
            let files = self.clone();
            let read = tokio::task::spawn_blocking(move || files.read()).await;
            // A file that is just being replaced may be missing for a moment.
            let Ok(Ok(contents)) = read else { continue };
            if contents == seen {
                continue;
            }
            let shown = self.certified(&contents).and_then(|certified| {
                trust.change(|view| {
                    view.show_publicly(Arc::new(certified));
                    Ok(())
                })
            });
            match shown {
                Ok(()) => tracing::info!("clients are shown the new public certificate"),
                Err(error) => tracing::warn!(%error, "the public certificate stays the old one"),
            }
            seen = contents;
        }
    }
}
