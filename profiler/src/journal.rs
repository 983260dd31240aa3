//! The journal of a profile or a validation: whatever was measured is on the disk before more is, so one that was cut off
//! goes on.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions, TryLockError},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    time::Instant,
};

use netfit_latency_tables::{Fingerprint, LatencyTable, median};
use serde::{Deserialize, Serialize};

use crate::{Error, ProfileOptions, Result, gate::Gate, samples::Sample};

const FORMAT: &str = "netfit-profile-journal-1";
/// What the file of every journal begins with.
const BEGINNING: &str = "{\"record\":\"header\"";

/// What a journal is about. A journal of anything else is refused.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
    format: String,
    space_id: String,
    fingerprint: Fingerprint,
    /// The options as JSON, without the journal's own place.
    options: serde_json::Value,
}

/// A part of a source: block samples of one process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// For each block's line its seconds, and its kernels.
    pub(crate) blocks: BTreeMap<String, (Vec<f64>, Vec<f64>)>,
    /// Seconds of calls that belong to no block.
    pub(crate) overhead: Vec<f64>,
    pub(crate) gate: Gate,
}

impl Part {
    /// Logarithms of its blocks' median seconds, by their lines; a block that noise hides has none.
    pub(crate) fn levels(&self) -> BTreeMap<&str, f64> {
        let mut levels = BTreeMap::new();
        for (line, (seconds, _)) in &self.blocks {
            let seconds = if seconds.is_empty() { 0.0 } else { median(seconds) };
            if seconds > 0.0 {
                levels.insert(line.as_str(), seconds.ln());
            }
        }
        levels
    }
}

/// Bursts of one process over the networks of one group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Whole {
    pub(crate) samples: Vec<Sample>,
    pub(crate) gate: Gate,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
enum Record {
    Header(Header),
    /// A source's part is complete.
    Part {
        stage: String,
        part: Part,
    },
    /// A round of a sitting.
    Round {
        stage: String,
        samples: Vec<Sample>,
    },
    /// The rounds of a sitting so far are those of an attempt that was disturbed.
    Discarded {
        stage: String,
    },
    /// A sitting is complete: what it says replaces its rounds.
    Whole {
        stage: String,
        whole: Whole,
    },
    /// A round of single calls: for each network its seconds.
    Calls {
        stage: String,
        calls: Vec<Vec<f64>>,
    },
}

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    record: Record,
    /// Seconds since the journal was opened.
    spent_s: f64,
}

/// Whole lines only; a last line that was cut off is dropped.
#[derive(Debug)]
pub(crate) struct Journal {
    file: Option<(PathBuf, File)>,
    records: Vec<Record>,
    opened: Instant,
    before_s: f64,
}

impl Header {
    pub(crate) fn new(space_id: &str, fingerprint: Fingerprint, options: &ProfileOptions) -> Self {
        let options = ProfileOptions { journal: None, accept_noise: false, ..options.clone() };
        let options = serde_json::to_value(options).unwrap_or_default();
        Self { format: FORMAT.to_owned(), space_id: space_id.to_owned(), fingerprint, options }
    }

    /// Of a validation: so many networks, which the table and the seed tell, are timed beside the table's own. More
    /// processes than before may be asked for: then only those are measured which are not there yet.
    pub(crate) fn beside(
        table: &LatencyTable,
        fingerprint: Fingerprint,
        options: &ProfileOptions,
        networks: usize,
    ) -> Self {
        let options = ProfileOptions { processes: 0, ..options.clone() };
        let mut header = Self::new(&table.space_id, fingerprint, &options);
        header.options["networks"] = networks.into();
        header.options["table"] = table.checksum().into();
        header
    }

    /// What is measured.
    fn of(&self) -> &'static str {
        if self.options["table"].is_null() { "profile" } else { "validation" }
    }

    /// What differs, in words; none where nothing does.
    fn differs(&self, other: &Self) -> Option<String> {
        let pair = |what: &str, ours: &str, theirs: &str| {
            Some(format!("its {what} is `{theirs}`, here it is `{ours}`"))
        };
        if self.format != other.format {
            return pair("format", &self.format, &other.format);
        }
        if self.of() != other.of() {
            return Some(format!("expected one of a {}, found one of a {}", self.of(), other.of()));
        }
        if self.space_id != other.space_id {
            return pair("space", &self.space_id, &other.space_id);
        }
        if let Some(field) = self.fingerprint.differs(&other.fingerprint) {
            return pair(field.field, &field.ours, &field.theirs);
        }
        let options = self.options.as_object()?;
        let (key, value) = options.iter().find(|(key, value)| other.options[*key] != **value)?;
        pair(key, &value.to_string(), &other.options[key].to_string())
    }
}

impl Journal {
    /// A journal that keeps nothing.
    pub(crate) fn none() -> Self {
        Self { file: None, records: Vec::new(), opened: Instant::now(), before_s: 0.0 }
    }

    /// Opens a journal, or begins one; without a path nothing is kept.
    pub(crate) fn open(path: Option<&Path>, header: Header) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::none()) };
        let open =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = open.map_err(Error::io("open the journal", path))?;
        // A file system without locks is no reason to refuse it.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(Error::Busy { path: path.to_owned() });
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(Error::io("read the journal", path))?;
        let whole = text.rfind('\n').map_or(0, |last| last + 1);
        // Nothing is cut before it is known to be a journal's.
        let (records, before_s) = parse(path, &text, whole, &header)?;
        file.set_len(whole as u64).map_err(Error::io("write the journal", path))?;
        file.seek(SeekFrom::End(0)).map_err(Error::io("write the journal", path))?;
        let file = Some((path.to_owned(), file));
        let mut journal = Self { file, records, before_s, ..Self::none() };
        if whole == 0 {
            journal.write(Record::Header(header))?;
        }
        Ok(journal)
    }

    /// Seconds that the profile has taken, before it was cut off and since.
    pub(crate) fn seconds(&self) -> f64 {
        self.before_s + self.opened.elapsed().as_secs_f64()
    }

    fn write(&mut self, record: Record) -> Result<()> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        let line = Line { record, spent_s: self.opened.elapsed().as_secs_f64() };
        let line = serde_json::to_string(&line).map_err(std::io::Error::from);
        line.and_then(|line| file.write_all((line + "\n").as_bytes()))
            .and_then(|()| file.sync_data())
            .map_err(Error::io("write the journal", path))
    }

    /// The complete part of that name.
    pub(crate) fn part(&self, name: &str) -> Option<&Part> {
        self.records.iter().find_map(|record| match record {
            Record::Part { stage, part } if stage == name => Some(part),
            _ => None,
        })
    }

    pub(crate) fn keep_part(&mut self, stage: &str, part: &Part) -> Result<()> {
        self.write(Record::Part { stage: stage.to_owned(), part: part.clone() })
    }

    /// The complete sitting of that name.
    pub(crate) fn whole(&self, name: &str) -> Option<&Whole> {
        self.records.iter().find_map(|record| match record {
            Record::Whole { stage, whole } if stage == name => Some(whole),
            _ => None,
        })
    }

    pub(crate) fn keep_whole(&mut self, stage: &str, whole: &Whole) -> Result<()> {
        self.write(Record::Whole { stage: stage.to_owned(), whole: whole.clone() })
    }

    /// Bursts of the whole rounds of a sitting that was cut off, without those that were discarded.
    pub(crate) fn rounds(&self, name: &str) -> Vec<Sample> {
        let mut rounds = Vec::new();
        for record in &self.records {
            match record {
                Record::Round { stage, samples } if stage == name => {
                    rounds.extend_from_slice(samples);
                }
                Record::Discarded { stage } if stage == name => rounds.clear(),
                _ => {}
            }
        }
        rounds
    }

    /// Forgets a sitting's rounds: its next attempt begins anew.
    pub(crate) fn discard(&mut self, stage: &str) -> Result<()> {
        let stage = stage.to_owned();
        self.records.push(Record::Discarded { stage: stage.clone() });
        self.write(Record::Discarded { stage })
    }

    pub(crate) fn keep_round(&mut self, stage: &str, samples: &[Sample]) -> Result<()> {
        self.write(Record::Round { stage: stage.to_owned(), samples: samples.to_vec() })
    }

    /// The single calls of each complete round of a process.
    pub(crate) fn calls(&self, name: &str) -> impl Iterator<Item = &Vec<Vec<f64>>> {
        self.records.iter().filter_map(move |record| match record {
            Record::Calls { stage, calls } if stage == name => Some(calls),
            _ => None,
        })
    }

    pub(crate) fn keep_calls(&mut self, stage: &str, calls: &[Vec<f64>]) -> Result<()> {
        self.write(Record::Calls { stage: stage.to_owned(), calls: calls.to_vec() })
    }
}

/// The records of a journal's whole lines, which end at `whole`, and the seconds that were spent on them.
fn parse(path: &Path, text: &str, whole: usize, header: &Header) -> Result<(Vec<Record>, f64)> {
    let fail = |reason: String| Error::Journal { path: path.to_owned(), reason };
    let torn = text.starts_with(BEGINNING) || BEGINNING.starts_with(text);
    if whole == 0 && !torn {
        return Err(fail("expected a header in line 1".into()));
    }
    let (mut records, mut before_s, mut last_s) = (Vec::new(), 0.0, 0.0);
    for (index, line) in text[..whole].lines().enumerate() {
        let line: Line = serde_json::from_str(line)
            .map_err(|error| fail(format!("line {}: {error}", index + 1)))?;
        // Time that runs backwards is that of another process.
        if line.spent_s < last_s {
            before_s += last_s;
        }
        last_s = line.spent_s;
        match line.record {
            Record::Header(found) if index == 0 => {
                if let Some(difference) = header.differs(&found) {
                    return Err(fail(difference));
                }
            }
            _ if index == 0 => return Err(fail("expected a header in line 1".into())),
            record => records.push(record),
        }
    }
    Ok((records, before_s + last_s))
}
