//! Servers that want TLS, and know their users: by password, by nkey, by JWT.

use std::path::PathBuf;

use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use outbox::transport::jetstream::{Access, ConnectError};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

/// A folder of keys and certificates.
struct Safe(TempDir);

impl Safe {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let file = self.0.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    }

    /// An authority, `<name>.pem`, and a certificate of it for a host, `<name>-server.pem`.
    fn authority(&self, name: &str, host: &str) -> PathBuf {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = authority.self_signed(&key).unwrap();
        let issuer = Issuer::new(authority, key);
        let key = rcgen::KeyPair::generate().unwrap();
        let server = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let server = server.signed_by(&key, &issuer).unwrap();
        self.put(&format!("{name}-server.pem"), &server.pem());
        self.put(&format!("{name}-key.pem"), &key.serialize_pem());
        self.put(&format!("{name}.pem"), &root.pem())
    }

    /// What makes a server speak TLS.
    fn tls(&self, name: &str) -> String {
        let file = |kind| self.0.path().join(format!("{name}-{kind}.pem"));
        format!(
            "tls {{ cert_file: {:?}, key_file: {:?} }}\n",
            file("server"),
            file("key")
        )
    }
}

async fn connect(
    url: String,
    credentials: Option<PathBuf>,
    ca: Option<PathBuf>,
) -> Result<JetStream, ConnectError> {
    let access = Access {
        url,
        credentials,
        ca,
    };
    JetStream::connect(&access, PREFIX).await
}

/// The log goes through streams that were reached this way.
async fn assert_carries(streams: JetStream) {
    let scene = Scene::new().await;
    let lane = Lane::Interactive;
    let mut publisher = Publisher::new(scene.outbox.clone(), streams.clone(), lane);
    let transport = Transport::JetStream(Box::new(streams));
    let worker = worker(&scene, "notes", transport).await;
    order(&scene, 10).await;
    publish(&scene, &mut publisher).await;
    assert_handled_once(&scene, "notes").await;
    worker.stop().await;
}

fn told(result: Result<JetStream, ConnectError>) -> String {
    result.map(drop).unwrap_err().to_string()
}

const PASSWORD: &str = "authorization { users = [{ user: relay, password: \"p@ss/word\" }] }\n";

#[tokio::test]
async fn tls_and_a_password_let_in_who_knows_both() {
    let safe = Safe::new();
    let ca = Some(safe.authority("ours", "localhost"));
    let config = safe.put("server.conf", &(PASSWORD.to_owned() + &safe.tls("ours")));
    let nats = Nats::secured(&config).await;
    let url = |user: &str| format!("tls://{user}localhost:{}", nats.port());

    let streams = connect(url("relay:p%40ss%2Fword@"), None, ca.clone()).await;
    assert_carries(streams.unwrap()).await;

    for user in ["relay:wrong@", "nobody:p%40ss%2Fword@", ""] {
        let refused = connect(url(user), None, ca.clone()).await;
        assert!(matches!(refused, Err(ConnectError::Refused(_))), "{user}");
        assert!(told(refused).contains("does not let this user in"));
    }
}

#[tokio::test]
async fn a_server_whose_certificate_is_not_to_be_trusted_is_refused() {
    let safe = Safe::new();
    let ours = Some(safe.authority("ours", "localhost"));
    let other = Some(safe.authority("other", "elsewhere.example"));
    let nats = Nats::secured(&safe.put("ours.conf", &safe.tls("ours"))).await;
    let url = format!("tls://localhost:{}", nats.port());

    connect(url.clone(), None, ours.clone()).await.unwrap();
    for ca in [&None, &other] {
        let refused = connect(url.clone(), None, ca.clone()).await;
        assert!(matches!(refused, Err(ConnectError::Untrusted(_))));
    }
    let missing = Some(safe.0.path().join("missing.pem"));
    let unread = connect(url, None, missing).await;
    assert!(told(unread).contains("missing.pem"));

    let elsewhere = Nats::secured(&safe.put("other.conf", &safe.tls("other"))).await;
    let url = format!("tls://localhost:{}", elsewhere.port());
    let refused = connect(url, None, other).await;
    assert!(told(refused).contains("is its certificate for this host"));

    let plain = Nats::start().await;
    let url = format!("tls://localhost:{}", plain.port());
    let refused = connect(url, None, ours).await;
    assert!(matches!(refused, Err(ConnectError::Untrusted(_))));
}

#[tokio::test]
async fn an_nkey_lets_in_who_holds_its_seed() {
    let safe = Safe::new();
    let (user, stranger) = (KeyPair::new_user(), KeyPair::new_user());
    let known = user.public_key();
    let config = format!("authorization {{ users = [{{ nkey: {known} }}] }}\n");
    let nats = Nats::secured(&safe.put("server.conf", &config)).await;
    let url = format!("nats://localhost:{}", nats.port());
    let seed = |name: &str, key: &KeyPair| safe.put(name, &(key.seed().unwrap() + "\n"));

    let streams = connect(url.clone(), Some(seed("user.nk", &user)), None).await;
    assert_carries(streams.unwrap()).await;

    let refused = connect(url.clone(), Some(seed("stranger.nk", &stranger)), None).await;
    assert!(matches!(refused, Err(ConnectError::Refused(_))));
    for file in [safe.put("empty.nk", ""), safe.0.path().join("missing.nk")] {
        let unused = connect(url.clone(), Some(file), None).await;
        assert!(matches!(unused, Err(ConnectError::Credentials(..))));
    }
}

/// A claim, signed as the server wants it.
fn jwt(issuer: &KeyPair, subject: &KeyPair, claim: Value) -> String {
    let encode = |value: Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let header = encode(json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let claim = encode(json!({
        "iat": 1_700_000_000, "jti": "none", "name": "shop", "nats": claim,
        "iss": issuer.public_key(), "sub": subject.public_key(),
    }));
    let signed = issuer.sign(format!("{header}.{claim}").as_bytes()).unwrap();
    format!("{header}.{claim}.{}", BASE64URL_NOPAD.encode(&signed))
}

/// The system's own account has no streams.
fn account_claim(streams: i32) -> Value {
    json!({
        "type": "account", "version": 2, "default_permissions": { "pub": {}, "sub": {} },
        "limits": {
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
            "wildcards": true, "conn": -1, "leaf": -1,
            "mem_storage": streams, "disk_storage": streams,
            "streams": streams, "consumer": streams,
        },
    })
}

/// A file as the tools of NATS write it.
fn creds(account: &KeyPair) -> String {
    let user = KeyPair::new_user();
    let claim = json!({
        "type": "user", "version": 2, "pub": {}, "sub": {},
        "subs": -1, "data": -1, "payload": -1,
    });
    let (jwt, seed) = (jwt(account, &user, claim), user.seed().unwrap());
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
}

#[tokio::test]
async fn a_file_with_a_jwt_lets_in_a_user_of_the_account() {
    let safe = Safe::new();
    let operator = KeyPair::new_operator();
    let (system, account) = (KeyPair::new_account(), KeyPair::new_account());
    let own = json!({ "type": "operator", "version": 2 });
    let of_system = jwt(&operator, &system, account_claim(0));
    let of_account = jwt(&operator, &account, account_claim(-1));
    let config = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\n\
         resolver_preload: {{\n{}: {of_system}\n{}: {of_account}\n}}\n",
        jwt(&operator, &operator, own),
        system.public_key(),
        system.public_key(),
        account.public_key(),
    );
    let nats = Nats::secured(&safe.put("server.conf", &config)).await;
    let url = format!("nats://localhost:{}", nats.port());

    let file = safe.put("user.creds", &creds(&account));
    assert_carries(connect(url.clone(), Some(file), None).await.unwrap()).await;

    let file = safe.put("stranger.creds", &creds(&KeyPair::new_account()));
    let refused = connect(url, Some(file), None).await;
    assert!(matches!(refused, Err(ConnectError::Refused(_))));
}

/// An event may be larger than that, and would hold up all behind it.
#[tokio::test]
async fn a_server_that_takes_small_messages_only_is_refused() {
    let safe = Safe::new();
    for (bytes, is_enough) in [(299_999, false), (300_000, true)] {
        let config = safe.put("server.conf", &format!("max_payload: {bytes}\n"));
        let nats = Nats::secured(&config).await;
        let streams = connect(format!("nats://localhost:{}", nats.port()), None, None).await;
        assert_eq!(streams.is_ok(), is_enough, "{bytes}");
        if !is_enough {
            assert!(told(streams).contains("max_payload"));
        }
    }
}
