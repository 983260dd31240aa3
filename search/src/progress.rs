//! How far long work has come.

/// A step of long work, for a progress bar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done, for example `elastic kernel`.
    pub stage: String,
    /// Steps done, of `total`.
    pub done: u64,
    /// Steps in all.
    pub total: u64,
    /// Numbers for people, for example `loss 0.61`.
    pub note: String,
}
