//! Identifiers and the characters that they may have. An identifier that exists is valid.

use std::fmt;

/// Longest receipt id, in bytes.
pub const RECEIPT_ID_BYTES_MAX: usize = 128;
/// Longest brand id, predicate name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest predicate version, in bytes.
pub const VERSION_BYTES_MAX: usize = 16;
/// Longest supplier id or product reference, in bytes.
pub const REFERENCE_BYTES_MAX: usize = 256;

/// The brand that pays. The id never changes; it is 1 to 64 of `A-Z a-z 0-9 _ -`, so that it is safe
/// in file names, subjects and metric labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrandId(Box<str>);

impl BrandId {
    /// Takes `id` as a brand id, or `None` if it has another length or other characters.
    pub fn new(id: &str) -> Option<Self> {
        is_name(id, NAME_BYTES_MAX).then(|| Self(id.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BrandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lets a map of brands be asked with the `&str` that was just read from the bus.
impl std::borrow::Borrow<str> for BrandId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Which claim was verified, written `NAME@VERSION`, for example `RECYCLED_CONTENT_GTE@V1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Predicate<'a> {
    pub name: &'a str,
    pub version: &'a str,
}

impl<'a> Predicate<'a> {
    /// Takes name and version, or `None` if either has another length or other characters than
    /// `A-Z a-z 0-9 _ -` (and `.` in the version).
    pub fn new(name: &'a str, version: &'a str) -> Option<Self> {
        let version_is_good = (1..=VERSION_BYTES_MAX).contains(&version.len())
            && version.bytes().all(|byte| is_name_byte(byte) || byte == b'.');
        (is_name(name, NAME_BYTES_MAX) && version_is_good).then_some(Self { name, version })
    }

    /// Splits `NAME@VERSION`.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (name, version) = text.split_once('@')?;
        Self::new(name, version)
    }
}

impl fmt::Display for Predicate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

/// True for 1 to `bytes_max` of `A-Z a-z 0-9 _ -`.
pub fn is_name(text: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&text.len()) && text.bytes().all(is_name_byte)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}
