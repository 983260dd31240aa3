//! What `netfit` asks of `netfit-torch`, and what it answers: one JSON object a line, on a pipe.
//!
//! The first request is [`Request::Open`]. Each request is answered by any number of [`Event::Progress`] lines
//! and then exactly one [`Event::Done`] or [`Event::Failed`].

mod proxyless;

use std::path::PathBuf;

use netfit_data::{DataSpec, Splits};
use netfit_spaces::{Genotype, SpaceSpec, short_hash};
use serde::{Deserialize, Serialize};

pub use proxyless::{ChoiceLatency, LatencyLoss, Proxyless, ProxylessFound, Update};

/// One request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
// One is made for each request, which takes far longer than moving it.
#[allow(clippy::large_enum_variant)]
pub enum Request {
    /// Names the space, the data and the run folder of all that follows. Any space can be opened.
    Open(Open),
    /// Makes the supernet, or reads its last checkpoint: what cannot be trained as one is refused now. Done without a
    /// value.
    Prepare,
    /// Trains the supernet, or goes on from its last checkpoint. Done without a value.
    Train,
    /// Accuracy of subnets on the held-out part of the training set, each after BN re-calibration.
    /// Done with `{"accuracies": [...]}`, fractions of 1.
    Evaluate {
        /// The subnets.
        genotypes: Vec<Genotype>,
    },
    /// Cuts a subnet out of the supernet, re-calibrates it and writes its weights (safetensors). Done without a value.
    Extract {
        /// The subnet.
        genotype: Genotype,
        /// Where its weights go.
        weights: PathBuf,
    },
    /// Trains one network of its own from scratch, or goes on from its last checkpoint. Done with `{"accuracy": ...}` on
    /// the held-out part of the training set, after BN re-calibration, a fraction of 1.
    TrainNetwork {
        /// The network.
        genotype: Genotype,
        /// How it is trained, with the settings of `Open` that [`Training::of_networks`] keeps.
        scratch: Scratch,
        /// Where its weights go, as `Extract` writes them; none: nowhere.
        weights: Option<PathBuf>,
    },
    /// Refuses settings and a space that cannot be trained as a supernet of candidates. Done without a value.
    PrepareProxyless {
        /// How its architecture would be learnt.
        options: Proxyless,
    },
    /// Trains a supernet of candidates and its architecture, or goes on from the last checkpoint. Done with a
    /// [`ProxylessFound`].
    TrainProxyless {
        /// How the architecture is learnt.
        options: Proxyless,
        /// What a network of the space takes.
        latency: ChoiceLatency,
    },
    /// Logits of a stand-alone network on the first images of the test set, on the CPU and in 32 bits wherever training
    /// runs: a check of exported files. Done with `{"logits": [[...], ...]}`.
    Logits {
        /// The network's genotype.
        genotype: Genotype,
        /// Its weights, as `Extract` or `TrainNetwork` wrote them.
        weights: PathBuf,
        /// How many images.
        images: usize,
    },
}

/// The circumstances of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Open {
    /// The search space; its input shape and classes are the data's.
    pub space: SpaceSpec,
    /// The data set.
    pub data: DataSpec,
    /// How it is trained.
    pub training: Training,
    /// The run folder; checkpoints go to `checkpoints/` in it.
    pub run: PathBuf,
    /// Everything random follows from it.
    pub seed: u64,
}

/// How a Once-for-All supernet is trained: the `[training]` table of a run's configuration.
///
/// Phases follow the published order and proportions (Cai et al., ICLR 2020; `train_ofa_net.py`): the full network,
/// then elastic kernel, depth {4,3}, depth {4,3,2}, expand {6,4}, expand {6,4,3}.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Training {
    /// Where it trains: `cpu`, `cuda:0`.
    pub device: String,
    /// Threads of a CPU; 0: all cores, and never more than these.
    pub threads: usize,
    /// What products are computed in; weights, their statistics and all sums stay in 32 bits.
    #[serde(skip_serializing_if = "is_default")]
    pub precision: Precision,
    /// Whether a GPU is kept to algorithms that give the same sums each time; a CPU's do.
    #[serde(skip_serializing_if = "is_default")]
    pub deterministic: bool,
    /// Images a step.
    pub batch: usize,
    /// Epochs of the full network.
    pub full_epochs: f64,
    /// Epochs of the five phases of progressive shrinking together, shared out 120 : 25 : 120 : 25 : 120 as published.
    pub shrink_epochs: f64,
    /// Peak learning rate of the full network (cosine schedule after a linear warm-up).
    pub full_learning_rate: f64,
    /// Peak learning rate of the kernel phase; the others keep the published proportions to it
    /// (3e-2 : 2.5e-3 : 7.5e-3 : 2.5e-3 : 7.5e-3).
    pub shrink_learning_rate: f64,
    /// Share of each phase spent on the linear warm-up.
    pub warmup: f64,
    /// Momentum of SGD (Nesterov).
    pub momentum: f64,
    /// Weight decay; not on batch normalisation or biases.
    pub weight_decay: f64,
    /// Label smoothing.
    pub label_smoothing: f64,
    /// Dropout before the classifier.
    pub dropout: f64,
    /// Weight of the soft cross-entropy against the full network in progressive shrinking.
    pub distillation: f64,
    /// Pixels by which an image is padded before it is cropped at random.
    pub pad: usize,
    /// Whether images are mirrored at random.
    pub flip: bool,
    /// Share of the training set that is held out for the search.
    pub holdout: f64,
    /// Training images for the re-calibration of batch normalisation.
    pub calibration_images: usize,
    /// Steps between two checkpoints.
    pub checkpoint_steps: u64,
}

impl Default for Training {
    fn default() -> Self {
        Self {
            device: "cpu".to_owned(),
            threads: 0,
            precision: Precision::Fp32,
            deterministic: false,
            batch: 128,
            full_epochs: 180.0,
            shrink_epochs: 425.0,
            full_learning_rate: 0.1,
            shrink_learning_rate: 0.06,
            warmup: 0.04,
            momentum: 0.9,
            weight_decay: 3e-5,
            label_smoothing: 0.1,
            dropout: 0.1,
            distillation: 1.0,
            pad: 2,
            flip: true,
            holdout: 1.0 / 6.0,
            calibration_images: 2000,
            checkpoint_steps: 500,
        }
    }
}

impl Training {
    /// The settings that decide what comes out: where it trains, its threads, its checkpoints and whether a GPU is kept
    /// deterministic may be others where a run goes on.
    #[must_use]
    pub fn fixed(&self) -> Self {
        Self {
            threads: 0,
            deterministic: false,
            checkpoint_steps: 0,
            device: String::new(),
            ..self.clone()
        }
    }

    /// Of those, the ones that networks trained from scratch share: batch, warm-up, momentum, weight decay, label
    /// smoothing, dropout, augmentation, held-out images and calibration. The others are blanked.
    #[must_use]
    pub fn of_networks(&self) -> Self {
        Self {
            full_epochs: 0.0,
            shrink_epochs: 0.0,
            full_learning_rate: 0.0,
            shrink_learning_rate: 0.0,
            distillation: 0.0,
            ..self.fixed()
        }
    }
}

/// What a training's products are computed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    #[default]
    Fp32,
    /// 32 bits of which a GPU's tensor cores read 10 of the mantissa.
    Tf32,
    /// Mixed precision: 16 bits with the exponent of 32, so that no loss has to be scaled (Kalamkar et al.,
    /// arXiv 1905.12322). On a CPU it is for tests: few have instructions for it.
    Bf16,
}

/// Settings that were not there in earlier versions are written only where they are used: identities of runs then stay.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How long and how fast a network is trained from scratch; everything else is [`Training`]'s.
///
/// SGD with Nesterov momentum, a linear warm-up and then half a cosine, cross-entropy with smoothed labels. MnasNet
/// trains each network that it samples for 5 epochs, its proxy for a training in full (Tan et al., CVPR 2019,
/// section 4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scratch {
    /// Epochs, more than 0; parts of one count.
    pub epochs: f64,
    /// Peak learning rate, more than 0.
    pub learning_rate: f64,
}

impl Scratch {
    /// The protocol's identity: accuracies are comparable only where it is the same. It covers every setting that
    /// decides a result, the images (not the folder they lie in) and the seed.
    ///
    /// # Panics
    /// Never: what it covers is text and numbers.
    pub fn protocol(&self, training: &Training, images: &Splits, seed: u64) -> String {
        let text = serde_json::to_string(&(self, training.of_networks(), images.hash(), seed));
        short_hash(text.expect("plain structures of text and numbers"))
    }
}

/// One line of an answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// How far a request has come.
    Progress {
        /// What is being done, for example `elastic kernel`.
        stage: String,
        /// Steps done, of `total`.
        done: u64,
        /// Steps in all.
        total: u64,
        /// Numbers for people, for example `loss 0.61`.
        note: String,
    },
    /// The request has been carried out.
    Done {
        /// What it asked for; null where it asks for nothing.
        #[serde(default)]
        value: serde_json::Value,
    },
    /// The request has failed; the process then ends.
    Failed {
        /// One line, with a hint.
        message: String,
    },
}
