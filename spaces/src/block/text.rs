//! A block as one line of text.

use std::{fmt, str::FromStr};

use super::{Activation, Block, Op, Skip};
use crate::{Error, Result, Shape};

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        let (mut squeezed, mut last) = (None, Activation::None);
        match self.op {
            Op::Conv { kernel, stride, squeeze, activation, .. }
            | Op::Separable { kernel, stride, squeeze, activation, .. } => {
                write!(f, " k{kernel} s{stride}")?;
                (squeezed, last) = (squeeze, activation);
            }
            Op::MbConv { kernel, middle, stride, squeeze, activation, .. } => {
                write!(f, " k{kernel} m{middle} s{stride}")?;
                (squeezed, last) = (squeeze, activation);
            }
            Op::Pool => {}
            Op::Linear { bias, activation } => {
                if !bias {
                    f.write_str(" nobias")?;
                }
                last = activation;
            }
        }
        if let Some(squeeze) = squeezed {
            write!(f, " se{squeeze}")?;
        }
        if let Some(name) = last.name() {
            write!(f, " {name}")?;
        }
        if let Some(token) = self.skip().token() {
            write!(f, " {token}")?;
        }
        write!(f, " {} -> {}", self.input, self.output)
    }
}

impl FromStr for Block {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fail = |reason: String| Error::Block { text: text.to_owned(), reason };
        let words: Vec<&str> = text.split_whitespace().collect();
        let [kind, tokens @ .., input, "->", output] = &words[..] else {
            return Err(fail("expected `KIND TOKENS INPUT -> OUTPUT`".to_owned()));
        };
        let (input, output): (Shape, Shape) = (input.parse()?, output.parse()?);
        let op = Tokens::read(tokens).map_err(fail)?.op(kind).map_err(fail)?;
        let block = Self::new(op, input, output.channels)?;
        if block.output != output {
            return Err(fail(format!("expected the output shape {}", block.output)));
        }
        if block.to_string() != words.join(" ") {
            return Err(fail(format!("expected the order `{block}`")));
        }
        Ok(block)
    }
}

/// The words between a block's kind and its shapes.
#[derive(Default)]
struct Tokens {
    kernel: Option<usize>,
    middle: Option<usize>,
    stride: Option<usize>,
    squeeze: Option<usize>,
    nobias: bool,
    activation: Activation,
    skip: Skip,
}

impl Tokens {
    fn read(words: &[&str]) -> std::result::Result<Self, String> {
        let mut tokens = Self::default();
        for &word in words {
            let number = |prefix: &str| {
                word.strip_prefix(prefix).and_then(|rest| rest.parse::<usize>().ok())
            };
            if let Some(activation) = Activation::named(word) {
                tokens.activation = activation;
            } else if word == "res" {
                tokens.skip = Skip::Identity;
            } else if word == "respool" {
                tokens.skip = Skip::Pool;
            } else if word == "nobias" {
                tokens.nobias = true;
            } else if let Some(n) = number("k") {
                tokens.kernel = Some(n);
            } else if let Some(n) = number("m") {
                tokens.middle = Some(n);
            } else if let Some(n) = number("se") {
                tokens.squeeze = Some(n);
            } else if let Some(n) = number("s") {
                tokens.stride = Some(n);
            } else {
                return Err(format!("unknown token `{word}`"));
            }
        }
        Ok(tokens)
    }

    fn op(&self, kind: &str) -> std::result::Result<Op, String> {
        let need =
            |value: Option<usize>, token: &str| value.ok_or(format!("expected a token `{token}`"));
        let (activation, skip, squeeze) = (self.activation, self.skip, self.squeeze);
        Ok(match kind {
            "conv" => Op::Conv {
                kernel: need(self.kernel, "k")?,
                stride: need(self.stride, "s")?,
                squeeze,
                activation,
                skip,
            },
            "dsconv" => Op::Separable {
                kernel: need(self.kernel, "k")?,
                stride: need(self.stride, "s")?,
                squeeze,
                activation,
                skip,
            },
            "mbconv" => Op::MbConv {
                kernel: need(self.kernel, "k")?,
                middle: need(self.middle, "m")?,
                stride: need(self.stride, "s")?,
                squeeze,
                activation,
                skip,
            },
            "pool" => Op::Pool,
            "linear" => Op::Linear { bias: !self.nobias, activation },
            _ => {
                return Err(format!(
                    "unknown kind `{kind}`; known are conv, dsconv, mbconv, pool, linear"
                ));
            }
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn wrong_lines_say_what_is_wrong() {
        for (line, reason) in [
            ("mbconv k4 m144 s2 24x56x56 -> 40x28x28", "odd kernel"),
            ("mbconv k3 s2 24x56x56 -> 40x28x28", "a token `m`"),
            ("mbconv k3 m144 s2 24x56x56 -> 40x29x28", "output shape 40x28x28"),
            ("mbconv k3 m144 s2 res 24x56x56 -> 24x28x28", "equal shapes"),
            ("conv k3 s2 gelu 3x8x8 -> 8x4x4", "unknown token `gelu`"),
            ("conv s2 k3 3x8x8 -> 8x4x4", "the order"),
            ("bottleneck k3 3x8x8 -> 8x4x4", "unknown kind"),
            ("linear 3x8x8 -> 8x1x1", "1x1 before"),
            ("conv k3 s2 3x8x8", "INPUT -> OUTPUT"),
            ("conv k4294967297 s1 1x1x1 -> 1x1x1", "at most 255"),
            ("mbconv k3 m4611686018427387904 s1 1x4x4 -> 1x4x4", "at most 65,536 channels"),
            ("conv k3 s1 se0 8x4x4 -> 8x4x4", "inside squeeze-and-excite"),
        ] {
            let message = line.parse::<Block>().unwrap_err().to_string();
            assert!(message.contains(reason), "{line}: {message}");
        }
    }
}
