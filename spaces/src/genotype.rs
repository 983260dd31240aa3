//! Genotypes: one value for each choice of a space.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// One value for each choice of a space, in the space's order; prints as one digit (base 36) a choice.
///
/// Spaces hand out canonical genotypes only: a choice that is inactive under the others is 0, so equal networks
/// have equal genotypes. Where layers may be a `skip` or an `identity` they need not: a skip and then an op is the same
/// network as the op and then a skip. Text becomes a genotype of a space through [`crate::Space::parse`]. Up to 64
/// choices are held in place: a search copies millions of genotypes, and none of them should cost an allocation.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Genotype(pub(crate) SmallVec<[u8; 64]>);

/// As one copy of bytes; what is derived goes value by value.
impl Clone for Genotype {
    fn clone(&self) -> Self {
        Self(SmallVec::from_slice(&self.0))
    }
}

impl Genotype {
    /// The values, one for each choice.
    pub fn values(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Genotype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits =
            self.0.iter().map(|&value| char::from_digit(u32::from(value), 36).unwrap_or('?'));
        f.write_str(&digits.collect::<String>())
    }
}

impl FromStr for Genotype {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digit =
            |c: char| c.to_digit(36).map(|d| d as u8).ok_or(format!("`{c}` is not a digit"));
        text.chars().map(digit).collect::<Result<_, _>>().map(Self)
    }
}

impl TryFrom<String> for Genotype {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Genotype> for String {
    fn from(genotype: Genotype) -> Self {
        genotype.to_string()
    }
}
