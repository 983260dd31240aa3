//! Exact counts: units, and the arithmetic of one layer.

use std::{fmt, iter::Sum};

use serde::{Deserialize, Serialize};

use crate::{Layer, LayerKind};

macro_rules! count {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
                Self(counts.fold(0, |sum, count| sum.saturating_add(count.0)))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let n = self.0 as f64;
                match self.0 {
                    0..1_000 => write!(f, "{n}"),
                    1_000..1_000_000 => write!(f, "{:.1}k", n / 1e3),
                    1_000_000..1_000_000_000 => write!(f, "{:.2}M", n / 1e6),
                    _ => write!(f, "{:.2}G", n / 1e9),
                }
            }
        }
    };
}

count! {
    /// Learned numbers: convolution weights, batch normalisation's scale and shift, linear weights and biases.
    Parameters
}
count! {
    /// Multiply-adds of convolutions and linear layers for one image; nothing else is counted.
    MultiplyAdds
}

impl Layer {
    /// Learned numbers of the layer.
    pub fn parameters(&self) -> Parameters {
        let count = match self.kind {
            LayerKind::Conv(conv) => {
                let channels = self.output.channels;
                channels * (self.input.channels / conv.groups) * conv.kernel * conv.kernel
                    + 2 * channels
            }
            LayerKind::SqueezeExcite { squeeze } => {
                let channels = self.input.channels;
                2 * channels * squeeze + squeeze + channels
            }
            LayerKind::Pool => 0,
            LayerKind::Linear { bias, .. } => {
                self.input.channels * self.output.channels
                    + if bias { self.output.channels } else { 0 }
            }
        };
        Parameters(count as u64)
    }

    /// Multiply-adds of the layer for one image.
    pub fn multiply_adds(&self) -> MultiplyAdds {
        let count = match self.kind {
            LayerKind::Conv(conv) => {
                self.output.elements()
                    * (self.input.channels / conv.groups)
                    * conv.kernel
                    * conv.kernel
            }
            LayerKind::SqueezeExcite { squeeze } => 2 * self.input.channels * squeeze,
            LayerKind::Pool => 0,
            LayerKind::Linear { .. } => self.input.channels * self.output.channels,
        };
        MultiplyAdds(count as u64)
    }
}
