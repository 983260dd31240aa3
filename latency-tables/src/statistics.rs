//! Robust statistics. All of them give NaN for no samples.

/// The sample below which a share `q` of the samples lies, by linear interpolation between the two nearest ranks
/// (Hyndman and Fan's type 7).
pub fn quantile(samples: &[f64], q: f64) -> f64 {
    if samples.is_empty() {
        return f64::NAN;
    }
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = q.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (below, above) = (rank.floor() as usize, rank.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * (rank - below as f64)
}

/// The middle sample, or the mean of the two middle ones.
pub fn median(samples: &[f64]) -> f64 {
    quantile(samples, 0.5)
}

/// Median absolute deviation from the median, unscaled (1.4826 times it estimates a normal standard deviation).
pub fn mad(samples: &[f64]) -> f64 {
    let middle = median(samples);
    let deviations: Vec<f64> = samples.iter().map(|x| (x - middle).abs()).collect();
    median(&deviations)
}

/// Mean of the samples that are left after the share `cut` of them has been taken away at each end
/// (rounded down; at least the middle one or two stay).
pub fn trimmed_mean(samples: &[f64], cut: f64) -> f64 {
    if samples.is_empty() {
        return f64::NAN;
    }
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let most = (sorted.len() - 1) / 2;
    let away = ((sorted.len() as f64 * cut.max(0.0)) as usize).min(most);
    let kept = &sorted[away..sorted.len() - away];
    kept.iter().sum::<f64>() / kept.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::float_cmp)]
    fn quantiles_interpolate_between_ranks() {
        let samples = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(quantile(&samples, 0.0), 1.0);
        assert_eq!(quantile(&samples, 0.25), 1.75);
        assert_eq!(median(&samples), 2.5);
        assert_eq!(quantile(&samples, 1.0), 4.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    #[allow(clippy::float_cmp)]
    fn one_wild_sample_moves_neither_median_nor_mad_nor_trimmed_mean() {
        let samples = [1.0, 2.0, 3.0, 4.0, 1e9];
        assert_eq!(median(&samples), 3.0);
        assert_eq!(mad(&samples), 1.0);
        assert_eq!(trimmed_mean(&samples, 0.2), 3.0);
        assert_eq!(trimmed_mean(&samples, 0.9), 3.0);
        assert_eq!(trimmed_mean(&[1.0, 2.0], 0.5), 1.5);
    }
}
