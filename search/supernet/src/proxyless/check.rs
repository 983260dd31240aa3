//! What is allowed in the `[proxyless]` table, and in the latencies that come with it.

use netfit_search::job::{ChoiceLatency, Proxyless};

use crate::{
    Error, Result,
    range::{
        self,
        Range::{AtLeast, Below1, Between0And1, NotNegative, Positive, Share},
    },
};

pub(super) fn check_options(options: &Proxyless) -> Result<()> {
    let o = options;
    let [beta1, beta2] = o.architecture_betas;
    let ranges = [
        ("warmup_epochs", NotNegative, o.warmup_epochs),
        ("rest_epochs", NotNegative, o.rest_epochs),
        ("epochs", Positive, o.epochs),
        ("interval", AtLeast(1), o.interval as f64),
        ("warmup_learning_rate", Positive, o.warmup_learning_rate),
        ("learning_rate", Positive, o.learning_rate),
        ("architecture_learning_rate", Positive, o.architecture_learning_rate),
        ("architecture_betas", Below1, beta1),
        ("architecture_betas", Below1, beta2),
        ("architecture_deviation", NotNegative, o.architecture_deviation),
        ("architecture_images", Between0And1, o.architecture_images),
        ("lambda", NotNegative, o.lambda),
        ("eta", Positive, o.eta),
        ("damping", NotNegative, o.damping),
        ("mul_scale", Positive, o.mul_scale),
        ("mul_exponent", NotNegative, o.mul_exponent),
        ("networks", AtLeast(2), o.networks as f64),
        ("reward_exponent", NotNegative, o.reward_exponent),
        ("baseline", Below1, o.baseline),
        ("slack", Share, o.slack),
    ];
    range::check("proxyless", &ranges)?;
    if o.epochs <= o.rest_epochs {
        return Err(Error::setting("[proxyless] epochs", "more than `rest_epochs`", &o.epochs));
    }
    Ok(())
}

pub(super) fn check_latency(latency: &ChoiceLatency, sizes: &[usize]) -> Result<()> {
    let counts: Vec<usize> = latency.options_s.iter().map(Vec::len).collect();
    let finite = latency.options_s.iter().flatten().all(|seconds| seconds.is_finite());
    let least = |options: &Vec<f64>| options.iter().copied().fold(f64::INFINITY, f64::min);
    let fastest_s = latency.fixed_s + latency.options_s.iter().map(least).sum::<f64>();
    let target_s = latency.target_s;
    let positive = |seconds: f64| seconds > 0.0 && seconds.is_finite();
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
