//! What a table's times are true for.

use serde::{Deserialize, Serialize};

/// A device, its runtime and its settings. Times hold for equal fingerprints only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The processor's name.
    pub processor: String,
    /// Cores that the process may use.
    pub cores: usize,
    /// The runtime, for example `onnxruntime`.
    pub runtime: String,
    /// The runtime's version.
    pub runtime_version: String,
    /// The execution provider that ran the kernels.
    pub provider: String,
    /// Threads within an operator.
    pub threads: usize,
    /// Number format, for example `float32`.
    pub precision: String,
    /// Images a call.
    pub batch: usize,
}

/// The first field in which two fingerprints differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The field's name.
    pub field: &'static str,
    /// Its value in the fingerprint that was asked.
    pub ours: String,
    /// Its value in the other one.
    pub theirs: String,
}

impl Fingerprint {
    /// The first field in which `other` differs; none where they are equal.
    pub fn differs(&self, other: &Self) -> Option<Difference> {
        self.fields().into_iter().zip(other.fields()).find_map(|((field, ours), (_, theirs))| {
            (ours != theirs).then_some(Difference { field, ours, theirs })
        })
    }

    pub(crate) fn fields(&self) -> [(&'static str, String); 8] {
        [
            ("processor", self.processor.clone()),
            ("cores", self.cores.to_string()),
            ("runtime", self.runtime.clone()),
            ("runtime_version", self.runtime_version.clone()),
            ("provider", self.provider.clone()),
            ("threads", self.threads.to_string()),
            ("precision", self.precision.clone()),
            ("batch", self.batch.to_string()),
        ]
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn fingerprint() -> Fingerprint {
        Fingerprint {
            processor: "abacus".into(),
            cores: 2,
            runtime: "fingers".into(),
            runtime_version: "1.0".into(),
            provider: "thumb".into(),
            threads: 1,
            precision: "float32".into(),
            batch: 1,
        }
    }

    #[test]
    fn the_first_differing_field_is_named() {
        let other = Fingerprint { threads: 2, batch: 8, ..fingerprint() };
        assert_eq!(fingerprint().differs(&fingerprint()), None);
        let expected = Difference { field: "threads", ours: "1".into(), theirs: "2".into() };
        assert_eq!(fingerprint().differs(&other), Some(expected));
    }
}
