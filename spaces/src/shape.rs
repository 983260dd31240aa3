//! The shape of one image's activation.

use std::{fmt, str::FromStr};

use crate::{Error, Result};

/// Channels, height and width of one image's activation (NCHW without N); prints as `24x56x56`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shape {
    /// Number of channels.
    pub channels: usize,
    /// Number of rows.
    pub height: usize,
    /// Number of columns.
    pub width: usize,
}

impl Shape {
    /// A shape of the given channels, height and width.
    pub const fn new(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, height, width }
    }

    /// Numbers in one activation: channels x height x width.
    pub const fn elements(self) -> usize {
        self.channels * self.height * self.width
    }

    /// The shape after a convolution of this stride with `kernel / 2` padding: sides divide rounding up.
    pub(crate) const fn strided(self, stride: usize, channels: usize) -> Self {
        Self::new(channels, self.height.div_ceil(stride), self.width.div_ceil(stride))
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.channels, self.height, self.width)
    }
}

impl FromStr for Shape {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let sides: Vec<usize> = text.split('x').filter_map(|side| side.parse().ok()).collect();
        match sides[..] {
            [channels, height, width]
                if text.matches('x').count() == 2
                    && sides.iter().all(|&s| (1..=1 << 20).contains(&s)) =>
            {
                Ok(Self { channels, height, width })
            }
            _ => Err(Error::Shape(text.to_owned())),
        }
    }
}
