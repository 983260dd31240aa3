//! Image data sets: reading, splitting and preprocessing.
//!
//! A [`DataSpec`] says where images are and how they are stored; [`load`] reads them into [`Splits`]. The held-out
//! part is cut from the training images and serves the search; the test images judge the result and nothing else.
//! [`Batches`] writes normalised, optionally augmented batches into memory of the caller's.
//!
//! ```
//! use netfit_data::{Augment, Batches, Dataset, Normalization, order};
//! use netfit_spaces::{Random, Shape};
//!
//! // Two images of 1x2x2 pixels.
//! let dataset = Dataset {
//!     shape: Shape::new(1, 2, 2),
//!     labels: vec!["cat".to_owned(), "dog".to_owned()],
//!     images: vec![0, 255, 255, 0, 255, 0, 0, 255],
//!     targets: vec![0, 1],
//! };
//! let normalization = Normalization::of(&dataset)?;
//! assert_eq!((normalization.mean[0], normalization.std[0]), (0.5, 0.5));
//!
//! let batches = Batches::new(&dataset, &normalization);
//! let mut batch = vec![0.0; 8];
//! batches.fill(&[1, 0], None, &mut Random::new(0, "augment"), &mut batch);
//! assert_eq!(batch, [1.0, -1.0, -1.0, 1.0, -1.0, 1.0, 1.0, -1.0]);
//!
//! // In training: the epoch's order, then augmentation seeded by the place in the run.
//! let (seed, epoch, step) = (7, 0, 0);
//! let augment = Augment { pad: 1, flip: true };
//! let mut random = Random::at(seed, "augment", &[epoch, step]);
//! batches.fill(&order(dataset.len(), seed, epoch), Some(&augment), &mut random, &mut batch);
//! # Ok::<(), netfit_data::Error>(())
//! ```

mod batch;
mod cifar;
mod dataset;
mod error;
mod folder;
mod idx;
mod load;
mod picture;
mod spec;
mod split;

pub use batch::{Augment, Batches, Window, order};
pub use dataset::{Dataset, Normalization};
pub use error::{Error, Result};
pub use load::{Description, Splits, describe, load};
pub use spec::{Alpha, Channels, DataSpec, FolderSpec, Resize, Size};
