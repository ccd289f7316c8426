//! What is looked at again and again: files that may have changed, a certificate that may be due.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use tokio::{task::spawn_blocking, time::sleep};

use super::{BadFile, SecureError, Upkeep};
use crate::{
    callers::{certificate::Authorities, decision::Files, token_file::Tokens},
    clock::Clock,
    self_metrics::secure::{Reread as Label, Secure},
    telemetry::chain,
    tls::{directory, generated::Kept, pair::Pair, reread::Reread, serving::Serving},
};

/// Something to look at.
pub(super) trait Look: Send + 'static {
    /// What it is, in metrics.
    const WHAT: &'static str;

    /// Takes in what is new; whether there was anything. After an error all is as it was.
    fn look(&mut self) -> Result<bool, SecureError>;
}

/// Looks once, which has to succeed, and gives what looks again `every` so often.
pub(super) fn kept_up<L: Look>(
    mut look: L,
    every: Duration,
    metrics: &Secure,
) -> Result<Upkeep, SecureError> {
    look.look()?;
    Ok(Box::pin(again_and_again(look, every, metrics.clone())))
}

async fn again_and_again<L: Look>(mut look: L, every: Duration, metrics: Secure) {
    let mut standing = Standing::Good;
    loop {
        sleep(every).await;
        let looked = spawn_blocking(move || {
            let found = look.look();
            (look, found)
        });
        // A look that panicked can't be gone on with, which ends the program.
        let Ok((back, found)) = looked.await else { return };
        look = back;
        standing = standing.after::<L>(found, &metrics);
    }
}

/// Whether what was found last was any good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Good,
    /// It could not be read: if it can be again and nothing is new, all is well.
    Unread,
    /// It was no good, and is so until something else is there.
    Bad,
}

impl Standing {
    fn after<L: Look>(self, found: Result<bool, SecureError>, metrics: &Secure) -> Self {
        match found {
            Err(error) => {
                metrics.reread_faults.get_or_create(&Label { what: L::WHAT }).inc();
                if self == Self::Good {
                    let error = chain(&error);
                    tracing::error!(error, "what the secure port had before stands");
                }
                match error {
                    SecureError::Unreadable(_) if self != Self::Bad => Self::Unread,
                    _ => Self::Bad,
                }
            }
            Ok(false) if self == Self::Bad => self,
            Ok(is_new) => {
                if is_new || self != Self::Good {
                    tracing::info!(what = L::WHAT, "what the secure port has is up to date");
                }
                Self::Good
            }
        }
    }
}

/// A certificate in files.
pub(super) struct PairFiles {
    files: Reread<2>,
    serving: Arc<Serving>,
    crypto: Arc<CryptoProvider>,
}

impl PairFiles {
    pub(super) fn new(
        certificate: &Path,
        key: &Path,
        serving: Arc<Serving>,
        crypto: Arc<CryptoProvider>,
    ) -> Self {
        Self { files: Reread::new([certificate, key].map(Path::to_owned)), serving, crypto }
    }
}

impl Look for PairFiles {
    const WHAT: &'static str = "certificate";

    fn look(&mut self) -> Result<bool, SecureError> {
        let Some([certificate, key]) = self.files.changed()? else { return Ok(false) };
        match Pair::of_pem(certificate, key, &self.crypto) {
            Ok(pair) => {
                self.serving.show(pair);
                Ok(true)
            }
            Err(bad) => Err(bad_file("--tls-cert-file", self.files.paths(), bad)),
        }
    }
}

/// Authorities of users in a file.
pub(super) struct ClientAuthorities {
    file: Reread<1>,
    files: Arc<ArcSwap<Files>>,
    crypto: Arc<CryptoProvider>,
}

impl ClientAuthorities {
    pub(super) fn new(
        path: &Path,
        files: Arc<ArcSwap<Files>>,
        crypto: Arc<CryptoProvider>,
    ) -> Self {
        Self { file: Reread::new([path.to_owned()]), files, crypto }
    }
}

impl Look for ClientAuthorities {
    const WHAT: &'static str = "client_ca";

    fn look(&mut self) -> Result<bool, SecureError> {
        let Some([pem]) = self.file.changed()? else { return Ok(false) };
        let clients = Authorities::of_pem(pem, &self.crypto);
        let clients =
            clients.map_err(|bad| bad_file("--client-ca-file", self.file.paths(), bad))?;
        self.files.rcu(|files| Files { clients: Some(clients.clone()), ..Files::clone(files) });
        Ok(true)
    }
}

/// Tokens of users in a file.
pub(super) struct UserTokens {
    file: Reread<1>,
    files: Arc<ArcSwap<Files>>,
}

impl UserTokens {
    pub(super) fn new(path: &Path, files: Arc<ArcSwap<Files>>) -> Self {
        Self { file: Reread::new([path.to_owned()]), files }
    }
}

impl Look for UserTokens {
    const WHAT: &'static str = "tokens";

    fn look(&mut self) -> Result<bool, SecureError> {
        let Some([text]) = self.file.changed()? else { return Ok(false) };
        let text = str::from_utf8(text).map_err(|_| BadFile::NoText);
        let tokens = text.and_then(|text| Ok(Tokens::parse(text)?));
        let tokens = tokens.map_err(|bad| bad_file("--token-file", self.file.paths(), bad))?;
        let tokens = Arc::new(tokens);
        self.files.rcu(|files| Files { tokens: Some(Arc::clone(&tokens)), ..Files::clone(files) });
        Ok(true)
    }
}

fn bad_file(flag: &'static str, paths: &[PathBuf], source: impl Into<BadFile>) -> SecureError {
    let path = paths.first().cloned().unwrap_or_default();
    SecureError::File { flag, path, source: source.into() }
}

/// A certificate that is made here, in a directory or in memory only.
pub(super) struct Renewed {
    directory: Option<PathBuf>,
    names: Vec<String>,
    shown: Option<Kept>,
    serving: Arc<Serving>,
    crypto: Arc<CryptoProvider>,
    clock: Clock,
}

impl Renewed {
    pub(super) fn new(
        directory: Option<PathBuf>,
        names: Vec<String>,
        (serving, crypto): (Arc<Serving>, Arc<CryptoProvider>),
        clock: Clock,
    ) -> Self {
        Self { directory, names, shown: None, serving, crypto, clock }
    }
}

impl Look for Renewed {
    const WHAT: &'static str = "certificate";

    fn look(&mut self) -> Result<bool, SecureError> {
        let now_s = self.clock.now().0.div_euclid(1_000);
        let kept = match &self.directory {
            Some(directory) => Some(directory::kept(directory, &self.names, now_s)?),
            None => Kept::renewed(self.shown.as_ref(), &self.names, now_s)?,
        };
        let Some(kept) = kept.filter(|kept| self.shown.as_ref() != Some(kept)) else {
            return Ok(false);
        };
        let pair = Pair::of_pem(kept.certificate.as_bytes(), kept.key.as_bytes(), &self.crypto)?;
        self.serving.show(pair);
        self.shown = Some(kept);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::tls::crypto;

    /// Writes files one after the other and looks after each: what came of it.
    #[track_caller]
    fn check<L: Look>(
        look: &mut L,
        mut standing: Standing,
        expected: &[Standing],
        change: impl Fn(usize),
    ) {
        let metrics = Secure::default();
        for (step, expected) in expected.iter().enumerate() {
            change(step);
            standing = standing.after::<L>(look.look(), &metrics);
            assert_eq!(standing, *expected, "step {step}");
        }
    }

    #[test]
    fn a_broken_pair_keeps_the_old_one() {
        use Standing::{Bad, Good, Unread};
        let folder = tempfile::tempdir().unwrap();
        let [certificate, key] = ["tls.crt", "tls.key"].map(|name| folder.path().join(name));
        let make = || Kept::renewed(None, &["a".to_owned()], 1_795_423_525).unwrap().unwrap();
        let (first, second) = (make(), make());
        let metrics = Secure::default();
        let serving = Arc::new(Serving::new(metrics.clone()));
        let mut look = PairFiles::new(&certificate, &key, Arc::clone(&serving), crypto());
        let write = |path: &Path, text: &str| fs::write(path, text).unwrap();
        let change = |step| match step {
            0 => {
                write(&certificate, &first.certificate);
                write(&key, &first.key);
            }
            2 => write(&certificate, &second.certificate),
            4 => write(&key, &second.key),
            5 => fs::remove_file(&key).unwrap(),
            6 => write(&key, &second.key),
            _ => (),
        };
        check(&mut look, Good, &[Good, Good, Bad, Bad, Good, Unread, Good], change);
        let shown = serving.shown().unwrap();
        let expected =
            Pair::of_pem(second.certificate.as_bytes(), second.key.as_bytes(), &crypto());
        assert_eq!(shown.cert, expected.unwrap().key.cert);
    }

    #[test]
    fn users_of_files_change_with_the_files() {
        use Standing::{Bad, Good};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let files: Arc<ArcSwap<Files>> = Arc::default();
        let mut look = UserTokens::new(&path, Arc::clone(&files));
        let knows = |token: &str| {
            let files = files.load();
            let token = crate::callers::bearer::Token::new(token);
            files.tokens.as_ref().is_some_and(|tokens| tokens.user(&token).is_some())
        };
        let texts = ["t,ada,1", "broken", "broken", "u,ada,1"];
        check(&mut look, Good, &[Good, Bad, Bad, Good], |step| {
            assert_eq!(knows("t"), step != 0, "step {step}");
            fs::write(&path, texts[step]).unwrap();
        });
        assert!(knows("u") && !knows("t"));
        let path = folder.path().join("ca");
        let mut look = ClientAuthorities::new(&path, Arc::clone(&files), crypto());
        fs::write(&path, crate::callers::certificate::tests::Signer::new("ca").pem).unwrap();
        assert!(look.look().unwrap() && files.load().clients.is_some() && knows("u"));
    }
}
