//! The pipes to the measuring process.

use std::{
    fmt,
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use crate::{
    Error, Result,
    conversation::{Answer, Request},
};

/// How much of standard error is kept.
const TAIL: usize = 2000;

/// Of NVIDIA's libraries: 0 forbids them products of 10 bits, whatever a program asks for.
const TF32: &str = "NVIDIA_TF32_OVERRIDE";

/// A measuring process as a function: answers the requests of one pipe on another.
pub type Server = fn(&mut dyn BufRead, &mut dyn Write) -> std::io::Result<()>;

/// How the measuring process is started.
#[derive(Debug)]
pub(crate) enum Launch {
    Process {
        program: PathBuf,
        arguments: Vec<String>,
        /// Whether it has something to clean up where this process is killed.
        cleans_up: bool,
        /// Whether a GPU may take 10 bits of each mantissa in products of 32 bits.
        tf32: bool,
    },
    /// As a thread of this process: for tests.
    Thread(Server),
}

pub(crate) struct Connection {
    program: String,
    /// Before its pipes: it is killed before its input ends.
    process: Option<Process>,
    input: Box<dyn Write + Send>,
    output: Box<dyn BufRead + Send>,
}

struct Process {
    child: Child,
    errors: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

/// The program with its pipes.
fn command(program: &Path, cleans_up: bool, tf32: bool) -> Command {
    let mut command = Command::new(program);
    if cleans_up {
        // Ctrl-C in a terminal ends the caller only; this one then sees the end of its input.
        command.process_group(0);
    }
    // GPUs have the numbers that the driver's own tools show.
    command.env("CUDA_DEVICE_ORDER", "PCI_BUS_ID");
    // What libraries are asked for is not all that they do: cuDNN takes 10 bits where it finds no other way. An inherited
    // variable would make `tf32` untrue.
    if tf32 {
        command.env_remove(TF32);
    } else {
        command.env(TF32, "0");
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Connection {
    pub(crate) fn new(launch: &Launch) -> Result<Self> {
        match launch {
            Launch::Process { program, arguments, cleans_up, tf32 } => {
                let name = program.display().to_string();
                let fail = |error: std::io::Error| Error::Worker {
                    program: name.clone(),
                    reason: format!("cannot be started: {error}"),
                };
                let mut command = command(program, *cleans_up, *tf32);
                let mut child = command.args(arguments).spawn().map_err(fail)?;
                let (Some(input), Some(output), Some(errors)) =
                    (child.stdin.take(), child.stdout.take(), child.stderr.take())
                else {
                    return Err(fail(std::io::Error::other("it has no pipes")));
                };
                let kept = Arc::new(Mutex::new(Vec::new()));
                let reader = Some(keep_tail(errors, Arc::clone(&kept)));
                Ok(Self {
                    program: name,
                    input: Box::new(input),
                    output: Box::new(BufReader::new(output)),
                    process: Some(Process { child, errors: kept, reader }),
                })
            }
            &Launch::Thread(server) => {
                let pipe = || {
                    std::io::pipe().map_err(|error| Error::Worker {
                        program: "thread".into(),
                        reason: format!("has no pipes: {error}"),
                    })
                };
                let ((their_input, input), (output, mut their_output)) = (pipe()?, pipe()?);
                std::thread::spawn(move || {
                    server(&mut BufReader::new(their_input), &mut their_output)
                });
                Ok(Self {
                    program: "thread".into(),
                    input: Box::new(input),
                    output: Box::new(BufReader::new(output)),
                    process: None,
                })
            }
        }
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Answer> {
        // JSON has no paths that are not UTF-8.
        let asked = serde_json::to_string(request)
            .map_err(|error| Error::Refused(format!("it cannot be asked: {error}")))?;
        let mut line = String::new();
        let sent =
            self.input.write_all(format!("{asked}\n").as_bytes()).and_then(|()| self.input.flush());
        let read = sent.and_then(|()| self.output.read_line(&mut line));
        if !matches!(read, Ok(bytes) if bytes > 0) {
            return Err(self.died());
        }
        match serde_json::from_str(&line) {
            Ok(Answer::Failed { message }) => Err(Error::Refused(message)),
            Ok(answer) => Ok(answer),
            Err(_) => Err(Error::Worker {
                program: self.program.clone(),
                reason: format!("expected an answer in JSON, found `{}`", line.trim_end()),
            }),
        }
    }

    /// Ends the process: a GPU may allow only one, and memory may have room for only one.
    pub(crate) fn end(&mut self) {
        self.process = None;
    }

    pub(crate) fn unexpected(&self, answer: &Answer) -> Error {
        let mut found = format!("{answer:?}");
        found.truncate(found.floor_char_boundary(100));
        Error::Worker {
            program: self.program.clone(),
            reason: format!("gave an answer to another question: {found}"),
        }
    }

    fn died(&mut self) -> Error {
        let reason = match &mut self.process {
            None => "has ended".to_owned(),
            Some(process) => process.last_words(),
        };
        Error::Worker { program: self.program.clone(), reason }
    }
}

impl Process {
    fn last_words(&mut self) -> String {
        let _ = self.child.kill();
        let status = match self.child.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&errors);
        let lines: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        match &lines[lines.len().saturating_sub(3)..] {
            [] => format!("has died ({status}) without a word"),
            last => format!("has died ({status}); its last words: {}", last.join(" | ")),
        }
    }
}

/// Reads to the end and keeps the last [`TAIL`] bytes.
fn keep_tail(mut errors: impl Read + Send + 'static, kept: Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok(bytes @ 1..) = errors.read(&mut buffer) {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend(&buffer[..bytes]);
            let surplus = kept.len().saturating_sub(TAIL);
            kept.drain(..surplus);
        }
    })
}

impl Drop for Process {
    fn drop(&mut self) {
        // It holds nothing worth a slow goodbye, and must not go on using the processor.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("program", &self.program).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn products_of_10_bits_are_forbidden_unless_they_are_asked_for() {
        let of = |tf32| {
            let command = command(Path::new("any"), false, tf32);
            let mut set = command.get_envs().filter(|(name, _)| *name == OsStr::new(TF32));
            set.next().map(|(_, value)| value.map(OsStr::to_owned))
        };
        assert_eq!(of(false), Some(Some("0".into())));
        // Taken away, not left to what this process has.
        assert_eq!(of(true), Some(None));
    }
}
