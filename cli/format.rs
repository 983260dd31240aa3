//! Numbers for people. Files and JSON keep seconds and fractions.

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
}
