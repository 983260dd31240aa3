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
