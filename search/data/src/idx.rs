//! IDX, the format of MNIST (LeCun, Cortes, Burges): a big-endian header, then bytes.

use std::{
    fs::File,
    io::{BufReader, ErrorKind, Read},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use netfit_spaces::Shape;

use crate::{
    Dataset, Description, Error, Result,
    load::{Stored, check_classes, count, number_names},
};

/// Unsigned bytes in three dimensions: images, rows, columns.
const IMAGES: u32 = 0x0803;
/// Unsigned bytes in one dimension.
const LABELS: u32 = 0x0801;
/// The longest side that is taken for an image's.
const MAX_SIDE: usize = 1 << 14;

pub(crate) fn load(folder: &Path, names: Option<&[String]>) -> Result<Stored> {
    let (train, test) = (Part::open(folder, "train")?, Part::open(folder, "t10k")?);
    let labels = class_names(&train, &test, names)?;
    Ok(Stored { train: train.read(&labels)?, test: test.read(&labels)? })
}

pub(crate) fn describe(folder: &Path, names: Option<&[String]>) -> Result<Description> {
    let (train, test) = (Part::open(folder, "train")?, Part::open(folder, "t10k")?);
    let labels = class_names(&train, &test, names)?;
    Ok(Description {
        shape: train.shape,
        train_counts: count(&train.targets, labels.len()),
        test_counts: count(&test.targets, labels.len()),
        labels,
    })
}

/// The training or the test images: labels read, images still to be read.
struct Part {
    shape: Shape,
    targets: Vec<u16>,
    labels_path: PathBuf,
    images: Idx,
}

impl Part {
    fn open(folder: &Path, name: &str) -> Result<Self> {
        let mut images = Idx::open(folder, &format!("{name}-images-idx3-ubyte"))?;
        let [n, height, width] = images.header(IMAGES, "images")?;
        if n == 0 || ![height, width].iter().all(|side| (1..=MAX_SIDE).contains(side)) {
            return Err(Error::Header { path: images.path, images: n, height, width });
        }
        let mut labels = Idx::open(folder, &format!("{name}-labels-idx1-ubyte"))?;
        let [found] = labels.header(LABELS, "labels")?;
        if found != n {
            return Err(Error::Counts {
                images_path: images.path,
                images: n,
                labels_path: labels.path,
                labels: found,
            });
        }
        let targets = labels.body(n)?.into_iter().map(u16::from).collect();
        let shape = Shape::new(1, height, width);
        Ok(Self { shape, targets, labels_path: labels.path, images })
    }

    fn read(mut self, labels: &[String]) -> Result<Dataset> {
        let images = self.images.body(self.targets.len() * self.shape.elements())?;
        Ok(Dataset { shape: self.shape, labels: labels.to_vec(), images, targets: self.targets })
    }
}

/// The given names, or the numbers up to the largest training label; both parts are checked against them.
fn class_names(train: &Part, test: &Part, names: Option<&[String]>) -> Result<Vec<String>> {
    if test.shape != train.shape {
        let size = |shape: Shape| format!("{}x{}", shape.height, shape.width);
        return Err(Error::TestSize {
            path: test.images.path.clone(),
            found: size(test.shape),
            expected: size(train.shape),
        });
    }
    let (names, hint) = if let Some(names) = names {
        (names.to_vec(), "`labels` in `[data]` must name every class")
    } else {
        let largest = train.targets.iter().max().map_or(0, |&label| usize::from(label));
        (number_names(largest + 1), "a class of the test set must be in the training set")
    };
    for part in [train, test] {
        let beyond = part.targets.iter().position(|&label| usize::from(label) >= names.len());
        if let Some(image) = beyond {
            return Err(Error::Label {
                path: part.labels_path.clone(),
                image,
                found: part.targets[image].into(),
                classes: names.len(),
                hint,
            });
        }
    }
    check_classes(&count(&train.targets, names.len()), &names, &train.labels_path)?;
    Ok(names)
}

/// An IDX file, read from front to back.
struct Idx {
    path: PathBuf,
    reader: Box<dyn Read>,
    zipped: bool,
    read: usize,
}

impl Idx {
    /// The file of this name, or else with `.gz`.
    fn open(folder: &Path, name: &str) -> Result<Self> {
        let mut path = folder.join(name);
        let mut zipped = false;
        if !path.exists() {
            let zip = folder.join(format!("{name}.gz"));
            if !zip.exists() {
                let (what, hint) = if folder.is_dir() {
                    ("IDX file", "the folder needs MNIST's four files, plain or gzipped")
                } else {
                    ("data folder", "check `path` in `[data]`; `make setup` fetches Fashion-MNIST")
                };
                let path = if folder.is_dir() { path } else { folder.to_owned() };
                return Err(Error::Missing { what, path, hint });
            }
            (path, zipped) = (zip, true);
        }
        let file =
            File::open(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        let reader: Box<dyn Read> = if zipped {
            Box::new(MultiGzDecoder::new(BufReader::new(file)))
        } else {
            Box::new(BufReader::new(file))
        };
        Ok(Self { path, reader, zipped, read: 0 })
    }

    /// The magic number, checked, and the dimensions.
    fn header<const N: usize>(&mut self, magic: u32, what: &'static str) -> Result<[usize; N]> {
        let header = self.bytes(4 * (N + 1))?;
        let mut numbers = header
            .chunks_exact(4)
            .map(|bytes| bytes.iter().fold(0u32, |number, &byte| number << 8 | u32::from(byte)));
        let found = numbers.next().unwrap_or(0);
        if found != magic {
            return Err(Error::Magic { path: self.path.clone(), what, expected: magic, found });
        }
        let mut dimensions = [0; N];
        for (dimension, number) in dimensions.iter_mut().zip(numbers) {
            *dimension = number as usize;
        }
        Ok(dimensions)
    }

    /// The rest of the file, which must be `expected` bytes.
    fn body(&mut self, expected: usize) -> Result<Vec<u8>> {
        let body = self.bytes(expected)?;
        let more = self.take(1)?.len();
        if more > 0 {
            return Err(self.wrong_size(self.read - more, &format!("at least {}", self.read)));
        }
        Ok(body)
    }

    fn bytes(&mut self, expected: usize) -> Result<Vec<u8>> {
        let begin = self.read;
        let bytes = self.take(expected)?;
        if bytes.len() < expected {
            return Err(self.wrong_size(begin + expected, &self.read.to_string()));
        }
        Ok(bytes)
    }

    /// Up to `limit` bytes: a header that promises too much reserves no memory.
    fn take(&mut self, limit: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let outcome = self.reader.by_ref().take(limit as u64).read_to_end(&mut bytes);
        self.read += bytes.len();
        match outcome {
            // A gzip stream that is cut off says so by this error; a plain file just ends.
            Err(source) if source.kind() != ErrorKind::UnexpectedEof => {
                Err(Error::Read { path: self.path.clone(), source })
            }
            _ => Ok(bytes),
        }
    }

    fn wrong_size(&self, expected: usize, found: &str) -> Error {
        let unpacked = if self.zipped { " after decompression" } else { "" };
        Error::Bytes {
            path: self.path.clone(),
            expected: expected.to_string(),
            unpacked,
            found: found.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{fs, io::Write as _};

    use flate2::{Compression, write::GzEncoder};
    use tempfile::TempDir;

    use super::*;
    use crate::{DataSpec, load as load_splits};

    fn idx(magic: u32, dimensions: &[u32], body: &[u8]) -> Vec<u8> {
        let numbers = [&[magic], dimensions].concat();
        let header = numbers.iter().flat_map(|number| number.to_be_bytes());
        header.chain(body.iter().copied()).collect()
    }

    /// Four training images of 2x3 with labels 0 1 1 0, two test images with labels 1 0.
    fn folder() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, bytes: Vec<u8>| fs::write(folder.path().join(name), bytes).unwrap();
        let pixels: Vec<u8> = (0..24).collect();
        write("train-images-idx3-ubyte", idx(IMAGES, &[4, 2, 3], &pixels));
        write("train-labels-idx1-ubyte", idx(LABELS, &[4], &[0, 1, 1, 0]));
        write("t10k-images-idx3-ubyte", idx(IMAGES, &[2, 2, 3], &pixels[12..]));
        write("t10k-labels-idx1-ubyte", idx(LABELS, &[2], &[1, 0]));
        folder
    }

    fn write(folder: &TempDir, name: &str, bytes: &[u8]) {
        fs::write(folder.path().join(name), bytes).unwrap();
    }

    fn message(folder: &TempDir) -> String {
        load(folder.path(), None).err().unwrap().to_string()
    }

    #[test]
    fn images_and_labels_are_read_as_stored() {
        let folder = folder();
        let Stored { train, test } = load(folder.path(), None).unwrap();
        assert_eq!(train.shape, Shape::new(1, 2, 3));
        assert_eq!(train.images, (0..24).collect::<Vec<u8>>());
        assert_eq!(train.targets, [0, 1, 1, 0]);
        assert_eq!(train.labels, ["0", "1"]);
        assert_eq!(test.image(1), [18, 19, 20, 21, 22, 23]);
        assert_eq!(test.targets, [1, 0]);
    }

    #[test]
    fn a_share_is_held_out_of_the_training_images_alone() {
        let folder = folder();
        let spec = DataSpec::idx(folder.path());
        let splits = load_splits(&spec, 0.5, 1).unwrap();
        assert_eq!((splits.train.counts(), splits.holdout.counts()), (vec![1, 1], vec![1, 1]));
        let mut first_pixels: Vec<u8> = [&splits.train, &splits.holdout]
            .iter()
            .flat_map(|part| (0..2).map(|i| part.image(i)[0]))
            .collect();
        first_pixels.sort_unstable();
        assert_eq!(first_pixels, [0, 6, 12, 18]);
        assert_eq!(splits, load_splits(&spec, 0.5, 1).unwrap());
        for seed in 0..5 {
            assert_eq!(load_splits(&spec, 0.5, seed).unwrap().test, splits.test);
        }
        for share in [1.0, -0.1, f64::NAN] {
            let error = load_splits(&spec, share, 1).unwrap_err();
            assert!(matches!(error, Error::Holdout(_)), "{error}");
        }
    }

    #[test]
    fn a_description_agrees_with_what_is_loaded() {
        let folder = folder();
        let names = Some(["cat".to_owned(), "dog".to_owned()].to_vec());
        let spec = DataSpec::Idx { path: folder.path().to_owned(), labels: names.clone() };
        let description = crate::describe(&spec).unwrap();
        let splits = load_splits(&spec, 0.0, 0).unwrap();
        assert_eq!(description.shape, splits.train.shape);
        assert_eq!(Some(&description.labels), names.as_ref());
        assert_eq!(description.labels, splits.test.labels);
        assert_eq!(description.train_counts, splits.train.counts());
        assert_eq!(description.test_counts, splits.test.counts());
        assert!(splits.holdout.is_empty());
    }

    #[test]
    fn gzipped_files_are_read_too_and_cut_off_ones_are_noticed() {
        let folder = folder();
        let plain = folder.path().join("train-images-idx3-ubyte");
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&fs::read(&plain).unwrap()).unwrap();
        let zipped = encoder.finish().unwrap();
        fs::remove_file(&plain).unwrap();
        write(&folder, "train-images-idx3-ubyte.gz", &zipped);
        assert_eq!(load(folder.path(), None).unwrap().train.image(1), [6, 7, 8, 9, 10, 11]);

        write(&folder, "train-images-idx3-ubyte.gz", &zipped[..zipped.len() - 12]);
        let message = message(&folder);
        assert!(message.contains("expected 40 bytes after decompression, found"), "{message}");
        assert!(message.contains("train-images-idx3-ubyte.gz"), "{message}");
    }

    #[test]
    fn a_truncated_file_says_expected_and_found_bytes() {
        let folder = folder();
        write(&folder, "train-images-idx3-ubyte", &idx(IMAGES, &[4, 2, 3], &[9; 20]));
        assert!(message(&folder).contains("expected 40 bytes, found 36; hint:"));
        write(&folder, "train-images-idx3-ubyte", &[0, 0, 8]);
        assert!(message(&folder).contains("expected 16 bytes, found 3"));
        write(&folder, "train-images-idx3-ubyte", &idx(IMAGES, &[4, 2, 3], &[9; 25]));
        assert!(message(&folder).contains("expected 40 bytes, found at least 41"));
    }

    #[test]
    fn a_header_that_promises_too_much_is_an_error_and_takes_no_memory() {
        let folder = folder();
        let all = u32::MAX;
        write(&folder, "train-images-idx3-ubyte", &idx(IMAGES, &[all, all, all], &[]));
        assert!(message(&folder).contains("cannot be"));
        write(&folder, "train-images-idx3-ubyte", &idx(IMAGES, &[all, 16384, 16384], &[1]));
        write(&folder, "train-labels-idx1-ubyte", &idx(LABELS, &[all], &[1]));
        assert!(message(&folder).contains("expected 4294967303 bytes, found 9"));
        write(&folder, "train-images-idx3-ubyte", &idx(IMAGES, &[0, 2, 3], &[]));
        assert!(message(&folder).contains("0 images of 2x3 pixels"));
    }

    #[test]
    fn a_wrong_magic_number_names_the_file() {
        let folder = folder();
        write(&folder, "t10k-labels-idx1-ubyte", &idx(IMAGES, &[2, 2, 3], &[0; 12]));
        let message = message(&folder);
        assert!(message.contains("t10k-labels-idx1-ubyte` is not an IDX file of labels"));
        assert!(message.contains("expected magic number 0x00000801, found 0x00000803"));
    }

    #[test]
    fn contradicting_files_are_errors() {
        let folder = folder();
        write(&folder, "train-labels-idx1-ubyte", &idx(LABELS, &[3], &[0, 1, 1]));
        assert!(message(&folder).contains("4 images") && message(&folder).contains("3 labels"));
        write(&folder, "train-labels-idx1-ubyte", &idx(LABELS, &[4], &[0, 2, 2, 0]));
        assert!(message(&folder).contains("class `1` has no image"));
        write(&folder, "train-labels-idx1-ubyte", &idx(LABELS, &[4], &[0, 1, 1, 0]));
        write(&folder, "t10k-labels-idx1-ubyte", &idx(LABELS, &[2], &[1, 7]));
        assert!(message(&folder).contains("label 7 of image 1, expected less than 2"));
        write(&folder, "t10k-images-idx3-ubyte", &idx(IMAGES, &[2, 3, 2], &[0; 12]));
        assert!(message(&folder).contains("images of 3x2 pixels, the training images have 2x3"));
    }

    #[test]
    fn fewer_names_than_labels_is_an_error() {
        let folder = folder();
        write(&folder, "train-labels-idx1-ubyte", &idx(LABELS, &[4], &[0, 1, 2, 0]));
        let names = ["a".to_owned(), "b".to_owned()];
        let error = load(folder.path(), Some(&names)).err().unwrap().to_string();
        assert!(error.contains("label 2 of image 2, expected less than 2"), "{error}");
        assert!(error.contains("`labels` in `[data]`"), "{error}");
    }

    #[test]
    fn missing_files_and_folders_are_told_apart() {
        let folder = folder();
        fs::remove_file(folder.path().join("t10k-images-idx3-ubyte")).unwrap();
        assert!(message(&folder).starts_with("no IDX file at"));
        let gone = folder.path().join("gone");
        let error = load(&gone, None).err().unwrap().to_string();
        assert!(error.starts_with("no data folder at") && error.contains("gone"), "{error}");
    }
}
