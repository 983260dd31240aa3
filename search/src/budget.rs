//! Latency budgets.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Units of time by their suffix; a suffix stands before those that it ends in.
const UNITS: [(&str, f64); 5] =
    [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)];

/// A latency budget as a user writes it: `3ms`, `250us`, `0.5s`, `60% of full`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Budget {
    /// Seconds of one call.
    Seconds(f64),
    /// A share of the full network's latency, as it is measured in a run and predicted elsewhere.
    ShareOfFull(f64),
}

impl Budget {
    /// The budget in seconds, where the full network takes `full_s`.
    ///
    /// # Errors
    /// A share of something that is no latency.
    pub fn resolve(&self, full_s: f64) -> Result<f64> {
        match *self {
            Self::Seconds(seconds) => Ok(seconds),
            Self::ShareOfFull(share) if full_s.is_finite() && full_s > 0.0 => Ok(share * full_s),
            Self::ShareOfFull(_) => Err(Error::Budget {
                text: self.to_string(),
                reason: format!("the full network's latency is {full_s} s, expected more than 0"),
            }),
        }
    }
}

impl FromStr for Budget {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fail = |reason: &str| Error::Budget { text: text.to_owned(), reason: reason.into() };
        let positive = |number: &str| match number.trim().parse::<f64>() {
            Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
            Ok(_) => Err(fail("expected more than 0")),
            Err(_) => Err(fail("expected a number")),
        };
        let trimmed = text.trim();
        if let Some((number, of)) = trimmed.split_once('%') {
            if of.split_whitespace().collect::<Vec<_>>() != ["of", "full"] {
                return Err(fail("expected `of full` after `%`"));
            }
            return Ok(Self::ShareOfFull(positive(number)? / 100.0));
        }
        match UNITS.iter().find_map(|(suffix, unit)| Some((trimmed.strip_suffix(suffix)?, unit))) {
            Some((number, unit)) => {
                let seconds = positive(number)? * unit;
                if seconds > 0.0 {
                    Ok(Self::Seconds(seconds))
                } else {
                    Err(fail("expected more than 0"))
                }
            }
            None if trimmed.parse::<f64>().is_ok() => Err(fail("it has no unit")),
            None => Err(fail("expected a number and a unit")),
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Seconds(seconds) => {
                // The longest unit that leaves a number of at least 1.
                let (suffix, unit) = [("s", 1.0), ("ms", 1e-3), ("us", 1e-6)]
                    .into_iter()
                    .find(|(_, unit)| seconds >= *unit)
                    .unwrap_or(("ns", 1e-9));
                write!(f, "{}{suffix}", short(seconds / unit))
            }
            Self::ShareOfFull(share) => write!(f, "{}% of full", short(share * 100.0)),
        }
    }
}

/// Without the digits that a conversion between units adds.
fn short(number: f64) -> f64 {
    format!("{number:.9e}").parse().unwrap_or(number)
}

impl TryFrom<String> for Budget {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Budget> for String {
    fn from(budget: Budget) -> Self {
        budget.to_string()
    }
}

/// Seconds for people: three digits and the unit that suits them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Duration(
    /// Seconds.
    pub f64,
);

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, suffix) = match self.0.abs() {
            1.0.. => (self.0, "s"),
            1e-3.. => (self.0 * 1e3, "ms"),
            1e-6.. => (self.0 * 1e6, "us"),
            _ => (self.0 * 1e9, "ns"),
        };
        let decimals = match number.abs() {
            100.0.. => 0,
            10.0.. => 1,
            _ => 2,
        };
        write!(f, "{number:.decimals$} {suffix}")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_and_shares_are_read() {
        for (text, seconds) in
            [("3ms", 3e-3), ("250us", 250e-6), (" 250 µs ", 250e-6), ("0.5s", 0.5), ("1ns", 1e-9)]
        {
            let budget: Budget = text.parse().unwrap();
            assert!((budget.resolve(f64::NAN).unwrap() / seconds - 1.0).abs() < 1e-12, "{text}");
        }
        for text in ["60% of full", "60 %  of full"] {
            let budget: Budget = text.parse().unwrap();
            assert_eq!(budget, Budget::ShareOfFull(0.6));
            assert!((budget.resolve(2e-3).unwrap() - 1.2e-3).abs() < 1e-15);
            assert!(budget.resolve(f64::NAN).unwrap_err().to_string().contains("expected more"));
        }
    }

    #[test]
    fn what_is_no_budget_is_refused_with_a_hint() {
        for (text, reason) in [
            ("3", "no unit"),
            ("3e-3", "no unit"),
            ("0ms", "more than 0"),
            ("-1ms", "more than 0"),
            ("NaNms", "more than 0"),
            ("infs", "more than 0"),
            ("1e-320ns", "more than 0"),
            ("0% of full", "more than 0"),
            ("60%", "`of full`"),
            ("60% of half", "`of full`"),
            ("ms", "a number"),
            ("three ms", "a number"),
            ("3 minutes", "a number"),
            ("fast", "a number and a unit"),
            ("", "a number and a unit"),
        ] {
            let message = text.parse::<Budget>().unwrap_err().to_string();
            assert!(message.contains(reason) && message.contains("hint:"), "{text}: {message}");
        }
    }

    #[test]
    fn durations_have_three_digits() {
        for (seconds, text) in [
            (1.5, "1.50 s"),
            (0.01234, "12.3 ms"),
            (1.5e-4, "150 us"),
            (1e-9, "1.00 ns"),
            (0.0, "0.00 ns"),
        ] {
            assert_eq!(Duration(seconds).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn budgets_print_and_parse_back(digits in 1_u32..100_000, power in -8_i32..2, share in any::<bool>()) {
            let number = f64::from(digits) * 10_f64.powi(power);
            let budget = if share { Budget::ShareOfFull(number) } else { Budget::Seconds(number) };
            let back: Budget = budget.to_string().parse().unwrap();
            let (a, b) = (budget.resolve(1.0).unwrap(), back.resolve(1.0).unwrap());
            prop_assert!((a / b - 1.0).abs() < 1e-8, "{budget}");
            prop_assert_eq!(back.to_string(), budget.to_string());
        }
    }
}
