//! A child process with pipes: what it last said, and how it ended.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, channel},
    },
    time::{Duration, Instant},
};

/// Lines of standard error that are kept.
const TAIL_LINES: usize = 20;
/// Bytes of such a line that are kept, its first ones.
const TAIL_BYTES: u64 = 500;
/// How long to wait for the rest of standard error, which a grandchild may hold open.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a child may take to end, a core dump included.
const LINGER: Duration = Duration::from_secs(20);
/// How often it is looked at meanwhile.
const POLL: Duration = Duration::from_millis(5);

/// A child; killed when dropped.
pub(crate) struct Process {
    child: Child,
    /// None once it is closed.
    pub(crate) input: Option<ChildStdin>,
    pub(crate) output: BufReader<ChildStdout>,
    tail: Arc<Mutex<VecDeque<String>>>,
    drained: Receiver<()>,
}

impl Process {
    pub(crate) fn start(program: &Path) -> std::io::Result<Self> {
        let mut child = Command::new(program)
            // GPUs have the numbers that the driver's own tools show.
            .env("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
            // Without it cuBLAS may sum in another order each time, and a deterministic training is refused.
            .env("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let pipe = || std::io::Error::other("no pipe");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().ok_or_else(pipe)?);
        let errors = child.stderr.take().ok_or_else(pipe)?;
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        let (done, drained) = channel();
        let kept = Arc::clone(&tail);
        std::thread::spawn(move || {
            drain(errors, &kept);
            // Nobody listens where the process was dropped.
            let _ = done.send(());
        });
        Ok(Self { child, input, output, tail, drained })
    }

    /// Ends the child and tells how it ended, and the last that it said.
    pub(crate) fn end(&mut self) -> (String, Option<ExitStatus>, Vec<String>) {
        self.input = None;
        let status = self.wait();
        // Late words are lost where a grandchild holds the pipe open.
        let _ = self.drained.recv_timeout(PATIENCE);
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        (
            status.map_or_else(|| "ended".to_owned(), describe),
            status,
            tail.iter().cloned().collect(),
        )
    }

    /// The status of a child that ought to end by itself, since its pipes are closed; killed where it does not.
    fn wait(&mut self) -> Option<ExitStatus> {
        let start = Instant::now();
        while start.elapsed() < LINGER {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(POLL);
        }
        self.kill();
        self.child.wait().ok()
    }

    #[cfg(all(test, unix))]
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends a child that has broken the protocol.
    pub(crate) fn kill(&mut self) {
        self.input = None;
        // It fails only where the child has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn drain(errors: ChildStderr, tail: &Mutex<VecDeque<String>>) {
    let mut errors = BufReader::new(errors);
    let mut line = Vec::new();
    loop {
        line.clear();
        match errors.by_ref().take(TAIL_BYTES).read_until(b'\n', &mut line) {
            Ok(count) if count > 0 => keep(&line, tail),
            _ => return,
        }
        // The rest of a longer line is not kept.
        if !line.ends_with(b"\n") && errors.skip_until(b'\n').is_err() {
            return;
        }
    }
}

fn keep(line: &[u8], tail: &Mutex<VecDeque<String>>) {
    let text = String::from_utf8_lossy(line).trim().to_owned();
    if text.is_empty() {
        return;
    }
    let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
    if tail.len() == TAIL_LINES {
        tail.pop_front();
    }
    tail.push_back(text);
}

#[cfg(unix)]
fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    const NAMES: [(i32, &str); 8] = [
        (2, "interrupted"),
        (4, "illegal instruction"),
        (6, "aborted"),
        (7, "bus error"),
        (8, "arithmetic fault"),
        (9, "killed; perhaps out of memory"),
        (11, "segmentation fault"),
        (15, "terminated"),
    ];
    match status.signal() {
        None => code(status),
        Some(signal) => match NAMES.iter().find(|(number, _)| *number == signal) {
            Some((_, name)) => format!("died of signal {signal} ({name})"),
            None => format!("died of signal {signal}"),
        },
    }
}

#[cfg(not(unix))]
fn describe(status: ExitStatus) -> String {
    code(status)
}

fn code(status: ExitStatus) -> String {
    status.code().map_or_else(|| "ended".to_owned(), |code| format!("ended with status {code}"))
}
