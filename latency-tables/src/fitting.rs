//! Every correction of one source's times that the calibration networks determine.

use netfit_spaces::{Block, Network};

use crate::{
    Affine, Correction, Source, bend,
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
        let mut fitted: Vec<Fitted> =
            (2..=4).filter_map(|count| self.straight(&all[..count], measured)).collect();
        let errors = fitted.iter().map(|one| (&one.correction, rmspe(&one.predicted, measured)));
        let base = choose(errors).map_or(2, |place| fitted[place].correction.coefficients());
        fitted.extend((2..=4).filter_map(|count| bent(&all[..count], measured)));
        let ridge = ridge::fit(&self.blocks, &all[..base], measured);
        fitted.extend(ridge.filter(|one| one.correction.rises()));
        fitted
    }

    fn straight(&self, columns: &[&[f64]], measured: &[f64]) -> Option<Fitted> {
        let correction = match columns.len() {
            2 => Correction::Affine(Affine::fit(&self.sums, measured)?),
            _ => linear(&regression::fit(columns, measured)?)?,
        };
        // A space of one latency has no line to leave points out of; every other form is judged by itself.
        let line = || leave_one_out(&[&self.sums], measured).filter(|_| columns.len() == 2);
        let predicted = leave_one_out(columns, measured).or_else(line)?;
        correction.rises().then_some(Fitted { correction, predicted })
    }
}

/// The correction of these coefficients: of 1, of seconds, perhaps of kernels, perhaps of parameters.
fn linear(coefficients: &[f64]) -> Option<Correction> {
    match *coefficients {
        [intercept_s, slope] => Some(Correction::Affine(Affine { intercept_s, slope })),
        [intercept_s, slope, kernel_s] => {
            Some(Correction::Recorded { intercept_s, slope, kernel_s })
        }
        [intercept_s, slope, kernel_s, parameter_s] => {
            Some(Correction::Memory { intercept_s, slope, kernel_s, parameter_s })
        }
        _ => None,
    }
}

fn bent(columns: &[&[f64]], measured: &[f64]) -> Option<Fitted> {
    let (coefficients, bend) = bend::fit(columns, measured)?;
    let correction = Correction::Bent { base: Box::new(linear(&coefficients)?), bend };
    let predicted = bend::leave_one_out(columns, measured)?;
    correction.rises().then_some(Fitted { correction, predicted })
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
            assert_eq!(names[..3], ["affine", "recorded", "memory"]);
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

    #[test]
    fn networks_that_outgrow_the_caches_are_bent() {
        let (source, mut networks) = planted(-2e-11);
        let middle_s = 2.0 * networks.iter().map(|(_, s)| *s).sum::<f64>() / 24.0;
        let bend = crate::Bend { strength: 0.4, middle_s, least_s: 0.0, most_s: 1.0 };
        for (_, seconds) in &mut networks {
            *seconds = bend.at(2.0 * *seconds);
        }
        let measured: Vec<f64> = networks.iter().map(|(_, seconds)| *seconds).collect();
        let fitted = Columns::of(&source, &networks).unwrap().fits(&measured);
        let of = |name: &str| fitted.iter().find(|one| one.correction.name() == name).unwrap();
        let error = |name| rmspe(&of(name).predicted, &measured);
        // A network beyond the others is predicted by a tangent.
        assert!(error("memory, bent") < 0.1 * error("memory"));
        let found = &of("memory, bent").correction;
        for (network, seconds) in &networks {
            let block = |block: &Block| {
                let line = block.to_string();
                found.block(&line, &source.entries[&line])
            };
            let sum_s = found.constant_s() + network.blocks().iter().map(block).sum::<f64>();
            assert!((found.latency(sum_s) / seconds - 1.0).abs() < 1e-6, "{found:?}");
        }
        let text = serde_json::to_string(found).unwrap();
        assert_eq!(serde_json::from_str::<Correction>(&text).unwrap(), *found);
    }
}
