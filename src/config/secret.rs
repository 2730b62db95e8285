//! Secrets: read from files, and masked wherever a person sees them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use serde::Serializer;

/// Keys whose values may carry a secret, and the key of the file that may hold the value instead.
pub(super) const FILES: [(&str, &str); 2] =
    [("nats.url", "nats.url_file"), ("database.url", "database.url_file")];

/// What stands for a secret.
const MASK: &str = "***";

/// True if the key's value must never be shown as it is.
pub(super) fn is_secret(key: &str) -> bool {
    FILES.iter().any(|&(secret, _)| secret == key)
}

/// Reads a secret from its file, without the line ends and spaces around it.
///
/// # Errors
/// Why it cannot be read.
pub(super) fn read(file: &Path) -> Result<String, String> {
    /// No URL is this long: whatever is, was named by mistake.
    const BYTES_MAX: u64 = 65_536;
    let mut text = String::new();
    let bytes = File::open(file)
        .and_then(|file| file.take(BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|error| error.to_string())?;
    if bytes as u64 > BYTES_MAX {
        return Err(format!("it is longer than {BYTES_MAX} bytes"));
    }
    match text.trim() {
        "" => Err("it is empty".to_owned()),
        secret => Ok(secret.to_owned()),
    }
}

/// The URL without what opens doors: the password, the token of a NATS server, and every parameter
/// that is called a password. Whatever is not clearly a URL is masked whole.
pub(super) fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return MASK.to_owned() };
    // The last `@`, because a password that nobody has percent-encoded may hold others.
    let (user, place) = match rest.rsplit_once('@') {
        // A password with `?`, or a parameter with `@`: where the secret ends cannot be told.
        Some((user, _)) if user.contains('?') => return format!("{scheme}://{MASK}"),
        Some((user, place)) => (Some(user), place),
        None => (None, rest),
    };
    let user =
        match user.map(|user| user.split_once(':').map_or((user, None), |(n, p)| (n, Some(p)))) {
            None => String::new(),
            Some((name, Some(_))) => format!("{name}:{MASK}@"),
            // A lone name is a role for PostgreSQL, and a token for NATS.
            Some((name, None)) if scheme.starts_with("postgres") => format!("{name}@"),
            Some((_, None)) => format!("{MASK}@"),
        };
    let Some((place, query)) = place.split_once('?') else {
        return format!("{scheme}://{user}{place}");
    };
    let parameters: Vec<String> = query.split('&').map(masked_parameter).collect();
    format!("{scheme}://{user}{place}?{}", parameters.join("&"))
}

fn masked_parameter(parameter: &str) -> String {
    let name = parameter.split_once('=').map_or(parameter, |(name, _)| name);
    // An encoded name could read `password` after decoding.
    if name.to_ascii_lowercase().contains("pass") || name.contains('%') {
        format!("{name}={MASK}")
    } else {
        parameter.to_owned()
    }
}

pub(super) fn serialize<S: Serializer>(secret: &SecretString, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&masked(secret.expose_secret()))
}

/// A file that need not be named: TOML has no null, so the empty text stands for none.
pub(super) mod optional_file {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde hands the field's reference")]
    pub fn serialize<S: Serializer>(file: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
        file.clone().unwrap_or_default().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
        let file = PathBuf::deserialize(from)?;
        Ok((!file.as_os_str().is_empty()).then_some(file))
    }
}
