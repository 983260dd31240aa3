//! Stages: which blocks their layers can be, and the choices between them.

use crate::{
    Activation, Choice, ChoiceKind, Genotype, Skip,
    spec::{Kind, StageSpec, Template},
};

/// Layers of a stage at most.
const MAX_DEPTH: usize = 64;

#[derive(Clone, Debug)]
pub(crate) struct Stage {
    /// Output channels to choose from.
    pub(crate) widths: Vec<usize>,
    /// The choice among them.
    pub(crate) width: Option<usize>,
    pub(crate) stride: usize,
    pub(crate) depths: Vec<usize>,
    pub(crate) depth: Option<usize>,
    /// Every template of a layer: kernels x expansion ratios (the ratio runs fastest), or the listed ops, of which a
    /// `skip` comes first.
    pub(crate) options: Vec<Template>,
    pub(crate) layers: Vec<LayerChoices>,
    /// How many skips its layers choose from, if they are all alike; they run fastest among the options, and its first
    /// layer has none.
    pub(crate) alike: Option<usize>,
}

/// A layer's choices; its option is `first` and the sum of each one's value times its step.
#[derive(Clone, Debug)]
pub(crate) struct LayerChoices {
    /// Index, number of values, step.
    digits: Vec<(usize, usize, usize)>,
    /// Its first option: 1 where the shape changes and cannot be skipped.
    first: usize,
}

impl Stage {
    pub(crate) fn new(
        index: usize,
        spec: &StageSpec,
        inputs: usize,
        choices: &mut Vec<Choice>,
    ) -> std::result::Result<Self, String> {
        if !ascending(&spec.depth) {
            return Err("expected ascending `depth` of at least 1".into());
        }
        if spec.width == 0 || spec.stride == 0 {
            return Err("expected a `width` and a `stride` of at least 1".into());
        }
        if spec.depth.iter().any(|&depth| depth > MAX_DEPTH) {
            return Err(format!("expected a `depth` of at most {MAX_DEPTH}"));
        }
        if let Some(alike) = &spec.alike {
            return Self::alike(index, spec, alike, choices);
        }
        let options = options(spec)?;
        let depth = add_choice(choices, ChoiceKind::Depth { stage: index }, spec.depth.len(), None);
        let deepest = spec.depth[spec.depth.len() - 1];
        let mut layers = Vec::new();
        for layer in 0..deepest {
            let least = spec.depth.iter().position(|&depth| depth > layer).unwrap_or(0) as u8;
            let condition = depth.filter(|_| least > 0).map(|choice| (choice, least));
            let changes = layer == 0 && (spec.stride > 1 || spec.width != inputs);
            let first = usize::from(changes && options[0].kind == Kind::Skip);
            let mut add = |kind, size| (add_choice(choices, kind, size, condition), size);
            let added = if spec.ops.is_empty() {
                vec![
                    add(ChoiceKind::Kernel { stage: index, layer }, spec.kernel.len()),
                    add(ChoiceKind::Expand { stage: index, layer }, spec.expand.len()),
                ]
            } else {
                vec![add(ChoiceKind::Op { stage: index, layer }, options.len() - first)]
            };
            layers.push(LayerChoices::new(&added, first));
        }
        Ok(Self {
            widths: vec![spec.width],
            width: None,
            stride: spec.stride,
            depths: spec.depth.clone(),
            depth,
            options,
            layers,
            alike: None,
        })
    }

    /// The option of a layer nearest to `option`, which counts on from the first again where there are fewer.
    pub(crate) fn nearest(&self, layer: usize, option: usize) -> usize {
        (option % self.options.len()).max(self.layers[layer].first)
    }

    /// Whether no layer has a block of its own at `option`.
    pub(crate) fn skips(&self, option: usize) -> bool {
        self.options[option % self.options.len()].kind == Kind::Skip
    }

    /// How many networks its layers can form.
    pub(crate) fn size(&self) -> f64 {
        let options = |layer: &LayerChoices| (self.options.len() - layer.first) as f64;
        let size = |&depth: &usize| match self.alike {
            Some(skips) => self.options.len() as f64 / if depth == 1 { skips as f64 } else { 1.0 },
            None => self.layers[..depth].iter().map(options).product::<f64>(),
        };
        self.widths.len() as f64 * self.depths.iter().map(size).sum::<f64>()
    }

    /// The template of a layer.
    pub(crate) fn template(&self, layer: usize, option: usize) -> Template {
        let template = self.options[option].clone();
        if layer == 0 && self.alike.is_some() {
            return Template { skip: Some(Skip::None), ..template };
        }
        template
    }
}

impl LayerChoices {
    /// Choices with their numbers of values, the last of which runs fastest; none: nothing to choose.
    pub(crate) fn new(added: &[(Option<usize>, usize)], first: usize) -> Self {
        let (mut digits, mut step) = (Vec::new(), 1);
        for &(choice, size) in added.iter().rev() {
            digits.extend(choice.map(|index| (index, size, step)));
            step *= size;
        }
        Self { digits, first }
    }

    pub(crate) fn option(&self, genotype: &Genotype) -> usize {
        let digits = self.digits.iter();
        self.first
            + digits.map(|&(index, _, step)| usize::from(genotype.0[index]) * step).sum::<usize>()
    }

    pub(crate) fn set(&self, genotype: &mut Genotype, option: usize) {
        for &(index, size, step) in &self.digits {
            genotype.0[index] = ((option - self.first) / step % size) as u8;
        }
    }
}

/// The ops that a stage lists.
fn listed(spec: &StageSpec) -> std::result::Result<Vec<Template>, String> {
    if !spec.kernel.is_empty()
        || !spec.expand.is_empty()
        || spec.activation.is_some()
        || spec.squeeze.is_some()
    {
        return Err(
            "expected either `ops`, or `kernel`, `expand`, `activation` and `squeeze`".into()
        );
    }
    let parsed: Vec<Template> = spec
        .ops
        .iter()
        .map(|op| Template::parse(op).map_err(|error| error.to_string()))
        .collect::<std::result::Result<_, _>>()?;
    let layers = |op: &Template| !matches!(op.kind, Kind::Pool | Kind::Linear);
    if let Some(place) = parsed.iter().position(|op| !layers(op)) {
        return Err(format!(
            "expected identity, skip, conv, dsconv or mbconv among `ops`, found `{}`; hint: pool and linear belong to \
             the head",
            spec.ops[place]
        ));
    }
    if let Some(place) = parsed.iter().position(|op| op.stride.or(op.width).is_some()) {
        return Err(format!(
            "expected no `s` and no `o` in `{}`: the stage has a `stride` and a `width`",
            spec.ops[place]
        ));
    }
    if let Some(place) = (1..parsed.len()).find(|&place| parsed[..place].contains(&parsed[place])) {
        return Err(format!("expected each of `ops` once, found `{}` twice", spec.ops[place]));
    }
    let skip = parsed.iter().rposition(|op| op.kind == Kind::Skip);
    if skip.is_some_and(|place| place > 0) || parsed.len() == 1 && skip.is_some() {
        return Err("expected `skip` first among `ops`, and another op after it".into());
    }
    Ok(parsed)
}

/// A stage's templates: kernels x expansion ratios, or its listed ops.
fn options(spec: &StageSpec) -> std::result::Result<Vec<Template>, String> {
    if !spec.ops.is_empty() {
        return listed(spec);
    }
    if !ascending(&spec.kernel) || spec.kernel.iter().any(|side| side.is_multiple_of(2)) {
        return Err("expected ascending, odd `kernel` sides".into());
    }
    if !ascending(&spec.expand) || spec.expand[0] < 2 {
        return Err("expected ascending `expand` ratios of at least 2".into());
    }
    if spec.squeeze.is_some_and(|ratio| !(ratio > 0.0 && ratio <= 1.0)) {
        return Err(
            "expected a `squeeze` above 0 and at most 1; hint: leave it out for none".into()
        );
    }
    let activation = match spec.activation.as_deref() {
        None => Activation::None,
        Some(name) => Activation::named(name)
            .ok_or_else(|| format!("unknown activation `{name}`; known are relu, relu6, hswish"))?,
    };
    let pairs = spec
        .kernel
        .iter()
        .flat_map(|&kernel| spec.expand.iter().map(move |&expand| (kernel, expand)));
    Ok(pairs
        .map(|(kernel, expand)| Template::mbconv(kernel, expand, spec.squeeze, activation))
        .collect())
}

/// Adds a choice unless there is nothing to choose; returns its index.
pub(crate) fn add_choice(
    choices: &mut Vec<Choice>,
    kind: ChoiceKind,
    size: usize,
    condition: Option<(usize, u8)>,
) -> Option<usize> {
    (size > 1).then(|| {
        choices.push(Choice { kind, size, condition });
        choices.len() - 1
    })
}

pub(crate) fn ascending(values: &[usize]) -> bool {
    values.first().is_some_and(|&first| first > 0)
        && values.windows(2).all(|pair| pair[0] < pair[1])
}
