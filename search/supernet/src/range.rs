//! Ranges of settings, each with its words.

use crate::{Error, Result};

/// Finite numbers that a setting may be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Range {
    Positive,
    NotNegative,
    /// From 0, without 1.
    Below1,
    /// Without 0 and without 1.
    Between0And1,
    /// From 0 to 1.
    Share,
    AtLeast(u32),
}

impl Range {
    fn holds(self, value: f64) -> bool {
        let inside = match self {
            Self::Positive => value > 0.0,
            Self::NotNegative => value >= 0.0,
            Self::Below1 => (0.0..1.0).contains(&value),
            Self::Between0And1 => value > 0.0 && value < 1.0,
            Self::Share => (0.0..=1.0).contains(&value),
            Self::AtLeast(least) => value >= f64::from(least),
        };
        inside && value.is_finite()
    }

    fn words(self) -> String {
        match self {
            Self::Positive => "more than 0".to_owned(),
            Self::NotNegative => "at least 0".to_owned(),
            Self::Below1 => "0 to below 1".to_owned(),
            Self::Between0And1 => "more than 0 and below 1".to_owned(),
            Self::Share => "0 to 1".to_owned(),
            Self::AtLeast(least) => format!("at least {least}"),
        }
    }
}

/// Refuses the first setting of a table that is out of its range.
pub(crate) fn check(table: &str, settings: &[(&str, Range, f64)]) -> Result<()> {
    match settings.iter().find(|(_, range, value)| !range.holds(*value)) {
        None => Ok(()),
        Some((key, range, value)) => {
            Err(Error::setting(&format!("[{table}] {key}"), &range.words(), value))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_its_ends_and_no_number_that_is_not_finite() {
        use Range::{AtLeast, Below1, Between0And1, NotNegative, Positive, Share};
        for (range, inside, outside) in [
            (Positive, [1e-300, 9.0], [0.0, -1.0]),
            (NotNegative, [0.0, 9.0], [-1e-300, -1.0]),
            (Below1, [0.0, 0.999], [1.0, -0.1]),
            (Between0And1, [0.001, 0.999], [0.0, 1.0]),
            (Share, [0.0, 1.0], [1.001, -0.1]),
            (AtLeast(2), [2.0, 3.0], [1.0, 0.0]),
        ] {
            for value in inside {
                check("table", &[("key", range, value)]).unwrap();
            }
            for value in outside.into_iter().chain([f64::NAN, f64::INFINITY]) {
                let error = check("table", &[("fine", Positive, 1.0), ("key", range, value)]);
                let message = error.unwrap_err().to_string();
                assert!(message.contains("[table] key") && message.contains(&range.words()));
            }
        }
    }
}
