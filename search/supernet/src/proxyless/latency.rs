//! Latency in the loss of the architecture.

use netfit_search::job::{LatencyLoss, Proxyless};

/// `T` in milliseconds at the published operating point of the form `mul`.
const OPERATING_POINT: f64 = 80.0;
/// Below this share of `T` the logarithm of `mul` would reach 0.
const LEAST_SHARE: f64 = 1.0 / 40.0;

/// The price of latency.
#[derive(Clone, Debug)]
pub(crate) struct Price {
    form: LatencyLoss,
    eta: f64,
    damping: f64,
    scale: f64,
    exponent: f64,
    target_s: f64,
    pub(crate) lambda: f64,
}

/// The gradient of the loss is `entropy * dCE + second * dE`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shares {
    pub(crate) entropy: f64,
    pub(crate) second: f64,
}

impl Price {
    pub(crate) fn new(options: &Proxyless, target_s: f64) -> Self {
        Self {
            form: options.loss,
            eta: options.eta,
            damping: options.damping,
            scale: options.mul_scale,
            exponent: options.mul_exponent,
            target_s,
            lambda: options.lambda,
        }
    }

    /// The loss of an entropy and an expected latency.
    #[cfg(test)]
    pub(crate) fn loss(&self, entropy: f64, expected_s: f64) -> f64 {
        let excess = self.excess(expected_s);
        match self.form {
            LatencyLoss::Dual => {
                let price = (self.lambda + self.damping * excess).max(0.0);
                entropy + (price.powi(2) - self.lambda.powi(2)) / (2.0 * self.damping)
            }
            LatencyLoss::Add => entropy + self.lambda * excess,
            LatencyLoss::Mul => {
                let relative = (1.0 + excess).max(LEAST_SHARE);
                let ratio = (OPERATING_POINT * relative).ln() / OPERATING_POINT.ln();
                self.scale * entropy * ratio.powf(self.exponent)
            }
        }
    }

    pub(crate) fn shares(&self, entropy: f64, expected_s: f64) -> Shares {
        match self.form {
            LatencyLoss::Dual => {
                let price = (self.lambda + self.damping * self.excess(expected_s)).max(0.0);
                Shares { entropy: 1.0, second: price / self.target_s }
            }
            LatencyLoss::Add => Shares { entropy: 1.0, second: self.lambda / self.target_s },
            LatencyLoss::Mul => {
                let relative = expected_s / self.target_s;
                let base = OPERATING_POINT.ln();
                let ratio = (OPERATING_POINT * relative.max(LEAST_SHARE)).ln() / base;
                let slope = self.exponent * ratio.powf(self.exponent - 1.0) / (base * expected_s);
                let second =
                    if relative > LEAST_SHARE { self.scale * entropy * slope } else { 0.0 };
                Shares { entropy: self.scale * ratio.powf(self.exponent), second }
            }
        }
    }

    /// Moves the price of the form `dual` after a step of the architecture.
    pub(crate) fn follow(&mut self, expected_s: f64) {
        if self.form == LatencyLoss::Dual {
            self.lambda = (self.lambda + self.eta * self.excess(expected_s)).max(0.0);
        }
    }

    /// `(E - T) / T`.
    fn excess(&self, expected_s: f64) -> f64 {
        expected_s / self.target_s - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(form: LatencyLoss) -> Price {
        Price::new(&Proxyless { loss: form, lambda: 0.7, eta: 0.5, ..Proxyless::default() }, 2e-3)
    }

    #[test]
    fn shares_are_the_derivatives_of_the_loss() {
        for form in [LatencyLoss::Dual, LatencyLoss::Add, LatencyLoss::Mul] {
            let price = price(form);
            // The last latency is a hundredth of the target.
            for (entropy, expected_s) in [(1.3, 2e-3), (0.4, 3.7e-3), (2.0, 4e-4), (0.8, 2e-5)] {
                let found = price.shares(entropy, expected_s);
                let (small, tiny) = (1e-6, 1e-9 * expected_s / 1e-3);
                let slope = |a: f64, b: f64, step: f64| (b - a) / (2.0 * step);
                let by_entropy = slope(
                    price.loss(entropy - small, expected_s),
                    price.loss(entropy + small, expected_s),
                    small,
                );
                let by_second = slope(
                    price.loss(entropy, expected_s - tiny),
                    price.loss(entropy, expected_s + tiny),
                    tiny,
                );
                assert!((found.entropy - by_entropy).abs() < 1e-6, "{form:?} {expected_s}");
                let allowed = 1e-3 * by_second.abs() + 1e-3;
                assert!((found.second - by_second).abs() < allowed, "{form:?} {expected_s}");
            }
        }
    }

    #[test]
    fn damping_adds_to_the_price_above_the_target_and_takes_from_it_below() {
        let mut dual = price(LatencyLoss::Dual);
        let second = |dual: &Price, expected_s| dual.shares(1.0, expected_s).second * 2e-3;
        for (expected_s, expected) in [(2e-3, 0.7), (3e-3, 1.2), (1.6e-3, 0.5), (0.0, 0.0)] {
            assert!((second(&dual, expected_s) - expected).abs() < 1e-12, "{expected_s}");
        }
        dual.damping = 0.0;
        assert!((second(&dual, 3e-3) - 0.7).abs() < 1e-12);
    }

    /// At the target `a CE`, whatever the unit; the published 80 ms is where the code's own form agrees.
    #[test]
    fn mul_does_not_depend_on_the_unit() {
        let mul = price(LatencyLoss::Mul);
        assert!((mul.loss(1.5, 2e-3) - 0.2 * 1.5).abs() < 1e-12);
        let theirs = |milliseconds: f64| 0.2 * 1.5 * (milliseconds.ln() / 80_f64.ln()).powf(0.3);
        for share in [0.25, 1.5] {
            assert!((mul.loss(1.5, share * 2e-3) - theirs(share * 80.0)).abs() < 1e-12);
        }
    }

    #[test]
    fn the_dual_price_rises_above_the_target_and_falls_below_it_to_0_at_least() {
        let mut dual = price(LatencyLoss::Dual);
        dual.follow(3e-3);
        assert!((dual.lambda - (0.7 + 0.5 * 0.5)).abs() < 1e-12);
        dual.follow(2e-3);
        assert!((dual.lambda - 0.95).abs() < 1e-12);
        (0..4).for_each(|_| dual.follow(0.0));
        assert!(dual.lambda.abs() < 1e-12);
        let mut add = price(LatencyLoss::Add);
        add.follow(3e-3);
        assert!((add.lambda - 0.7).abs() < 1e-12);
    }
}
