//! What can be wrong with a data set.

use std::path::PathBuf;

/// An error of this crate; each message names the thing, what was found and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder of the data set that is not there.
    #[error("no {what} at `{path}`; hint: {hint}")]
    Missing {
        /// What should be there.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// How to get it.
        hint: &'static str,
    },
    /// A file or folder that cannot be read.
    #[error("cannot read `{path}`: {source}; hint: is it there, and may you read it?")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: std::io::Error,
    },
    /// A file that begins otherwise than its format.
    #[error(
        "`{path}` is not an IDX file of {what}: expected magic number {expected:#010x}, found {found:#010x}; hint: check that the file has its own name"
    )]
    Magic {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// The number that the format asks for.
        expected: u32,
        /// The number in the file.
        found: u32,
    },
    /// A file of another size than its content asks for.
    #[error(
        "`{path}`: expected {expected} bytes{unpacked}, found {found}; hint: the file is cut off or damaged, fetch it again"
    )]
    Bytes {
        /// The file.
        path: PathBuf,
        /// What it should have, in words: `7,840,016`, or `a multiple of 3073`.
        expected: String,
        /// ` after decompression`, or nothing.
        unpacked: &'static str,
        /// What it has, in words.
        found: String,
    },
    /// A header that describes images that cannot be.
    #[error(
        "`{path}`: {images} images of {height}x{width} pixels cannot be; hint: the file is damaged"
    )]
    Header {
        /// The file.
        path: PathBuf,
        /// Images according to the header.
        images: usize,
        /// Rows according to the header.
        height: usize,
        /// Columns according to the header.
        width: usize,
    },
    /// Images and labels of different number.
    #[error(
        "`{images_path}` has {images} images, `{labels_path}` has {labels} labels; hint: both files must come from the same set"
    )]
    Counts {
        /// The file of the images.
        images_path: PathBuf,
        /// Their number.
        images: usize,
        /// The file of the labels.
        labels_path: PathBuf,
        /// Their number.
        labels: usize,
    },
    /// Test images of another size than the training images.
    #[error(
        "`{path}` has images of {found} pixels, the training images have {expected}; hint: both must come from the same set"
    )]
    TestSize {
        /// The file of the test images.
        path: PathBuf,
        /// Size of the test images, height x width.
        found: String,
        /// Size of the training images.
        expected: String,
    },
    /// A label beyond the classes.
    #[error("`{path}`: label {found} of image {image}, expected less than {classes}; hint: {hint}")]
    Label {
        /// The file.
        path: PathBuf,
        /// The image's number, from 0.
        image: usize,
        /// Its label.
        found: usize,
        /// Number of classes.
        classes: usize,
        /// What to do.
        hint: &'static str,
    },
    /// More classes than labels can number.
    #[error(
        "`{path}`: expected 2 to 65536 classes, found {found}; hint: a class is a folder or a label of its own"
    )]
    Classes {
        /// The file or folder.
        path: PathBuf,
        /// Number of classes.
        found: usize,
    },
    /// A class without images.
    #[error("class `{class}` has no image in `{path}`; hint: add images or remove the class")]
    EmptyClass {
        /// The class's name.
        class: String,
        /// Its folder, or the file of the labels.
        path: PathBuf,
    },
    /// A test set with other classes than the training set.
    #[error(
        "`{path}`: class `{class}` is in only one of `train` and `test`; hint: both need the same folders"
    )]
    TestClasses {
        /// The folder of the test set.
        path: PathBuf,
        /// The first class that differs.
        class: String,
    },
    /// Something among the images that is none.
    #[error("`{path}` is {found}, expected {expected}; hint: move it out of the data set")]
    Stray {
        /// The file or folder.
        path: PathBuf,
        /// What it is.
        found: &'static str,
        /// What should be there.
        expected: &'static str,
    },
    /// An image that cannot be decoded.
    #[error(
        "cannot read image `{path}`: {source}; hint: expected PNG or JPEG; replace or remove the file"
    )]
    Image {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: image::ImageError,
    },
    /// A file of class names of another length than the classes.
    #[error(
        "`{path}`: expected {expected} class names, found {found}; hint: one name a line, or remove the file for numbers"
    )]
    Names {
        /// The file.
        path: PathBuf,
        /// Number of classes.
        expected: usize,
        /// Number of names.
        found: usize,
    },
    /// An image size that cannot be.
    #[error(
        "images of {height}x{width} pixels: expected sides of 1 to 4096; hint: set `size` in `[data]`"
    )]
    Size {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// A held-out share that leaves nothing to train on.
    #[error(
        "held-out share {0}: expected at least 0 and less than 1; hint: set `[training] holdout`"
    )]
    Holdout(f64),
    /// A channel with the same value in every training image.
    #[error(
        "every training image has the same value in all of channel {channel}; hint: check that the images are what you expect"
    )]
    Constant {
        /// The channel, from 0.
        channel: usize,
    },
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
