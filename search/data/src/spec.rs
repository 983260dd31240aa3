//! What a configuration says about the data.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where the images are and how they are stored: the `[data]` table of a run's configuration.
///
/// ```toml
/// [data]
/// format = "idx"            # or "cifar10", "cifar100", "folder"
/// path = "data/fashion-mnist"
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "format", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum DataSpec {
    /// Four IDX files as MNIST has them, plain or gzipped (`.gz`): `train-images-idx3-ubyte`,
    /// `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte`, `t10k-labels-idx1-ubyte`. Grey images.
    Idx {
        /// Their folder.
        path: PathBuf,
        /// Names of the classes in order; IDX files hold none. Without them, classes are named by their number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        labels: Option<Vec<String>>,
    },
    /// CIFAR-10's binary version: `data_batch_1.bin` to `data_batch_5.bin`, `test_batch.bin`. Classes are named
    /// by `batches.meta.txt`, or by their number where that file is missing.
    Cifar10 {
        /// Their folder.
        path: PathBuf,
    },
    /// CIFAR-100's binary version with the fine labels: `train.bin`, `test.bin`. Classes are named by
    /// `fine_label_names.txt`, or by their number where that file is missing.
    Cifar100 {
        /// Their folder.
        path: PathBuf,
    },
    /// A folder of PNG or JPEG files per class.
    Folder(FolderSpec),
}

/// Images in a folder per class: `train/CLASS/*` and, optionally, `test/CLASS/*` with the same classes.
///
/// Classes are the names of the folders, sorted bytewise. Without `test/` a fifth of each class of `train/` becomes
/// the test set, the same one whatever the seed. Hidden files are ignored; any other file must be an image, and there are
/// no other folders beside `train` and `test`. EXIF orientation is obeyed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderSpec {
    /// The folder that holds `train/`.
    pub path: PathBuf,
    /// Size that all images are brought to, in pixels: `32` or `[height, width]`.
    pub size: Size,
    /// Colour or grey; default `rgb`.
    #[serde(default)]
    pub channels: Channels,
    /// What happens to images of another aspect ratio; default `crop`.
    #[serde(default)]
    pub resize: Resize,
    /// What lies behind transparent pixels; default `black`.
    #[serde(default)]
    pub alpha: Alpha,
}

impl FolderSpec {
    /// Colour images of this size with the default policies.
    pub fn new(path: impl Into<PathBuf>, size: Size) -> Self {
        Self {
            path: path.into(),
            size,
            channels: Channels::default(),
            resize: Resize::default(),
            alpha: Alpha::default(),
        }
    }
}

/// Height and width of images, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected `size` as a number of pixels or as [height, width]")]
pub enum Size {
    /// Both are the same.
    Side(usize),
    /// Height, then width.
    Sides([usize; 2]),
}

impl Size {
    /// Height and width.
    pub const fn sides(self) -> [usize; 2] {
        match self {
            Self::Side(side) => [side, side],
            Self::Sides(sides) => sides,
        }
    }
}

/// The channels that images are brought to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channels {
    /// Red, green, blue; a grey image has all three alike.
    #[default]
    Rgb,
    /// One channel: the luminance of Rec. 709.
    Grey,
}

/// How an image gets the wanted height and width (bilinear, smoothed where it shrinks).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resize {
    /// Scaled until it covers the size, then cut to it around the centre: shapes stay true, edges are lost.
    #[default]
    Crop,
    /// Each side scaled by itself: nothing is lost, shapes change.
    Stretch,
}

/// The background that transparent images are laid over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Alpha {
    /// Pixels of 0.
    #[default]
    Black,
    /// Pixels of 255.
    White,
}

impl DataSpec {
    /// IDX files in this folder, classes named by their number.
    pub fn idx(path: impl Into<PathBuf>) -> Self {
        Self::Idx { path: path.into(), labels: None }
    }

    /// The folder that holds the data.
    pub fn path(&self) -> &Path {
        match self {
            Self::Idx { path, .. } | Self::Cifar10 { path } | Self::Cifar100 { path } => path,
            Self::Folder(folder) => &folder.path,
        }
    }

    /// The same data in another folder.
    pub fn with_path(mut self, new: impl Into<PathBuf>) -> Self {
        match &mut self {
            Self::Idx { path, .. } | Self::Cifar10 { path } | Self::Cifar100 { path } => {
                *path = new.into();
            }
            Self::Folder(folder) => folder.path = new.into(),
        }
        self
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_folder_table_reads_with_its_defaults() {
        let spec: DataSpec =
            toml::from_str("format = 'folder'\npath = 'photos'\nsize = [24, 32]").unwrap();
        assert_eq!(spec, DataSpec::Folder(FolderSpec::new("photos", Size::Sides([24, 32]))));
        assert_eq!(spec.path(), Path::new("photos"));
    }

    #[test]
    fn every_format_survives_toml() {
        let mut folder = FolderSpec::new("a", Size::Side(32));
        folder.channels = Channels::Grey;
        folder.resize = Resize::Stretch;
        folder.alpha = Alpha::White;
        let path = PathBuf::from("a");
        for spec in [
            DataSpec::idx("a"),
            DataSpec::Idx { path: path.clone(), labels: Some(vec!["x".to_owned()]) },
            DataSpec::Cifar10 { path: path.clone() },
            DataSpec::Cifar100 { path },
            DataSpec::Folder(folder),
        ] {
            let text = toml::to_string(&spec).unwrap();
            assert_eq!(toml::from_str::<DataSpec>(&text).unwrap(), spec, "{text}");
            let moved = spec.clone().with_path("b");
            assert_eq!(moved.path(), Path::new("b"));
            assert_eq!(moved.with_path("a"), spec);
        }
    }

    #[test]
    fn unknown_keys_and_values_are_errors_that_name_them() {
        for (text, named) in [
            ("format = 'idx'\npath = 'a'\nlabel = []", "label"),
            ("format = 'folder'\npath = 'a'\nsize = 3\nresise = 'crop'", "resise"),
            ("format = 'folder'\npath = 'a'\nsize = 3\nresize = 'fit'", "fit"),
            ("format = 'tfrecord'\npath = 'a'", "tfrecord"),
        ] {
            let error = toml::from_str::<DataSpec>(text).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
