//! Gradients of gates against numerical ones, and what a step of the architecture needs of memory.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{fs, process::Command};

use super::*;
use crate::{layout, proxyless::gradient::to_alphas, tests::alone};

fn space(ops: &str, width: usize, layers: usize) -> Space {
    let text = format!(
        r#"
name = "candidates"
input = "1x9x9"
classes = 3
stem = ["conv k3 s1 relu6 o{width}"]
head = ["conv k1 s1 hswish o16", "pool", "linear"]
[[stages]]
width = {width}
stride = 1
depth = [{layers}]
ops = [{ops}]
"#
    );
    Space::from_toml("candidates", &text).unwrap()
}

fn batch(images: i64) -> (Tensor, Tensor) {
    tch::manual_seed(7);
    let x = Tensor::randn([images, 1, 9, 9], (Kind::Float, Device::Cpu));
    let targets = Tensor::arange(images, (Kind::Int64, Device::Cpu)).remainder(3);
    (layout::channels_last(&x, Device::Cpu), targets)
}

impl Candidates {
    /// The entropy where every choice adds all its candidates up, each times its gate.
    fn mixed(&self, images: &Tensor, targets: &Tensor, gates: &[Vec<f64>]) -> f64 {
        let mut mode = Mode::Train { dropout: 0.0 };
        let (mut x, mut choice) = (images.shallow_clone(), 0);
        for place in &self.places {
            match place {
                Place::Fixed(slot, block) => x = self.supernet.block(&x, *slot, block, &mut mode),
                Place::Choice(slot, options) => {
                    // All choices of this space keep their shape.
                    let mut y = x.copy();
                    for (block, gate) in options.iter().zip(&gates[choice]) {
                        if let Some(block) = block {
                            y += (self.supernet.block(&x, *slot, block, &mut mode) - &x) * *gate;
                        }
                    }
                    (x, choice) = (y, choice + 1);
                }
            }
        }
        ops::cross_entropy(&x, targets, 0.0).double_value(&[])
    }
}

fn softmax(alphas: &[f64]) -> Vec<f64> {
    let sum: f64 = alphas.iter().map(|a| a.exp()).sum();
    alphas.iter().map(|a| a.exp() / sum).collect()
}

/// At fixed gates `g`: by the gates themselves, and by alpha where `g` moves as `softmax(alpha)` does. A skip is on the
/// path once, next to a layer that is no skip.
#[test]
fn gradients_of_gates_and_alphas_are_the_numerical_ones() {
    let _alone = alone();
    numerical(r#""skip", "mbconv k3 e2 hswish", "mbconv k5 e3 hswish", "mbconv k7 e2 hswish""#);
    // A convolution has no residual.
    numerical(r#""skip", "mbconv k3 e2 hswish", "conv k3 hswish", "mbconv k7 e2 hswish""#);
}

fn numerical(ops: &str) {
    let candidates = Candidates::new(&space(ops, 8, 3), Device::Cpu, 4).unwrap();
    let (images, targets) = batch(48);
    let path = [2, 0, 1];
    let asked = vec![(0..4).collect::<Vec<_>>(); 3];
    let found = candidates.gate_gradients(&images, &targets, &path, &asked);
    let fixed: Vec<Vec<f64>> =
        path.iter().map(|&on| (0..4).map(|k| f64::from(u8::from(k == on))).collect()).collect();
    let at = |gates: &[Vec<f64>]| no_grad(|| candidates.mixed(&images, &targets, gates));
    assert!((found.entropy - at(&fixed)).abs() < 1e-5);
    let near = |a: f64, b: f64| (a - b).abs() < 0.02 * b.abs() + 2e-4;
    let alphas = [0.4, -0.3, 0.1, 0.8];
    let p = softmax(&alphas);
    let small = 0.01;
    for choice in 0..3 {
        assert!(found.slopes[choice][0].abs() < f64::MIN_POSITIVE, "a skip adds nothing");
        let by_alpha = to_alphas(&found.slopes[choice], &p);
        for option in 0..4 {
            let by_gate = |by: f64| {
                let mut gates = fixed.clone();
                gates[choice][option] += by;
                at(&gates)
            };
            let slope = (by_gate(small) - by_gate(-small)) / (2.0 * small);
            let own = found.slopes[choice][option];
            assert!(near(own, slope), "gate {option} of {choice}: {own} {slope}");
            let by_softmax = |by: f64| {
                let mut alphas = alphas;
                alphas[option] += by;
                let mut gates = fixed.clone();
                let moved = softmax(&alphas);
                gates[choice].iter_mut().enumerate().for_each(|(k, gate)| *gate += moved[k] - p[k]);
                at(&gates)
            };
            let slope = (by_softmax(4.0 * small) - by_softmax(-4.0 * small)) / (8.0 * small);
            let own = by_alpha[option];
            assert!(near(own, slope), "alpha {option} of {choice}: {own} {slope}");
        }
    }
    let largest = found.slopes.iter().flatten().fold(0.0_f64, |most, slope| most.max(slope.abs()));
    assert!(largest > 5e-3, "gradients that are all small prove nothing: {largest}");
}

/// Weights are not touched by a step of the architecture, and some candidates can be asked for alone.
#[test]
fn a_step_of_the_architecture_leaves_the_weights_gradients_alone() {
    let _alone = alone();
    let ops = r#""skip", "mbconv k3 e2 relu6", "mbconv k5 e3 relu6""#;
    let candidates = Candidates::new(&space(ops, 8, 2), Device::Cpu, 4).unwrap();
    let (images, targets) = batch(16);
    let parameters = candidates.supernet().parameters();
    parameters.clear_gradients();
    let all = vec![vec![0, 1, 2]; 2];
    let every = candidates.gate_gradients(&images, &targets, &[1, 2], &all);
    let some = candidates.gate_gradients(&images, &targets, &[1, 2], &[vec![1, 2], vec![2, 0]]);
    assert!(parameters.gradients().abs().sum(Kind::Float).double_value(&[]) < f64::MIN_POSITIVE);
    for (choice, option, place) in [(0, 1, 0), (0, 2, 1), (1, 2, 0), (1, 0, 1)] {
        let (a, b) = (every.slopes[choice][option], some.slopes[choice][place]);
        assert!((a - b).abs() < 1e-6 * a.abs() + 1e-9, "{a} {b}");
    }
}

#[test]
fn a_path_is_the_network_of_its_genotype() {
    let _alone = alone();
    for preset in ["proxyless-28", "nas-bench-macro"] {
        let space = Space::preset(preset).unwrap();
        let candidates = Candidates::new(&space, Device::Cpu, 0).unwrap();
        assert_eq!(candidates.sizes(), space.choices().iter().map(|c| c.size).collect::<Vec<_>>());
        let mut random = netfit_spaces::Random::new(0, "paths");
        for _ in 0..20 {
            let genotype = space.sample(&mut random);
            let path: Vec<usize> = genotype.values().iter().map(|&v| usize::from(v)).collect();
            assert_eq!(candidates.genotype(&path).unwrap(), genotype);
            assert_eq!(candidates.blocks(&path), space.blocks(&genotype));
        }
    }
}

#[test]
fn spaces_of_other_choices_are_refused() {
    let message = |space: &Space| Candidates::new(space, Device::Cpu, 0).err().unwrap().to_string();
    let elastic = message(&Space::preset("ofa-28").unwrap());
    assert!(elastic.contains("`ofa-28`") && elastic.contains("hint: give every stage `ops`"));
    let mut spec = Space::preset("proxyless-28").unwrap().spec().clone();
    spec.stem.clear();
    assert!(message(&Space::new(spec).unwrap()).contains("expected a block in `stem`"));
}

const CANDIDATES: &str = "NETFIT_TEST_CANDIDATES";

/// Bytes of this process's memory now and at its peak.
#[cfg(target_os = "linux")]
fn memory() -> (f64, f64) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        1024.0 * line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap()
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// One process of the test below: the peak of a step of the architecture above what is there before it.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "started by the test of memory"]
fn memory_of_one_step() {
    let Ok(count) = std::env::var(CANDIDATES) else { return };
    // The candidate on the path is the largest, whatever their number.
    let ops = [
        r#""mbconv k3 e3 relu6""#,
        r#""mbconv k3 e4 relu6""#,
        r#""mbconv k5 e3 relu6""#,
        r#""mbconv k5 e4 relu6""#,
        r#""mbconv k5 e6 relu6""#,
        r#""skip""#,
        r#""mbconv k7 e6 relu6""#,
    ];
    let kept = &ops[ops.len() - count.parse::<usize>().unwrap()..];
    let mut ordered: Vec<&str> = kept.iter().copied().filter(|op| *op != r#""skip""#).collect();
    ordered.insert(0, r#""skip""#);
    tch::set_num_threads(1);
    let candidates = Candidates::new(&space(&ordered.join(", "), 24, 6), Device::Cpu, 0).unwrap();
    let (images, targets) = batch(64);
    let asked = vec![(0..ordered.len()).collect::<Vec<_>>(); 6];
    let path = vec![ordered.len() - 1; 6];
    let step = || drop(candidates.gate_gradients(&images, &targets, &path, &asked));
    // The first step fills caches of compiled kernels.
    step();
    let before = memory().0;
    fs::write("/proc/self/clear_refs", "5").unwrap();
    step();
    println!("peak {}", memory().1 - before);
}

/// In a fresh process each: peak memory above weights, gradients and optimiser state.
#[cfg(target_os = "linux")]
#[test]
fn a_step_of_the_architecture_takes_no_more_memory_for_seven_candidates_than_for_three() {
    let peak = |candidates: &str| {
        let name = "proxyless::supernet::tests::memory_of_one_step";
        let output = Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--ignored", "--nocapture"])
            .env(CANDIDATES, candidates)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find_map(|line| line.split("peak ").nth(1));
        line.unwrap_or_else(|| panic!("{text}")).trim().parse::<f64>().unwrap()
    };
    let (three, seven) = (peak("3"), peak("7"));
    println!("three candidates {three} bytes, seven {seven}");
    assert!(three > 4e6, "{three} bytes are too few to tell");
    assert!(seven <= 1.1 * three, "{seven} bytes against {three}");
}
