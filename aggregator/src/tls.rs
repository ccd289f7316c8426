//! TLS of the secure port: which certificate is shown, and how one is made.
//!
//! ```text
//! pair        a certificate and its key, checked        generated   made and renewed here   (pure)
//! serving     which pair is shown                       reread      files that may change
//! directory   generated ones, kept on disk
//! ```
//! A client need not show a certificate. If it does, the handshake finds out only that it has the
//! key to it; [`crate::callers::certificate`] asks whether that means anything.

pub mod directory;
pub mod generated;
pub mod pair;
pub mod reread;
pub mod serving;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

/// What all of TLS is computed with; the client of the API server has the same.
pub fn crypto() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
