//! The one provider of cryptography in the program.

use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, ring};

/// ring, as everywhere here: two providers in one program panic at first use.
pub fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(ring::default_provider()))
}
