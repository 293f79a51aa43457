//! The cryptography of TLS: the default of rustls with `ring`, but without ChaCha20-Poly1305, whose code takes 55 KB.
//!
//! TLS 1.3 requires AES of each server, and servers of TLS 1.2 support it. An algorithm stays out of the binary only if no code names
//! it, so this module repeats the lists of rustls, and a test compares them.

use rustls::SignatureScheme as Scheme;
use rustls::crypto::ring::{DEFAULT_KX_GROUPS, cipher_suite as suite};
use rustls::crypto::{CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, WebPkiSupportedAlgorithms};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;
use std::sync::Arc;
use webpki::ring as signature;

pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            suite::TLS13_AES_256_GCM_SHA384,
            suite::TLS13_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        ],
        kx_groups: DEFAULT_KX_GROUPS.to_vec(),
        signature_verification_algorithms: SIGNATURES,
        secure_random: &System,
        key_provider: &NoKeys,
    }
}

static SIGNATURES: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        signature::ECDSA_P256_SHA256,
        signature::ECDSA_P256_SHA384,
        signature::ECDSA_P384_SHA256,
        signature::ECDSA_P384_SHA384,
        signature::ED25519,
        signature::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
        signature::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
        signature::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
        signature::RSA_PKCS1_2048_8192_SHA256,
        signature::RSA_PKCS1_2048_8192_SHA384,
        signature::RSA_PKCS1_2048_8192_SHA512,
        signature::RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS,
        signature::RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
        signature::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
    ],
    // In TLS 1.2, a scheme does not determine the curve of the key.
    mapping: &[
        (Scheme::ECDSA_NISTP384_SHA384, &[signature::ECDSA_P384_SHA384, signature::ECDSA_P256_SHA384]),
        (Scheme::ECDSA_NISTP256_SHA256, &[signature::ECDSA_P256_SHA256, signature::ECDSA_P384_SHA256]),
        (Scheme::ED25519, &[signature::ED25519]),
        (Scheme::RSA_PSS_SHA512, &[signature::RSA_PSS_2048_8192_SHA512_LEGACY_KEY]),
        (Scheme::RSA_PSS_SHA384, &[signature::RSA_PSS_2048_8192_SHA384_LEGACY_KEY]),
        (Scheme::RSA_PSS_SHA256, &[signature::RSA_PSS_2048_8192_SHA256_LEGACY_KEY]),
        (Scheme::RSA_PKCS1_SHA512, &[signature::RSA_PKCS1_2048_8192_SHA512]),
        (Scheme::RSA_PKCS1_SHA384, &[signature::RSA_PKCS1_2048_8192_SHA384]),
        (Scheme::RSA_PKCS1_SHA256, &[signature::RSA_PKCS1_2048_8192_SHA256]),
    ],
};

#[derive(Debug)]
struct System;

impl SecureRandom for System {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        getrandom::fill(bytes).map_err(|_| GetRandomFailed)
    }
}

/// A key provider that loads no key. No server asks for a client certificate, so the addon leaves out the code for client keys.
#[derive(Debug)]
struct NoKeys;

impl KeyProvider for NoKeys {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        Err(rustls::Error::General("there are no keys of our own".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_rustls_offers_by_default_without_chacha20() {
        let (ours, default) = (provider(), rustls::crypto::ring::default_provider());
        let has_aes = |suite: &rustls::SupportedCipherSuite| !format!("{suite:?}").contains("CHACHA20");
        let expected: Vec<_> = default.cipher_suites.into_iter().filter(has_aes).collect();
        assert_eq!(expected.len(), 6);
        assert_eq!(ours.cipher_suites, expected);
        let names = |groups: &[&dyn rustls::crypto::SupportedKxGroup]| -> Vec<_> {
            groups.iter().map(|group| group.name()).collect()
        };
        assert_eq!(names(&ours.kx_groups), names(&default.kx_groups));
        let (ours, default) = (ours.signature_verification_algorithms, default.signature_verification_algorithms);
        assert_eq!(format!("{:?}", ours.all), format!("{:?}", default.all));
        assert_eq!(format!("{:?}", ours.mapping), format!("{:?}", default.mapping));
    }

    #[test]
    fn its_random_bytes_differ() {
        let fill = || {
            let mut bytes = [0; 32];
            provider().secure_random.fill(&mut bytes).unwrap();
            bytes
        };
        assert_ne!(fill(), fill());
    }
}
