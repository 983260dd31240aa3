//! What can go wrong while a GPU is timed.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// libtorch refuses a device or weights.
    #[error(transparent)]
    Supernet(#[from] netfit_supernet::Error),
    /// A network that cannot be read.
    #[error(transparent)]
    Space(#[from] netfit_spaces::Error),
    /// The driver refuses something.
    #[error("CUDA: {0}")]
    Driver(String),
    /// libtorch refuses an operation.
    #[error("libtorch: {words}{hint}")]
    Torch {
        /// The first line of what it says.
        words: String,
        /// What to do about it, if that is known.
        hint: &'static str,
    },
    /// A request that makes no sense here.
    #[error("{0}")]
    Refused(String),
}

impl From<cudarc::driver::DriverError> for Error {
    fn from(error: cudarc::driver::DriverError) -> Self {
        Self::Driver(error.to_string())
    }
}

/// A result of this crate.
pub(crate) type Result<T> = std::result::Result<T, Error>;
