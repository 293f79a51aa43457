//! The trusted certificate authorities, and the TLS configurations that use them.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::Environment;
use super::crypto::provider;
use crate::task::Apart;

/// A TLS configuration that trusts the roots of [`trusted`], and the problem with one of the certificate files, if any.
pub(super) async fn tls(
    environment: &Environment,
    patience: Duration,
) -> Result<(Arc<rustls::ClientConfig>, Option<String>), String> {
    let (roots, problem) = trusted(environment, patience).await;
    let tls = builder()?.with_root_certificates(roots).with_no_client_auth();
    Ok((Arc::new(tls), problem))
}

/// A TLS configuration for the inspection of a server, with a custom verifier.
pub(super) fn tls_by(verifier: Arc<dyn ServerCertVerifier>) -> Result<Arc<rustls::ClientConfig>, String> {
    let tls = builder()?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    Ok(Arc::new(tls))
}

/// A verifier of certificates that trusts these roots.
pub(super) fn verifier(roots: rustls::RootCertStore) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider())).build();
    verifier.map(|verifier| verifier as Arc<_>).map_err(|error| error.to_string())
}

/// The roots of Mozilla's certificate authorities.
pub(super) fn public() -> rustls::RootCertStore {
    rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

/// The trusted roots: Mozilla's, those in the files of an environment, and those that Node has read from the system. Also the problem
/// with one of those files, if any. Reading a file takes `patience` at most.
pub(super) async fn trusted(environment: &Environment, patience: Duration) -> (rustls::RootCertStore, Option<String>) {
    let mut roots = public();
    let mut problem = None;
    let read = |file: &Option<PathBuf>| {
        let file = file.clone();
        async move { Some(read(&file?, patience).await) }
    };
    // Read both files concurrently, so that two files that do not answer take no longer than one.
    let (extra, bundle) = tokio::join!(read(&environment.extra_ca_certs), read(&environment.ssl_cert_file));
    for (name, contents) in [("NODE_EXTRA_CA_CERTS", extra), ("SSL_CERT_FILE", bundle)] {
        match contents {
            None => {}
            Some(Ok(pem)) => {
                let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect();
                if roots.add_parsable_certificates(certificates).0 == 0 {
                    problem = Some(format!("the file in {name} holds no certificate"));
                }
            }
            Some(Err(error)) => problem = Some(format!("the file in {name} cannot be read: {error}")),
        }
    }
    if let Some(Ok(pem)) = &environment.system_ca {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok).collect();
        roots.add_parsable_certificates(certificates);
    }
    (roots, problem)
}

fn builder() -> Result<rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier>, String> {
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(provider()));
    builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())
}

/// The most bytes that [`read`] reads of a file, which is more than any bundle of certificates has.
const LARGEST_FILE: u64 = 16 * 1024 * 1024;

type Contents = Result<Arc<[u8]>, String>;

static READINGS: Apart<PathBuf, Contents> = Apart::new();

/// Reads a file. Waits for `patience` at most since the read began, because a read on a dead mount never ends.
async fn read(path: &Path, patience: Duration) -> Contents {
    let file = path.to_owned();
    let work = move || {
        let mut bytes = Vec::new();
        let read = File::open(file).and_then(|file| file.take(LARGEST_FILE).read_to_end(&mut bytes));
        read.map(|_| bytes.into()).map_err(|error| error.to_string())
    };
    READINGS
        .wait(&path.to_owned(), patience, work)
        .await
        .unwrap_or_else(|| Err("the file system does not answer".to_owned()))
}
