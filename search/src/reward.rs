//! Rewards: accuracy and latency as the one number that a policy learns from.

use std::{fmt, str::FromStr};

use crate::{Error, Result};

/// Names that [`Reward::from_str`] knows.
pub const REWARDS: [&str; 5] =
    ["mnasnet-soft", "mnasnet-hard", "absolute", "constraint", "proxyless"];

/// How accuracy `Q` (a fraction of 1) and latency `t` make one number, for a target latency `T`.
///
/// | name | reward | constants | paper |
/// |---|---|---|---|
/// | `mnasnet-soft` | `Q (t/T)^w` | `w` = -0.07 | MnasNet (Tan et al., CVPR 2019), section 3 |
/// | `mnasnet-hard` | the same | `w` = 0 up to `T`, -1 above | the same |
/// | `absolute` | `Q + beta abs(t/T - 1)` | `beta` = -0.1 | TuNAS (Bender et al., CVPR 2020), section 4 |
/// | `constraint` | `Q` up to `T`, `Q - t/T` above | | after Deb (2000), feasibility rules |
/// | `proxyless` | `Q (T/t)^w` | `w` = 0.1 | ProxylessNAS (Cai et al., ICLR 2019), section 3.3 |
///
/// Under `constraint` every network above the target is worth less than 0, and so less than every network that keeps
/// to it; the further above, the less, so that a policy still sees which way to go.
///
/// In a [`crate::Search`] only networks within the budget are scored. With the budget as target `mnasnet-hard` and
/// `constraint` are then the accuracy itself, and the others trade some of it for speed below the budget
/// (`mnasnet-soft`, `proxyless`) or pull towards it (`absolute`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reward {
    /// `Q (t/T)^w`, with `w` = `alpha` up to the target and `beta` above it.
    MnasNet {
        /// The exponent up to the target.
        alpha: f64,
        /// The exponent above it.
        beta: f64,
    },
    /// `Q + beta abs(t/T - 1)`.
    Absolute {
        /// The price of being off the target, 0 or less.
        beta: f64,
    },
    /// `Q` up to the target, `Q - t/T` above it.
    Constraint,
    /// `Q (T/t)^exponent`.
    Proxyless {
        /// The exponent.
        exponent: f64,
    },
}

impl Reward {
    /// `mnasnet-soft`: doubling the latency costs about 5 % of the accuracy, on either side of the target.
    pub const SOFT: Self = Self::MnasNet { alpha: -0.07, beta: -0.07 };
    /// `mnasnet-hard`: latency is free up to the target and costs its excess above it.
    pub const HARD: Self = Self::MnasNet { alpha: 0.0, beta: -1.0 };
    /// `absolute`, with TuNAS's constant.
    pub const ABSOLUTE: Self = Self::Absolute { beta: -0.1 };
    /// `proxyless`, with the paper's exponent.
    pub const PROXYLESS: Self = Self::Proxyless { exponent: 0.1 };

    /// The reward of an accuracy (fraction of 1) and a latency for a target latency, both above 0. Not finite only
    /// where an argument is not, or where a latency is 0 or less.
    pub fn of(self, accuracy: f64, latency_s: f64, target_s: f64) -> f64 {
        let relative = latency_s / target_s;
        match self {
            Self::MnasNet { alpha, beta } => {
                accuracy * libm::pow(relative, if relative <= 1.0 { alpha } else { beta })
            }
            Self::Absolute { beta } => accuracy + beta * (relative - 1.0).abs(),
            Self::Constraint if relative <= 1.0 => accuracy,
            Self::Constraint => accuracy - relative,
            Self::Proxyless { exponent } => accuracy * libm::pow(relative, -exponent),
        }
    }

    fn named(name: &str) -> Option<Self> {
        match name {
            "mnasnet-soft" => Some(Self::SOFT),
            "mnasnet-hard" => Some(Self::HARD),
            "absolute" => Some(Self::ABSOLUTE),
            "constraint" => Some(Self::Constraint),
            "proxyless" => Some(Self::PROXYLESS),
            _ => None,
        }
    }
}

/// Its name; constants that differ from those of the names are written out.
impl fmt::Display for Reward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = REWARDS.iter().find(|name| Self::named(name) == Some(*self)) {
            return f.write_str(name);
        }
        match self {
            Self::MnasNet { alpha, beta } => write!(f, "mnasnet (alpha {alpha}, beta {beta})"),
            Self::Absolute { beta } => write!(f, "absolute (beta {beta})"),
            Self::Constraint => f.write_str("constraint"),
            Self::Proxyless { exponent } => write!(f, "proxyless (exponent {exponent})"),
        }
    }
}

/// By its name, with the published constants.
impl FromStr for Reward {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::named(name)
            .ok_or_else(|| Error::UnknownReward { name: name.to_owned(), known: REWARDS.to_vec() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(name: &str, latency_s: f64) -> f64 {
        name.parse::<Reward>().unwrap().of(0.9, latency_s, 2.0)
    }

    #[test]
    fn rewards_are_those_computed_by_hand() {
        // 0.9 * 2^-0.07, and 0.9 * 2^0.07 at half the target.
        for (name, latency_s, expected) in [
            ("mnasnet-soft", 4.0, 0.857_374_7),
            ("mnasnet-soft", 2.0, 0.9),
            ("mnasnet-soft", 1.0, 0.944_744_5),
            ("mnasnet-hard", 4.0, 0.45),
            ("mnasnet-hard", 2.0, 0.9),
            ("mnasnet-hard", 1.0, 0.9),
            ("absolute", 4.0, 0.8),
            ("absolute", 2.0, 0.9),
            ("absolute", 1.0, 0.85),
            ("constraint", 4.0, -1.1),
            ("constraint", 2.0, 0.9),
            ("constraint", 1.0, 0.9),
            // 0.9 * 2^-0.1 and 0.9 * 2^0.1.
            ("proxyless", 4.0, 0.839_729_7),
            ("proxyless", 2.0, 0.9),
            ("proxyless", 1.0, 0.964_596_0),
        ] {
            let found = of(name, latency_s);
            assert!((found - expected).abs() < 1e-6, "{name} at {latency_s} s: {found}");
        }
    }

    #[test]
    fn whatever_keeps_to_the_target_is_worth_more_than_what_does_not() {
        let just_above = Reward::Constraint.of(1.0, 2.000_001, 2.0);
        assert!(just_above < 0.0 && just_above < Reward::Constraint.of(0.0, 2.0, 2.0));
        assert!(Reward::Constraint.of(1.0, 3.0, 2.0) < just_above);
    }

    #[test]
    fn names_round_trip_and_unknown_ones_are_refused() {
        for name in REWARDS {
            assert_eq!(name.parse::<Reward>().unwrap().to_string(), name);
        }
        let other = Reward::Absolute { beta: -0.2 };
        assert_eq!(other.to_string(), "absolute (beta -0.2)");
        let message = "mnasnet".parse::<Reward>().unwrap_err().to_string();
        assert!(message.starts_with("unknown reward `mnasnet`; hint: rewards are mnasnet-soft, "));
    }
}
