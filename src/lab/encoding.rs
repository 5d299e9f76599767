//! Texts in the forms that Kubernetes gives them: base64, hashes, UIDs, times.

use std::fmt::Write as _;

use sha1::{Digest, Sha1};

/// A text in base64, as Secrets hold it.
#[must_use]
pub(super) fn base64(text: impl AsRef<[u8]>) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// Base64 read back; empty where it is none.
#[must_use]
pub(super) fn plain(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default()
}

/// Now, as Kubernetes writes times.
#[must_use]
pub(super) fn now() -> String {
    written(jiff::Timestamp::now())
}

/// A time as Kubernetes writes it.
#[must_use]
pub(super) fn written(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The SHA-1 of a text in hex.
#[must_use]
pub(super) fn sha1(text: &str) -> String {
    Sha1::digest(text.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A UID made from a text.
#[must_use]
pub(super) fn uid(text: &str) -> String {
    let hex = sha1(text);
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}
