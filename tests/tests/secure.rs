//! The secure port of a whole aggregator that no API server stands beside: TLS, and users of files.

#![allow(clippy::unwrap_used, reason = "a test, helpers included")]

use std::{fs, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tally_aggregator::{
    app::{self, Running, StartError},
    inventory::LabelForm,
    settings::{
        ApiServer, HistorySettings, Settings,
        secure::{CertificateSource, SecureSettings},
    },
};
use tally_proto::tick::Resolution;
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

fn settings(folder: &Path, secure: SecureSettings) -> Settings {
    let loopback = ([127, 0, 0, 1], 0).into();
    Settings {
        rest_listen: loopback,
        grpc_listen: loopback,
        secure: Some(secure),
        resolution: Resolution::DEFAULT,
        model_window: Duration::from_secs(900),
        history: Some(HistorySettings {
            directory: folder.join("history"),
            retention: tally_aggregator::history::store::Retention::default(),
        }),
        inventory: Vec::new(),
        kubernetes: ApiServer::None,
        labels: LabelForm::default(),
        max_streams: 10,
        max_entities_per_node: 100,
        max_clock_skew: Duration::from_secs(60),
    }
}

/// Tokens and an authority of users; ada alone may ask.
fn secure(folder: &Path) -> SecureSettings {
    SecureSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        certificate: CertificateSource::Generated {
            service: None,
            secret: None,
            api_services: Vec::new(),
        },
        client_ca: Some(folder.join("users.crt")),
        tokens: Some(folder.join("tokens")),
        allowed_users: ["ada".to_owned()].into(),
    }
}

/// A certificate of a user, and its key.
type Shown = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

struct Users(CertifiedIssuer<'static, KeyPair>);

impl Users {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn certificate(&self, name: &str) -> Shown {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap().der().clone();
        (vec![certificate], PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap())
    }
}

struct World {
    folder: tempfile::TempDir,
    users: Users,
    server: Running,
}

impl World {
    async fn begin() -> Self {
        let (folder, users) = (tempfile::tempdir().unwrap(), Users::new());
        fs::write(folder.path().join("users.crt"), users.0.pem()).unwrap();
        fs::write(folder.path().join("tokens"), "secret,ada,1\nother,bob,2\n").unwrap();
        let settings = settings(folder.path(), secure(folder.path()));
        let server = app::start(settings, app::system_clock()).await.unwrap();
        Self { folder, users, server }
    }

    /// The status of an answer over TLS.
    async fn ask(&self, path: &str, shown: Option<Shown>, token: Option<&str>) -> u16 {
        let mut roots = RootCertStore::empty();
        let bundle = fs::read(self.folder.path().join("history/tls/ca.crt")).unwrap();
        roots.add(CertificateDer::from_pem_slice(&bundle).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots);
        let config = match shown {
            Some((chain, key)) => config.with_client_auth_cert(chain, key).unwrap(),
            None => config.with_no_client_auth(),
        };
        let stream = TcpStream::connect(self.server.secure_addr.unwrap()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut asked = Request::builder().uri(path).header("host", "localhost");
        if let Some(token) = token {
            asked = asked.header("authorization", format!("Bearer {token}"));
        }
        let answer = client.send_request(asked.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        drop(client);
        connection.abort();
        answer.status().as_u16()
    }
}

const NODES: &str = "/api/v1/model/nodes";

#[tokio::test]
async fn users_of_files_are_let_in_and_others_are_not() {
    let world = World::begin().await;
    let shown = |users: &Users, name: &str| Some(users.certificate(name));
    assert_eq!(world.ask(NODES, None, Some("secret")).await, 200);
    assert_eq!(world.ask(NODES, None, Some("other")).await, 403);
    assert_eq!(world.ask(NODES, None, Some("made-up")).await, 401);
    assert_eq!(world.ask(NODES, None, None).await, 401);
    assert_eq!(world.ask(NODES, shown(&world.users, "ada"), None).await, 200);
    assert_eq!(world.ask(NODES, shown(&world.users, "bob"), None).await, 403);
    assert_eq!(world.ask(NODES, shown(&Users::new(), "ada"), None).await, 401);
    assert_eq!(world.ask("/livez", None, None).await, 200);
    world.server.stop().await;
}

#[tokio::test]
async fn it_stops_while_somebody_does_not_finish_a_handshake() {
    let world = World::begin().await;
    let mut silent = TcpStream::connect(world.server.secure_addr.unwrap()).await.unwrap();
    assert_eq!(world.ask("/livez", None, None).await, 200);
    timeout(Duration::from_secs(4), world.server.stop()).await.unwrap();
    assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn it_does_not_begin_with_files_that_are_of_no_use_or_where_nobody_could_be_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let begun = async |secure: SecureSettings| {
        app::start(settings(folder.path(), secure), app::system_clock()).await.map(drop)
    };
    let missing = begun(secure(folder.path())).await.expect_err("no files");
    assert!(missing.to_string().starts_with("cannot read "), "{missing}");
    fs::write(folder.path().join("users.crt"), "no PEM").unwrap();
    let broken = begun(secure(folder.path())).await.expect_err("a broken file");
    assert!(broken.to_string().ends_with("users.crt is of no use (--client-ca-file)"), "{broken}");
    let nobody = SecureSettings { client_ca: None, tokens: None, ..secure(folder.path()) };
    let nobody = begun(nobody).await.expect_err("nobody");
    assert!(matches!(nobody, StartError::Secure(app::SecureError::Nobody)), "{nobody}");
}
