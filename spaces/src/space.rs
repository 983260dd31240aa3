//! Search spaces: categorical choices, some inactive under others, and the network that each genotype stands for.

mod covering;

use std::path::Path;

use crate::{
    Block, Choice, ChoiceKind, Error, Genotype, Network, Result, Shape, Slot,
    network::short_hash,
    spec::{PRESETS, SpaceSpec, Template},
    stage::{Stage, add_choice, ascending},
    variation::opens,
};

/// Values of a choice at most: one digit of base 36 in a genotype.
const MAX_OPTIONS: usize = 36;

/// A search space. Built from a preset, a TOML file or a [`SpaceSpec`]; checked as a whole when it is built.
#[derive(Clone, Debug)]
pub struct Space {
    spec: SpaceSpec,
    id: String,
    inputs: Vec<Shape>,
    stem: Vec<Template>,
    stages: Vec<Stage>,
    head: Vec<Template>,
    choices: Vec<Choice>,
    resolution: Option<usize>,
    /// The choices that an encoding holds.
    encoded: Vec<usize>,
    opens: Vec<bool>,
}

impl Space {
    /// A preset by name, or a TOML file by path (anything with a `/` or ending in `.toml`).
    ///
    /// # Errors
    /// An unknown preset, an unreadable file, an unknown key or a space that contradicts itself.
    pub fn load(name: &str) -> Result<Self> {
        if !Self::is_file(name) {
            return Self::preset(name);
        }
        let text = std::fs::read_to_string(name)
            .map_err(|source| Error::Read { path: name.into(), source })?;
        Self::from_toml(name, &text)
    }

    /// Whether [`Space::load`] takes `name` for the path of a file.
    pub fn is_file(name: &str) -> bool {
        name.contains('/') || Path::new(name).extension().is_some_and(|end| end == "toml")
    }

    /// One of [`PRESETS`].
    ///
    /// # Errors
    /// An unknown name.
    pub fn preset(name: &str) -> Result<Self> {
        match PRESETS.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => Self::from_toml(name, text),
            None => Err(Error::UnknownSpace {
                name: name.to_owned(),
                presets: PRESETS.iter().map(|(known, _)| *known).collect(),
            }),
        }
    }

    /// A space from the text of a TOML file; `name` stands in errors.
    ///
    /// # Errors
    /// An unknown key or a space that contradicts itself.
    pub fn from_toml(name: &str, text: &str) -> Result<Self> {
        let toml = |error: toml::de::Error| Error::Toml {
            name: name.to_owned(),
            message: error.to_string(),
        };
        Self::new(toml::from_str(text).map_err(toml)?)
    }

    /// The space that a specification describes.
    ///
    /// # Errors
    /// A space that contradicts itself.
    pub fn new(spec: SpaceSpec) -> Result<Self> {
        let fail = |reason: String| Error::Space { space: spec.name.clone(), reason };
        let shape = spec.input.parse::<Shape>();
        let input = shape.map_err(|error| fail(format!("`input`: {error}")))?;
        let inputs = inputs(input, &spec.resolutions).map_err(fail)?;
        if spec.classes < 2 || spec.stages.is_empty() || spec.head.is_empty() {
            return Err(fail(
                "expected at least 2 classes, one stage and one block of the head".into(),
            ));
        }
        let mut choices = Vec::new();
        let resolution = add_choice(&mut choices, ChoiceKind::Resolution, inputs.len(), None);
        let templates = |part: &str, texts: &[String]| {
            let parsed = texts.iter().map(|text| Template::parse(text)).collect::<Result<Vec<_>>>();
            parsed.map_err(|error| fail(format!("`{part}`: {error}")))
        };
        let (stem, head) = (templates("stem", &spec.stem)?, templates("head", &spec.head)?);
        let mut stages = Vec::new();
        let mut channels = stem.iter().rev().find_map(|block| block.width);
        for (index, stage) in spec.stages.iter().enumerate() {
            let inputs = channels.unwrap_or(input.channels);
            let built = Stage::new(index, stage, inputs, &mut choices);
            stages.push(built.map_err(|error| fail(format!("stage {}: {error}", index + 1)))?);
            // After a choice of widths none is sure to stay.
            channels = stages.last().map(|stage: &Stage| match stage.widths[..] {
                [width] => width,
                _ => 0,
            });
        }
        if let Some(choice) = choices.iter().find(|choice| choice.size > MAX_OPTIONS) {
            let (expected, found) = (MAX_OPTIONS, choice.size);
            return Err(fail(format!(
                "expected at most {expected} values of a choice, found {found}: a genotype has a digit for each"
            )));
        }
        let nameless = SpaceSpec { name: String::new(), ..spec.clone() };
        let text = toml::to_string(&nameless).map_err(|error| fail(error.to_string()))?;
        let space = Self {
            id: short_hash(&text),
            encoded: encoded(&choices),
            opens: opens(&choices),
            spec,
            inputs,
            stem,
            stages,
            head,
            choices,
            resolution,
        };
        space.check()?;
        Ok(space)
    }

    /// Builds every block once, so that no genotype can fail later.
    fn check(&self) -> Result<()> {
        for genotype in self.combinations() {
            let blocks = self.try_blocks(&genotype);
            let network = |blocks: Vec<(_, Block)>| {
                Network::new(blocks.into_iter().map(|(_, block)| block).collect())
            };
            blocks.and_then(network).map_err(|error| match error {
                Error::Space { .. } => error,
                of_block => {
                    Error::Space { space: self.spec.name.clone(), reason: of_block.to_string() }
                }
            })?;
        }
        let last = self.network(&self.largest());
        if last.blocks().last().is_none_or(|block| block.kind() != "linear") {
            let reason = "expected the head to end in `pool` and `linear`".into();
            return Err(Error::Space { space: self.spec.name.clone(), reason });
        }
        if last.classes() != self.spec.classes {
            let reason = format!(
                "expected the head to end in {} classes, found {}; hint: leave `o` out of its last template",
                self.spec.classes,
                last.classes()
            );
            return Err(Error::Space { space: self.spec.name.clone(), reason });
        }
        Ok(())
    }

    /// The same space for another task: its input shape and number of classes are replaced.
    ///
    /// # Errors
    /// A shape that the space cannot take.
    pub fn for_task(&self, input: Shape, classes: usize) -> Result<Self> {
        Self::new(SpaceSpec { input: input.to_string(), classes, ..self.spec.clone() })
    }

    /// Its name, for people.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// What it was built from.
    pub fn spec(&self) -> &SpaceSpec {
        &self.spec
    }

    /// A hash of its content (not its name): tables, journals, predictors and checkpoints carry it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its choices, in a genotype's order.
    pub fn choices(&self) -> &[Choice] {
        &self.choices
    }

    /// For each choice, whether it is the first of those that are mutated together.
    pub(crate) fn opens(&self) -> &[bool] {
        &self.opens
    }

    /// The choices that an encoding holds, in order.
    pub(crate) fn encoded(&self) -> impl Iterator<Item = (usize, &Choice)> {
        self.encoded.iter().map(|&index| (index, &self.choices[index]))
    }

    /// Shapes of one input image that networks of this space can have.
    pub fn inputs(&self) -> &[Shape] {
        &self.inputs
    }

    /// Searched layers of the deepest network.
    pub fn layers(&self) -> usize {
        self.stages.iter().map(|stage| stage.layers.len()).sum()
    }

    /// The genotype that `text` is, made canonical; `smallest` and `largest` name these two.
    ///
    /// # Errors
    /// Another number of choices, or a value that its choice does not have.
    pub fn parse(&self, text: &str) -> Result<Genotype> {
        let genotype: std::result::Result<Genotype, String> = text.trim().parse();
        let checked = genotype
            .map_err(|reason| self.no_genotype(text, reason))
            .and_then(|genotype| self.checked(genotype));
        match text.trim() {
            "smallest" => checked.or_else(|_| Ok(self.smallest())),
            "largest" => checked.or_else(|_| Ok(self.largest())),
            _ => checked,
        }
    }

    /// The genotype of these values, one for each choice, made canonical.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn genotype(&self, values: &[u8]) -> Result<Genotype> {
        self.checked(Genotype(values.into()))
    }

    fn checked(&self, genotype: Genotype) -> Result<Genotype> {
        let fail = |reason| self.no_genotype(&genotype.to_string(), reason);
        if genotype.0.len() != self.choices.len() {
            return Err(fail(format!(
                "expected {} choices, found {}",
                self.choices.len(),
                genotype.0.len()
            )));
        }
        for (index, (&value, choice)) in genotype.0.iter().zip(&self.choices).enumerate() {
            if usize::from(value) >= choice.size {
                return Err(fail(format!(
                    "choice {} has the values 0 to {}, found {value}",
                    index + 1,
                    choice.size - 1
                )));
            }
        }
        Ok(self.canonical(genotype))
    }

    fn no_genotype(&self, text: &str, reason: String) -> Error {
        Error::Genotype { genotype: text.to_owned(), space: self.spec.name.clone(), reason }
    }

    /// Sets inactive choices to 0. Conditions point backwards, so one pass is enough.
    pub(crate) fn canonical(&self, mut genotype: Genotype) -> Genotype {
        let values = &mut genotype.0[..];
        for (index, choice) in self.choices.iter().enumerate() {
            if !choice.active(values) {
                values[index] = 0;
            }
        }
        genotype
    }

    /// Whether the choice at `index` matters in this genotype.
    pub fn active(&self, genotype: &Genotype, index: usize) -> bool {
        self.choices[index].active(&genotype.0)
    }

    /// The genotype with every choice at its last value: the full network of an elastic space.
    pub fn largest(&self) -> Genotype {
        Genotype(self.choices.iter().map(|choice| choice.size as u8 - 1).collect())
    }

    /// The genotype with every choice at its first value.
    pub fn smallest(&self) -> Genotype {
        Genotype(smallvec::smallvec![0; self.choices.len()])
    }

    /// The network of a genotype.
    ///
    /// # Panics
    /// Never for what this space hands out: it is checked when it is built.
    pub fn network(&self, genotype: &Genotype) -> Network {
        let blocks = self.blocks(genotype).into_iter().map(|(_, block)| block).collect();
        Network::new(blocks).expect("a space is checked when it is built")
    }

    /// The blocks of a genotype's network with the slots where they stand.
    ///
    /// # Panics
    /// Never for what this space hands out: it is checked when it is built.
    pub fn blocks(&self, genotype: &Genotype) -> Vec<(Slot, Block)> {
        self.try_blocks(genotype).expect("a space is checked when it is built")
    }

    /// Base-10 logarithm of the number of canonical genotypes.
    pub fn log10_size(&self) -> f64 {
        let stages = self.stages.iter().map(|stage| stage.size().log10());
        stages.sum::<f64>() + (self.inputs.len() as f64).log10()
    }

    fn try_blocks(&self, genotype: &Genotype) -> Result<Vec<(Slot, Block)>> {
        let value =
            |choice: Option<usize>| choice.map_or(0, |index| usize::from(genotype.0[index]));
        let mut shape = self.inputs[value(self.resolution)];
        let mut placed = Vec::new();
        let mut push =
            |slot, template: &Template, stride, width, shape: &mut Shape| -> Result<()> {
                if let Some(block) = template.block(*shape, stride, width)? {
                    *shape = block.output();
                    placed.push((slot, block));
                }
                Ok(())
            };
        for (index, template) in self.stem.iter().enumerate() {
            let width = template.width.unwrap_or(shape.channels);
            push(Slot::Stem(index), template, template.stride.unwrap_or(1), width, &mut shape)?;
        }
        for (number, stage) in self.stages.iter().enumerate() {
            let width = stage.widths[value(stage.width)];
            for layer in 0..stage.depths[value(stage.depth)] {
                let template = stage.template(layer, stage.layers[layer].option(genotype));
                let stride = if layer == 0 { stage.stride } else { 1 };
                push(Slot::Layer { stage: number, layer }, &template, stride, width, &mut shape)?;
            }
        }
        for (index, template) in self.head.iter().enumerate() {
            let last = index + 1 == self.head.len();
            let width =
                template.width.unwrap_or(if last { self.spec.classes } else { shape.channels });
            push(Slot::Head(index), template, template.stride.unwrap_or(1), width, &mut shape)?;
        }
        Ok(placed)
    }
}

/// All choices but those that others depend on: a depth is told by its layers, where each has choices of its own.
fn encoded(choices: &[Choice]) -> Vec<usize> {
    let told = |index: usize| {
        choices.iter().any(|choice| {
            !matches!(choice.kind, ChoiceKind::Skip { .. })
                && choice.condition.is_some_and(|(on, _)| on == index)
        })
    };
    (0..choices.len()).filter(|&index| !told(index)).collect()
}

/// The input's shape at each resolution, or its own alone where there are none.
fn inputs(input: Shape, resolutions: &[usize]) -> std::result::Result<Vec<Shape>, String> {
    if resolutions.is_empty() {
        return Ok(vec![input]);
    }
    if !ascending(resolutions) || resolutions.iter().any(|&side| side > 1 << 20) {
        return Err(format!(
            "expected ascending `resolutions` from 1 to 1,048,576, found {resolutions:?}"
        ));
    }
    Ok(resolutions.iter().map(|&side| Shape::new(input.channels, side, side)).collect())
}
