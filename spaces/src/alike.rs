//! Stages whose layers are all alike: one choice for the whole stage of each thing.

use crate::{
    Choice, ChoiceKind, Skip,
    spec::{AlikeSpec, StageSpec, Template},
    stage::{LayerChoices, Stage, add_choice, ascending},
};

/// Layers that a stage may have in all.
const MOST_BUILT: usize = 100_000;

impl Stage {
    /// A stage of which `alike` says the choices.
    pub(crate) fn alike(
        index: usize,
        spec: &StageSpec,
        alike: &AlikeSpec,
        choices: &mut Vec<Choice>,
    ) -> Result<Self, String> {
        let (options, widths) = (options(spec, alike)?, widths(spec, alike)?);
        let depth = add_choice(choices, ChoiceKind::Depth { stage: index }, spec.depth.len(), None);
        let several = spec.depth.iter().position(|&depth| depth > 1);
        let Some(least) = several.or((alike.skip.len() == 1).then_some(0)) else {
            return Err("expected a `depth` above 1, where layers have a `skip`".into());
        };
        let condition = depth.filter(|_| least > 0).map(|choice| (choice, least as u8));
        let (op, kernel) = (
            ChoiceKind::Op { stage: index, layer: 0 },
            ChoiceKind::Kernel { stage: index, layer: 0 },
        );
        let (squeeze, skip) =
            (ChoiceKind::Squeeze { stage: index }, ChoiceKind::Skip { stage: index });
        let added = [
            (op, alike.ops.len(), None),
            (kernel, alike.kernel.len(), None),
            (squeeze, alike.squeeze.len(), None),
            (skip, alike.skip.len(), condition),
        ]
        .map(|(kind, size, condition)| (add_choice(choices, kind, size, condition), size));
        let width = add_choice(choices, ChoiceKind::Width { stage: index }, widths.len(), None);
        let layer = LayerChoices::new(&added, 0);
        let deepest = spec.depth[spec.depth.len() - 1];
        Ok(Self {
            widths,
            width,
            stride: spec.stride,
            depths: spec.depth.clone(),
            depth,
            options,
            layers: vec![layer; deepest],
            alike: Some(alike.skip.len()),
        })
    }
}

/// Ops x kernels x ratios of squeeze-and-excite x skips; the skip runs fastest.
fn options(spec: &StageSpec, alike: &AlikeSpec) -> Result<Vec<Template>, String> {
    if !spec.kernel.is_empty()
        || !spec.expand.is_empty()
        || !spec.ops.is_empty()
        || spec.activation.is_some()
        || spec.squeeze.is_some()
    {
        return Err(
            "expected either `alike`, or `kernel`, `expand`, `squeeze`, `activation` and `ops`"
                .into(),
        );
    }
    let skips = alike.skip.iter().map(|name| {
        Skip::named(name)
            .ok_or_else(|| format!("unknown skip `{name}`; known are none, pool, identity"))
    });
    let skips = skips.collect::<Result<Vec<Skip>, _>>()?;
    if skips.is_empty() || !skips.windows(2).all(|pair| (pair[0] as u8) < pair[1] as u8) {
        return Err("expected `skip` of some of none, pool, identity, in this order".into());
    }
    if !ascending(&alike.kernel) || alike.ops.is_empty() || !growing(&alike.squeeze) {
        return Err("expected `ops`, and ascending `kernel` sides and `squeeze` ratios".into());
    }
    let counts = [alike.ops.len(), alike.kernel.len(), alike.squeeze.len(), skips.len()];
    let widths = alike.filters.len();
    // Each is built between any two widths, once, when the space is read.
    let built = counts.into_iter().chain([widths, widths]).fold(1, usize::saturating_mul);
    if built > MOST_BUILT {
        return Err(format!(
            "expected `ops` x `kernel` x `squeeze` x `skip` x `filters`^2 of at most 100,000, found {built}"
        ));
    }
    let mut options: Vec<Template> = Vec::new();
    for op in &alike.ops {
        if !Template::has_kernel(op) {
            return Err(format!("expected conv, dsconv or mbconv among `ops`, found `{op}`"));
        }
        for kernel in &alike.kernel {
            for ratio in &alike.squeeze {
                let gate = if *ratio > 0.0 { format!(" se{ratio}") } else { String::new() };
                let text = format!("{op} k{kernel}{gate}");
                let template = Template::parse(&text).map_err(|error| error.to_string())?;
                let with = |&skip| Template { skip: Some(skip), ..template.clone() };
                if options.contains(&with(&skips[0])) {
                    return Err(format!("expected each of `ops` once, found `{op}` twice"));
                }
                options.extend(skips.iter().map(with));
            }
        }
    }
    Ok(options)
}

fn widths(spec: &StageSpec, alike: &AlikeSpec) -> Result<Vec<usize>, String> {
    let width = |ratio: &f64| (spec.width as f64 * ratio).round() as usize;
    let widths: Vec<usize> = alike.filters.iter().map(width).collect();
    if ascending(&widths) { Ok(widths) } else { Err("expected ascending `filters` above 0".into()) }
}

/// Whether ratios ascend from 0 or more.
fn growing(ratios: &[f64]) -> bool {
    ratios.first().is_some_and(|&first| first >= 0.0)
        && ratios.windows(2).all(|pair| pair[0] < pair[1])
}
