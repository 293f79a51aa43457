//! The codes of an authenticator app (RFC 6238), made from the secret that the app was set up with.

use std::fmt;
use std::sync::Arc;

use ring::hmac;
use url::Url;

use crate::{Error, Result, Secret};

/// The length of the shortest secret, in bytes: 16 characters in base32. A shorter text is probably a code.
const SHORTEST: usize = 10;
const DEFAULT_DIGITS: u32 = 6;
const DEFAULT_PERIOD: u64 = 30;
const LONGEST_PERIOD: u64 = 3600;

/// The secret and the settings from which an authenticator app makes its codes. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Totp {
    key: Arc<[u8]>,
    hash: Hash,
    digits: u32,
    period: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha1,
    Sha256,
    Sha512,
}

impl fmt::Debug for Totp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Totp")
            .field("hash", &self.hash)
            .field("digits", &self.digits)
            .field("period", &self.period)
            .finish_non_exhaustive()
    }
}

impl Totp {
    /// Reads a secret in base32, in which spaces, dashes, lower case and padding do not matter, or an `otpauth://totp/…`
    /// address, as in the QR code of a set-up. `name` is its name in error messages.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT`, which shows nothing of the text.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        let text = text.trim();
        let scheme = text.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("otpauth") => Self::of_address(text, name),
            Some("otpauth-migration") => Err(Error::invalid(format!(
                "{name} is an export of several accounts (otpauth-migration). Give the secret of the Ring account alone, or its otpauth://totp/ address."
            ))),
            _ => {
                let key = base32(text, name)?;
                Ok(Self { key, hash: Hash::Sha1, digits: DEFAULT_DIGITS, period: DEFAULT_PERIOD })
            }
        }
    }

    fn of_address(text: &str, name: &str) -> Result<Self> {
        let url = Url::parse(text)
            .map_err(|_| Error::invalid(format!("{name} begins with otpauth: and is not a valid address.")))?;
        match url.host_str().map(str::to_ascii_lowercase).as_deref() {
            Some("totp") => {}
            Some("hotp") => {
                return Err(Error::invalid(format!(
                    "{name} is an address of the kind HOTP, whose codes are counted. Ring's authenticator codes depend on the time: give an address of the kind TOTP."
                )));
            }
            _ => return Err(Error::invalid(format!("{name} is an otpauth address of a kind that is not TOTP."))),
        }
        let parameter = |wanted: &str| {
            url.query_pairs().find(|(key, _)| key.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.into_owned())
        };
        let refused = |what: &str| Error::invalid(format!("{name} is an otpauth address whose {what}."));
        let Some(secret) = parameter("secret").map(Secret::new) else {
            return Err(Error::invalid(format!("{name} is an otpauth address without a secret.")));
        };
        let hash = match parameter("algorithm").map(|hash| hash.to_ascii_uppercase().replace('-', "")).as_deref() {
            None | Some("" | "SHA1" | "HMACSHA1") => Hash::Sha1,
            Some("SHA256" | "HMACSHA256") => Hash::Sha256,
            Some("SHA512" | "HMACSHA512") => Hash::Sha512,
            Some(_) => return Err(refused("algorithm is not one of SHA1, SHA256 and SHA512")),
        };
        let digits = match parameter("digits") {
            None => DEFAULT_DIGITS,
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|digits| (6..=8).contains(digits))
                .ok_or_else(|| refused("digits are not 6, 7 or 8"))?,
        };
        let period = match parameter("period") {
            None => DEFAULT_PERIOD,
            Some(period) => period
                .parse()
                .ok()
                .filter(|period| (1..=LONGEST_PERIOD).contains(period))
                .ok_or_else(|| refused("period is not a number of seconds from 1 to 3600"))?,
        };
        Ok(Self { key: base32(secret.expose(), name)?, hash, digits, period })
    }

    /// The number of seconds for which a code is valid.
    pub fn period(&self) -> u64 {
        self.period
    }

    /// The code of a time step: the seconds since 1970, divided by the period.
    pub fn code(&self, step: u64) -> Secret {
        let algorithm = match self.hash {
            Hash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => hmac::HMAC_SHA256,
            Hash::Sha512 => hmac::HMAC_SHA512,
        };
        let tag = hmac::sign(&hmac::Key::new(algorithm, &self.key), &step.to_be_bytes());
        let bytes = tag.as_ref();
        // RFC 4226: the last four bits are the offset of the number.
        let at = usize::from(bytes.last().copied().unwrap_or_default() & 0x0f);
        let number = bytes.iter().skip(at).take(4).fold(0, |number, byte| number << 8 | u32::from(*byte));
        let code = (number & 0x7fff_ffff) % 10_u32.pow(self.digits);
        Secret::new(format!("{code:0width$}", width = self.digits as usize))
    }
}

/// The bytes of a text in base32 (RFC 4648).
fn base32(text: &str, name: &str) -> Result<Arc<[u8]>> {
    let is_noise = |c: char| c.is_whitespace() || c == '-';
    let text: Vec<char> =
        text.trim_end_matches(|c| is_noise(c) || c == '=').chars().filter(|c| !is_noise(*c)).collect();
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut bits, mut held) = (0_u32, 0);
    for c in &text {
        let value = match c.to_ascii_uppercase() {
            c @ 'A'..='Z' => u32::from(c) - u32::from('A'),
            c @ '2'..='7' => u32::from(c) - u32::from('2') + 26,
            _ => {
                return Err(Error::invalid(format!(
                    "{name} is not in base32, which has the letters A to Z and the digits 2 to 7. Give the secret that the authenticator app was set up with, or its otpauth://totp/ address."
                )));
            }
        };
        bits = bits << 5 | value;
        held += 5;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).unwrap_or_default());
            bits &= (1 << held) - 1;
        }
    }
    if bytes.len() < SHORTEST {
        return Err(Error::invalid(format!(
            "{name} is too short for an authenticator's secret, which has 16 characters or more. It is not the six digits that the app shows."
        )));
    }
    if matches!(text.len() % 8, 1 | 3 | 6) {
        return Err(Error::invalid(format!("{name} is cut off: no secret in base32 has this length.")));
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In base32, the ASCII digits 1 to 9 and 0 in a row, as RFC 6238 has them for each hash.
    const SHA1: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    const SHA256: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZA====";
    const SHA512: &str =
        "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNA=";

    fn address(secret: &str, more: &str) -> String {
        format!("otpauth://totp/Ring:person%40example.com?secret={secret}&issuer=Ring{more}")
    }

    fn refused(text: &str) -> String {
        let error = Totp::parse(text, "--totp-secret-file").unwrap_err();
        assert_eq!(error.code(), crate::ErrorCode::InvalidArgument);
        assert!(error.message().starts_with("--totp-secret-file "), "{error}");
        error.message().to_owned()
    }

    #[test]
    fn the_vectors_of_rfc_6238() {
        for (time, sha1, sha256, sha512) in [
            (59, "94287082", "46119246", "90693936"),
            (1_111_111_109, "07081804", "68084774", "25091201"),
            (1_111_111_111, "14050471", "67062674", "99943326"),
            (1_234_567_890, "89005924", "91819424", "93441116"),
            (2_000_000_000, "69279037", "90698825", "38618901"),
            (20_000_000_000, "65353130", "77737706", "47863826"),
        ] {
            for (secret, algorithm, expected) in
                [(SHA1, "SHA1", sha1), (SHA256, "SHA256", sha256), (SHA512, "SHA512", sha512)]
            {
                let totp = Totp::parse(&address(secret, &format!("&algorithm={algorithm}&digits=8")), "s").unwrap();
                assert_eq!(totp.code(time / totp.period()).expose(), expected, "{algorithm} at {time}");
            }
        }
        // The last digits of the same: what an app shows unless it is told otherwise.
        let totp = Totp::parse(SHA1, "s").unwrap();
        assert_eq!((totp.code(1).expose(), totp.period()), ("287082", 30));
        assert_eq!(Totp::parse(&address(SHA1, "&digits=7"), "s").unwrap().code(1).expose(), "4287082");
    }

    #[test]
    fn spaces_dashes_lower_case_and_padding_do_not_matter() {
        let plain = Totp::parse("JBSWY3DPEHPK3PXPJBSQ", "s").unwrap();
        for text in [
            "jbsw y3dp ehpk 3pxp jbsq",
            " JBSW-Y3DP-EHPK-3PXP-JBSQ \r\n",
            "JBSWY3DPEHPK3PXPJBSQ====",
            "jBsWy3DpEhPk3PxPjBsQ = = = =",
            "JBSW\u{a0}Y3DPEHPK\t3PXP\nJBSQ",
            &address("jbswy3dpehpk3pxpjbsq", ""),
            &address("JBSWY3DPEHPK3PXPJBSQ%3D%3D%3D%3D", "&algorithm=sha-1&period=30&digits=6"),
            "OTPAUTH://TOTP/?SECRET=JBSWY3DPEHPK3PXPJBSQ&Digits=6",
        ] {
            assert_eq!(Totp::parse(text, "s").unwrap(), plain, "{text:?}");
        }
        assert_eq!(Totp::parse(&address("JBSWY3DPEHPK3PXP", "&period=60"), "s").unwrap().period(), 60);
    }

    #[test]
    fn what_is_no_secret_is_refused_without_showing_it() {
        for (text, says) in [
            ("", "too short"),
            ("123456", "not in base32"),
            ("234567", "too short"),
            ("correct horse battery staple canary!", "not in base32"),
            ("JBSWY3DPEHPK3PX0", "not in base32"),
            ("JBSWY3DP=EHPK3PXP", "not in base32"),
            ("JBSWY3DPEHPK3PXPJ", "cut off"),
            ("JBSWY3DPEHPK3PXPJBS", "cut off"),
            ("\u{ff2a}BSWY3DPEHPK3PXP", "not in base32"),
            ("otpauth://hotp/Ring?secret=JBSWY3DPEHPK3PXP&counter=1", "HOTP"),
            ("otpauth://steam/Ring?secret=JBSWY3DPEHPK3PXP", "not TOTP"),
            ("otpauth:", "not"),
            ("otpauth://totp/Ring", "without a secret"),
            ("otpauth://totp/Ring?secret=", "too short"),
            ("otpauth-migration://offline?data=canary", "several accounts"),
            (&address("JBSWY3DPEHPK3PXP", "&algorithm=MD5"), "SHA512"),
            (&address("JBSWY3DPEHPK3PXP", "&digits=5"), "6, 7 or 8"),
            (&address("JBSWY3DPEHPK3PXP", "&digits=canary"), "6, 7 or 8"),
            (&address("JBSWY3DPEHPK3PXP", "&period=0"), "from 1 to 3600"),
            (&address("JBSWY3DPEHPK3PXP", "&period=9999999999999999999999"), "from 1 to 3600"),
        ] {
            let message = refused(text);
            assert!(message.contains(says), "{text}: {message}");
            assert!(!message.contains("JBSW") && !message.contains("canary"), "{message}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", Totp::parse("JBSWY3DPEHPK3PXPJBSQ", "s").unwrap());
        assert_eq!(shown, "Totp { hash: Sha1, digits: 6, period: 30, .. }");
    }
}
