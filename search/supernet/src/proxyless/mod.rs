//! ProxylessNAS (Cai et al., ICLR 2019): a supernet whose candidates have weights of their own, of which one path at a
//! time is in memory, and the architecture that is learnt beside them.

mod architecture;
mod check;
mod derive;
mod gradient;
mod images;
mod latency;
mod learn;
mod supernet;
mod trainer;

pub(crate) use trainer::ProxylessTrainer;

use netfit_search::job::Proxyless;
use netfit_spaces::Space;

use crate::Result;

/// Refuses settings out of range, and a space that is no choice among candidates.
pub(crate) fn check(space: &Space, options: &Proxyless) -> Result<()> {
    check::check_options(options)?;
    supernet::check(space)
}
