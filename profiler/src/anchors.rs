//! Networks beside which others are timed.

use netfit_latency_tables::{ANCHORS, LatencyTable, NetworkTiming};
use netfit_spaces::{Network, Space};

use crate::{ProfileOptions, Result, states::States, views::View};

/// Besides the reference network: at least, and where many models are measured one for so many of them.
const OTHERS: usize = ANCHORS - 1;
const MODELS_AN_ANCHOR: usize = 5;

/// Networks whose reference-normalised seconds are known, and to which those of others refer. The first one is the
/// reference network.
pub(crate) struct Anchors {
    pub(crate) networks: Vec<Network>,
    /// None: nothing is known yet, and the average process of these measurements becomes the measure.
    pub(crate) known_s: Option<Vec<f64>>,
    /// Whether the machine's speed is part of what is measured: then each process counts, in whichever state.
    pub(crate) any_speed: bool,
}

impl Anchors {
    /// The network in the middle of the covering set, of full depth and medium speed, and others of that set; nothing is
    /// known of them yet.
    pub(crate) fn new(space: &Space) -> Self {
        let covering = space.covering();
        let middle = covering.len() / 2;
        let step = covering.len().div_ceil(OTHERS).max(1);
        let others = (0..covering.len()).step_by(step).filter(|&index| index != middle);
        let chosen = std::iter::once(middle).chain(others);
        let networks = chosen.map(|index| space.network(&covering[index])).collect();
        Self { networks, known_s: None, any_speed: false }
    }

    /// A table's reference network, and some of its calibration from the fastest to the slowest, for measuring `models`
    /// others.
    pub(crate) fn of(table: &LatencyTable, space: &Space, models: usize) -> Result<Self> {
        let mut networks = vec![table.reference.network.parse()?];
        let mut known_s = vec![table.reference.median_s];
        let mut others: Vec<&NetworkTiming> = table.calibration_networks.iter().collect();
        others.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let step = others.len().div_ceil(OTHERS.max(models / MODELS_AN_ANCHOR)).max(1);
        for timing in others.iter().skip(step / 2).step_by(step) {
            networks.push(space.network(&timing.genotype));
            known_s.push(timing.seconds);
        }
        Ok(Self { networks, known_s: Some(known_s), any_speed: false })
    }

    /// Which sittings beside these are of the state that is measured.
    pub(crate) fn states(&self, views: &[View<'_>], options: &ProfileOptions) -> States {
        let drift = if self.any_speed { f64::INFINITY } else { options.protocol.drift };
        States::of(views, self.known_s.as_deref(), drift)
    }
}
