//! The journal of a search: one line for each network that was scored.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions, TryLockError},
    io::{Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use netfit_spaces::{Genotype, Space};
use serde::{Deserialize, Serialize};

use crate::{Error, Evaluated, Result};

/// Journals of another version are refused.
const FORMAT: &str = "netfit-journal-1";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    space: String,
    space_name: String,
}

/// One line of a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What scored the network.
    pub source: String,
    /// The network, its accuracy, and its latency as predicted at the time.
    #[serde(flatten)]
    pub network: Evaluated,
}

/// `journal.jsonl`: a header, then one [`Record`] a line, only ever appended to in whole lines.
///
/// Records reach the disk before [`Journal::append`] returns. A last line that is not whole, as a power cut leaves it,
/// is dropped when the journal is opened, and [`Journal::dropped`] says so.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    length: u64,
    records: Vec<Record>,
    known: HashMap<String, HashMap<Genotype, f64>>,
    dropped: Option<String>,
}

impl Journal {
    /// Opens the journal of a search in `space`, or begins one.
    ///
    /// # Errors
    /// A file that cannot be read or written, or that another process has open; a journal of another space or version, a
    /// line in the middle that does not parse.
    pub fn open(path: &Path, space: &Space) -> Result<Self> {
        let read = |source| Error::Read { path: path.to_owned(), source };
        let write = |source| Error::Write { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(write)?;
        // A file system without locks is no reason to refuse it.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(Error::Busy { path: path.to_owned() });
        }
        let bytes = std::fs::read(path).map_err(read)?;
        let whole = whole(&bytes);
        let torn = String::from_utf8_lossy(&bytes[whole..]).into_owned();
        let mut journal = Self {
            path: path.to_owned(),
            file,
            length: whole as u64,
            records: Vec::new(),
            known: HashMap::new(),
            dropped: (!torn.is_empty()).then_some(torn),
        };
        let header = line(&Header {
            format: FORMAT.to_owned(),
            space: space.id().to_owned(),
            space_name: space.name().to_owned(),
        });
        // Nothing is cut before it is known to be a journal's.
        if whole > 0 || !header.as_bytes().starts_with(&bytes) {
            parse(path, &bytes[..whole], space)?.into_iter().for_each(|r| journal.keep(r));
        }
        if journal.dropped.is_some() {
            journal.cut().map_err(write)?;
        }
        if whole == 0 {
            journal.write(&header)?;
            sync_folder(path).map_err(write)?;
        }
        Ok(journal)
    }

    /// The records of a journal, which is only read: a search may be writing it.
    ///
    /// # Errors
    /// As [`Self::open`], and a file that is not there or has no whole line.
    pub fn read(path: &Path, space: &Space) -> Result<Vec<Record>> {
        let bytes =
            std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        parse(path, &bytes[..whole(&bytes)], space)
    }

    /// Every line, in the order of writing.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The end of the file that was not a whole line and was dropped.
    pub fn dropped(&self) -> Option<&str> {
        self.dropped.as_deref()
    }

    /// The accuracy of a genotype by a source.
    pub fn known(&self, source: &str, genotype: &Genotype) -> Option<f64> {
        self.known.get(source)?.get(genotype).copied()
    }

    /// Appends a line for each network and waits until they are on the disk.
    ///
    /// # Errors
    /// A file that cannot be written; the journal then ends with the last whole line before these.
    pub fn append(&mut self, source: &str, networks: &[Evaluated]) -> Result<()> {
        if networks.is_empty() {
            return Ok(());
        }
        let record =
            |network: &Evaluated| Record { source: source.to_owned(), network: network.clone() };
        let records: Vec<Record> = networks.iter().map(record).collect();
        self.write(&records.iter().map(line).collect::<String>())?;
        for record in records {
            self.keep(record);
        }
        Ok(())
    }

    fn keep(&mut self, record: Record) {
        let network = &record.network;
        let known = self.known.entry(record.source.clone()).or_default();
        known.insert(network.genotype.clone(), network.accuracy);
        self.records.push(record);
    }

    fn write(&mut self, lines: &str) -> Result<()> {
        let written = self
            .file
            .seek(SeekFrom::Start(self.length))
            .and_then(|_| self.file.write_all(lines.as_bytes()))
            .and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // What was written in part would be dropped on the next reading anyway; the first error is the one to tell.
            let _ = self.cut();
            return Err(Error::Write { path: self.path.clone(), source });
        }
        self.length += lines.len() as u64;
        Ok(())
    }

    /// Cuts the file after its last whole line.
    fn cut(&mut self) -> std::io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.sync_data()
    }
}

/// The records of a journal's whole lines.
fn parse(path: &Path, bytes: &[u8], space: &Space) -> Result<Vec<Record>> {
    let fail = |line, reason| Error::Journal { path: path.to_owned(), line, reason };
    let text = std::str::from_utf8(bytes).map_err(|error| fail(1, error.to_string()))?;
    let mut lines = text.lines().enumerate();
    let first = lines.next().map_or("", |(_, first)| first);
    let header: Header = serde_json::from_str(first).map_err(|error| fail(1, error.to_string()))?;
    if header.format != FORMAT {
        let reason = format!("expected format `{FORMAT}`, found `{}`", header.format);
        return Err(fail(1, reason));
    }
    if header.space != space.id() {
        let reason = format!(
            "expected space `{}` ({}), found `{}` ({})",
            space.name(),
            space.id(),
            header.space_name,
            header.space
        );
        return Err(fail(1, reason));
    }
    let record = |(index, text): (usize, &str)| {
        let mut record: Record =
            serde_json::from_str(text).map_err(|error| fail(index + 1, error.to_string()))?;
        record.network.genotype = space
            .parse(&record.network.genotype.to_string())
            .map_err(|error| fail(index + 1, error.to_string()))?;
        Ok(record)
    };
    lines.map(record).collect()
}

/// Bytes of whole lines.
fn whole(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1)
}

/// One line of JSON.
fn line(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).expect("plain structures of text and numbers");
    json + "\n"
}

/// Makes a new file's name durable.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn networks(space: &Space, count: usize) -> Vec<Evaluated> {
        let network = |(index, genotype)| Evaluated {
            genotype,
            accuracy: 0.1 + index as f64 / 30.0,
            latency_s: 1e-3 / 3.0,
            latency_interval_s: [0.9e-3 / 3.0, 1.1e-3 / 3.0],
        };
        space.enumerate().take(count).enumerate().map(network).collect()
    }

    #[test]
    fn what_was_appended_is_read_back() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let written = networks(&space, 5);
        let mut journal = Journal::open(&path, &space).unwrap();
        journal.append("supernet", &written[..2]).unwrap();
        journal.append("csv", &written[2..]).unwrap();
        let records = journal.records().to_vec();
        let busy = Journal::open(&path, &space).unwrap_err().to_string();
        assert!(busy.contains("in use by another process"), "{busy}");
        drop(journal);
        let read = Journal::open(&path, &space).unwrap();
        assert_eq!(read.records(), records);
        assert_eq!(read.records()[4].network, written[4]);
        assert_eq!(read.known("supernet", &written[1].genotype), Some(written[1].accuracy));
        assert_eq!(read.known("csv", &written[1].genotype), None);
        assert_eq!(read.dropped(), None);
    }

    #[test]
    fn a_file_cut_anywhere_keeps_its_whole_lines() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let written = networks(&space, 3);
        Journal::open(&path, &space).unwrap().append("csv", &written).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for length in 0..bytes.len() {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let lines = bytes[..length].split(|&byte| byte == b'\n').count() - 1;
            let mut journal = Journal::open(&path, &space).unwrap();
            let kept = lines.saturating_sub(1);
            assert_eq!(journal.records().len(), kept);
            let torn = length > 0 && bytes[length - 1] != b'\n';
            assert_eq!(journal.dropped().is_some(), torn);
            journal.append("csv", &written[kept..]).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), bytes, "cut at {length}");
        }
    }

    #[test]
    fn other_spaces_versions_and_damage_are_refused() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        Journal::open(&path, &space).unwrap().append("csv", &networks(&space, 2)).unwrap();
        let other = Space::preset("ofa-28").unwrap();
        let message = Journal::open(&path, &other).unwrap_err().to_string();
        assert!(message.contains("expected space `ofa-28`"), "{message}");
        let text = std::fs::read_to_string(&path).unwrap();
        for (from, to, line, reason) in [
            ("journal-1", "journal-9", 1, "found `netfit-journal-9`"),
            ("00000001", "0000001", 3, "expected 8 choices"),
            ("\"source\"", "\"origin\"", 2, "missing field"),
        ] {
            std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
            let message = Journal::open(&path, &space).unwrap_err().to_string();
            assert!(message.contains(&format!("line {line}: ")), "{message}");
            assert!(message.contains(reason) && message.contains("hint:"), "{message}");
        }
        // What is no journal stays as it is, and reading changes none.
        for foreign in ["{\"answer\": 42}", "one\ntwo"] {
            std::fs::write(&path, foreign).unwrap();
            assert!(Journal::open(&path, &space).is_err());
            assert!(Journal::read(&path, &space).is_err());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), foreign);
        }
        let torn = &text[..text.len() - 5];
        std::fs::write(&path, torn).unwrap();
        assert_eq!(Journal::read(&path, &space).unwrap().len(), 1);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), torn);
        let missing = Journal::open(&folder.path().join("no/journal.jsonl"), &space).unwrap_err();
        assert!(missing.to_string().contains("cannot write"), "{missing}");
    }
}
