//! Images in a folder per class.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use netfit_spaces::{Random, Shape};
use rayon::prelude::*;

use crate::{
    Channels, Dataset, Description, Error, FolderSpec, Result,
    load::{Stored, check_classes, count},
    picture, split,
};

/// Share of each class that becomes the test set where there is none.
const TEST_SHARE: f64 = 0.2;
/// The longest side that images may be brought to.
const MAX_SIDE: usize = 4096;

pub(crate) fn load(spec: &FolderSpec) -> Result<Stored> {
    let shape = shape(spec)?;
    let (labels, train, test) = list(&spec.path)?;
    let train = train.read(spec, shape, &labels)?;
    if let Some(test) = test {
        return Ok(Stored { train, test: test.read(spec, shape, &labels)? });
    }
    // The same for all runs, so that no one trains on what another is tested on.
    let (train, test) = train.cut(TEST_SHARE, &mut Random::new(0, "test split"));
    Ok(Stored { train, test })
}

pub(crate) fn describe(spec: &FolderSpec) -> Result<Description> {
    let shape = shape(spec)?;
    let (labels, train, test) = list(&spec.path)?;
    let all = count(&train.targets, labels.len());
    let (train_counts, test_counts) = match test {
        Some(test) => (all, count(&test.targets, labels.len())),
        None => all
            .into_iter()
            .map(|n| (n - split::share(n, TEST_SHARE), split::share(n, TEST_SHARE)))
            .unzip(),
    };
    Ok(Description { shape, labels, train_counts, test_counts })
}

fn shape(spec: &FolderSpec) -> Result<Shape> {
    let [height, width] = spec.size.sides();
    if ![height, width].iter().all(|side| (1..=MAX_SIDE).contains(side)) {
        return Err(Error::Size { height, width });
    }
    let channels = match spec.channels {
        Channels::Rgb => 3,
        Channels::Grey => 1,
    };
    Ok(Shape::new(channels, height, width))
}

/// Files of one part, class by class, and their classes.
#[derive(Default)]
struct Part {
    files: Vec<PathBuf>,
    targets: Vec<u16>,
}

impl Part {
    fn read(self, spec: &FolderSpec, shape: Shape, labels: &[String]) -> Result<Dataset> {
        let images: Vec<Vec<u8>> =
            self.files.par_iter().map(|file| picture::read(file, spec)).collect::<Result<_>>()?;
        let (labels, images) = (labels.to_vec(), images.concat());
        Ok(Dataset { shape, labels, images, targets: self.targets })
    }
}

/// Classes, training files and test files.
fn list(folder: &Path) -> Result<(Vec<String>, Part, Option<Part>)> {
    let (train, test) = (folder.join("train"), folder.join("test"));
    for (what, path) in [("data folder", folder), ("training folder", &train)] {
        if !path.is_dir() {
            let hint = "`path` in `[data]` must hold `train/CLASS/IMAGE` files";
            return Err(Error::Missing { what, path: path.to_owned(), hint });
        }
    }
    for path in visible(folder)?.into_iter().filter(|path| path.is_dir()) {
        if ![&train, &test].contains(&&path) {
            let expected = "`train` or `test`: netfit holds out images of `train` itself";
            return Err(Error::Stray { path, found: "a folder", expected });
        }
    }
    let labels = class_names(&train)?;
    let train_part = list_part(&train, &labels)?;
    // A link that leads nowhere is there.
    if test.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Ok((labels, train_part, None));
    }
    let test_labels = class_names(&test)?;
    let differs = |class: &&String| !(labels.contains(class) && test_labels.contains(class));
    if let Some(class) = labels.iter().chain(&test_labels).find(differs) {
        return Err(Error::TestClasses { path: test, class: class.clone() });
    }
    let test_part = list_part(&test, &labels)?;
    Ok((labels, train_part, Some(test_part)))
}

fn class_names(part: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for path in visible(part)? {
        let name = path.file_name().and_then(|name| name.to_str());
        match name {
            Some(name) if path.is_dir() => names.push(name.to_owned()),
            Some(_) => {
                return Err(Error::Stray { path, found: "a file", expected: "a folder per class" });
            }
            None => {
                return Err(Error::Stray { path, found: "not UTF-8", expected: "a class's name" });
            }
        }
    }
    Ok(names)
}

fn list_part(part: &Path, labels: &[String]) -> Result<Part> {
    let mut listed = Part::default();
    let mut counts = Vec::new();
    // Beyond 65,536 classes the check below fails, whatever their targets.
    for (label, target) in labels.iter().zip((0..=u16::MAX).cycle()) {
        let class = part.join(label);
        let files = visible(&class)?;
        if files.is_empty() {
            return Err(Error::EmptyClass { class: label.clone(), path: class });
        }
        if let Some(path) = files.iter().find(|path| path.is_dir()) {
            let path = path.clone();
            return Err(Error::Stray { path, found: "a folder", expected: "an image" });
        }
        counts.push(files.len());
        listed.targets.extend(std::iter::repeat_n(target, files.len()));
        listed.files.extend(files);
    }
    check_classes(&counts, labels, part)?;
    Ok(listed)
}

/// What a folder holds, sorted by name, without hidden files.
fn visible(folder: &Path) -> Result<Vec<PathBuf>> {
    let error = |source| Error::Read { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(error)? {
        let entry = entry.map_err(error)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use image::{GrayImage, Luma};
    use tempfile::TempDir;

    use super::*;
    use crate::Size;

    /// A folder with grey 2x2 images of one value each: `(file, value)`.
    fn folder(files: &[(&str, u8)]) -> (TempDir, FolderSpec) {
        let folder = tempfile::tempdir().unwrap();
        for &(file, value) in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            GrayImage::from_pixel(2, 2, Luma([value])).save(path).unwrap();
        }
        let mut spec = FolderSpec::new(folder.path(), Size::Side(2));
        spec.channels = Channels::Grey;
        (folder, spec)
    }

    const BOTH: [(&str, u8); 5] = [
        ("train/dog/b.png", 20),
        ("train/dog/a.png", 10),
        ("train/cat/z.png", 30),
        ("test/cat/c.png", 40),
        ("test/dog/d.png", 50),
    ];

    fn message(spec: &FolderSpec) -> String {
        let message = load(spec).err().unwrap().to_string();
        assert!(!message.contains('\n'), "{message}");
        message
    }

    #[test]
    fn classes_and_files_are_sorted_by_name() {
        let (_folder, spec) = folder(&BOTH);
        let Stored { train, test } = load(&spec).unwrap();
        assert_eq!(train.shape, Shape::new(1, 2, 2));
        assert_eq!(train.labels, ["cat", "dog"]);
        assert_eq!(train.targets, [0, 1, 1]);
        assert_eq!(train.images, [[30; 4], [10; 4], [20; 4]].concat());
        assert_eq!((test.targets, test.images), (vec![0, 1], [[40; 4], [50; 4]].concat()));
    }

    #[test]
    fn without_a_test_folder_a_fifth_of_each_class_is_cut() {
        let names: Vec<(String, u8)> = (0..10u8)
            .flat_map(|i| [(format!("train/a/{i}.png"), i), (format!("train/b/{i}.png"), 100 + i)])
            .collect();
        let files: Vec<(&str, u8)> = names.iter().map(|(name, v)| (name.as_str(), *v)).collect();
        let (_folder, spec) = folder(&files);
        let Stored { train, test } = load(&spec).unwrap();
        assert_eq!((train.counts(), test.counts()), (vec![8, 8], vec![2, 2]));
        let mut values: Vec<u8> =
            train.images.iter().chain(&test.images).step_by(4).copied().collect();
        values.sort_unstable();
        assert_eq!(values, (0..10).chain(100..110).collect::<Vec<u8>>());
        assert_eq!(load(&spec).unwrap().test, test);

        let description = describe(&spec).unwrap();
        assert_eq!(description.train_counts, [8, 8]);
        assert_eq!(description.test_counts, [2, 2]);
    }

    #[test]
    fn a_description_agrees_with_what_is_loaded() {
        let (_folder, spec) = folder(&BOTH);
        let description = describe(&spec).unwrap();
        assert_eq!(description.labels, ["cat", "dog"]);
        assert_eq!(description.shape, Shape::new(1, 2, 2));
        assert_eq!((description.train_counts, description.test_counts), (vec![1, 2], vec![1, 1]));
    }

    #[test]
    fn hidden_files_are_ignored_and_others_are_named() {
        let (folder, spec) = folder(&BOTH);
        fs::write(folder.path().join("train/cat/.directory"), "x").unwrap();
        fs::write(folder.path().join("train/.DS_Store"), "x").unwrap();
        assert_eq!(load(&spec).unwrap().train.len(), 3);

        let notes = folder.path().join("train/notes.txt");
        fs::write(&notes, "x").unwrap();
        assert!(message(&spec).contains("notes.txt` is a file, expected a folder per class"));
        fs::remove_file(notes).unwrap();
        fs::create_dir(folder.path().join("train/cat/more")).unwrap();
        assert!(message(&spec).contains("more` is a folder, expected an image"));
    }

    #[test]
    fn an_unreadable_image_is_an_error_with_its_path() {
        let (folder, spec) = folder(&BOTH);
        let path = folder.path().join("train/cat/z.png");
        let bytes = fs::read(&path).unwrap();
        for damaged in [&b"no image"[..], &bytes[..bytes.len() / 2], b""] {
            fs::write(&path, damaged).unwrap();
            let message = message(&spec);
            assert!(message.starts_with("cannot read image `"), "{message}");
            assert!(message.contains("train/cat/z.png"), "{message}");
        }
    }

    #[test]
    fn an_empty_class_is_an_error_with_its_path() {
        let (folder, spec) = folder(&BOTH);
        fs::create_dir(folder.path().join("train/cow")).unwrap();
        let message = message(&spec);
        assert!(message.contains("class `cow` has no image in `"), "{message}");
        assert!(message.contains("train/cow"), "{message}");
        assert_eq!(describe(&spec).unwrap_err().to_string(), message);
    }

    #[test]
    fn a_test_folder_with_other_classes_is_an_error() {
        let (folder, spec) = folder(&BOTH);
        fs::remove_dir_all(folder.path().join("test/cat")).unwrap();
        assert!(message(&spec).contains("class `cat` is in only one of"));
    }

    #[test]
    fn missing_folders_one_class_and_sizes_of_nothing_are_errors() {
        let (folder, mut spec) = folder(&[("train/cat/a.png", 1)]);
        assert!(message(&spec).contains("expected 2 to 65536 classes, found 1"));
        spec.size = Size::Sides([0, 8]);
        assert!(message(&spec).contains("images of 0x8 pixels"));
        spec.size = Size::Side(8);
        fs::rename(folder.path().join("train"), folder.path().join("training")).unwrap();
        assert!(message(&spec).starts_with("no training folder at"));
        spec.path = folder.path().join("gone");
        assert!(message(&spec).starts_with("no data folder at"));
    }
}
