//! What can be wrong with blocks, spaces and genotypes.

/// An error of this crate; each message names the thing, what was found and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A shape that is not `CxHxW` of positive integers.
    #[error("`{0}` is not a shape; hint: write channels x height x width, for example `24x56x56`")]
    Shape(String),
    /// A block line that does not follow the grammar of [`crate::Block`].
    #[error(
        "block `{text}`: {reason}; hint: a block reads like `mbconv k5 m144 s2 se36 hswish 24x56x56 -> 40x28x28`"
    )]
    Block {
        /// The line as it was found.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A block template of a space that does not follow the grammar of [`crate::SpaceSpec`].
    #[error(
        "block template `{text}`: {reason}; hint: a template reads like `mbconv k5 e6 se0.25 hswish`"
    )]
    Template {
        /// The template as it was found.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A space that is neither a preset nor a file.
    #[error("unknown space `{name}`; hint: presets are {}, or give the path of a TOML file", presets.join(", "))]
    UnknownSpace {
        /// The name that was asked for.
        name: String,
        /// The presets that exist.
        presets: Vec<&'static str>,
    },
    /// A space file that cannot be read.
    #[error(
        "cannot read space `{path}`: {source}; hint: give the path of a TOML file, or the name of a preset"
    )]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// Why it cannot be read.
        source: std::io::Error,
    },
    /// A space file that is not what [`crate::SpaceSpec`] describes.
    #[error("space `{name}`: {message}; hint: spaces/presets/ofa-28.toml is a complete one")]
    Toml {
        /// The file or preset.
        name: String,
        /// The parser's message, with the line.
        message: String,
    },
    /// A space whose parts contradict each other.
    #[error("space `{space}`: {reason}")]
    Space {
        /// The space's name.
        space: String,
        /// What is wrong, with a hint.
        reason: String,
    },
    /// A genotype that does not belong to the space.
    #[error(
        "genotype `{genotype}` is not in space `{space}`: {reason}; hint: a genotype is one digit for each choice, as `netfit space` prints it, or `smallest` or `largest`"
    )]
    Genotype {
        /// The genotype as it was found.
        genotype: String,
        /// The space's name.
        space: String,
        /// Expected and found.
        reason: String,
    },
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
