//! What a panic says, in one line.
//!
//! tch panics where libtorch refuses an operation. The panic's text holds libtorch's message as a Rust literal on one
//! line: its words, then where it was raised and a backtrace.

use std::any::Any;

use crate::Error;

/// What stands before libtorch's message.
const OPENING: &str = "Torch(\"";
/// What libtorch says of a GPU and of a CPU whose memory does not suffice.
const SHORT_OF_MEMORY: [&str; 5] = [
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    // cuBLAS and cuDNN, of their work spaces.
    "ALLOC_FAILED",
    "ALLOCATION_FAILED",
];

/// What a caught panic stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// libtorch's own words, or those of a bug: their first line.
    pub words: String,
    /// Whether memory did not suffice.
    pub out_of_memory: bool,
}

impl Refusal {
    /// Reads what [`std::panic::catch_unwind`] has caught.
    pub fn of(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        let words = words(text.unwrap_or_default());
        let out_of_memory = SHORT_OF_MEMORY.iter().any(|memory| words.contains(memory));
        Self { words, out_of_memory }
    }
}

/// The error of a training that panicked.
pub(crate) fn error(panic: &(dyn Any + Send)) -> Error {
    let Refusal { words, out_of_memory } = Refusal::of(panic);
    let hint = if out_of_memory { "; hint: lower `[training] batch`" } else { "" };
    Error::Panicked { words, hint }
}

/// The first line of libtorch's message, or else of the text.
fn words(text: &str) -> String {
    let message = match text.split_once(OPENING) {
        Some((_, literal)) => unescaped(literal),
        None => text.to_owned(),
    };
    let line = message.lines().map(str::trim).find(|line| !line.is_empty());
    line.unwrap_or("a panic without words").to_owned()
}

/// What a literal says up to its closing quote.
fn unescaped(literal: &str) -> String {
    let (mut text, mut characters) = (String::new(), literal.chars());
    while let Some(character) = characters.next().filter(|&character| character != '"') {
        text.push(match character {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some(other) => other,
                None => break,
            },
            plain => plain,
        });
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;

    fn of(text: &str) -> String {
        error(&text.to_owned()).to_string()
    }

    #[test]
    fn libtorchs_first_line_is_kept_and_nothing_around_it() {
        let line = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 79.1 GiB";
        let frames = "Exception raised from malloc at /pytorch/c10:1\nframe #0: \"c10\"";
        for newline in ["\n", "\\n"] {
            let message = format!("{line}\n{frames}").replace('\n', newline);
            let text = format!("called `Result::unwrap()` on an `Err` value: Torch(\"{message}\")");
            assert_eq!(of(&text), format!("{line}; hint: lower `[training] batch`"));
        }
        let quoted = r#"Torch("\nexpected \"x\" in C:\\y, found 'z'\n\nframe #0")"#;
        assert_eq!(of(quoted), r#"expected "x" in C:\y, found 'z'"#);
        assert_eq!(of(r#"Torch("cut off\"#), "cut off");
    }

    #[test]
    fn a_cpu_without_memory_has_the_same_hint_and_other_refusals_none() {
        for refused in [
            "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried",
            "[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: not enough memory: you tried",
            "CUDA error: out of memory",
        ] {
            let text = format!("Torch(\"{refused}\\nCUDA kernel errors\")");
            assert_eq!(of(&text), format!("{refused}; hint: lower `[training] batch`"));
        }
        assert!(!of("Torch(\"CUDA error: an illegal memory access\")").contains("hint"));
    }

    #[test]
    fn a_bug_keeps_its_own_first_line() {
        assert_eq!(of("index 3 is out of bounds\nand more"), "index 3 is out of bounds");
        assert_eq!(error(&"a literal").to_string(), "a literal");
        assert_eq!(error(&7).to_string(), "a panic without words");
    }

    #[test]
    fn what_tch_panics_with_is_understood() {
        let zeros = || Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
        let panic = std::panic::catch_unwind(|| zeros().matmul(&zeros())).unwrap_err();
        let words = error(panic.as_ref()).to_string();
        assert_eq!(words, "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)");
    }
}
