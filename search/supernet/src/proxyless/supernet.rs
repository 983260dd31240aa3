//! The over-parameterised network: every candidate of a layer has weights of its own, and binary gates let one of them
//! through (Cai et al., ICLR 2019, section 3.2).

use netfit_spaces::{Block, ChoiceKind, Genotype, Skip, Slot, Space};
use tch::{Device, Kind, Tensor, no_grad};

use crate::{Error, Mode, Result, Supernet, ops};

#[cfg(test)]
mod tests;

/// A supernet of candidates. A path is one option for each choice of the space, in a genotype's order.
///
/// Departures from the authors' code: a skip takes part in the gradient of a layer even where it is the option on the
/// path (theirs leaves such a layer out), and batch normalisation's epsilon is netfit's.
pub(crate) struct Candidates {
    supernet: Supernet,
    places: Vec<Place>,
}

/// A place of the network, in order.
enum Place {
    Fixed(Slot, Block),
    /// A choice's options; none: a skip.
    Choice(Slot, Vec<Option<Block>>),
}

/// What went into a choice and what came out, on a path.
struct Gate {
    input: Tensor,
    output: Tensor,
}

/// The entropy at a path, and the gradient of every gate that was asked for: `sum(out_k * dL/dout)`.
pub(crate) struct GateGradients {
    pub(crate) entropy: f64,
    pub(crate) slopes: Vec<Vec<f64>>,
}

impl Candidates {
    /// Seeded initial weights, as those of [`Supernet::new`].
    ///
    /// # Errors
    /// A space with choices other than one of `ops` in each layer, with several resolutions or without a stem.
    pub(crate) fn new(space: &Space, device: Device, seed: u64) -> Result<Self> {
        let places = places(space)?;
        let blocks = places.iter().map(|place| match place {
            Place::Fixed(slot, block) => (*slot, vec![vec![block.clone()]]),
            Place::Choice(slot, options) => {
                (*slot, options.iter().flatten().map(|block| vec![block.clone()]).collect())
            }
        });
        let supernet = Supernet::build(space, device, seed, blocks);
        Ok(Self { supernet, places })
    }

    /// Its weights, and the networks that they form.
    pub(crate) fn supernet(&self) -> &Supernet {
        &self.supernet
    }

    /// How many options each choice has.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.choices().map(|(_, options)| options.len()).collect()
    }

    fn choices(&self) -> impl Iterator<Item = (Slot, &Vec<Option<Block>>)> {
        self.places.iter().filter_map(|place| match place {
            Place::Choice(slot, options) => Some((*slot, options)),
            Place::Fixed(..) => None,
        })
    }

    /// The genotype of a path.
    ///
    /// # Errors
    /// Another number of choices, or an option that its choice does not have.
    pub(crate) fn genotype(&self, path: &[usize]) -> Result<Genotype> {
        genotype(self.supernet.space(), path)
    }

    /// The blocks on a path.
    pub(crate) fn blocks(&self, path: &[usize]) -> Vec<(Slot, Block)> {
        let mut chosen = path.iter();
        let block = |place: &Place| match place {
            Place::Fixed(slot, block) => Some((*slot, block.clone())),
            Place::Choice(slot, options) => {
                let option = *chosen.next().expect("a path has an option for each choice");
                options[option].clone().map(|block| (*slot, block))
            }
        };
        self.places.iter().filter_map(block).collect()
    }

    /// Gradients of the gates at `path`, each of `asked` (options of each choice) by itself.
    ///
    /// Where an option of a choice is or adds the identity, each gate is told relative to it: what all of a choice have in
    /// common moves no alpha, and a skip is exactly 0.
    ///
    /// One backward pass gives `dL/dout` of all choices; the path's activations are then let go, and candidates are
    /// computed one at a time without a graph. In memory are at most one path's activations, or the choices' inputs and
    /// one candidate's, however many candidates there are.
    pub(crate) fn gate_gradients(
        &self,
        images: &Tensor,
        targets: &Tensor,
        path: &[usize],
        asked: &[Vec<usize>],
    ) -> GateGradients {
        let (entropy, gates, outward) = {
            let (logits, gates) = self.gated(images, path);
            let entropy = ops::cross_entropy(&logits, targets, 0.0);
            let outputs: Vec<&Tensor> = gates.iter().map(|gate| &gate.output).collect();
            let outward = Tensor::run_backward(&[&entropy], &outputs, false, false);
            let inputs: Vec<Tensor> = gates.iter().map(|gate| gate.input.detach()).collect();
            (entropy.detach(), inputs, outward)
        };
        let mut scalars = vec![entropy];
        for (((slot, options), (input, outward)), asked) in
            self.choices().zip(gates.iter().zip(&outward)).zip(asked)
        {
            let skip = |block: &Option<Block>| block.as_ref().map_or(Skip::Identity, Block::skip);
            let has_identity = options.iter().any(|block| skip(block) == Skip::Identity);
            let slope = |&option: &usize| match &options[option] {
                None => Tensor::zeros([], (Kind::Double, images.device())),
                Some(block) => no_grad(|| {
                    let mut mode = Mode::Train { dropout: 0.0 };
                    let output = match skip(&options[option]) {
                        Skip::Identity => self.supernet.branch(input, slot, block, &mut mode),
                        _ if has_identity => {
                            self.supernet.block(input, slot, block, &mut mode) - input
                        }
                        _ => self.supernet.block(input, slot, block, &mut mode),
                    };
                    (output * outward).sum(Kind::Double)
                }),
            };
            scalars.extend(asked.iter().map(slope));
        }
        let mut numbers = ops::numbers(&scalars).into_iter();
        let entropy = numbers.next().expect("the first of them");
        let slopes = asked.iter().map(|asked| numbers.by_ref().take(asked.len()).collect());
        GateGradients { entropy, slopes: slopes.collect() }
    }

    /// Logits at a path, by the batch's own statistics, and the gates on the way.
    fn gated(&self, images: &Tensor, path: &[usize]) -> (Tensor, Vec<Gate>) {
        let mut mode = Mode::Train { dropout: 0.0 };
        let (mut x, mut gates) = (images.shallow_clone(), Vec::new());
        for place in &self.places {
            match place {
                Place::Fixed(slot, block) => x = self.supernet.block(&x, *slot, block, &mut mode),
                Place::Choice(slot, options) => {
                    let input = x.shallow_clone();
                    if let Some(block) = &options[path[gates.len()]] {
                        x = self.supernet.block(&x, *slot, block, &mut mode);
                    }
                    gates.push(Gate { input, output: x.shallow_clone() });
                }
            }
        }
        (x, gates)
    }
}

/// Refuses a space that is no choice among candidates.
pub(crate) fn check(space: &Space) -> Result<()> {
    places(space).map(drop)
}

fn genotype(space: &Space, path: &[usize]) -> Result<Genotype> {
    let digit = |&option: &usize| char::from_digit(option as u32, 36).unwrap_or('?');
    Ok(space.parse(&path.iter().map(digit).collect::<String>())?)
}

fn places(space: &Space) -> Result<Vec<Place>> {
    let fail = |reason: &str| {
        Err(Error::NotCandidates { space: space.name().to_owned(), reason: reason.to_owned() })
    };
    if space.inputs().len() > 1 {
        return fail("expected one resolution");
    }
    if space.spec().stem.is_empty() {
        return fail("expected a block in `stem`, found none");
    }
    let smallest = space.blocks(&space.smallest());
    let others = |blocks: &[(Slot, Block)], slot: Slot| {
        blocks.iter().filter(|(at, _)| *at != slot).cloned().collect::<Vec<_>>()
    };
    let mut choices = Vec::new();
    for (index, choice) in space.choices().iter().enumerate() {
        let ChoiceKind::Op { stage, layer } = choice.kind else {
            return fail("expected a choice of `ops` in each layer, found another kind of choice");
        };
        let slot = Slot::Layer { stage, layer };
        let mut options = Vec::new();
        for option in 0..choice.size {
            let mut path = vec![0; space.choices().len()];
            path[index] = option;
            let blocks = space.blocks(&genotype(space, &path)?);
            if others(&blocks, slot) != others(&smallest, slot) {
                return fail("expected a choice to be that of one layer, found one of several");
            }
            options.push(blocks.into_iter().find(|(at, _)| *at == slot).map(|(_, block)| block));
        }
        choices.push((slot, options));
    }
    if choices.is_empty() {
        return fail("expected a choice, found none");
    }
    let chosen: Vec<Slot> = choices.iter().map(|(slot, _)| *slot).collect();
    let mut places: Vec<(Slot, Place)> =
        choices.into_iter().map(|(slot, options)| (slot, Place::Choice(slot, options))).collect();
    let fixed = smallest.into_iter().filter(|(slot, _)| !chosen.contains(slot));
    places.extend(fixed.map(|(slot, block)| (slot, Place::Fixed(slot, block))));
    places.sort_by_key(|(slot, _)| *slot);
    Ok(places.into_iter().map(|(_, place)| place).collect())
}
