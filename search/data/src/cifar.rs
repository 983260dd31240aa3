//! The binary versions of CIFAR-10 and CIFAR-100 (Krizhevsky, 2009): records of label bytes and 3x32x32 pixels.

use std::{
    fs::{self, File},
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use netfit_spaces::Shape;

use crate::{
    Dataset, Description, Error, Result,
    load::{Stored, check_classes, count, number_names},
};

const SHAPE: Shape = Shape::new(3, 32, 32);

/// How one of the two is stored.
pub(crate) struct Layout {
    train: &'static [&'static str],
    test: &'static str,
    names: &'static str,
    /// Label bytes before the pixels; the last is the class.
    label_bytes: usize,
    classes: usize,
}

pub(crate) const TEN: Layout = Layout {
    train: &[
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
    ],
    test: "test_batch.bin",
    names: "batches.meta.txt",
    label_bytes: 1,
    classes: 10,
};

/// The first of the two label bytes is the coarse class, which is not used.
pub(crate) const HUNDRED: Layout = Layout {
    train: &["train.bin"],
    test: "test.bin",
    names: "fine_label_names.txt",
    label_bytes: 2,
    classes: 100,
};

pub(crate) fn load(folder: &Path, layout: &Layout) -> Result<Stored> {
    let labels = class_names(folder, layout)?;
    let read = |files: &[&str]| {
        let (mut images, mut targets) = (Vec::new(), Vec::new());
        for file in files {
            read_records(&folder.join(file), layout, &mut targets, Some(&mut images))?;
        }
        Ok(Dataset { shape: SHAPE, labels: labels.clone(), images, targets })
    };
    let stored = Stored { train: read(layout.train)?, test: read(&[layout.test])? };
    check_classes(&stored.train.counts(), &labels, folder)?;
    Ok(stored)
}

pub(crate) fn describe(folder: &Path, layout: &Layout) -> Result<Description> {
    let labels = class_names(folder, layout)?;
    let counts = |files: &[&str]| {
        let mut targets = Vec::new();
        for file in files {
            read_records(&folder.join(file), layout, &mut targets, None)?;
        }
        Ok(count(&targets, layout.classes))
    };
    let (train_counts, test_counts) = (counts(layout.train)?, counts(&[layout.test])?);
    check_classes(&train_counts, &labels, folder)?;
    Ok(Description { shape: SHAPE, labels, train_counts, test_counts })
}

fn read_error(path: &Path) -> impl Fn(std::io::Error) -> Error {
    |source| Error::Read { path: path.to_owned(), source }
}

/// Appends a file's classes and, where they are wanted, its pixels.
fn read_records(
    path: &Path,
    layout: &Layout,
    targets: &mut Vec<u16>,
    mut images: Option<&mut Vec<u8>>,
) -> Result<()> {
    if !path.exists() {
        return Err(missing(path.to_owned()));
    }
    let file = File::open(path).map_err(read_error(path))?;
    let bytes = file.metadata().map_err(read_error(path))?.len();
    let record = layout.label_bytes + SHAPE.elements();
    if bytes == 0 || bytes % record as u64 != 0 {
        return Err(Error::Bytes {
            path: path.to_owned(),
            expected: format!("a multiple of {record}"),
            unpacked: "",
            found: bytes.to_string(),
        });
    }
    let mut reader = BufReader::new(file);
    let mut buffer = vec![0; record];
    for image in 0..bytes as usize / record {
        reader.read_exact(&mut buffer).map_err(read_error(path))?;
        let (labels, pixels) = buffer.split_at(layout.label_bytes);
        let class = labels[layout.label_bytes - 1];
        if usize::from(class) >= layout.classes {
            return Err(Error::Label {
                path: path.to_owned(),
                image,
                found: class.into(),
                classes: layout.classes,
                hint: "check that `format` in `[data]` is the files' own: cifar10 or cifar100",
            });
        }
        targets.push(class.into());
        if let Some(images) = &mut images {
            images.extend_from_slice(pixels);
        }
    }
    Ok(())
}

fn missing(path: PathBuf) -> Error {
    Error::Missing {
        what: "CIFAR file",
        path,
        hint: "`path` must hold the unpacked binary version",
    }
}

fn class_names(folder: &Path, layout: &Layout) -> Result<Vec<String>> {
    if !folder.is_dir() {
        let hint = "check `path` in `[data]`";
        return Err(Error::Missing { what: "data folder", path: folder.to_owned(), hint });
    }
    let path = folder.join(layout.names);
    if !path.exists() {
        return Ok(number_names(layout.classes));
    }
    let text = fs::read_to_string(&path).map_err(read_error(&path))?;
    let names: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if names.len() == layout.classes {
        Ok(names)
    } else {
        Err(Error::Names { path, expected: layout.classes, found: names.len() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tempfile::TempDir;

    use super::*;

    /// A record of these label bytes whose planes are all 10 x `value`, + 1, + 2.
    fn record(labels: &[u8], value: u8) -> Vec<u8> {
        let planes = (0..3).flat_map(|plane| [10 * value + plane; 1024]);
        labels.iter().copied().chain(planes).collect()
    }

    /// Two images a file: classes 2f and 2f + 1 in file f; the test file has classes 9 and 0.
    fn ten() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (file, number) in TEN.train.iter().zip(0u8..) {
            let records = [2 * number, 2 * number + 1].map(|class| record(&[class], class));
            fs::write(folder.path().join(file), records.concat()).unwrap();
        }
        let records = [record(&[9], 20), record(&[0], 21)].concat();
        fs::write(folder.path().join(TEN.test), records).unwrap();
        folder
    }

    fn message(folder: &TempDir) -> String {
        load(folder.path(), &TEN).err().unwrap().to_string()
    }

    #[test]
    fn records_are_a_label_and_three_planes() {
        let folder = ten();
        let Stored { train, test } = load(folder.path(), &TEN).unwrap();
        assert_eq!(train.targets, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(train.image(7)[..1024], [70; 1024]);
        assert_eq!(train.image(7)[2048..], [72; 1024]);
        assert_eq!((test.targets.clone(), test.image(1)[1024]), (vec![9, 0], 211));
        assert_eq!(train.labels[9], "9");

        let description = describe(folder.path(), &TEN).unwrap();
        assert_eq!(description.shape, train.shape);
        assert_eq!(description.train_counts, [1; 10]);
        assert_eq!(description.test_counts, test.counts());
    }

    #[test]
    fn the_fine_label_of_cifar_100_counts() {
        let folder = tempfile::tempdir().unwrap();
        let records: Vec<u8> = (0..100).flat_map(|class| record(&[19, class], 1)).collect();
        fs::write(folder.path().join("train.bin"), &records).unwrap();
        fs::write(folder.path().join("test.bin"), &records[..3074]).unwrap();
        let Stored { train, test } = load(folder.path(), &HUNDRED).unwrap();
        assert_eq!(train.targets, (0..100).collect::<Vec<u16>>());
        assert_eq!((test.len(), test.image(0)[0]), (1, 10));
    }

    #[test]
    fn names_come_from_their_file_which_must_fit() {
        let folder = ten();
        let names = folder.path().join("batches.meta.txt");
        fs::write(&names, "airplane\nb\nc\nd\ne\nf\ng\nh\ni\ntruck\n\n").unwrap();
        let labels = load(folder.path(), &TEN).unwrap().train.labels;
        assert_eq!((labels[0].as_str(), labels[9].as_str()), ("airplane", "truck"));
        fs::write(&names, "airplane\n").unwrap();
        assert!(message(&folder).contains("expected 10 class names, found 1"));
    }

    #[test]
    fn damaged_files_are_errors_with_their_path() {
        let folder = ten();
        let path = folder.path().join("data_batch_3.bin");
        fs::write(&path, vec![0; 5000]).unwrap();
        assert!(message(&folder).contains("expected a multiple of 3073 bytes, found 5000"));
        fs::write(&path, record(&[10], 0)).unwrap();
        assert!(message(&folder).contains("label 10 of image 0, expected less than 10"));
        fs::write(&path, record(&[1], 0)).unwrap();
        assert!(message(&folder).contains("class `4` has no image"));
        fs::remove_file(&path).unwrap();
        assert!(message(&folder).contains("no CIFAR file at `"), "{}", message(&folder));
        assert!(message(&folder).contains("data_batch_3.bin"));
        let gone = load(&folder.path().join("gone"), &TEN).err().unwrap().to_string();
        assert!(gone.starts_with("no data folder at"), "{gone}");
    }
}
