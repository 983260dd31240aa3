//! Numbers for people. Files and JSON keep seconds and fractions.

use netfit_latency_tables::Estimate;

/// A time with the unit that suits it: `412 us`, `3.21 ms`, `1.50 s`, `4 min 05 s`.
pub(crate) fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.0} us", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s if s < 60.0 => format!("{s:.1} s"),
        s => format!("{} min {:02} s", (s / 60.0) as u64, (s % 60.0) as u64),
    }
}

/// How long a step of a command took: to a tenth of a second.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 60.0 { format!("{seconds:.1} s") } else { self::seconds(seconds) }
}

/// A fraction as a percentage; a dash where there is none.
pub(crate) fn percent(fraction: Option<f64>) -> String {
    fraction.map_or_else(|| "-".to_owned(), |f| format!("{:.2} %", f * 100.0))
}

/// A share as a whole percentage.
pub(crate) fn share(fraction: f64) -> String {
    format!("{:.0} %", fraction * 100.0)
}

/// `median`, or `p95`.
pub(crate) fn percentile(percentile: f64) -> String {
    if is_median(percentile) { "median".to_owned() } else { format!("p{percentile}") }
}

/// What follows a latency at a percentile: ` at p95`; nothing for the median.
pub(crate) fn at(percentile: f64) -> String {
    if is_median(percentile) { String::new() } else { format!(" at p{percentile}") }
}

/// ` (LOW to HIGH)`, of numbers that are multiplied by `factor`; nothing where there is no interval.
pub(crate) fn range(estimate: &Estimate, factor: f64, decimals: usize) -> String {
    let shown = |[low, high]: [f64; 2]| {
        format!(" ({:.decimals$} to {:.decimals$})", factor * low, factor * high)
    };
    estimate.interval.map_or_else(String::new, shown)
}

/// `VALUE (LOW to HIGH)`, as [`range`] shows the interval.
pub(crate) fn estimate(estimate: &Estimate, factor: f64, decimals: usize) -> String {
    format!("{:.decimals$}{}", factor * estimate.value, range(estimate, factor, decimals))
}

fn is_median(percentile: f64) -> bool {
    (percentile - 50.0).abs() < 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_suits_them() {
        for (s, text) in
            [(4.12e-4, "412 us"), (3.2141e-3, "3.21 ms"), (1.5, "1.5 s"), (245.3, "4 min 05 s")]
        {
            assert_eq!(seconds(s), text);
        }
    }

    #[test]
    fn estimates_have_their_interval_if_there_is_one() {
        let of = |interval| Estimate { value: 0.934, interval };
        assert_eq!(estimate(&of(None), 100.0, 1), "93.4");
        assert_eq!(estimate(&of(Some([0.93, 0.9377])), 100.0, 1), "93.4 (93.0 to 93.8)");
    }

    #[test]
    fn only_percentiles_other_than_the_median_are_spelt_out() {
        assert_eq!((at(50.0), percentile(50.0)), (String::new(), "median".to_owned()));
        assert_eq!((at(99.5), percentile(95.0)), (" at p99.5".to_owned(), "p95".to_owned()));
    }
}
