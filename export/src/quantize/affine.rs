//! Numbers as multiples of a scale, in 8 bits.

/// Unsigned 8-bit numbers `q` that stand for `scale * (q - zero_point)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Affine {
    pub(super) scale: f32,
    pub(super) zero_point: u8,
}

impl Affine {
    /// Those that reach from `low` to `high`; 0 is always among them, since images are padded with it.
    pub(super) fn new([low, high]: [f32; 2]) -> Self {
        let (low, high) = (f64::from(low.min(0.0)), f64::from(high.max(0.0)));
        let scale = (high - low) / f64::from(u8::MAX);
        // A tensor of nothing but 0, or of numbers that vanish in 32 bits.
        let scale = if (scale as f32).is_normal() { scale } else { 1.0 };
        let zero_point = (-low / scale).round().clamp(0.0, f64::from(u8::MAX)) as u8;
        Self { scale: scale as f32, zero_point }
    }
}

/// The weights of one output channel and its bias as whole numbers.
pub(super) struct Channel {
    /// What a weight of 1 stands for; of the bias it is this times the input's scale.
    pub(super) scale: f32,
    pub(super) weights: Vec<i8>,
    pub(super) bias: Option<i32>,
}

impl Channel {
    /// Symmetric around 0, up to `most`: the largest weight sets the scale, or the bias where it would not fit otherwise.
    pub(super) fn new(weights: &[f32], bias: Option<f32>, input_scale: f32, most: i8) -> Self {
        let largest = weights.iter().fold(0.0, |most, weight| f64::max(most, weight.abs().into()));
        let input_scale = f64::from(input_scale);
        // Half of what 32 bits hold leaves the sums of products the other half.
        let for_bias = f64::from(bias.unwrap_or(0.0)).abs() / (input_scale * f64::from(1 << 30));
        let scale = f64::max(largest / f64::from(most), for_bias) as f32;
        let scale = if scale.is_normal() { scale } else { 1.0 };
        let wide = f64::from(scale);
        let round = |weight: &f32| {
            (f64::from(*weight) / wide).round().clamp(f64::from(-most), f64::from(most)) as i8
        };
        let bias = bias.map(|bias| (f64::from(bias) / (input_scale * wide)).round() as i32);
        Self { scale, weights: weights.iter().map(round).collect(), bias }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_a_range_and_0_are_kept() {
        for (range, zero_point) in [([0.0, 6.0], 0), ([-3.0, 3.0], 128), ([-2.0, 0.0], 255)] {
            let affine = Affine::new(range);
            assert_eq!(affine.zero_point, zero_point);
            let reach = f64::from(affine.scale) * 255.0;
            assert!((reach - f64::from(range[1] - range[0])).abs() < 1e-6);
        }
        // 0 is padded with, even where it does not occur.
        assert_eq!(Affine::new([2.0, 5.1]), Affine::new([0.0, 5.1]));
        assert_eq!(Affine::new([0.0, 0.0]), Affine { scale: 1.0, zero_point: 0 });
        assert_eq!(Affine::new([0.0, 1e-40]), Affine { scale: 1.0, zero_point: 0 });
    }

    #[test]
    fn a_channel_takes_the_scale_of_its_largest_weight() {
        let Channel { scale, weights, bias } =
            Channel::new(&[0.5, -1.27, 0.004], Some(0.25), 0.1, 127);
        assert!((scale - 0.01).abs() < 1e-9);
        assert_eq!((weights, bias), (vec![50, -127, 0], Some(250)));
        let reduced = Channel::new(&[0.5, -1.27, 0.004], None, 0.1, 63);
        assert_eq!((reduced.weights, reduced.bias), (vec![25, -63, 0], None));
    }

    #[test]
    fn a_bias_fits_whatever_its_weights_are() {
        let nothing = Channel::new(&[0.0; 3], None, 0.1, 127);
        assert_eq!((nothing.scale, nothing.weights), (1.0, vec![0; 3]));
        for (weight, bias) in [(0.0, 5.0), (1e-12, -3.0), (1e-30, 1e-3), (1.0, 1e-9)] {
            let channel = Channel::new(&[weight], Some(bias), 1e-3, 127);
            let found = f64::from(channel.bias.unwrap()) * f64::from(channel.scale) * 1e-3;
            let unit = f64::from(channel.scale) * 1e-3 + 1e-6 * f64::from(bias).abs();
            assert!((found - f64::from(bias)).abs() <= unit, "{weight} {bias} {found}");
        }
    }
}
