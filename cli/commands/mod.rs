//! One file a command.

pub(crate) mod compare;
pub(crate) mod devices;
pub(crate) mod export;
pub(crate) mod measure;
pub(crate) mod predict;
pub(crate) mod predictor;
pub(crate) mod profile;
pub(crate) mod report;
pub(crate) mod search;
pub(crate) mod space;
pub(crate) mod table;
pub(crate) mod train;
pub(crate) mod validate;
