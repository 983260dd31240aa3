//! What is allowed in the `[proxyless]` table, and in the latencies that come with it.

use netfit_search::job::{ChoiceLatency, Proxyless};

use crate::{Error, Result};

fn positive(x: f64) -> bool {
    x > 0.0 && x.is_finite()
}

pub(super) fn check_options(options: &Proxyless) -> Result<()> {
    let o = options;
    let [beta1, beta2] = o.architecture_betas;
    let least_0 = |x: f64| x >= 0.0 && x.is_finite();
    let decay = |x: f64| (0.0..1.0).contains(&x);
    for (name, expected, found, good) in [
        ("[proxyless] warmup_epochs", "at least 0", o.warmup_epochs, least_0(o.warmup_epochs)),
        ("[proxyless] rest_epochs", "at least 0", o.rest_epochs, least_0(o.rest_epochs)),
        (
            "[proxyless] epochs",
            "more than `rest_epochs`",
            o.epochs,
            positive(o.epochs) && o.epochs > o.rest_epochs,
        ),
        ("[proxyless] interval", "at least 1", o.interval as f64, o.interval >= 1),
        (
            "[proxyless] warmup_learning_rate",
            "more than 0",
            o.warmup_learning_rate,
            positive(o.warmup_learning_rate),
        ),
        ("[proxyless] learning_rate", "more than 0", o.learning_rate, positive(o.learning_rate)),
        (
            "[proxyless] architecture_learning_rate",
            "more than 0",
            o.architecture_learning_rate,
            positive(o.architecture_learning_rate),
        ),
        ("[proxyless] architecture_betas", "0 to below 1", beta1, decay(beta1)),
        ("[proxyless] architecture_betas", "0 to below 1", beta2, decay(beta2)),
        (
            "[proxyless] architecture_deviation",
            "at least 0",
            o.architecture_deviation,
            least_0(o.architecture_deviation),
        ),
        (
            "[proxyless] architecture_images",
            "more than 0 and below 1",
            o.architecture_images,
            o.architecture_images > 0.0 && o.architecture_images < 1.0,
        ),
        ("[proxyless] lambda", "at least 0", o.lambda, least_0(o.lambda)),
        ("[proxyless] eta", "more than 0", o.eta, positive(o.eta)),
        ("[proxyless] damping", "at least 0", o.damping, least_0(o.damping)),
        ("[proxyless] mul_scale", "more than 0", o.mul_scale, positive(o.mul_scale)),
        ("[proxyless] mul_exponent", "at least 0", o.mul_exponent, least_0(o.mul_exponent)),
        ("[proxyless] networks", "at least 2", o.networks as f64, o.networks >= 2),
        (
            "[proxyless] reward_exponent",
            "at least 0",
            o.reward_exponent,
            least_0(o.reward_exponent),
        ),
        ("[proxyless] baseline", "0 to below 1", o.baseline, decay(o.baseline)),
        ("[proxyless] slack", "0 to 1", o.slack, (0.0..=1.0).contains(&o.slack)),
    ] {
        if !good {
            return Err(Error::setting(name, expected, &found));
        }
    }
    Ok(())
}

pub(super) fn check_latency(latency: &ChoiceLatency, sizes: &[usize]) -> Result<()> {
    let counts: Vec<usize> = latency.options_s.iter().map(Vec::len).collect();
    let finite = latency.options_s.iter().flatten().all(|seconds| seconds.is_finite());
    let least = |options: &Vec<f64>| options.iter().copied().fold(f64::INFINITY, f64::min);
    let fastest_s = latency.fixed_s + latency.options_s.iter().map(least).sum::<f64>();
    let target_s = latency.target_s;
    if counts == sizes && finite && positive(fastest_s) && positive(target_s) {
        // Sums in another order differ by rounding.
        if fastest_s <= target_s * (1.0 + 1e-12) {
            return Ok(());
        }
        return Err(Error::Request(format!(
            "the fastest path takes {fastest_s} s, expected at most the target, {target_s} s; hint: raise the budget"
        )));
    }
    Err(Error::Request(format!(
        "expected finite latencies of {sizes:?} options, a fastest path and a target above 0, found {counts:?} options, {fastest_s} s and {target_s} s; hint: `netfit run` takes them from a latency table"
    )))
}
