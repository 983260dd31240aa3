//! From a specification to images in memory.

use std::path::Path;

use netfit_spaces::{Random, Shape, short_hash};

use crate::{DataSpec, Dataset, Error, Normalization, Result, cifar, folder, idx};

/// A data set, split.
#[derive(Clone, Debug, PartialEq)]
pub struct Splits {
    /// What networks are trained on.
    pub train: Dataset,
    /// What the search judges by: cut from the training images; empty where nothing was held out.
    pub holdout: Dataset,
    /// What the result is judged by, and nothing else.
    pub test: Dataset,
    /// That of `train`.
    pub normalization: Normalization,
}

impl Splits {
    /// A hash of the images that networks are trained on and judged by, with their classes: accuracies on other images are
    /// others, wherever they lie.
    pub fn hash(&self) -> String {
        let (shape, labels) = (self.train.shape, self.train.labels.join("\n"));
        let (train, holdout) = (self.train.hash(), self.holdout.hash());
        short_hash(format!("{shape}\n{labels}\n{train}\n{holdout}"))
    }
}

/// What a data set holds, without its images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Shape of each image.
    pub shape: Shape,
    /// Names of the classes.
    pub labels: Vec<String>,
    /// Training images of each class, those that will be held out included.
    pub train_counts: Vec<usize>,
    /// Test images of each class.
    pub test_counts: Vec<usize>,
}

impl Description {
    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.labels.len()
    }
}

/// Training and test images as they are stored.
pub(crate) struct Stored {
    pub(crate) train: Dataset,
    pub(crate) test: Dataset,
}

/// Reads a data set and holds out the share `holdout` (0 to below 1) of each class's training images.
///
/// Of a class of two or more images at least one is held out and at least one kept.
///
/// # Errors
/// Where a file is missing, damaged or contradicts another, a class has no training image, or a channel no spread.
pub fn load(spec: &DataSpec, holdout: f64, seed: u64) -> Result<Splits> {
    if !(0.0..1.0).contains(&holdout) {
        return Err(Error::Holdout(holdout));
    }
    let Stored { train: all, test } = match spec {
        DataSpec::Idx { path, labels } => idx::load(path, labels.as_deref())?,
        DataSpec::Cifar10 { path } => cifar::load(path, &cifar::TEN)?,
        DataSpec::Cifar100 { path } => cifar::load(path, &cifar::HUNDRED)?,
        DataSpec::Folder(spec) => folder::load(spec)?,
    };
    let (train, holdout) = if holdout > 0.0 {
        all.cut(holdout, &mut Random::new(seed, "holdout"))
    } else {
        let none = all.subset(&[]);
        (all, none)
    };
    let normalization = Normalization::of(&train)?;
    Ok(Splits { train, holdout, test, normalization })
}

/// What a data set holds, read as far as that needs: headers and labels, not images.
///
/// # Errors
/// Where a file is missing or contradicts another, or a class has no training image.
pub fn describe(spec: &DataSpec) -> Result<Description> {
    match spec {
        DataSpec::Idx { path, labels } => idx::describe(path, labels.as_deref()),
        DataSpec::Cifar10 { path } => cifar::describe(path, &cifar::TEN),
        DataSpec::Cifar100 { path } => cifar::describe(path, &cifar::HUNDRED),
        DataSpec::Folder(spec) => folder::describe(spec),
    }
}

/// Classes named by their number.
pub(crate) fn number_names(classes: usize) -> Vec<String> {
    (0..classes).map(|class| class.to_string()).collect()
}

/// Number of images of each class.
pub(crate) fn count(targets: &[u16], classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    for &target in targets {
        counts[usize::from(target)] += 1;
    }
    counts
}

/// Refuses a training set with fewer than two classes, more than targets can number, or an empty one.
pub(crate) fn check_classes(counts: &[usize], names: &[String], path: &Path) -> Result<()> {
    if !(2..=1 << 16).contains(&names.len()) {
        return Err(Error::Classes { path: path.to_owned(), found: names.len() });
    }
    match counts.iter().zip(names).find(|(count, _)| **count == 0) {
        Some((_, class)) => Err(Error::EmptyClass { class: class.clone(), path: path.to_owned() }),
        None => Ok(()),
    }
}
