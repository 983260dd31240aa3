//! Steps of the architecture.

use netfit_search::{Reward, job::Update};
use netfit_spaces::Random;
use tch::{Kind, Tensor, no_grad};

use super::{
    gradient::{reinforce, to_alphas, to_pair},
    trainer::{Now, ProxylessTrainer},
};
use crate::{Mode, Result};

/// A number for each option of each choice.
type PerOption = Vec<Vec<f64>>;

impl ProxylessTrainer {
    /// One step of the architecture.
    pub(super) fn learn(&mut self) -> Result<()> {
        let mut random = Random::at(self.origin.seed, "gates", &[self.learnt.updates]);
        match self.options.update {
            Update::FullV2 => {
                let path = self.learnt.architecture.sample(&mut random);
                let all: Vec<Vec<usize>> =
                    self.candidates.sizes().iter().map(|&size| (0..size).collect()).collect();
                let (slopes, p) = self.slopes(&path, &all)?;
                let gradient: Vec<Vec<f64>> =
                    slopes.iter().zip(&p).map(|(slopes, p)| to_alphas(slopes, p)).collect();
                self.learnt.architecture.step(&gradient);
            }
            Update::Two => {
                let pairs = self.learnt.architecture.pairs(&mut random);
                let path: Vec<usize> = pairs.iter().map(|pair| pair.active).collect();
                let asked: Vec<Vec<usize>> =
                    pairs.iter().map(|pair| pair.involved().to_vec()).collect();
                let (slopes, p) = self.slopes(&path, &asked)?;
                let gradient: Vec<Vec<f64>> = slopes
                    .iter()
                    .zip(&p)
                    .zip(&pairs)
                    .map(|((slopes, p), &pair)| to_pair([slopes[0], slopes[1]], p, pair))
                    .collect();
                self.learnt.architecture.step_pairs(&gradient, &pairs);
            }
            Update::Reinforce => self.reinforce(&mut random)?,
        }
        self.learnt.updates += 1;
        // A reward has its own price of latency.
        if self.options.update != Update::Reinforce {
            self.price.follow(self.now().expected_s);
        }
        self.learnt.lambda = self.price.lambda;
        Ok(())
    }

    /// The gradient of the loss, latency included, by the gates that are asked for; and the probabilities now.
    fn slopes(&mut self, path: &[usize], asked: &[Vec<usize>]) -> Result<(PerOption, PerOption)> {
        let (images, targets) = self.own_batch();
        let found = self.candidates.gate_gradients(&images, &targets, path, asked);
        let numbers = || found.slopes.iter().flatten().copied().chain([found.entropy]);
        if let Some(wrong) = numbers().find(|number| !number.is_finite()) {
            return Err(self.diverged(wrong));
        }
        let Now { probabilities, expected_s } = self.now();
        let shares = self.price.shares(found.entropy, expected_s);
        let mut slopes = found.slopes;
        for ((slopes, asked), seconds) in slopes.iter_mut().zip(asked).zip(&self.latency.options_s)
        {
            for (slope, &option) in slopes.iter_mut().zip(asked) {
                *slope = shares.entropy * *slope + shares.second * seconds[option];
            }
        }
        Ok((slopes, probabilities))
    }

    /// An update by the rewards of sampled paths on one batch.
    fn reinforce(&mut self, random: &mut Random) -> Result<()> {
        let (images, targets) = self.own_batch();
        let reward = Reward::Proxyless { exponent: self.options.reward_exponent };
        let (mut paths, mut rewards) = (Vec::new(), Vec::new());
        for _ in 0..self.options.networks {
            let path = self.learnt.architecture.sample(random);
            let blocks = self.candidates.blocks(&path);
            let mut mode = Mode::Train { dropout: 0.0 };
            let logits =
                no_grad(|| self.candidates.supernet().forward(&images, &blocks, &mut mode));
            let sum = logits.sum(Kind::Double).double_value(&[]);
            if !sum.is_finite() {
                return Err(self.diverged(sum));
            }
            let right = logits.argmax(-1, false).eq_tensor(&targets).mean(Kind::Float);
            rewards.push(reward.of(
                right.double_value(&[]),
                self.latency.of(&path),
                self.latency.target_s,
            ));
            paths.push(path);
        }
        let p = self.learnt.architecture.probabilities();
        let gradient = reinforce(&paths, &rewards, &p, &mut self.learnt.baseline);
        self.learnt.architecture.step(&gradient);
        Ok(())
    }

    /// The next batch of the architecture's own images.
    fn own_batch(&mut self) -> (Tensor, Tensor) {
        let training = &self.origin.training;
        let per_epoch = self.own_images.steps(training);
        let update = self.learnt.updates;
        self.own_images.batch(training, update / per_epoch, update % per_epoch)
    }
}
