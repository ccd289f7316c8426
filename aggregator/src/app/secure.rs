//! The secure port: what it is made of, and the tasks that keep that true.

mod look;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;

use self::look::{ClientAuthorities, PairFiles, Renewed, UserTokens, kept_up};
use crate::{
    callers::{
        certificate::BadAuthorities,
        decision::{Published, Rules},
        token_file::BadTokens,
    },
    clock::Clock,
    kubernetes::{
        BadServer, Server,
        own_certificate::{OwnCertificate, Place, Wanted},
        reviews::Reviews,
        trust::TrustReader,
    },
    rest::{
        Rest,
        guard::{Beliefs, Guard},
        listen::Port,
    },
    self_metrics::secure::Secure,
    settings::secure::{CertificateSource, NOBODY, SERVICE, SecureSettings},
    tls::{
        self,
        directory::{BUNDLE, NotKept},
        generated::NotMade,
        pair::BadPair,
        reread::Unreadable,
        serving::{self, Serving},
    },
};

/// How long a file that was changed is not heeded.
const FILES_EVERY: Duration = Duration::from_secs(5);

/// A certificate is renewed four months before its end.
const RENEW_EVERY: Duration = Duration::from_secs(3_600);

/// Why there can be no secure port.
#[derive(Debug, thiserror::Error)]
pub enum SecureError {
    /// A file can't be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// A file is not what it should be.
    #[error("{} is of no use ({flag})", path.display())]
    File {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: BadFile,
    },
    /// A certificate can't be made or kept.
    #[error(transparent)]
    NotKept(#[from] NotKept),
    /// A certificate can't be made.
    #[error(transparent)]
    NotMade(#[from] NotMade),
    /// A certificate that was made is no good.
    #[error(transparent)]
    Pair(#[from] BadPair),
    /// The API server can't be asked.
    #[error(transparent)]
    Server(#[from] BadServer),
    /// TLS can't be spoken.
    #[error("TLS can't be spoken")]
    Tls(#[from] rustls::Error),
    /// Every request would be refused.
    #[error("--secure-listen: {NOBODY}")]
    Nobody,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum BadFile {
    /// A certificate and its key.
    #[error(transparent)]
    Pair(#[from] BadPair),
    /// Authorities.
    #[error(transparent)]
    Authorities(#[from] BadAuthorities),
    /// Tokens.
    #[error(transparent)]
    Tokens(#[from] BadTokens),
    /// Something that is no text.
    #[error("it is no text")]
    NoText,
}

/// Runs for as long as the port is open.
pub(super) type Upkeep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A secure port that only lacks its listener.
pub(super) struct SecurePort {
    /// What is answered on it.
    pub(super) port: Port,
    /// What has to go on for it.
    pub(super) upkeep: Vec<Upkeep>,
}

/// What the port is made with.
#[derive(Clone)]
pub(super) struct Tools {
    /// The time.
    pub(super) clock: Clock,
    /// Where is counted.
    pub(super) metrics: Secure,
}

impl SecurePort {
    /// Answers from `rest` those that may ask. `history` is the directory of history.
    pub(super) fn new(
        settings: &SecureSettings,
        server: Option<&Server>,
        history: Option<&Path>,
        rest: Rest,
        tools: &Tools,
    ) -> Result<Self, SecureError> {
        if server.is_none() && !settings.lets_somebody_in() {
            return Err(SecureError::Nobody);
        }
        let crypto = tls::crypto();
        let Tools { clock, metrics } = tools;
        let mut upkeep: Vec<Upkeep> = Vec::new();
        let serving = Arc::new(Serving::new(metrics.clone()));
        upkeep.push(certificate(settings, server, history, (&serving, &crypto), tools)?);
        let published = if server.is_some() { Published::NotYet } else { Published::Never };
        let beliefs = Beliefs {
            published: Arc::new(ArcSwap::from_pointee(published)),
            files: Arc::default(),
        };
        if let Some(path) = &settings.client_ca {
            let files = Arc::clone(&beliefs.files);
            let look = ClientAuthorities::new(path, files, Arc::clone(&crypto));
            upkeep.push(kept_up(look, FILES_EVERY, metrics)?);
        }
        if let Some(path) = &settings.tokens {
            let look = UserTokens::new(path, Arc::clone(&beliefs.files));
            upkeep.push(kept_up(look, FILES_EVERY, metrics)?);
        }
        let mut reviews = None;
        if let Some(server) = server {
            let published = Arc::clone(&beliefs.published);
            let client = server.plain_client()?;
            let reader = TrustReader::new(client, Arc::clone(&crypto), published, metrics.clone());
            upkeep.push(Box::pin(reader.run()));
            reviews = Some(Reviews::new(server.plain_client()?, clock.clone(), metrics.clone()));
        }
        let rules =
            Rules { allowed: settings.allowed_users.clone(), has_api_server: server.is_some() };
        let guard = Guard::new(beliefs, rules, reviews, (clock.clone(), metrics.clone()));
        let tls = serving::config(serving, crypto)?;
        Ok(Self { port: Port::secure(rest, guard, tls), upkeep })
    }
}

/// Where the history directory has a generated certificate.
const FOLDER: &str = "tls";

/// Shows the certificate, as far as that is possible yet, and looks after it.
fn certificate(
    settings: &SecureSettings,
    server: Option<&Server>,
    history: Option<&Path>,
    (serving, crypto): (&Arc<Serving>, &Arc<CryptoProvider>),
    tools: &Tools,
) -> Result<Upkeep, SecureError> {
    let Tools { clock, metrics } = tools;
    let (serving, crypto) = (Arc::clone(serving), Arc::clone(crypto));
    match (&settings.certificate, server) {
        (CertificateSource::Files { certificate, key }, _) => {
            let look = PairFiles::new(certificate, key, serving, crypto);
            kept_up(look, FILES_EVERY, metrics)
        }
        (CertificateSource::Generated { service, secret, api_services }, Some(server)) => {
            let service = service.clone().unwrap_or_else(|| Place {
                namespace: server.default_namespace().to_owned(),
                name: SERVICE.to_owned(),
            });
            let beside = || Place { name: format!("{}-tls", service.name), ..service.clone() };
            let secret = secret.clone().unwrap_or_else(beside);
            tracing::info!(%service, %secret, "the certificate of the secure port is kept there");
            let wanted = Wanted { service, secret, api_services: api_services.clone() };
            let (client, clock) = (server.plain_client()?, clock.clone());
            let shown = (serving, crypto);
            let own = OwnCertificate::new(client, wanted, shown, (clock, metrics.clone()));
            Ok(Box::pin(own.run()))
        }
        (CertificateSource::Generated { .. }, None) => {
            let directory = history.map(|history| history.join(FOLDER));
            match &directory {
                Some(directory) => tracing::info!(
                    authority = %directory.join(BUNDLE).display(),
                    "the secure port has a certificate of its own authority"
                ),
                None => tracing::warn!(
                    "the certificate of the secure port lasts until the next start: nothing is kept \
                     without history"
                ),
            }
            let names = host_names(settings.listen.ip());
            let look = Renewed::new(directory, names, (serving, crypto), clock.clone());
            kept_up(look, RENEW_EVERY, metrics)
        }
    }
}

/// Names under which a host is reached that listens on `address`.
fn host_names(address: IpAddr) -> Vec<String> {
    let own = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    let mut names = vec![own, "localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !address.is_unspecified() {
        names.push(address.to_string());
    }
    names.sort();
    names.dedup();
    // Some hosts have no name that could be one.
    names.retain(|name| !name.is_empty() && name.is_ascii());
    names
}
