//! Every correction of one source's times that the calibration networks determine.

use netfit_spaces::{Block, Network};

use crate::{
    Affine, Correction, Source,
    calibration::choose,
    regression::{self, leave_one_out},
    ridge::{self, Blocks},
    rmspe,
};

/// A correction and its leave-one-out predictions.
pub(crate) struct Fitted {
    pub(crate) correction: Correction,
    pub(crate) predicted: Vec<f64>,
}

/// What a correction can be a function of: for each network 1, the sums of its blocks' times, kernels and parameters,
/// and all of these by block.
pub(crate) struct Columns {
    ones: Vec<f64>,
    sums: Vec<f64>,
    kernels: Vec<f64>,
    parameters: Vec<f64>,
    blocks: Blocks,
}

impl Columns {
    /// The columns of `networks`, or the first block without an entry.
    pub(crate) fn of<'a>(
        source: &Source,
        networks: &'a [(Network, f64)],
    ) -> Result<Self, &'a Block> {
        let mut columns = Self {
            ones: vec![1.0; networks.len()],
            sums: Vec::new(),
            kernels: Vec::new(),
            parameters: Vec::new(),
            blocks: Blocks::of(source, networks),
        };
        for (network, _) in networks {
            let (seconds, kernels) = source.sum(network)?;
            columns.sums.push(seconds);
            columns.kernels.push(kernels);
            columns.parameters.push(network.parameters().0 as f64);
        }
        Ok(columns)
    }

    /// Every correction, the simplest first.
    pub(crate) fn fits(&self, measured: &[f64]) -> Vec<Fitted> {
        let all = [&self.ones[..], &self.sums, &self.kernels, &self.parameters];
        let line = Affine::fit(&self.sums, measured).map(Correction::Affine);
        let recorded = regression::fit(&all[..3], measured).map(|found| Correction::Recorded {
            intercept_s: found[0],
            slope: found[1],
            kernel_s: found[2],
        });
        let memory = regression::fit(&all, measured).map(|found| Correction::Memory {
            intercept_s: found[0],
            slope: found[1],
            kernel_s: found[2],
            parameter_s: found[3],
        });
        let with = |correction: Option<Correction>, columns: &[&[f64]]| {
            let correction = correction.filter(Correction::rises)?;
            // A space of one latency has no line to leave points out of.
            let predicted = leave_one_out(columns, measured)
                .or_else(|| leave_one_out(&[&self.sums], measured))?;
            Some(Fitted { correction, predicted })
        };
        let plain = [(line, 2), (recorded, 3), (memory, 4)];
        let mut fitted: Vec<Fitted> = plain
            .into_iter()
            .filter_map(|(correction, count)| with(correction, &all[..count]))
            .collect();
        let errors = fitted.iter().map(|one| (&one.correction, rmspe(&one.predicted, measured)));
        let base = choose(errors).map_or(2, |place| fitted[place].correction.coefficients());
        let ridge = ridge::fit(&self.blocks, &all[..base], measured);
        fitted.extend(ridge.filter(|one| one.correction.rises()));
        fitted
    }
}

#[cfg(test)]
mod tests {
    use netfit_spaces::{Random, Space};

    use super::*;

    /// 24 networks of `ofa-28` with latencies that are linear in their blocks' times, kernels and parameters.
    fn planted(fetch_s: f64) -> (Source, Vec<(Network, f64)>) {
        let (table, space) = (crate::table::tests::table(), Space::preset("ofa-28").unwrap());
        let mut source = table.sources["in-place"].clone();
        // A kernel for each layer that multiplies; the parameters of a block do not follow from its kernels.
        for (line, entry) in &mut source.entries {
            entry.kernels = line.parse::<Block>().unwrap().layers().len() as f64;
        }
        let mut random = Random::new(5, "weights");
        let networks = (0..24)
            .map(|_| {
                let network = space.network(&space.sample(&mut random));
                let (seconds, kernels) = source.sum(&network).unwrap();
                let parameters = network.parameters().0 as f64;
                let seconds = 1e-5 + 2.0 * seconds - 1e-7 * kernels + fetch_s * parameters;
                (network, seconds)
            })
            .collect();
        (source, networks)
    }

    #[test]
    fn what_fetching_weights_costs_or_saves_is_found() {
        for fetch_s in [2e-10, -2e-11] {
            let (source, networks) = planted(fetch_s);
            let measured: Vec<f64> = networks.iter().map(|(_, seconds)| *seconds).collect();
            let fitted = Columns::of(&source, &networks).unwrap().fits(&measured);
            let names: Vec<&str> = fitted.iter().map(|fitted| fitted.correction.name()).collect();
            assert_eq!(names, ["affine", "recorded", "memory"]);
            let errors: Vec<f64> =
                fitted.iter().map(|fitted| rmspe(&fitted.predicted, &measured)).collect();
            assert!(errors[2] < 1e-9 && errors[1] > 1e-4 && errors[0] > 1e-4, "{errors:?}");
            let Correction::Memory { slope, kernel_s, parameter_s, .. } = fitted[2].correction
            else {
                panic!("{names:?}")
            };
            for (found, planted) in [(slope, 2.0), (kernel_s, -1e-7), (parameter_s, fetch_s)] {
                assert!((found / planted - 1.0_f64).abs() < 1e-6, "{found} {planted}");
            }
            // A block's own share and the network's sum agree.
            let network = &networks[0].0;
            let block = |block: &Block| {
                let line = block.to_string();
                fitted[2].correction.block(&line, &source.entries[&line])
            };
            let sum: f64 = network.blocks().iter().map(block).sum();
            let whole = sum + fitted[2].correction.constant_s();
            assert!((whole / measured[0] - 1.0).abs() < 1e-9);
        }
    }
}
